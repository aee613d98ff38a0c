"""Segments as CLIP sees them cut out: the class token of masked crops (docs/methods/reme.md#r4)."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from torch import Tensor

from ..values.encoder import Encoder
from .catalog import windows_of
from .clip import Clip
from .visual import Features, Labels, checked_image, checked_segments
from .windows import cut, plan_layout

SIDE = 224
"""Pixels to which FreeDA resizes the box of a region."""
_AT_ONCE = 32


class ClipCrops:
    """CLIP's image vectors of segments: their box, all outside the mask grey, resized to 224.

    One pass through CLIP for every segment: many times slower than features of patches, and
    CLIP's own class token, which images and words were matched by.
    """

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._windows = windows_of(clip.name)
        self.name = str(Encoder("crops", clip.name))
        self.width = clip.embed_dim
        told = f"{clip.digest} {self._windows.short_side} masked crops {SIDE}"
        self.digest = hashlib.sha256(told.encode()).hexdigest()

    def encode(self, image: NDArray[np.uint8]) -> Features:
        """The pixels themselves, (h · w, 3) in [0, 1], of the image at CLIP's short side."""
        layout = plan_layout(checked_image(image).shape[:2], self._windows, self._clip.patch)
        height, width = layout.resized
        small = cut(image, layout, antialias=self._windows.antialias)[:height, :width]
        return Features(torch.from_numpy(small.reshape(-1, 3)).float() / 255, (height, width))

    @torch.no_grad()
    def pool(self, features: Features, segments: Labels, count: int | None = None) -> Tensor:
        """Unit rows (k, E) float32 of segments of the image, as `visual.pool_segments` has them."""
        given, count = checked_segments(segments, count)
        pixels = features.tokens.reshape(*features.grid, 3)
        rows, crops = [torch.zeros(0, self.width)], []
        for crop in self._crops(pixels, given.cpu().numpy(), count):
            crops.append(crop)
            if len(crops) == _AT_ONCE:
                rows.append(self._encoded(crops))
                crops = []
        if crops:
            rows.append(self._encoded(crops))
        return torch.cat(rows)

    def _encoded(self, crops: list[Tensor]) -> Tensor:
        return self._clip.encode_cls(torch.stack(crops)).float().cpu()

    def _crops(self, pixels: Tensor, given: NDArray[Any], count: int) -> Iterator[Tensor]:
        """(3, 224, 224) in [0, 1] of every segment; one without a pixel is the whole image."""
        grey = torch.tensor(self._clip.mean)  # zero once CLIP has normalised it
        size = given.shape[-2], given.shape[-1]
        for box, mask in _regions(given, count):
            top, bottom, ys, in_y = _axis(box[0], size[0], pixels.shape[0])
            left, right, xs, in_x = _axis(box[1], size[1], pixels.shape[1])
            inside = torch.from_numpy(mask[ys[:, None], xs] & in_y[:, None] & in_x)
            if not inside.any():  # thinner than a pixel of the smaller image
                inside[:] = True
            shown = torch.where(inside[..., None], pixels[top:bottom, left:right], grey)
            whole = shown.permute(2, 0, 1)[None]
            yield F.interpolate(whole, (SIDE, SIDE), mode="bilinear", antialias=True)[0]


def _regions(
    given: NDArray[Any], count: int
) -> Iterator[tuple[tuple[slice, ...], NDArray[np.bool_]]]:
    """The box of every segment, and its mask inside that."""
    whole = tuple(slice(0, length) for length in given.shape[-2:])
    full = np.ones(given.shape[-2:], bool)
    if given.ndim == 3:
        for mask in given:
            boxes = find_objects(mask.astype(np.int8))
            yield (boxes[0], mask[boxes[0]]) if boxes else (whole, full)
        return
    known = np.where((given >= 0) & (given < count), given.astype(np.int64) + 1, 0)
    for number, box in enumerate(find_objects(known, max_label=count), start=1):
        yield (box, known[box] == number) if box else (whole, full)


def _axis(
    box: slice, inputs: int, outputs: int
) -> tuple[int, int, NDArray[np.intp], NDArray[np.bool_]]:
    """First and last pixel of a box in the smaller image, where each lies in the box's mask, and
    whether it does.
    """
    first = box.start * outputs // inputs
    last = max(-(-box.stop * outputs // inputs), first + 1)
    at = ((np.arange(first, last) + 0.5) * inputs / outputs).astype(np.intp) - box.start
    ends = box.stop - box.start - 1
    return first, last, np.clip(at, 0, ends), (at >= 0) & (at <= ends)
