"""Files appear whole or not at all: written beside their place, flushed to disk, then renamed."""

import contextlib
import errno
import os
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import filelock

from ..values.errors import DiskRefused, FileFormatError

# What the disk says when no file at all can be written on it.
_OF_THE_DISK = {errno.ENOSPC, errno.EROFS, getattr(errno, "EDQUOT", errno.ENOSPC)}

LOCK = ".prelabel.lock"
# Seconds that another process may hold a folder.
PATIENCE = 60.0

Fill = bytes | Callable[[BinaryIO], None]


def write_atomic(path: Path, fill: Fill, *, overwrite: bool = False) -> None:
    """Write bytes, or what `fill(file)` writes, to `path`; its folders are made.

    Raises FileFormatError when the file exists and `overwrite` was not asked for, and when it
    cannot be written, DiskRefused where the disk is full or read-only; the old file is then
    untouched and nothing half-written stays behind.
    """
    write_together({path: fill}, overwrite=overwrite)


def write_together(files: Mapping[Path, Fill], *, overwrite: bool = False) -> None:
    """Write several files of one folder; none takes its place before all are on the disk.

    Raises as `write_atomic` does.
    """
    for path in files:
        refuse_existing(path, overwrite)
    parts = {path: part_of(path) for path in files}
    try:
        for path, part in parts.items():
            with _told(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                _fill(part, files[path])
        for path, part in parts.items():
            with _told(path):
                os.replace(part, path)
    finally:
        for part in parts.values():
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder of labels while files are looked at and written; other processes wait.

    In it lies a hidden, empty lock file, which a process that dies lets go of and every user of the
    folder may take; within one thread the folder may be held again. Raises FileFormatError when
    others hold it for very long.
    """
    path = Path(os.path.realpath(folder)) / LOCK
    lock = filelock.FileLock(path, timeout=PATIENCE, mode=0o666, is_singleton=True)
    with contextlib.ExitStack() as held:
        with _told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(lock)
            except filelock.Timeout as error:
                raise FileFormatError(
                    folder,
                    f"Another process has been writing into {folder} for {PATIENCE:.0f} seconds: "
                    "wait for its end, or choose another folder.",
                ) from error
        yield


def check_writable(folder: Path) -> None:
    """Make a folder and see that files can be written there; FileFormatError if not."""
    part = part_of(folder / "x")
    try:
        with _told(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _fill(part, b"0")
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def part_of(path: Path, suffix: str = ".part") -> Path:
    """A hidden place beside a file to write it in; short, so that it fits where the file fits."""
    return path.with_name(f".{uuid.uuid4().hex[:12]}{suffix}")


def _fill(part: Path, fill: Fill) -> None:
    with open(part, "xb") as file:
        if isinstance(fill, bytes):
            file.write(fill)
        else:
            fill(file)
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _OF_THE_DISK:
            raise DiskRefused(path, reason) from error
        raise FileFormatError(
            path, f"{path} cannot be written ({reason}): choose another folder or free some space."
        ) from error


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise FileFormatError when `path` exists and may not be replaced."""
    if not overwrite and path.exists():
        raise FileFormatError(
            path,
            f"{path} exists already: tick Replace files that exist (--overwrite) or choose another "
            "folder.",
        )
