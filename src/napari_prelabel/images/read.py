"""Image files -> planes of pixels, with what the file says of them."""

import struct
import zlib
from pathlib import Path

from PIL import Image

from ..values.errors import FileFormatError, ImageError
from .picture import picture_head, read_picture
from .pixels import Head, Pixels, Plane
from .tiff import read_tiff, tiff_head

__all__ = ["SUFFIXES", "Head", "Pixels", "Plane", "read_head", "read_image"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm")
_TIFF = (".tif", ".tiff")
# Codecs raise a RuntimeError or an ImportError of their own.
_BROKEN = (
    OSError, SyntaxError, ValueError, KeyError, IndexError, TypeError, EOFError, RuntimeError,
    ImportError, AttributeError, AssertionError, ArithmeticError, struct.error, zlib.error,
)  # fmt: skip


def read_image(path: Path) -> Pixels:
    """Read an image file of one or many planes; FileFormatError when it is damaged."""
    try:
        return read_tiff(path) if is_tiff(path) else read_picture(path)
    except ImageError:
        raise
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
    except _BROKEN as error:
        told = " ".join(str(error).split())[:120] or type(error).__name__
        raise FileFormatError(path, f"{path} is damaged or no image: {told}.") from error


def read_head(path: Path) -> Head | None:
    """What the head of a file says, None where it cannot be read."""
    try:
        return tiff_head(path) if is_tiff(path) else picture_head(path)
    except (*_BROKEN, ImageError, MemoryError, Image.DecompressionBombError):
        return None


def is_tiff(path: Path) -> bool:
    """Whether a name says TIFF."""
    return path.suffix.lower() in _TIFF
