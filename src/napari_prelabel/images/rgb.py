"""Any image array -> (H, W, 3) uint8 RGB, which is all that the models see. NumPy only."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ImageError

Rgb = npt.NDArray[np.uint8]

# Limits taken from an image: the darkest and the brightest 0.5% may saturate.
PERCENTILES = (0.5, 99.5)
# Percentiles come from at most about this many values, spread evenly over the image.
_SAMPLE = 1_000_000


def content_hash(image: Rgb) -> str:
    """Hex SHA-256 of pixels (H, W, 3) uint8 and their shape: equal for equal images anywhere."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def to_rgb(
    array: Any,
    *,
    rgb: bool | None = None,
    channels: Sequence[int] | None = None,
    channel_axis: int = -1,
    contrast_limits: tuple[float, float] | None = None,
) -> Rgb:
    """Turn one plane of an image into RGB.

    array : (H, W) grey or bool, (H, W, C) or, with `channel_axis` 0, (C, H, W); any integer,
        float or bool dtype and byte order; NumPy, dask or anything `np.asarray` takes.
    rgb : True: the channels are RGB or RGBA. False: they are single measurements. None: RGB(A)
        if there are 3 or 4 channels of uint8.
    channels : which channels become red, green, blue (one: grey; two: red and green; three);
        None: 0, 1, 2, or those there are.
    contrast_limits : values that become 0 and 255. None: uint8 and bool stay as they are; other
        types are stretched between the 0.5th and 99.5th percentile of their finite values, RGB
        as a whole (keeping its hues), measurements channel by channel.

    RGBA is laid over white. NaN becomes the lower limit, infinities their end of the range; a
    constant image without limits becomes black.

    Returns
    -------
    (H, W, 3) uint8, never the caller's own memory

    Raises
    ------
    ImageError : empty, not 2-D or 2-D with channels, not numbers, complex, no such channel
    """
    data = _load(array)
    planes = _planes(data, channel_axis)
    count = planes.shape[2]
    colour = rgb if rgb is not None else count in (3, 4) and planes.dtype == np.uint8
    if colour and count not in (3, 4):
        raise ImageError(
            f"An RGB image has 3 or 4 channels, not {count}: switch RGB off and choose channels."
        )
    wanted = _wanted(channels, count, colour)
    levels = _levels(_pick(planes, wanted), contrast_limits, together=colour)
    if colour and count == 4 and channels is None:
        levels = _over_white(levels, planes[..., 3])
    return _three(levels)


def _load(array: Any) -> npt.NDArray[Any]:
    try:
        data = np.asarray(array)
    except (TypeError, ValueError) as error:
        raise ImageError(f"The image cannot be read as an array: {error}.") from error
    if data.dtype.kind not in "buif":
        raise ImageError(
            f"An image of {data.dtype} cannot be shown to the models: convert it to real numbers."
        )
    if data.size == 0:
        raise ImageError(f"The image is empty ({' x '.join(map(str, data.shape))}).")
    return data


def _planes(data: npt.NDArray[Any], channel_axis: int) -> npt.NDArray[Any]:
    if data.ndim == 2:
        return data[:, :, None]
    if data.ndim == 3:
        return np.moveaxis(data, channel_axis, -1)
    raise ImageError(
        f"A 2-D image is needed, grey or with channels, not one of {data.ndim} axes "
        f"({' x '.join(map(str, data.shape))}): choose a slice."
    )


def _wanted(channels: Sequence[int] | None, count: int, colour: bool) -> list[int]:
    if channels is None:
        return list(range(3 if colour else min(count, 3)))
    wanted = [int(c) for c in channels]
    if not 1 <= len(wanted) <= 3:
        raise ImageError(f"Choose one, two or three channels, not {len(wanted)}.")
    absent = [c for c in wanted if not 0 <= c < count]
    if absent:
        raise ImageError(
            f"There is no channel {absent[0]}: the image has {count}, numbered from 0."
        )
    return wanted


def _pick(planes: npt.NDArray[Any], wanted: list[int]) -> npt.NDArray[Any]:
    if wanted == list(range(len(wanted))):
        return planes[..., : len(wanted)]
    return planes[..., wanted]


def _levels(planes: npt.NDArray[Any], limits: tuple[float, float] | None, *, together: bool) -> Rgb:
    """(H, W, C) of any real dtype -> uint8."""
    if planes.dtype == bool:
        return planes.astype(np.uint8) * np.uint8(255)
    if limits is None and planes.dtype == np.uint8:
        return planes
    if limits is not None:
        low, high = (float(v) for v in limits)
        if not (np.isfinite(low) and np.isfinite(high) and low < high):
            raise ImageError(f"Contrast limits must be two numbers, the lower first, not {limits}.")
        return _stretch(planes, low, high)
    if together:
        return _stretch(planes, *_robust(planes))
    return np.concatenate(
        [_stretch(p, *_robust(p)) for p in np.split(planes, planes.shape[2], axis=2)], axis=2
    )


def _robust(values: npt.NDArray[Any]) -> tuple[float, float]:
    step = max(1, int(np.sqrt(values.size / _SAMPLE)))
    sample = values[::step, ::step].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(sample, PERCENTILES))
    if low == high:  # a few bright points on a flat ground
        low, high = float(sample.min()), float(sample.max())
    return low, high


def _stretch(planes: npt.NDArray[Any], low: float, high: float) -> Rgb:
    if planes.dtype.kind == "u" and planes.dtype.itemsize <= 2 and planes.size > 65536:
        every = np.arange(np.iinfo(planes.dtype).max + 1).reshape(1, -1, 1)
        table: Rgb = _stretch(every, low, high).ravel()
        return np.take(table, planes)
    out = np.empty(planes.shape, np.uint8)
    width = high - low if high > low else 1.0
    rows = max(1, 4_000_000 // max(1, planes.shape[1] * planes.shape[2]))
    for y in range(0, len(planes), rows):  # strips: no float copy of the whole image
        part = (planes[y : y + rows].astype(np.float64) - low) * (255.0 / width)
        part = np.nan_to_num(part, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
        out[y : y + rows] = np.rint(np.clip(part, 0, 255, out=part), out=part)
    return out


def _over_white(levels: Rgb, alpha: npt.NDArray[Any]) -> Rgb:
    cover = _opacity(alpha)[..., None]
    mixed: Rgb = np.rint(levels * cover + 255 * (1 - cover)).astype(np.uint8)
    return mixed


def _opacity(alpha: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Alpha as 0..1: whole numbers count from 0 to their type's maximum, floats as they are."""
    top = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    share: npt.NDArray[np.float32] = alpha.astype(np.float32) / np.float32(top)
    np.nan_to_num(share, copy=False, nan=0.0)
    return share.clip(0, 1, out=share)


def _three(levels: Rgb) -> Rgb:
    height, width, count = levels.shape
    if count == 3:
        return np.array(levels, order="C")
    out = np.zeros((height, width, 3), np.uint8)
    out[..., : count if count == 2 else 3] = levels  # one channel is spread over all three
    return out
