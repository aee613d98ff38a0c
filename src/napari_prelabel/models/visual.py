"""Visual encoders: an image as patch features, and segments as pooled vectors.

docs/methods/reme.md#segment-vectors
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers import Dinov2Model

from ..methods.pooling import pool, segment_weights
from ..values.encoder import Encoder
from ..values.errors import ImageError
from ..values.settings import Windows
from .catalog import windows_of
from .clip import Clip
from .windows import cut, one_grid, plan_layout

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's, with which DINOv2 was trained."""

# Windows of one forward pass.
_AT_ONCE = 8

Labels = NDArray[np.integer] | NDArray[np.bool_] | Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Patch features of one image.

    tokens : (N, E) float32 on the CPU, not normalised, patches row by row
    grid : (h, w), N = h · w; it spans the whole image, whatever its shape
    """

    tokens: Tensor
    grid: tuple[int, int]


class VisualEncoder(Protocol):
    """What reference sets need of an encoder.

    digest : hex SHA-256 that changes with weights, configuration, side and precision.
    width : E, length of a vector.
    """

    name: str
    digest: str
    width: int

    def encode(self, image: NDArray[np.uint8]) -> Features:
        """Patch features of an image (H, W, 3) uint8; ImageError for anything else."""
        ...

    def pool(
        self, features: Features, segments: Labels, count: int | None = None
    ) -> Tensor | NDArray[np.float32]:
        """Unit rows (k, E) float32 of segments of the image; see `pool_segments`."""
        ...


def pool_segments(features: Features, segments: Labels, count: int | None = None) -> Tensor:
    """Mask average pooling of features.

    Parameters
    ----------
    segments : labels (H, W) of an integer type, ids 0 .. count - 1, every other id no segment;
        or masks (k, H, W) bool, which may overlap. Any height and width: the grid spans them.
    count : number of ids; None takes the largest id and one, or the number of masks

    Returns
    -------
    (k, E) float32 unit rows, on the CPU

    Raises ImageError for segments of another shape or type.
    """
    given, count = checked_segments(segments, count)
    return pool(features.tokens, segment_weights(given, count, features.grid))


def checked_segments(segments: Labels, count: int | None) -> tuple[Tensor, int]:
    """Segments as a tensor, and their number; raises ImageError, both as `pool_segments` has it."""
    given = torch.as_tensor(segments)
    is_masks = given.ndim == 3 and given.dtype == torch.bool
    is_labels = given.ndim == 2 and not given.is_floating_point() and given.dtype != torch.bool
    if not (is_masks or is_labels) or 0 in given.shape[-2:]:
        raise ImageError(
            "Segments must be labels (height, width) of whole numbers or masks "
            f"(k, height, width) of booleans, not {tuple(given.shape)} {given.dtype}."
        )
    if count is None or is_masks:
        count = len(given) if is_masks else max(int(given.max()) + 1, 0)
    return given, count


class Dinov2Patches:
    """DINOv2's patch tokens after the final norm; the class token is dropped.

    windows : None squashes every image to `side`, as FreeDA does (docs/methods/reme.md#r12);
        otherwise the image keeps its proportions and is read window by window, as Cityscapes' may
        be.
    """

    def __init__(
        self,
        name: str,
        model: Dinov2Model,
        side: int,
        digest: str,
        device: torch.device,
        dtype: torch.dtype,
        windows: Windows | None = None,
    ) -> None:
        self.name = name
        self.width = int(model.config.hidden_size)
        told = f"{digest} {side} {dtype}" + (f" {windows}" if windows else "")
        self.digest = hashlib.sha256(told.encode()).hexdigest()
        self._model = model.eval().requires_grad_(False).to(device, dtype)
        self._side, self._device, self._dtype = side, device, dtype
        self._patch, self._windows = int(model.config.patch_size), windows

    @torch.no_grad()
    def encode(self, image: NDArray[np.uint8]) -> Features:
        """Patch features of an image (H, W, 3) uint8."""
        if self._windows:
            return _in_windows(image, self._windows, self._patch, self._tokens)
        tokens = self._tokens(squashed(image, self._side)[None])[0]
        return Features(tokens, (self._side // self._patch,) * 2)

    def _tokens(self, pixels: Tensor) -> Tensor:
        """(B, N, E) float32 on the CPU of pixels (B, 3, h, w) in [0, 1]."""
        pixels = pixels.to(self._device)
        mean, std = (pixels.new_tensor(v)[:, None, None] for v in (MEAN, STD))
        found = self._model(((pixels - mean) / std).to(self._dtype)).last_hidden_state
        tokens: Tensor = found[:, 1:].float().cpu()
        return tokens

    def pool(self, features: Features, segments: Labels, count: int | None = None) -> Tensor:
        """`pool_segments`."""
        return pool_segments(features, segments, count)


class ClipPatches:
    """CLIP's dense features by ClearCLIP, in the space of words.

    The image keeps its proportions and is read in the windows that the CLIP's other methods use;
    squashed to a square, drawn scenes lost a quarter of what words find in them.
    """

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._windows = windows_of(clip.name)
        self.name = str(Encoder("clip", clip.name))
        self.width = clip.embed_dim
        told = f"{clip.digest} {self._windows} clearclip"
        self.digest = hashlib.sha256(told.encode()).hexdigest()

    @torch.no_grad()
    def encode(self, image: NDArray[np.uint8]) -> Features:
        """Patch features of an image (H, W, 3) uint8; where windows overlap, their mean."""
        return _in_windows(image, self._windows, self._clip.patch, self._dense)

    def _dense(self, pixels: Tensor) -> Tensor:
        """(B, N, E) float32 on the CPU of pixels (B, 3, h, w) in [0, 1]."""
        trunk = self._clip.encode_trunk(pixels)
        return self._clip.dense(trunk, "clearclip").float().cpu()

    def pool(self, features: Features, segments: Labels, count: int | None = None) -> Tensor:
        """`pool_segments`."""
        return pool_segments(features, segments, count)


def _in_windows(
    image: NDArray[np.uint8], windows: Windows, patch: int, encode: Callable[[Tensor], Tensor]
) -> Features:
    """Features of an image that keeps its proportions; where windows overlap, their mean."""
    layout = plan_layout(checked_image(image).shape[:2], windows, patch)
    whole = torch.from_numpy(cut(image, layout, antialias=windows.antialias))
    height, width = layout.window
    parts = [whole[y : y + height, x : x + width] for y, x in layout.origins]
    rows = [
        encode(torch.stack(parts[start : start + _AT_ONCE]).permute(0, 3, 1, 2).float() / 255)
        for start in range(0, len(parts), _AT_ONCE)
    ]
    return Features(*one_grid(torch.cat(rows), layout))


def squashed(image: NDArray[np.uint8], side: int) -> Tensor:
    """(H, W, 3) uint8 of any size to (3, side, side) float32 in [0, 1], its shape not kept.

    Raises ImageError for another shape or type, or for an image without pixels.
    """
    small = Image.fromarray(np.ascontiguousarray(checked_image(image))).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    return torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255


def checked_image(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image (H, W, 3) uint8; raises ImageError for anything else."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ImageError(
            "A visual encoder takes an image (height, width, 3) of uint8, not "
            f"{image.shape} {image.dtype}: convert it first."
        )
    return image
