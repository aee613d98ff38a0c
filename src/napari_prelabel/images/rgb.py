"""Any image array -> (H, W, 3) uint8 RGB, which is all that the models see. NumPy only."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..values.errors import ImageError
from .colour import to_rgb_space
from .meaning import Meaning

Rgb = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Limits = Sequence[tuple[float, float]]

# Limits taken from an image: the darkest and the brightest 0.5% may saturate.
PERCENTILES = (0.5, 99.5)
# Percentiles come from at most about this many values, spread evenly over the image.
_SAMPLE = 1_000_000
# Floats that large are nobody's measurement: GIS tools write them where there is none.
_NO_FLOAT = 3.39e38


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A plane as the models see it.

    rgb : (H, W, 3) uint8, never the caller's own memory.
    valid : (H, W) bool, False where the picture says that there is nothing (no-data value, NaN,
        full transparency), which is left unlabelled; None where there is something everywhere.
    """

    rgb: Rgb
    valid: Mask | None = None


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
    """Turn one plane of an image that no file explains into RGB.

    array : (H, W) grey or bool, (H, W, C) or, with `channel_axis` 0, (C, H, W); any integer,
        float or bool dtype and byte order; NumPy, dask or anything `np.asarray` takes.
    rgb : True: the channels are RGB or RGBA. False: they are single measurements. None: RGB(A)
        if there are 3 or 4 channels of uint8.
    channels : which channels become red, green, blue (one: grey; two: red and green; three);
        None: 0, 1, 2, or those there are.
    contrast_limits : values that become 0 and 255; None: as `show` has it.

    Returns
    -------
    (H, W, 3) uint8, never the caller's own memory

    Raises
    ------
    ImageError : empty, not 2-D or 2-D with channels, not numbers, complex, no such channel
    """
    planes = _planes(_load(array), channel_axis)
    count = planes.shape[2]
    colour = rgb if rgb is not None else count in (3, 4) and planes.dtype == np.uint8
    if colour and count not in (3, 4):
        raise ImageError(
            f"An RGB image has 3 or 4 channels, not {count}: switch RGB off and choose channels."
        )
    limits = () if contrast_limits is None else (contrast_limits,)
    if channels is not None and not len(channels):
        raise ImageError("Choose one, two or three channels, not 0.")
    return show(planes, Meaning.of(count, colour), channels=channels or (), limits=limits).rgb


def show(
    array: Any,
    meaning: Meaning,
    *,
    channels: Sequence[int] = (),
    limits: Limits = (),
    mask: Mask | None = None,
) -> Shown:
    """One plane (H, W) or (H, W, C) of samples as the models see it.

    channels : which become red, green, blue (one: grey; two: red and green); () as `meaning` has.
    limits : values that become 0 and 255, one pair for all channels or one for each. (): bytes
        and bits stay as they are; other types are stretched between the 0.5th and 99.5th
        percentile of their finite values, colours as a whole (keeping their hues), measurements
        channel by channel. Bits, palettes, CMYK, YCbCr and L*a*b* take no limits.
    mask : (H, W), where the file says that there is something.

    Colours are laid over white by their opacity. NaN and no-data become the lower limit,
    infinities their end of the range; a constant image without limits becomes black.

    Raises
    ------
    ImageError : as `to_rgb`
    """
    planes = _planes(_load(array), -1)
    alpha, clear = _alpha(planes, meaning), _clear(planes, meaning)
    if meaning.space not in ("measured", "rgb"):
        planes, limits = to_rgb_space(planes, meaning), ()
    chosen = _wanted(channels, planes.shape[2], meaning)
    picked = _pick(planes, chosen)
    if alpha is not None and meaning.associated:
        picked = _separated(picked, alpha)
    empty = _empty(picked, meaning)
    valid = _valid(mask, alpha, empty, clear)
    levels = _levels(picked, limits, meaning, empty, valid)
    if alpha is not None:
        levels = _over_white(levels, alpha)
    rgb = _three(levels)
    if clear is not None:
        rgb[clear] = 255
    return Shown(rgb, valid)


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


def _wanted(channels: Sequence[int], count: int, meaning: Meaning) -> list[int]:
    if meaning.space == "rgb" and count < 3:
        raise ImageError(f"An RGB image has 3 or 4 channels, not {count}: save it again.")
    if not channels:
        return list(meaning.shown(count))
    wanted = [int(c) for c in channels]
    if len(wanted) > 3:
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


# What is not there


def _alpha(planes: npt.NDArray[Any], meaning: Meaning) -> npt.NDArray[np.float32] | None:
    """Opacity 0..1 (H, W), None where all of it is 1.

    Whole numbers count from 0 to their type's maximum, floats as they are.
    """
    if meaning.alpha is None or meaning.alpha >= planes.shape[2]:
        return None
    alpha = planes[..., meaning.alpha]
    top = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    if (alpha == top).all():
        return None
    share: npt.NDArray[np.float32] = alpha.astype(np.float32) / np.float32(top)
    np.nan_to_num(share, copy=False, nan=0.0)
    return share.clip(0, 1, out=share)


def _clear(planes: npt.NDArray[Any], meaning: Meaning) -> Mask | None:
    if not meaning.clear:
        return None
    found: Mask = (planes[..., : len(meaning.clear)] == np.array(meaning.clear)).all(2)
    return found if found.any() else None


def _empty(picked: npt.NDArray[Any], meaning: Meaning) -> Mask | None:
    """(H, W, C) True where a sample holds no measurement: no-data, NaN, floats beyond 3.39e38."""
    empty: Mask | None = None
    if picked.dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            empty = np.isnan(picked)
            if picked.dtype.itemsize > 2:
                empty |= np.isfinite(picked) & (np.abs(picked) >= _NO_FLOAT)
    if meaning.nodata is not None and picked.dtype != np.bool_:
        value = _as_stored(meaning.nodata, picked.dtype)
        if value is not None:
            same = picked == value
            empty = same if empty is None else empty | same
    return empty if empty is not None and empty.any() else None


def _as_stored(value: float | int, dtype: np.dtype[Any]) -> Any:
    """A no-data value as an array of this type holds it, None if it cannot."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return dtype.type(value)
    if not np.isfinite(value) or value != int(value):
        return None
    if not np.iinfo(dtype).min <= value <= np.iinfo(dtype).max:
        return None
    return dtype.type(int(value))


def _valid(
    mask: Mask | None,
    alpha: npt.NDArray[np.float32] | None,
    empty: Mask | None,
    clear: Mask | None,
) -> Mask | None:
    parts: list[Any] = [mask] if mask is not None else []
    if alpha is not None:
        parts.append(alpha > 0)
    if empty is not None:
        parts.append(~empty.all(2))
    if clear is not None:
        parts.append(~clear)
    if not parts:
        return None
    valid: Mask = np.logical_and.reduce(parts)
    return None if valid.all() else valid


# From values to bytes


def _levels(
    picked: npt.NDArray[Any],
    limits: Limits,
    meaning: Meaning,
    empty: Mask | None,
    valid: Mask | None,
) -> Rgb:
    """(H, W, C) of any real dtype -> uint8."""
    levels = _bytes(picked, limits, meaning, empty, valid)
    if meaning.white_is_zero and not meaning.coloured:
        levels = np.subtract(255, levels, dtype=np.uint8)
    if empty is not None and picked.dtype != np.uint8:
        levels[empty] = 0
    return levels


def _bytes(
    picked: npt.NDArray[Any],
    limits: Limits,
    meaning: Meaning,
    empty: Mask | None,
    valid: Mask | None,
) -> Rgb:
    if picked.dtype == np.bool_:
        return picked.astype(np.uint8) * np.uint8(255)
    if not limits and picked.dtype == np.uint8:
        top = 2**meaning.bits - 1 if meaning.bits and meaning.bits < 8 else 255
        return picked if top == 255 else _stretch(picked, 0, top)
    count = picked.shape[2]
    if len(limits) > 1 and len(limits) != count:
        raise ImageError(
            f"The settings have contrast limits for {len(limits)} channels, the image shows "
            f"{count}: set the limits for this image."
        )
    pairs = [_checked(pair) for pair in limits]
    if len(pairs) == 1:
        return _stretch(picked, *pairs[0])
    counts = _counted(picked, empty, valid)
    if not pairs and meaning.coloured:
        return _stretch(picked, *_robust(counts))
    single = [picked[..., i : i + 1] for i in range(count)]
    if not pairs:
        pairs = [_robust(counts[..., i : i + 1]) for i in range(count)]
    return np.concatenate(
        [_stretch(p, *pair) for p, pair in zip(single, pairs, strict=True)], axis=2
    )


def _checked(pair: tuple[float, float]) -> tuple[float, float]:
    low, high = (float(v) for v in pair)
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise ImageError(f"Contrast limits must be two numbers, the lower first, not {pair}.")
    return low, high


def _counted(
    picked: npt.NDArray[Any], empty: Mask | None, valid: Mask | None
) -> npt.NDArray[np.float64]:
    """A sample (H', W', C) spread evenly over the image, NaN for what is left out."""
    step = max(1, int(np.sqrt(picked[..., :1].size / _SAMPLE)))
    sample = picked[::step, ::step].astype(np.float64)
    sample[~np.isfinite(sample)] = np.nan
    if empty is not None:
        sample[empty[::step, ::step]] = np.nan
    if valid is not None:
        sample[~valid[::step, ::step]] = np.nan
    return sample


def _robust(sample: npt.NDArray[np.float64]) -> tuple[float, float]:
    sample = sample[~np.isnan(sample)]
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
        with np.errstate(over="ignore", invalid="ignore"):
            part = (planes[y : y + rows].astype(np.float64) - low) * (255.0 / width)
        part = np.nan_to_num(part, copy=False, nan=0.0, posinf=255.0, neginf=0.0)
        out[y : y + rows] = np.rint(np.clip(part, 0, 255, out=part), out=part)
    return out


def _separated(
    picked: npt.NDArray[Any], alpha: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64] | Rgb:
    """Colours that were multiplied by their opacity, as they were before; bytes stay bytes."""
    share = np.where(alpha > 0, alpha, 1)[..., None].astype(np.float64)
    colours = picked / share
    if picked.dtype == np.uint8:
        return np.rint(np.clip(colours, 0, 255)).astype(np.uint8)
    return colours


def _over_white(levels: Rgb, alpha: npt.NDArray[np.float32]) -> Rgb:
    cover = alpha[..., None]
    mixed: Rgb = np.rint(levels * cover + 255 * (1 - cover)).astype(np.uint8)
    return mixed


def _three(levels: Rgb) -> Rgb:
    height, width, count = levels.shape
    if count == 3:
        return np.array(levels, order="C")
    out = np.zeros((height, width, 3), np.uint8)
    out[..., : count if count == 2 else 3] = levels  # one channel is spread over all three
    return out
