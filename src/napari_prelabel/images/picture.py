"""PNG, JPEG and the other pictures that Pillow knows -> planes as they are stored."""

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageSequence

from ..values.errors import ImageError
from .meaning import Meaning
from .pixel_size import Size, of_dots
from .pixels import TURNED, Head, Pixels, Plane

# What Pillow hands out, by the mode that napari's own reader takes it in.
_MEANINGS = {
    "RGB": Meaning("rgb"),
    "RGBA": Meaning("rgb", alpha=3),
    "LA": Meaning(alpha=1),
    "CMYK": Meaning("cmyk"),
}
_CONVERTED = {"YCbCr": "RGB", "HSV": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}
_PPM = re.compile(rb"P6" + rb"(?:\s|#[^\n]*\n)+(\d+)" * 3 + rb"\s")
# Pixels of all pictures of one animated file, which are held at once.
MOST = 1 << 28
_PNG = b"\x89PNG\r\n\x1a\n"


def read_picture(path: Path) -> Pixels:
    """Pixels as they are stored, an orientation tag being told, not obeyed, as napari has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as picture:
            notices = [TURNED] if is_turned(picture) else []
            scale, unit = _size(picture)
            deep = _deep(path, picture)
            if deep is not None:
                planes = [deep]
            elif picture.format == "MPO":
                planes = [_plane(picture)]
            else:
                planes = _frames(picture)
    count = len(planes)
    first = tuple(range(count))
    return Pixels(tuple(planes), count > 1, scale, unit, tuple(notices), first)


def picture_head(path: Path) -> Head:
    """What a picture's head says; its pixels are decoded in palettes only."""
    with Image.open(path) as picture:
        notices = (TURNED,) if is_turned(picture) else ()
        if _is_deep(path, picture):
            deep = Meaning.of(4 if picture.mode == "RGBA" else 3, True)
            meaning = Meaning(alpha=1) if picture.mode == "LA" else deep
            size = _size(picture)
            return Head(meaning, np.dtype(np.uint16), None, None, False, notices, *size)
        mode = _shown_mode(picture)
        meaning = _meaning(picture, mode)
        dtype = np.dtype({"1": "?", "I;16": "u2", "I": "i4", "F": "f4"}.get(mode, "u1"))
        axis = 2 if mode in _MEANINGS else None
        bands = (len(picture.getbands()),) if axis else ()
        shape = (picture.height, picture.width, *bands)
        known = shape if mode == picture.mode else None
        return Head(meaning, dtype, known, axis, False, notices, *_size(picture))


def is_turned(picture: Image.Image) -> bool:
    """Whether a picture's EXIF asks to be shown turned or mirrored."""
    return picture.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)


def _size(picture: Image.Image) -> Size:
    """Of a pixel, where a PNG says it in metres (pHYs)."""
    dots = picture.info.get("dpi") if picture.format == "PNG" else None
    return of_dots(*dots) if dots else (None, "pixel")


def _frames(picture: Image.Image) -> list[Plane]:
    """Every frame of an animation, all in the colours of the richest."""
    count = getattr(picture, "n_frames", 1)
    if count == 1:
        return [_plane(picture)]
    if count * picture.width * picture.height > MOST:
        raise ImageError(
            f"The file has {count} pictures of {picture.width} x {picture.height} "
            f"pixels, more than {MOST:,} in all: save them as files of their own."
        )
    frames = [_expanded(frame).copy() for frame in ImageSequence.Iterator(picture)]
    modes = {frame.mode for frame in frames}
    if len(modes) > 1:
        rich = "RGBA" if modes & {"RGBA", "LA"} else "RGB"
        frames = [frame.convert(rich) for frame in frames]
    return [_plane(frame) for frame in frames]


def _plane(frame: Image.Image) -> Plane:
    frame = _expanded(frame)
    return Plane(np.asarray(frame), _meaning(frame, frame.mode))


def _meaning(frame: Image.Image, mode: str) -> Meaning:
    clear = frame.info.get("transparency")
    if isinstance(clear, int) and mode in ("L", "1"):
        return Meaning(clear=(clear,))
    if isinstance(clear, tuple) and mode == "RGB":
        return Meaning("rgb", clear=clear)
    return _MEANINGS.get(mode, Meaning())


def _expanded(frame: Image.Image) -> Image.Image:
    """Palettes as their colours; other modes as they are, or as the nearest that is known."""
    wanted = _shown_mode(frame)
    return frame.convert(wanted) if wanted != frame.mode else frame


def _shown_mode(frame: Image.Image) -> str:
    if frame.mode == "P":
        return "RGBA" if "transparency" in frame.info else "RGB"
    return _CONVERTED.get(frame.mode, frame.mode)


def _deep(path: Path, picture: Image.Image) -> Plane | None:
    """A PNG or PPM of 16-bit colours, which Pillow would cut down to 8; None for others."""
    if not _is_deep(path, picture):
        return None
    return _deep_png(path) if picture.format == "PNG" else _deep_ppm(path)


def _is_deep(path: Path, picture: Image.Image) -> bool:
    with path.open("rb") as file:
        head = file.read(1024)
    if picture.format == "PNG" and head[:8] == _PNG and getattr(picture, "n_frames", 1) == 1:
        return head[24] == 16 and head[25] in (2, 4, 6)
    return picture.format == "PPM" and picture.mode == "RGB" and _ppm_head(head)[3] > 255


def _deep_png(path: Path) -> Plane:
    import imagecodecs

    data: npt.NDArray[Any] = imagecodecs.png_decode(path.read_bytes())
    meaning = Meaning.of(data.shape[2], True) if data.shape[2] > 2 else Meaning(alpha=1)
    return Plane(data, meaning)


def _deep_ppm(path: Path) -> Plane:
    data = path.read_bytes()
    at, width, height, top = _ppm_head(data)
    meaning = Meaning("rgb", bits=top.bit_length())
    values = np.frombuffer(data, ">u2", width * height * 3, at)
    return Plane(values.reshape(height, width, 3).astype(np.uint16), meaning)


def _ppm_head(data: bytes) -> tuple[int, int, int, int]:
    """(where the pixels begin, width, height, highest value) of a binary PPM."""
    found = _PPM.match(data)
    if found is None:  # plain text, which Pillow reads
        return 0, 0, 0, 0
    width, height, top = (int(n) for n in found.groups())
    return found.end(), width, height, top
