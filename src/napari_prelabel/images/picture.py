"""PNG, JPEG and the other pictures that Pillow knows -> planes as they are stored."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, ImageSequence

from .meaning import Meaning
from .pixels import TURNED, Pixels, Plane

# What Pillow hands out, by the mode that napari's own reader takes it in.
_MEANINGS = {
    "RGB": Meaning("rgb"),
    "RGBA": Meaning("rgb", alpha=3),
    "LA": Meaning(alpha=1),
    "CMYK": Meaning("cmyk"),
}
_CONVERTED = {"YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}
_PNG = b"\x89PNG\r\n\x1a\n"


def read_picture(path: Path) -> Pixels:
    """Pixels as they are stored, an orientation tag being told, not obeyed, as napari has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as picture:
            notices = [TURNED] if is_turned(picture) else []
            deep = _deep(path, picture)
            if deep is not None:
                planes = [deep]
            elif picture.format == "MPO":
                planes = [_plane(picture)]
            else:
                planes = _frames(picture)
    count = len(planes)
    return Pixels(tuple(planes), count > 1, notices=tuple(notices), first=tuple(range(count)))


def is_turned(picture: Image.Image) -> bool:
    """Whether a picture's EXIF asks to be shown turned or mirrored."""
    return picture.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)


def _frames(picture: Image.Image) -> list[Plane]:
    """Every frame of an animation, all in the colours of the richest."""
    if getattr(picture, "n_frames", 1) == 1:
        return [_plane(picture)]
    frames = [_expanded(frame) for frame in ImageSequence.Iterator(picture)]
    modes = {frame.mode for frame in frames}
    if len(modes) > 1:
        rich = "RGBA" if modes & {"RGBA", "LA"} else "RGB"
        frames = [frame.convert(rich) for frame in frames]
    return [_plane(frame) for frame in frames]


def _plane(frame: Image.Image) -> Plane:
    frame = _expanded(frame)
    meaning = _MEANINGS.get(frame.mode, Meaning())
    clear = frame.info.get("transparency")
    if isinstance(clear, int) and frame.mode in ("L", "1"):
        meaning = Meaning(clear=(clear,))
    elif isinstance(clear, tuple) and frame.mode == "RGB":
        meaning = Meaning("rgb", clear=clear)
    return Plane(np.array(frame), meaning)


def _expanded(frame: Image.Image) -> Image.Image:
    """Palettes as their colours; other modes as they are, or as the nearest that is known."""
    if frame.mode == "P":
        return frame.convert("RGBA" if "transparency" in frame.info else "RGB")
    if frame.mode == "LAB":
        raise ValueError("L*a*b* colours are read from TIFF only")
    wanted = _CONVERTED.get(frame.mode)
    return frame.convert(wanted) if wanted else frame.copy()


def _deep(path: Path, picture: Image.Image) -> Plane | None:
    """A PNG or PPM of 16-bit colours, which Pillow would cut down to 8; None for others."""
    if picture.format == "PNG":
        with path.open("rb") as file:
            head = file.read(26)
        if head[:8] == _PNG and head[24] == 16 and head[25] in (2, 4, 6):
            return _deep_png(path, picture)
    if picture.format == "PPM" and picture.mode == "RGB":
        return _deep_ppm(path)
    return None


def _deep_png(path: Path, picture: Image.Image) -> Plane | None:
    if getattr(picture, "n_frames", 1) > 1:
        return None
    import imagecodecs

    data: npt.NDArray[Any] = imagecodecs.png_decode(path.read_bytes())
    meaning = Meaning.of(data.shape[2], True) if data.shape[2] > 2 else Meaning(alpha=1)
    return Plane(data, meaning)


def _deep_ppm(path: Path) -> Plane | None:
    data = path.read_bytes()
    words: list[bytes] = []
    at = 0
    while len(words) < 4:
        end = at
        while not data[end : end + 1].isspace():
            end += 1
        if data[at : at + 1] == b"#":
            end = data.index(b"\n", at)
        elif end > at:
            words.append(data[at:end])
        at = end + 1
    kind, width, height, top = words[0], *map(int, words[1:])
    if kind != b"P6" or top < 256:
        return None
    values = np.frombuffer(data, ">u2", width * height * 3, at)
    return Plane(values.reshape(height, width, 3).astype(np.uint16), Meaning("rgb"))
