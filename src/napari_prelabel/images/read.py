"""Image files -> planes of pixels, with what the file says of them."""

import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import ExifTags, Image, ImageSequence

from ..errors import FileFormatError, ImageError
from .rgb import Rgb, to_rgb

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm")
_TIFF = (".tif", ".tiff")
_BROKEN = (OSError, SyntaxError, ValueError, KeyError, IndexError, TypeError, EOFError)
_TURNED = (
    "The file asks to be shown turned or mirrored; it was labelled as its pixels are stored, as "
    "napari shows it: save the picture turned for better labels."
)
_TO_RGB = {"CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB", "LA": "RGBA", "PA": "RGBA"}


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """The planes of an image file.

    planes : (T, H, W) or (T, H, W, C); T = 1 for a plain image.
    stack : whether the file had an axis T.
    rgb : whether the channels are colours.
    scale : size of a pixel along (Y, X) in `unit`, None where the file does not say.
    notices : what the person must know about the file.
    """

    planes: npt.NDArray[Any]
    stack: bool
    rgb: bool
    scale: tuple[float, float] | None = None
    unit: str = "pixel"
    notices: tuple[str, ...] = ()

    def plane(self, number: int) -> Rgb:
        """(H, W, 3) uint8 of one plane; ImageError when it cannot be shown to the models."""
        return to_rgb(self.planes[number], rgb=self.rgb)


def read_image(path: Path) -> Pixels:
    """Read an image file of one or many planes; FileFormatError when it is damaged."""
    try:
        return _read_tiff(path) if path.suffix.lower() in _TIFF else _read_picture(path)
    except FileNotFoundError as error:
        raise FileFormatError(path, f"{path} is not there.") from error
    except MemoryError as error:
        raise FileFormatError(path, f"{path} does not fit into memory.") from error
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise FileFormatError(
            path,
            f"{path} has more than {most:,} pixels, which only a TIFF may have: save it as TIFF or "
            "cut it into tiles.",
        ) from error
    except (*_BROKEN, struct.error, zlib.error) as error:
        raise FileFormatError(path, f"{path} is damaged or no image: {error}.") from error


def asks_to_be_turned(path: Path) -> bool:
    """Whether a picture's EXIF orientation is another than the stored one; False if unreadable."""
    try:
        with Image.open(path) as picture:
            return _turned(picture)
    except (*_BROKEN, Image.DecompressionBombError, struct.error, zlib.error):
        return False


def _turned(picture: Image.Image) -> bool:
    return picture.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9)


def _read_picture(path: Path) -> Pixels:
    """Pixels as they are stored, an orientation tag being told, not obeyed, as napari has it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as picture:
            turned = _turned(picture)
            frames = [_frame(frame) for frame in ImageSequence.Iterator(picture)]
    if len({frame.shape for frame in frames}) > 1:
        frames = frames[:1]
    planes = np.stack(frames)
    notices = (_TURNED,) if turned else ()
    return Pixels(planes, len(frames) > 1, planes.ndim == 4, notices=notices)


def _frame(frame: Image.Image) -> npt.NDArray[Any]:
    if frame.mode == "P":
        frame = frame.convert("RGBA" if "transparency" in frame.info else "RGB")
    elif frame.mode in _TO_RGB:
        frame = frame.convert(_TO_RGB[frame.mode])
    return np.array(frame)


def _read_tiff(path: Path) -> Pixels:
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        axes, data = series.axes, series.asarray()
        scale, unit = _pixel_size(file)
    if data.ndim < 2 or not data.size:
        raise ImageError(f"{path.name} holds {data.shape} pixels: an image needs two axes.")
    rgb = axes.endswith("S")
    if "C" in axes and not rgb:
        data = np.moveaxis(data, axes.index("C"), -1)
    channels = rgb or "C" in axes
    inner = data.shape[-3:] if channels else data.shape[-2:]
    stack = data.ndim > len(inner)
    return Pixels(data.reshape(-1, *inner), stack, rgb, scale, unit)


def _pixel_size(file: tifffile.TiffFile) -> tuple[tuple[float, float] | None, str]:
    """Micrometres from centimetre resolutions, ImageJ's own unit where it wrote the file."""
    page = file.pages[0]
    try:
        x, y = page.resolution
    except (TypeError, ValueError, ZeroDivisionError):
        return None, "pixel"
    if not (x > 0 and y > 0):
        return None, "pixel"
    told = (file.imagej_metadata or {}).get("unit")
    if told and told not in ("pixel", "inch"):
        return (1 / y, 1 / x), {"micron": "um", "\\u00B5m": "um"}.get(str(told), str(told))
    if page.resolutionunit == tifffile.RESUNIT.CENTIMETER:
        return (1e4 / y, 1e4 / x), "um"
    return None, "pixel"
