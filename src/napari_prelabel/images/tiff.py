"""TIFF of every kind -> planes as they are stored, with what the tags say of them."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import tifffile

from ..values.errors import ImageError
from .meaning import Meaning, Space
from .pixel_size import pixel_size
from .pixels import MORE, TURNED, Head, Pixels, Plane

_REDUCED, _MASK = 1, 4  # of NewSubfileType
_GDAL_NODATA, _INK_SET, _ORIENTATION = 42113, 332, 274
_SPACES: dict[Any, Space] = {
    tifffile.PHOTOMETRIC.RGB: "rgb",
    tifffile.PHOTOMETRIC.PALETTE: "palette",
    tifffile.PHOTOMETRIC.SEPARATED: "cmyk",
    tifffile.PHOTOMETRIC.YCBCR: "ycbcr",
    tifffile.PHOTOMETRIC.CIELAB: "lab",
    tifffile.PHOTOMETRIC.ICCLAB: "icclab",
}
_SAMPLES = {"measured": 1, "rgb": 3, "palette": 1, "cmyk": 4, "ycbcr": 3, "lab": 3, "icclab": 3}
# Compressions whose codecs hand out RGB where the tag says YCbCr: JPEG, JPEG 2000, WebP, XL, XR.
_RGB_CODECS = {6, 7, 33007, 34712, 34892, 34927, 50001, 34934, 22610, 50002, 52546}
# Pixels of an image, as many as a file of its labels holds.
MOST = 1 << 31
# Bytes that no codec makes of one, and how many are nothing to speak of.
_DENSEST, _LITTLE = 1 << 16, 1 << 30
# Images of a slide scanner that are no images of the specimen.
_ASIDE = ("thumbnail", "label", "macro", "map", "overview", "preview")


def read_tiff(path: Path) -> Pixels:
    """Every plane of a TIFF; raises ImageError where there is none, tifffile's own if broken."""
    with tifffile.TiffFile(path) as file:
        series = _wanted(file)
        _check_size(series, path)
        found = [(number, *plane) for number, s in enumerate(series) for plane in _planes(s, path)]
        by_page = len(series) > 1 and all(s.kind == "generic" for s in series)
        if by_page:
            found.sort(key=lambda f: f[1])
        masks = [s.asarray() for s in file.series if _flags(s) & (_MASK | _REDUCED) == _MASK]
        scale, unit = pixel_size(file)
        turned = _value(file.pages[0], _ORIENTATION) in range(2, 9)
        stack = len(found) > 1 or len(_plane_axes(series[0])) > 0
    planes = tuple(_masked(f[2], masks, len(found)) for f in found)
    notices: tuple[str, ...] = (TURNED,) if turned else ()
    if len(series) > 1:
        notices += (_several(by_page, planes),)
    first = tuple(i for i, f in enumerate(found) if f[0] == 0)
    return Pixels(planes, stack, scale, unit, notices, first)


def tiff_head(path: Path) -> Head:
    """What the tags say of a TIFF's first image; reads no pixels."""
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        masked = any(_flags(s) & _MASK for s in file.series)
        many = len(_wanted(file)) > 1
        notices = (TURNED,) if _value(file.pages[0], _ORIENTATION) in range(2, 9) else ()
        return Head(
            _meaning(series),
            np.dtype(series.dtype),
            tuple(series.shape),
            _channel_axis(series),
            masked,
            (*notices, MORE) if many else notices,
            *pixel_size(file),
        )


def _wanted(file: tifffile.TiffFile) -> list[tifffile.TiffPageSeries]:
    """The images of a file: no thumbnails, no masks, no other levels of a pyramid."""
    every = [s for s in file.series if s.size]
    full = [s for s in every if not _flags(s) & (_REDUCED | _MASK) and not _aside(s)]
    return full or every[:1]


def _check_size(series: list[tifffile.TiffPageSeries], path: Path) -> None:
    """Raise ImageError for images that are too large, or said to be, before they take memory."""
    shapes = [[n for i, n in enumerate(s.shape) if i != _channel_axis(s)] for s in series]
    pixels = sum(map(math.prod, shapes))
    size = sum(s.size * np.dtype(s.dtype).itemsize for s in series)
    memory, there = psutil.virtual_memory().total, path.stat().st_size
    if pixels > MOST:
        raise ImageError(
            f"{path.name} has {pixels:,} pixels, more than the {MOST:,} that are read: cut it into "
            "parts."
        )
    if size > memory:
        raise ImageError(
            f"{path.name} takes {size / 2**30:,.0f} GiB of memory, and this machine has "
            f"{memory / 2**30:,.0f}: cut it into parts, or save fewer channels."
        )
    if size > max(_DENSEST * there, _LITTLE):
        raise ImageError(
            f"{path.name} is damaged: it says to hold {pixels:,} pixels in {there:,} bytes."
        )


def _flags(series: tifffile.TiffPageSeries) -> int:
    return int(series.keyframe.subfiletype)


def _aside(series: tifffile.TiffPageSeries) -> bool:
    name = str(series.name)
    return series.kind != "ome" and name.strip().lower().startswith(_ASIDE)


def _channel_axis(series: tifffile.TiffPageSeries) -> int | None:
    """Samples of one page where there are some, else channels on pages of their own."""
    axes = series.axes
    return axes.index("S") if "S" in axes else axes.index("C") if "C" in axes else None


def _plane_axes(series: tifffile.TiffPageSeries) -> list[int]:
    """Axes that number planes: all but the channels and the two last of the others."""
    axes = [i for i in range(len(series.shape)) if i != _channel_axis(series)]
    return axes[:-2]


def _planes(series: tifffile.TiffPageSeries, path: Path) -> list[tuple[int, Plane]]:
    """(index of the page it begins on, or 0, plane) for every plane of a series."""
    data: npt.NDArray[Any] = series.asarray()
    if data.ndim < 2 or not data.size:
        raise ImageError(f"{path.name} holds {data.shape} pixels: an image needs two axes.")
    channels = _channel_axis(series)
    if channels is not None:
        data = np.moveaxis(data, channels, -1)
    inner = data.shape[-3:] if channels is not None else data.shape[-2:]
    meaning = _meaning(series)
    planes = [Plane(plane, meaning) for plane in data.reshape(-1, *inner)]
    pages = series.pages if series.kind == "generic" else []
    indices = [page.index for page in pages if page is not None]
    if len(indices) != len(planes):
        indices = [0] * len(planes)
    return list(zip(indices, planes, strict=True))


def _meaning(series: tifffile.TiffPageSeries) -> Meaning:
    page = series.keyframe
    axis = _channel_axis(series)
    samples = 1 if axis is None else series.shape[axis]
    space = _space(page, samples, "C" in series.axes and "S" not in series.axes)
    alpha, associated = _alpha(page, samples, space)
    return Meaning(
        space,
        alpha=alpha,
        associated=associated,
        white_is_zero=page.photometric == tifffile.PHOTOMETRIC.MINISWHITE,
        bits=_bits(page),
        palette=_palette(page) if space == "palette" else None,
        nodata=_nodata(page),
    )


def _space(page: tifffile.TiffPage, samples: int, separate: bool) -> Space:
    if page.photometric == tifffile.PHOTOMETRIC.ITULAB:
        raise ImageError("ITU L*a*b* colours cannot be read: save the picture as RGB.")
    space = _SPACES.get(page.photometric, "measured")
    if separate or samples < _SAMPLES[space]:
        return "measured"
    if space == "cmyk" and _value(page, _INK_SET) == 2:  # other inks than CMYK
        return "measured"
    if space == "ycbcr" and int(page.compression) in _RGB_CODECS:
        return "rgb"
    if space == "palette" and page.colormap is None:
        return "measured"
    return space


def _alpha(page: tifffile.TiffPage, samples: int, space: Space) -> tuple[int | None, bool]:
    """(number of the sample that is opacity, whether colours are multiplied by it)."""
    extra = page.extrasamples
    for number, kind in enumerate(extra, samples - len(extra)):
        if kind in (tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA):
            return number, kind == tifffile.EXTRASAMPLE.ASSOCALPHA
    # Old writers leave the tag out; libtiff and Pillow take a lone fourth sample for opacity.
    missing = not extra and space == "rgb" and samples == 4
    return (3, False) if missing else (None, False)


def _bits(page: tifffile.TiffPage) -> int | None:
    bits = page.bitspersample
    whole = page.dtype is not None and page.dtype.kind == "u"
    return bits if isinstance(bits, int) and whole and bits < 8 * page.dtype.itemsize else None


def _palette(page: tifffile.TiffPage) -> npt.NDArray[np.uint8]:
    colours = np.asarray(page.colormap)
    deep = colours.max(initial=0) > 255  # some writers put bytes where 16 bits belong
    return np.ascontiguousarray((colours >> 8 if deep else colours).T.astype(np.uint8))


def _nodata(page: tifffile.TiffPage) -> float | int | None:
    text = str(_value(page, _GDAL_NODATA) or "").strip("\0 \n")
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


def _value(page: tifffile.TiffPage, code: int) -> Any:
    tag = page.tags.get(code)
    return tag.value if tag is not None else None


def _masked(plane: Plane, masks: list[npt.NDArray[Any]], planes: int) -> Plane:
    """GDAL keeps where there is a picture in a page of its own."""
    if planes != 1 or len(masks) != 1 or masks[0].shape != plane.shape:
        return plane
    return replace(plane, mask=masks[0] != 0)


def _several(by_page: bool, planes: tuple[Plane, ...]) -> str:
    if by_page:
        return (
            f"The file's {len(planes)} pages are not all of one kind and size: each is labelled on "
            "its own, under its number from 0; napari shows the first page and its like."
        )
    return (
        f"The file holds several images, {len(planes)} planes in all: they are numbered on from "
        "image to image, from 0; napari shows the first image."
    )
