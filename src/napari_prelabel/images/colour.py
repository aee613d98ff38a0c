"""Colours that are no RGB -> RGB: palettes, CMYK, YCbCr, CIE L*a*b*."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..values.errors import ImageError
from .meaning import Meaning

# ITU-R BT.601, full range, as JPEG and TIFF have it.
_FROM_YCBCR = np.array(
    [[1.0, 0.0, 1.402], [1.0, -0.344136286, -0.714136286], [1.0, 1.772, 0.0]], np.float32
)
# XYZ of white under D50, and Bradford-adapted linear sRGB from XYZ under D50.
_D50 = np.array([0.9642, 1.0, 0.8249], np.float32)
_FROM_XYZ = np.array(
    [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ],
    np.float32,
)
_ROWS = 512


def to_rgb_space(planes: npt.NDArray[Any], meaning: Meaning) -> npt.NDArray[np.uint8]:
    """Samples (H, W, C) of a colour space -> (H, W, 3) uint8 sRGB; extra samples are dropped.

    CMYK is mixed plainly, (1 - ink)(1 - black): what an embedded profile says is not asked.
    Raises ImageError when there are too few samples.
    """
    convert, samples = {
        "palette": (_from_palette, 1),
        "cmyk": (_from_cmyk, 4),
        "ycbcr": (_from_ycbcr, 3),
        "lab": (_from_lab, 3),
        "icclab": (_from_icclab, 3),
    }[meaning.space]
    if planes.shape[2] < samples:
        raise ImageError(
            f"The file speaks of {meaning.space} colours but holds {planes.shape[2]} samples a "
            "pixel: save it again as RGB."
        )
    out = np.empty((*planes.shape[:2], 3), np.uint8)
    for y in range(0, len(planes), _ROWS):  # strips: no float copy of the whole image
        out[y : y + _ROWS] = convert(planes[y : y + _ROWS, :, :samples], meaning)
    return out


def _from_palette(planes: npt.NDArray[Any], meaning: Meaning) -> npt.NDArray[np.uint8]:
    assert meaning.palette is not None
    colours: npt.NDArray[np.uint8] = np.take(meaning.palette, planes[..., 0], axis=0, mode="clip")
    return colours


def _from_cmyk(planes: npt.NDArray[Any], _: Meaning) -> npt.NDArray[np.uint8]:
    paper = 255 - _bytes(planes).astype(np.uint16)
    return ((paper[..., :3] * paper[..., 3:] + 127) // 255).astype(np.uint8)


def _from_ycbcr(planes: npt.NDArray[Any], _: Meaning) -> npt.NDArray[np.uint8]:
    values = _bytes(planes).astype(np.float32) - np.array([0, 128, 128], np.float32)
    return _rounded(values @ _FROM_YCBCR.T)


def _from_lab(planes: npt.NDArray[Any], _: Meaning) -> npt.NDArray[np.uint8]:
    size = planes.dtype.itemsize
    if planes.dtype.kind not in "iu" or size > 2:
        raise ImageError(f"CIE L*a*b* colours of {planes.dtype} are not known: save as RGB.")
    native = planes.astype(planes.dtype.newbyteorder("="))
    light = native[..., 0].astype(np.float32) * (100 / np.iinfo(planes.dtype).max)
    ab = native[..., 1:].view(f"i{size}").astype(np.float32) / (1 if size == 1 else 256)
    fy = (light + 16) / 116
    f = np.stack([fy + ab[..., 0] / 500, fy, fy - ab[..., 1] / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * _D50
    linear = np.clip(xyz @ _FROM_XYZ.T, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return _rounded(curved * 255)


def _from_icclab(planes: npt.NDArray[Any], meaning: Meaning) -> npt.NDArray[np.uint8]:
    """a and b of ICC's form are counted from half their range: their first bit is turned round."""
    turned = planes.copy()
    if planes.dtype.kind == "u":
        turned[..., 1:] ^= planes.dtype.type(1 << (8 * planes.dtype.itemsize - 1))
    return _from_lab(turned, meaning)


def _bytes(planes: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Whole numbers of any size and floats 0..1 as bytes; the type's range is the colour's."""
    if planes.dtype == np.uint8:
        return planes
    if planes.dtype.kind == "f":
        return _rounded(np.nan_to_num(planes.astype(np.float32)) * 255)
    return _rounded(planes.astype(np.float64) * (255 / np.iinfo(planes.dtype).max))


def _rounded(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    levels: npt.NDArray[np.uint8] = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return levels
