"""SAM and SAM2 as class-agnostic segmenters: masks from a grid of points, through transformers."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import (
    Sam2Config,
    Sam2ImageProcessor,
    Sam2Model,
    SamConfig,
    SamImageProcessor,
    SamModel,
)

from ..values.errors import ImageError, JobError
from .entries import SegmenterEntry
from .folder import load_folder, read_config
from .opened import opened

# The class, its configuration and its processor by the kind of a row.
KINDS: dict[str, tuple[Any, Any, Any]] = {
    "sam": (SamModel, SamConfig, SamImageProcessor),
    "sam2": (Sam2Model, Sam2Config, Sam2ImageProcessor),
}
_PIXELS_AT_ONCE = 32_000_000


@dataclass(frozen=True, slots=True)
class MaskSettings:
    """What decides which masks are kept; the defaults are those that SAM was published with.

    points : points per side of the grid, 32 in ReME (docs/methods/reme.md#pairing).
    iou : a mask is kept when the model expects at least this overlap with the truth.
    stability : and when thresholds one above and one below agree to this share.
    overlap : of two masks whose boxes overlap by more than this, the better one is kept.
    at_once : points decoded together; bounds the memory, hardly changes the result.
    """

    points: int = 32
    iou: float = 0.88
    stability: float = 0.95
    overlap: float = 0.7
    at_once: int = 64

    def __post_init__(self) -> None:
        for field in ("points", "at_once"):
            if getattr(self, field) < 1:
                raise JobError(field, f"{field} must be 1 or more.")
        for field in ("iou", "stability", "overlap"):
            if not 0 <= getattr(self, field) <= 1:
                raise JobError(field, f"{field} must be between 0 and 1.")


@dataclass(frozen=True, slots=True, eq=False)
class Masks:
    """Masks of one image, the best first; they may overlap and need not cover it.

    masks : (k, H, W) bool
    scores : (k,) float32, the overlap with the truth that the model expects
    """

    masks: NDArray[np.bool_]
    scores: NDArray[np.float32]


class Segmenter(Protocol):
    """Cuts an image into masks that know no class."""

    name: str
    digest: str

    def segment(self, image: NDArray[np.uint8]) -> Masks:
        """Masks of an image (H, W, 3) uint8; ImageError for anything else."""
        ...


class PointSegmenter:
    """A SAM or SAM2 that is asked at every point of a grid."""

    def __init__(
        self,
        name: str,
        model: Any,
        processor: Any,
        digest: str,
        *,
        settings: MaskSettings | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.name = name
        self.settings = settings or MaskSettings()
        told = f"{digest} {self.settings} {dtype}"
        self.digest = hashlib.sha256(told.encode()).hexdigest()
        self._model = model.eval().requires_grad_(False).to(device, dtype)
        self._processor, self._device, self._dtype = processor, torch.device(device), dtype

    @torch.no_grad()
    def segment(self, image: NDArray[np.uint8]) -> Masks:
        """Masks of an image (H, W, 3) uint8 of any size, the best first.

        Raises ImageError for another shape or type, or an image without pixels.
        """
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise ImageError(
                "A segmenter takes an image (height, width, 3) of uint8, not "
                f"{image.shape} {image.dtype}: convert it first."
            )
        found = list(self._batches(image))
        scores = torch.cat([s for _, s, _ in found])
        if not len(scores):
            return Masks(np.zeros((0, *image.shape[:2]), np.bool_), np.zeros(0, np.float32))
        boxes = torch.cat([b for _, _, b in found])
        encoded = [mask for masks, _, _ in found for mask in masks]
        kept, ranked, *_ = self._processor.post_process_for_mask_generation(
            encoded, scores, boxes, self.settings.overlap
        )
        order = np.argsort(-ranked.float().numpy(), kind="stable")
        return Masks(np.stack(kept)[order].astype(np.bool_), ranked.float().numpy()[order])

    def _batches(self, image: NDArray[np.uint8]) -> Iterator[tuple[list[Any], Tensor, Tensor]]:
        """Run-length encoded masks, scores and boxes that pass the thresholds, by batch."""
        chosen, processor = self.settings, self._processor
        shown = Image.fromarray(np.ascontiguousarray(image))
        size = processor.size
        keeps_shape = bool(size["longest_edge"])
        target = size["longest_edge"] if keeps_shape else size["height"]
        short, long = sorted(image.shape[:2])
        if keeps_shape and 2 * short * target < long:
            raise ImageError(
                f"The image of {image.shape[0]} x {image.shape[1]} pixels is too thin for "
                f"{self.name}, which shrinks its longer side to {target}: crop it first."
            )
        crops, points, (cut,), labels = processor.generate_crop_boxes(
            shown, target, points_per_crop=chosen.points
        )
        inputs = processor(images=cut, return_tensors="pt")
        pixels = inputs["pixel_values"].to(self._device, self._dtype)
        embedded = self._model.get_image_embeddings(pixels)
        reshaped = inputs.get("reshaped_input_sizes")
        original = inputs["original_sizes"].tolist()
        # Every point's answers are scored at the image's own size.
        step = max(1, min(chosen.at_once, _PIXELS_AT_ONCE // (image.shape[0] * image.shape[1])))
        for at in range(0, points.shape[1], step):
            asked = points[:, at : at + step].to(self._device, self._dtype)
            said = labels[:, at : at + step].to(self._device)
            answer = self._model(input_points=asked, input_labels=said, image_embeddings=embedded)
            sized = {} if reshaped is None else {"reshaped_input_sizes": reshaped.tolist()}
            logits = processor.post_process_masks(
                answer.pred_masks.float().cpu(), original, binarize=False, **sized
            )[0]
            yield processor.filter_masks(
                logits,
                answer.iou_scores[0].float().cpu(),
                original[0],
                crops[0].cpu(),
                chosen.iou,
                chosen.stability,
            )


def load_segmenter(
    name: str,
    device: str = "cpu",
    precision: str = "float32",
    settings: MaskSettings | None = None,
) -> PointSegmenter:
    """Load a segmenter of the catalogue from disk.

    Raises ModelError when it is unknown, not installed or broken, JobError for an unknown
    precision.
    """
    entry, folder, place, dtype = opened(SegmenterEntry, name, device, precision)
    model, processor, digest = _read(name, folder, entry, dtype)
    return PointSegmenter(
        name, model, processor, digest, settings=settings, device=place, dtype=dtype
    )


def _read(
    name: str, folder: Path, entry: SegmenterEntry, dtype: torch.dtype
) -> tuple[Any, Any, str]:
    kind, _, processor = KINDS[entry.family]
    # The hub's SAM2 folders describe the model for videos, whose parts for images these are.
    read_config(name, folder, (entry.family, f"{entry.family}_video"))
    model, digest = load_folder(kind, name, folder, entry, dtype)
    described: Any = model.config
    side = int(described.prompt_encoder_config.image_size)
    return model, processor_of(processor, side), digest


def processor_of(processor: Any, side: int) -> Any:
    """The image processor for a model of another input side than the published 1024."""
    if processor is Sam2ImageProcessor:
        low = {"height": side // 4, "width": side // 4}
        return processor(size={"height": side, "width": side}, mask_size=low)
    return processor(
        size={"longest_edge": side},
        pad_size={"height": side, "width": side},
        mask_size={"longest_edge": side // 4},
        mask_pad_size={"height": side // 4, "width": side // 4},
    )
