"""VISUALS, SEGMENTERS, CAPTIONERS: models of transformers' folder layout. Loads no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from ..values.errors import ModelError
from ..values.retrieval import ReME
from .catalog import is_here

TEXTURE = "texture"
CLIP_PREFIX = "clip:"
"""Before the name of a CLIP whose own features are the encoder."""
CROPS_PREFIX = "clip-crops:"
"""Before the name of a CLIP that sees every segment cut out."""
IN_WINDOWS = "@windows"
"""Behind the name of an encoder that reads images in square windows instead of squashing them."""
CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_DINO = "Apache-2.0, Meta"
_Entry = TypeVar("_Entry", bound="FolderEntry")


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """One model that lies as a folder of several files.

    source : repository on the model hub, "sample" (ships with the package) or "random" (true
        architecture, seeded weights, nothing is fetched).
    size : bytes to fetch, about; the exact numbers are asked for when fetching.
    files : what to fetch; all of them must be there.
    sha256 : checksum of `WEIGHTS`; None takes the one the hub states.
    """

    source: str
    licence: str
    size: int = 0
    files: tuple[str, ...] = (CONFIG, WEIGHTS)
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class VisualEntry(FolderEntry):
    """A visual encoder of DINOv2's architecture.

    side : images are squashed to side x side pixels.
    patch : side of a patch in pixels.
    shape : width, blocks and heads, checked against the configuration.
    """

    side: int = 518
    patch: int = 14
    shape: tuple[int, int, int] = (768, 12, 12)


@dataclass(frozen=True, slots=True)
class SegmenterEntry(FolderEntry):
    """A model that finds masks from points."""

    kind: Literal["sam", "sam2"] = "sam"


@dataclass(frozen=True, slots=True)
class CaptionerEntry(FolderEntry):
    """A model that describes an image in words."""

    kind: Literal["llava", "blip2"] = "llava"


def _parts(count: int) -> tuple[str, ...]:
    """Names that the hub gives to weights in several files."""
    return tuple(f"model-{i:05d}-of-{count:05d}.safetensors" for i in range(1, count + 1))


_BASE, _LARGE = (768, 12, 12), (1024, 24, 16)

VISUALS: Mapping[str, VisualEntry] = {
    "demo-visual": VisualEntry(
        "sample", "BSD-3-Clause, trained on drawn scenes", side=256, patch=8, shape=(192, 6, 6)
    ),
    "dinov2b": VisualEntry("facebook/dinov2-base", _DINO, 346_300_000, shape=_BASE),
    "dinov2l": VisualEntry("facebook/dinov2-large", _DINO, 1_217_500_000, shape=_LARGE),
    "dinov2b-random": VisualEntry("random", "none: random weights", shape=_BASE),
    "dinov2l-random": VisualEntry("random", "none: random weights", shape=_LARGE),
}

SEGMENTERS: Mapping[str, SegmenterEntry] = {
    "sam-vitb": SegmenterEntry("facebook/sam-vit-base", "Apache-2.0, Meta", 375_000_000),
    "sam-vith": SegmenterEntry("facebook/sam-vit-huge", "Apache-2.0, Meta", 2_564_000_000),
    "sam2-tiny": SegmenterEntry(
        "facebook/sam2.1-hiera-tiny", "Apache-2.0, Meta", 156_000_000, kind="sam2"
    ),
    "sam2-large": SegmenterEntry(
        "facebook/sam2.1-hiera-large", "Apache-2.0, Meta", 898_000_000, kind="sam2"
    ),
}

CAPTIONERS: Mapping[str, CaptionerEntry] = {
    "llava-1.5-7b": CaptionerEntry(
        "llava-hf/llava-1.5-7b-hf",
        "Llama 2 Community License",
        14_100_000_000,
        (CONFIG, INDEX, "preprocessor_config.json", *_TOKENIZER, *_parts(3)),
    ),
    "blip2-opt-2.7b": CaptionerEntry(
        "Salesforce/blip2-opt-2.7b",
        "MIT; its language model OPT is for research that is not commercial",
        15_000_000_000,
        (CONFIG, INDEX, "preprocessor_config.json", *_TOKENIZER, *_parts(2)),
        kind="blip2",
    ),
}


def recommended(encoder: str) -> ReME:
    """What ReME works best with on rows of an encoder; docs/methods/reme.md#readings where nothing
    else was measured.

    Whitened rows of `texture` are less alike than rows of a network: a softer choice among the
    hundred nearest was better on images that have nothing to do with the ones reported
    (docs/methods/reme-real-images.md).
    """
    return ReME(temperature=0.1, top_k=100) if encoder == TEXTURE else ReME()


def weights_of(encoder: str) -> str:
    """The row of VISUALS whose weights an encoder has, however it reads images."""
    return encoder.removesuffix(IN_WINDOWS)


def folder_entry(name: str) -> FolderEntry | None:
    """The row of a model in any of the three tables, None when it is in none."""
    return VISUALS.get(name) or SEGMENTERS.get(name) or CAPTIONERS.get(name)


def visual_entry(name: str) -> VisualEntry:
    """The row of a visual encoder; raises ModelError listing the names there are."""
    return _row(VISUALS, weights_of(name), "visual encoder")


def segmenter_entry(name: str) -> SegmenterEntry:
    """The row of a segmenter; raises ModelError listing the names there are."""
    return _row(SEGMENTERS, name, "segmenter")


def captioner_entry(name: str) -> CaptionerEntry:
    """The row of a captioner; raises ModelError listing the names there are."""
    return _row(CAPTIONERS, name, "captioner")


def _row(table: Mapping[str, _Entry], name: str, what: str) -> _Entry:
    if name not in table:
        raise ModelError(name, f"There is no {what} {name!r}: choose one of {', '.join(table)}.")
    return table[name]


def folder_installed(name: str) -> bool:
    """Whether a model of these tables can be loaded without fetching anything."""
    entry = folder_entry(name)
    return entry is not None and is_here(name, entry)
