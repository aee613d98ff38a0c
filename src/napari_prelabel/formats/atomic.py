"""Files appear whole or not at all: written beside their place, flushed to disk, then renamed."""

import contextlib
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..errors import FileFormatError


def write_atomic(
    path: Path, fill: bytes | Callable[[BinaryIO], None], *, overwrite: bool = False
) -> None:
    """Write bytes, or what `fill(file)` writes, to `path`; its folders are made.

    Raises FileFormatError when the file exists and `overwrite` was not asked for, and when the
    disk refuses; the old file is then untouched and nothing half-written stays behind.
    """
    refuse_existing(path, overwrite)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "xb") as file:
            if isinstance(fill, bytes):
                file.write(fill)
            else:
                fill(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise FileFormatError(
            path, f"{path} cannot be written ({reason}): choose another folder or free some space."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise FileFormatError when `path` exists and may not be replaced."""
    if not overwrite and path.exists():
        raise FileFormatError(
            path, f"{path} exists already: allow overwriting or choose another folder."
        )
