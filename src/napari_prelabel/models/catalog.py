"""MODELS and BUNDLES: what can be loaded, from where, under which licence. Loads no torch."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import platformdirs

from ..methods.pairs import SIMILARITY
from ..values.errors import FileFormatError, ModelError
from ..values.job import BASES, FreeCP, Nerve, Windows
from ..values.methods import METHODS, Needs
from ..values.samples import sample_path

CONFIG = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
HOME_VARIABLE = "PRELABEL_MODELS"

# OpenAI's normalisation, which all models below were trained with unless their row says otherwise.
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)

_OPENAI = "MIT, OpenAI; the model card asks not to deploy it without testing it for the purpose"
_LAION = "MIT, LAION; the model card asks not to deploy it without testing it for the purpose"


class ModelEntry(Protocol):
    """A row of any table of models."""

    @property
    def source(self) -> str: ...

    @property
    def files(self) -> tuple[str, ...]: ...

    @property
    def sha256(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class ClipEntry:
    """One CLIP model.

    arch : open_clip's name of the architecture; "" when a config file lies beside the weights.
    source : repository on the model hub, "sample" (ships with the package) or "random" (true
        architecture, seeded weights, nothing is fetched).
    file : name of the weights file in the repository and on disk.
    size : bytes to fetch, about; the exact number is asked for when fetching.
    sha256 : checksum of the weights; None takes the one the hub states, without which nothing is
        fetched.
    patch : side of a patch in pixels.
    resnet : a CLIP ResNet, which has no layer attention and therefore no FreeCP and no GEM.
    words : file of the words the model was trained on, None when its vocabulary is open.
    synonyms : least cosine of the rows of two words that mean the same (docs/methods/reme.md#r5).
    """

    arch: str
    source: str
    licence: str
    patch: int
    size: int = 0
    file: str = WEIGHTS
    sha256: str | None = None
    resnet: bool = False
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    words: str | None = None
    synonyms: float = SIMILARITY

    @property
    def files(self) -> tuple[str, ...]:
        return (self.file,)


@dataclass(frozen=True, slots=True)
class Bundle:
    """A choice in the dock: a model with the settings it works best with.

    windows : how images are resized and cut (docs/methods/freecp.md#windows).
    notice : what the person must know before trusting the result; "" for nothing.
    diffusion : of catalog_diffusion.DIFFUSIONS, for NERVE; "" for none.
    bases : what the model can do.
    method, base, freecp, nerve : what is recommended, measured on validation images where a figure
        exists; the published parameters elsewhere.
    """

    title: str
    clip: str
    windows: Windows = field(default_factory=Windows)
    notice: str = ""
    diffusion: str = ""
    bases: tuple[str, ...] = BASES
    method: str = "freecp"
    base: str = "sclip"
    freecp: FreeCP = field(default_factory=FreeCP)
    nerve: Nerve = field(default_factory=Nerve)

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods whose needs these models meet, with the settings that they come with."""
        return tuple(
            sorted(m for m, row in METHODS.items() if self._meets(row.needs(row.settings)))
        )

    def _meets(self, needs: Needs) -> bool:
        resnet = self.clip in MODELS and MODELS[self.clip].resnet
        return not (needs.attention and resnet) and (bool(self.diffusion) or not needs.diffusion)


MODELS: Mapping[str, ClipEntry] = {
    "demo-clip": ClipEntry(
        "",
        "sample",
        "BSD-3-Clause, trained on drawn scenes",
        8,
        words="words.txt",
        # Its synonyms lie at 0.9989 or more, words of different classes at 0.978 or less.
        synonyms=0.99,
    ),
    "openai-vitb16": ClipEntry(
        "ViT-B-16-quickgelu", "timm/vit_base_patch16_clip_224.openai", _OPENAI, 16, 598_600_000
    ),
    "openai-vitl14": ClipEntry(
        "ViT-L-14-quickgelu", "timm/vit_large_patch14_clip_224.openai", _OPENAI, 14, 1_710_600_000
    ),
    "openai-vitl14-336": ClipEntry(
        "ViT-L-14-336-quickgelu",
        "timm/vit_large_patch14_clip_336.openai",
        _OPENAI,
        14,
        1_711_900_000,
    ),
    "laion-vitb16": ClipEntry(
        "ViT-B-16", "laion/CLIP-ViT-B-16-laion2B-s34B-b88K", _LAION, 16, 598_600_000
    ),
    "laion-vitl14": ClipEntry(
        "ViT-L-14",
        "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
        _LAION,
        14,
        1_710_600_000,
        mean=_HALF,
        std=_HALF,
    ),
    "openai-rn50x16": ClipEntry(
        "RN50x16-quickgelu",
        "timm/resnet50x16_clip.openai",
        _OPENAI,
        32,
        1_164_600_000,
        resnet=True,
    ),
    "vitb16-random": ClipEntry("ViT-B-16-quickgelu", "random", "none: random weights", 16),
    "vitl14-random": ClipEntry("ViT-L-14-quickgelu", "random", "none: random weights", 14),
}

_FULL = Windows(short_side=448, crop=384, stride=112)
# CLIPer's: the whole image at once (docs/methods/nerve.md#cliper).
_WHOLE = Windows(short_side=336, crop=0)
_DEMO_NOTICE = (
    "The demo models know the words of their list and drawn scenes only; choose the full models "
    "for your own images."
)
_SHAPE_NOTICE = "This model has random weights, to measure speed with: its labels mean nothing."

BUNDLES: Mapping[str, Bundle] = {
    "demo": Bundle(
        "Demo (ships with the plugin)",
        "demo-clip",
        Windows(256, 128, 64),
        _DEMO_NOTICE,
        diffusion="demo-diffusion",
        base="clearclip",
        # Best of `python -m benchmarks.tune` on 12 validation scenes.
        freecp=FreeCP(rp_threshold=0.20, ap_threshold=0.70, empty_pixel="base"),
        # Best of `python -m benchmarks.nerve sweep` on as many.
        nerve=Nerve(alpha=0.7, beta=0.3, steps=5),
    ),
    "vitb16": Bundle("CLIP ViT-B/16 (OpenAI)", "openai-vitb16", _FULL, diffusion="sd21-base"),
    "vitl14": Bundle("CLIP ViT-L/14 (OpenAI)", "openai-vitl14", _FULL, diffusion="sd21-base"),
    "vitl14-336": Bundle(
        "CLIP ViT-L/14 at 336 (OpenAI)",
        "openai-vitl14-336",
        _FULL,
        diffusion="sd21-base",
    ),
    "vitl14-sd15": Bundle(
        "CLIP ViT-L/14 (OpenAI), diffusion 1.5",
        "openai-vitl14",
        _FULL,
        diffusion="sd15",
    ),
    "vitb16-laion": Bundle(
        "CLIP ViT-B/16 (LAION-2B)", "laion-vitb16", _FULL, diffusion="sd21-base"
    ),
    "vitl14-laion": Bundle(
        "CLIP ViT-L/14 (LAION-2B)", "laion-vitl14", _FULL, diffusion="sd21-base"
    ),
    "rn50x16": Bundle(
        "CLIP RN50x16 (OpenAI)",
        "openai-rn50x16",
        _FULL,
        bases=tuple(base for base in BASES if base != "gem"),
        method="base",
        base="maskclip",
    ),
    "vitb16-shape": Bundle(
        "ViT-B/16, random weights", "vitb16-random", _FULL, notice=_SHAPE_NOTICE
    ),
    "vitl14-shape": Bundle(
        "ViT-L/14, random weights", "vitl14-random", _FULL, notice=_SHAPE_NOTICE
    ),
    "sd21-shape": Bundle(
        "Stable Diffusion 2.1 and ViT-L/14, random weights",
        "vitl14-random",
        _WHOLE,
        notice=_SHAPE_NOTICE,
        diffusion="sd21-random",
        method="nerve",
        base="clearclip",
    ),
}


def entry_of(name: str) -> ClipEntry:
    """The row of a model; raises ModelError listing the names there are."""
    if name not in MODELS:
        raise ModelError(name, f"There is no model {name!r}: choose one of {', '.join(MODELS)}.")
    return MODELS[name]


def bundle_of(name: str) -> Bundle:
    """The row of a bundle; raises ModelError listing the names there are."""
    if name not in BUNDLES:
        raise ModelError(name, f"There is no bundle {name!r}: choose one of {', '.join(BUNDLES)}.")
    return BUNDLES[name]


def model_dir(name: str) -> Path:
    """`folder_of` a CLIP. Raises FileFormatError when the sample data lacks the demo model."""
    return folder_of(name, entry_of(name))


def folder_of(name: str, entry: ModelEntry) -> Path:
    """Folder of a model's files; of one that is not here, what a fetch would write into."""
    if entry.source == "sample":
        return sample_path("models", name)
    here = (folder for folder in _places(name, entry.source) if is_whole(folder, entry))
    return next(here, fetch_home() / repo_folder(entry.source))


def is_whole(folder: Path, entry: ModelEntry) -> bool:
    """Whether a folder holds all files of a model."""
    return all(os.path.isfile(folder / file) for file in entry.files)


def _places(name: str, source: str) -> Iterator[Path]:
    """Folders in which a model may lie: one under its own name, as people copy them and earlier
    versions fetched them, and what the hub's tools keep of its repository."""
    yield models_home() / name
    for cache in dict.fromkeys((fetch_home(), hub_cache())):
        repo = cache / repo_folder(source)
        with contextlib.suppress(OSError):
            newest = (repo / "refs" / "main").read_text(encoding="utf-8")
            yield repo / "snapshots" / newest
        yield from sorted((repo / "snapshots").glob("*"))


def repo_folder(source: str) -> str:
    """What the hub's tools call a repository's folder in their cache."""
    return "--".join(("models", *source.split("/")))


def hub_cache() -> Path:
    """Where the hub's tools keep models, by their own rules: their library is slow to import."""
    given = [os.environ.get(name) for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")]
    user = os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    home = os.path.join(os.environ.get("HF_HOME", user), "hub")
    return Path(os.path.expandvars(os.path.expanduser(next(filter(None, given), home))))


def fetch_home() -> Path:
    """Where models are fetched to: a folder that was chosen, else the cache of the hub's tools."""
    return models_home() if _chosen() else hub_cache()


# At most one: what `keep_models` was told last.
_kept: list[Path] = []


def _chosen() -> Path | None:
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) if home else next(iter(_kept), None)


def models_home() -> Path:
    """Where models lie under their own names: the environment variable PRELABEL_MODELS, for
    instance a folder that a group shares; else what `keep_models` was told; else the user's data
    folder."""
    return _chosen() or platformdirs.user_data_path("napari-prelabel") / "models"


def keep_models(folder: Path | None) -> None:
    """Keep models in a folder of one's own from now on, or no longer."""
    _kept[:] = [] if folder is None else [folder]


def installed(name: str) -> bool:
    """Whether a CLIP can be loaded without fetching anything."""
    return is_here(name, entry_of(name))


def is_here(name: str, entry: ModelEntry) -> bool:
    """Whether a model of any table can be loaded without fetching anything."""
    try:
        return entry.source == "random" or is_whole(folder_of(name, entry), entry)
    except FileFormatError:
        return False


def windows_of(clip: str) -> Windows:
    """How the first bundle with a CLIP reads images; the defaults for one that is in none."""
    return next((b.windows for b in BUNDLES.values() if b.clip == clip), Windows())


def synonym_cosine(name: str) -> float:
    """From which cosine on two words of a CLIP mean the same; 0.9 for one that is not listed."""
    return MODELS[name].synonyms if name in MODELS else SIMILARITY


def known_words(name: str) -> tuple[str, ...] | None:
    """The words a model was trained on, one per line of its list; None when it is open.

    Raises ModelError when the list is missing.
    """
    entry = entry_of(name)
    if entry.words is None:
        return None
    path = model_dir(name) / entry.words
    if not path.is_file():
        raise ModelError(name, f"{entry.words} of {name} is missing: install the package again.")
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(word for line in lines if (word := line.strip()) and not word.startswith("#"))
