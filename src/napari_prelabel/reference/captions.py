"""Captions beside images, as a file of JSON lines: the way to build a set without a captioner.

One object a line::

    {"image": "harbour.jpg", "caption": "Two red boats near a stone pier.", "licence": "CC0"}

An image may have several lines; of a stack the first plane is taken. `licence` and `author` are
optional; other keys are left alone.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..formats.table import parse_json, shown
from ..values.errors import FileFormatError

MAX_LINE = 1 << 16
MAX_FAULTS = 100


@dataclass(frozen=True, slots=True)
class Captioned:
    """An image of the folder and what is said of it.

    path : the file, taken from the folder's own list. name : its name there.
    captions : in the order of the lines. licence, author : of the first line that has them.
    """

    path: Path
    name: str
    captions: tuple[str, ...]
    licence: str = ""
    author: str = ""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """images : in the order of the lines. faults : one sentence for each line left out."""

    images: tuple[Captioned, ...]
    faults: tuple[str, ...] = ()


def read_captions(path: Path, folder: Path) -> Sidecar:
    """Captions of the images in a folder. Names that the folder does not list are never opened.

    Raises FileFormatError when the file cannot be read, has a line of over 64 kB, over 100 bad
    lines, or no good one.
    """
    files = _files(folder)
    found: dict[str, Captioned] = {}
    faults: list[str] = []
    for number, line in _lines(path):
        try:
            _take(found, files, line, path)
        except FileFormatError as error:
            faults.append(f"line {number}: {error}")
            if len(faults) > MAX_FAULTS:
                raise FileFormatError(
                    path,
                    f"{path} has over {MAX_FAULTS} bad lines, the first {faults[0]} "
                    "Write one JSON object a line.",
                ) from error
    if not found:
        reason = f"; {faults[0]}" if faults else "."
        raise FileFormatError(path, f"{path} has no caption of an image in {folder}{reason}")
    return Sidecar(tuple(found.values()), tuple(faults))


def _files(folder: Path) -> dict[str, Path]:
    try:
        return {_key(p.name): p for p in sorted(folder.iterdir()) if p.is_file()}
    except OSError as error:
        raise FileFormatError(folder, f"{folder} cannot be listed: choose a folder.") from error


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that are not blank."""
    try:
        with path.open("rb") as file:
            number = 0
            while line := file.readline(MAX_LINE + 1):
                number += 1
                if len(line) > MAX_LINE:
                    raise FileFormatError(
                        path, f"Line {number} of {path} is over 64 kB: write one caption a line."
                    )
                if line.strip():
                    yield number, line
    except OSError as error:
        raise FileFormatError(path, f"{path} cannot be read: {error.strerror}.") from error


def _take(found: dict[str, Captioned], files: dict[str, Path], line: bytes, path: Path) -> None:
    entry = parse_json(line, path)
    if not isinstance(entry, dict):
        raise FileFormatError(path, f"it holds {shown(entry)} and no object in braces.")
    name = _text(entry, "image", path)
    caption = _text(entry, "caption", path)
    file = files.get(_key(name))
    if file is None:
        raise FileFormatError(
            path, f"there is no image {shown(name)} in the folder: give the file's plain name."
        )
    licence, author = (_text(entry, key, path, "") for key in ("licence", "author"))
    old = found.get(file.name)
    found[file.name] = Captioned(
        file,
        file.name,
        (*(old.captions if old else ()), caption),
        (old.licence if old else "") or licence,
        (old.author if old else "") or author,
    )


def _text(entry: dict[str, Any], key: str, path: Path, default: str | None = None) -> str:
    value = entry.get(key, default)
    if not isinstance(value, str) or (default is None and not value.strip()):
        raise FileFormatError(path, f"{key!r} must be text, not {shown(value)}.")
    return value.strip()


def _key(name: str) -> str:
    """Names as they meet: file systems store accents in one form or the other."""
    return unicodedata.normalize("NFC", name)
