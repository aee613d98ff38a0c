"""Labels kept on this disk while they are worked on, so that a crash or a closed window loses none.

One file for each result layer, `<image key>-<number>.npz`, written whole or not at all: the four
arrays of its Annotation and `about.json`. Read without pickle. Who calls writes the file, in one.
"""

import hashlib
import json
import time
import uuid
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import platformdirs

from ..values.errors import FileFormatError, PrelabelError
from ..values.vocabulary import Vocabulary
from .annotation import Annotation

ARRAYS = ("model", "score", "shown", "provenance")
ABOUT = "about.json"
MOST_FILES, MOST_DAYS = 200, 90
_SAMPLES = 64


def folder() -> Path:
    """Where kept labels lie."""
    return platformdirs.user_state_path("napari-prelabel") / "kept"


@dataclass(frozen=True, slots=True)
class Offer:
    """A kept file of an image: when it was written, how many pixels are the person's."""

    path: Path
    seconds: float
    human: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """What a file holds: the arrays of an Annotation by name, and what belongs to them."""

    arrays: dict[str, npt.NDArray[Any]]
    vocabulary: Vocabulary
    threshold: float
    facts: dict[str, Any]


class Moved(Exception):
    """The labels changed while they were copied."""


def key_of(place: str, data: Any) -> str:
    """Digits of an image: its place (a file, or a name where there is none), shape, some pixels.

    data : an array; pixels of arrays that are not in memory are not looked at.
    """
    digest = hashlib.sha256(json.dumps([place, data.shape]).encode())
    if isinstance(data, np.ndarray):
        steps = tuple(slice(None, None, max(1, n // _SAMPLES)) for n in data.shape)
        digest.update(np.ascontiguousarray(data[steps]).tobytes())
    return digest.hexdigest()[:24]


def new_path(key: str) -> Path:
    """A file of its own for the labels of the image with this key."""
    return folder() / f"{key}-{uuid.uuid4().hex[:12]}.npz"


def offers(key: str) -> list[Offer]:
    """Kept labels of the image with this key, newest first; unreadable files are passed over."""
    found = []
    for path in folder().glob(f"{key}-*.npz"):
        try:
            about = _about(path)
            human, shape = int(about["human"]), tuple(int(n) for n in about["shape"])
            found.append(Offer(path, path.stat().st_mtime, human, shape))
        except (OSError, PrelabelError, KeyError, TypeError, ValueError):
            continue
    return sorted(found, key=lambda offer: -offer.seconds)


@dataclass(frozen=True, slots=True, eq=False)
class Copy:
    """Labels as they stood at `edits`; `fill` writes them into a file that is open."""

    edits: int
    fill: Callable[[BinaryIO], None]


def copied(annotation: Annotation) -> Copy:
    """Copy the labels as they stand; raises Moved when somebody edited them meanwhile."""
    edits = annotation.edits
    arrays = {name: getattr(annotation, name).copy() for name in ARRAYS}
    about = {
        "shape": arrays["shown"].shape,
        "human": annotation.human_pixels(),
        "classes": annotation.vocabulary.to_dict(),
        "threshold": annotation.threshold,
        "facts": dict(annotation.facts),
    }
    if annotation.edits != edits or edits % 2:
        raise Moved
    text = json.dumps(about, ensure_ascii=False, default=str).encode()
    return Copy(edits, partial(_fill, arrays=arrays, about=text))


def _fill(file: BinaryIO, arrays: dict[str, npt.NDArray[Any]], about: bytes) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(ABOUT, about)
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as part:
                np.lib.format.write_array(part, array, allow_pickle=False)


def read(path: Path) -> Kept:
    """Read kept labels; FileFormatError when the file is damaged."""
    try:
        about = _about(path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ARRAYS}
        vocabulary = Vocabulary.from_dict(about["classes"])
        threshold, facts = float(about["threshold"]), dict(about["facts"])
    except FileFormatError:
        raise
    except (OSError, PrelabelError, KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise _damaged(path) from error
    shape = arrays["shown"].shape
    highest = int(arrays["shown"].max(initial=0, where=arrays["shown"] != 65535))
    same = all(array.shape == shape for array in arrays.values())
    if not same or len(shape) < 2 or highest > len(vocabulary.classes):
        raise _damaged(path)
    return Kept(arrays, vocabulary, threshold, facts)


def restore(annotation: Annotation, kept: Kept) -> None:
    """Take kept labels up: the person's pixels are theirs again, the model's the model's."""
    annotation.restore(**kept.arrays)
    annotation.threshold, annotation.facts = kept.threshold, kept.facts


def prune() -> None:
    """Forget files beyond the newest 200 and those older than 90 days."""
    found = sorted(folder().glob("*.npz"), key=lambda p: -p.stat().st_mtime)
    oldest = time.time() - MOST_DAYS * 86400
    for number, path in enumerate(found):
        if number >= MOST_FILES or path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)


def _about(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read(ABOUT))
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise _damaged(path) from error
    if not isinstance(about, dict):
        raise _damaged(path)
    return about


def _damaged(path: Path) -> FileFormatError:
    return FileFormatError(
        path, f"The kept labels {path.name} are damaged and cannot be taken up: forget them."
    )
