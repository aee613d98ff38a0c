"""NumPy files of a set: opened memory-mapped, and checked before anything is allocated."""

import math
import stat
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..formats.atomic import Fill
from ..values.errors import ReferenceSetError

_HEADER = 10_000


def damaged(path: Path, fault: str) -> ReferenceSetError:
    """The error of a folder that is not as it was written; `path` is the file at fault."""
    return ReferenceSetError(
        path,
        f"The reference set {path.parent.name} is damaged ({path.name} {fault}): take it from a "
        "copy, or make it again.",
    )


def check_regular(path: Path) -> int:
    """Size in bytes; raises ReferenceSetError when it is missing, a link or no plain file."""
    try:
        status = path.lstat()
    except FileNotFoundError as error:
        raise damaged(path, "is missing") from error
    except (OSError, ValueError) as error:
        raise damaged(path, "cannot be read") from error
    if not stat.S_ISREG(status.st_mode):
        raise damaged(path, "is a link or no plain file")
    return status.st_size


def npy(array: npt.NDArray[Any]) -> Fill:
    """What writes an array as .npy, never pickled."""

    def fill(file: BinaryIO) -> None:
        np.lib.format.write_array(
            file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False
        )

    return fill


def open_npy(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """A read-only view of a file that must hold exactly this dtype and shape.

    Raises ReferenceSetError for every other file: what its header says is compared with what was
    promised and with the file's size first, so no header can ask for memory.
    """
    size = check_regular(path)
    wanted = np.dtype(dtype)
    try:
        with open(path, "rb") as file:
            found, offset = _header(file)
    except (OSError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise damaged(path, "is no NumPy file") from error
    if found != (shape, False, wanted):
        raise damaged(path, f"does not hold {_told(shape)} values of {wanted}")
    if size != offset + math.prod(shape) * wanted.itemsize:
        raise damaged(path, "is cut off or too long")
    if not math.prod(shape):
        return np.empty(shape, wanted)
    return np.memmap(path, wanted, "r", offset, shape)


def _header(file: BinaryIO) -> tuple[tuple[Any, bool, np.dtype[Any]], int]:
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("another version")
    header = np.lib.format.read_array_header_1_0(file, max_header_size=_HEADER)
    return header, file.tell()


def _told(shape: tuple[int, ...]) -> str:
    return " x ".join(f"{n:,}" for n in shape)
