"""Whose labels a file holds: what its table says of the image, read without the pixels."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..values.errors import FileFormatError
from ..values.names import plane_source
from .table import KIND, own_name, read_identity


@dataclass(frozen=True, slots=True)
class Subject:
    """The image that labels belong to, as the file of labels tells it.

    image : its file name; that of the stack for the labels of a plane.
    content, place, plane : as in a LabelImage; "" and None where the file does not say.
    classes : names of the classes, in the order of their ids.
    """

    image: str
    content: str = ""
    place: str = ""
    plane: tuple[int, int] | None = None
    classes: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """The file name as the labels tell it: with the number of a plane."""
        return plane_source(self.image, self.plane[0]) if self.plane else self.image


def subject_of(table: Any, path: Path) -> Subject | None:
    """The subject in a table of classes of ours; None where it is no such table."""
    if not isinstance(table, dict) or table.get("format") != KIND:
        return None
    classes = table.get("classes")
    listed = classes if isinstance(classes, list) else []
    names = [c.get("name") for c in listed if isinstance(c, dict)]
    return image_subject(table.get("image"), table, tuple(map(str, names)), path)


def image_subject(
    image: Any, told: Mapping[str, Any], classes: tuple[str, ...], path: Path
) -> Subject | None:
    """The subject of one image; `told` has what `table.identity` wrote."""
    try:
        name = own_name(image, path)
    except FileFormatError:
        return None
    found = read_identity(told)
    if "plane" in found:
        name = _of_stack(name, found["plane"][0])
    return Subject(name, classes=classes, **found)


def _of_stack(name: str, number: int) -> str:
    """The stack's file name from that of a plane, as `names.plane_source` puts it together."""
    head, tag, tail = name.rpartition(f"_t{number:04d}")
    return f"{head}{tail}" if tag else name


def file_content(path: Path) -> str:
    """SHA-256 of a file, "" where it cannot be read or is no plain file."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""
