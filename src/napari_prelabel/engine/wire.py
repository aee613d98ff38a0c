"""What travels between napari's process and the worker: frames on pipes, arrays in files.

Both pipes are private to the two processes, so pickle is as safe as the processes themselves.
"""

import contextlib
import errno
import pickle
import struct
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..values.errors import DiskFull
from ..values.labels import LabelMap

_LENGTH = struct.Struct(">Q")
_FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
_ARRAYS = ("ids", "score", "runner_up")


def send(stream: BinaryIO, message: Any) -> None:
    """Write one message; the caller keeps other threads off the stream meanwhile."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read one message; raises EOFError where the other side has ended."""
    (length,) = _LENGTH.unpack(_read(stream, _LENGTH.size))
    return pickle.loads(_read(stream, length))


def _read(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if data is None or len(data) < size:
        raise EOFError("the other process has ended")
    return data


def save_image(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write pixels (H, W, 3) where the worker maps them into its memory; DiskFull where they do
    not fit."""
    with _written(path):
        np.save(path, image, allow_pickle=False)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    """Make the folder of a file again where it is gone; leave nothing half-written."""
    try:
        # Systems clear temporary folders that were not used for days.
        if not path.parent.exists():
            path.parent.mkdir(mode=0o700)
        yield
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        # NumPy tells a short write without a number.
        if error.errno is None or error.errno in _FULL:
            raise DiskFull(path.parent.parent) from error
        raise


def load_image(path: Path) -> npt.NDArray[np.uint8]:
    """The pixels (H, W, 3), read-only, mapped rather than copied where there are any."""
    image: npt.NDArray[np.uint8] = np.load(path, mmap_mode="r", allow_pickle=False)
    return image


def save_labels(path: Path, labels: LabelMap) -> dict[str, Any]:
    """Write a map's arrays into one file; returns the small rest, which travels as a message.

    Raises DiskFull when they do not fit; nothing half-written stays behind.
    """
    with _written(path), path.open("wb") as file:
        for name in _ARRAYS:
            np.save(file, getattr(labels, name), allow_pickle=False)
    return {f.name: getattr(labels, f.name) for f in fields(LabelMap) if f.name not in _ARRAYS}


def load_labels(path: Path, rest: dict[str, Any]) -> LabelMap:
    """Inverse of save_labels; the file is removed, also when it cannot be read."""
    try:
        with path.open("rb") as file:
            arrays = {name: np.load(file, allow_pickle=False) for name in _ARRAYS}
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    return LabelMap(**arrays, **rest)


def save_object(path: Path, value: Any) -> None:
    """Write a task or its answer where the other process reads it; raises DiskFull.

    The folder is private to the two processes, like their pipes.
    """
    with _written(path), path.open("wb") as file:
        pickle.dump(value, file, protocol=pickle.HIGHEST_PROTOCOL)


def load_object(path: Path) -> Any:
    """Inverse of save_object."""
    with path.open("rb") as file:
        return pickle.load(file)


def take_object(path: Path) -> Any:
    """Inverse of save_object; the file is removed, also when it cannot be read."""
    try:
        return load_object(path)
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
