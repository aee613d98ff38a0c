"""Label maps as files: FORMATS, the only list of formats, and one `export`.

>>> receipt = export([LabelImage(ids, vocabulary, "img")], folder, "png")  # doctest: +SKIP
>>> print(*receipt.lines(), sep="\\n")  # doctest: +SKIP
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..values.declare import Setting, changed, declared, said
from ..values.errors import FileFormatError
from . import coco, png, tiff
from .format import Format
from .table import safe_name
from .values import ClassReceipt, LabelImage, Options, Receipt, total

FORMATS: dict[str, Format] = {f.name: f for f in (png.FORMAT, tiff.FORMAT, coco.FORMAT)}


def export(
    images: Iterable[LabelImage], folder: Path, format_name: str, options: Options | None = None
) -> Receipt:
    """Write label images into a folder, read them back and compare.

    Stacks are cut into planes where the format cannot hold them. Raises FileFormatError for an
    unknown format, a name outside the folder and files that exist.
    """
    chosen = named(format_name)
    options = options or Options()
    wanted = list(images) if chosen.stacks else [p for image in images for p in image.planes()]
    if not wanted:
        raise FileFormatError(folder, "There is nothing to export: run or open a label map first.")
    if chosen.file:
        return chosen.write(wanted, folder / chosen.file, options)
    return total(chosen.write([i], target(folder, format_name, i.name), options) for i in wanted)


def target(folder: Path, format_name: str, name: str) -> Path:
    """The file that `export` writes for the image of this name."""
    chosen = named(format_name)
    if chosen.file:
        return folder / chosen.file
    plain = safe_name(name, folder)
    return folder / f"{plain}{chosen.suffix}"


def named(format_name: str) -> Format:
    """The format of this name; FileFormatError lists those there are."""
    if format_name not in FORMATS:
        raise FileFormatError(
            format_name, f"{format_name!r} is no format: choose one of {', '.join(FORMATS)}."
        )
    return FORMATS[format_name]


def ours(path: Path) -> Format | None:
    """The format of a file that we wrote, None for all others; looks at its first bytes alone."""
    return next((f for f in FORMATS.values() if f.recognises(path)), None)


def format_of(path: Path) -> Format | None:
    """The format that reads a file: that of ours, else the first that has its suffix."""
    fits = (f for f in FORMATS.values() if f.takes(path))
    return ours(path) or next(fits, None)


def suffixes() -> tuple[str, ...]:
    """The suffixes of all label files that are read."""
    return tuple(dict.fromkeys(s for f in FORMATS.values() for s in f.suffixes))


def all_options() -> dict[str, tuple[Setting, list[Format]]]:
    """The options of all formats by name, and which formats have them."""
    found: dict[str, tuple[Setting, list[Format]]] = {}
    for one in FORMATS.values():
        for told in declared(one.options) if one.options else ():
            found.setdefault(told.name, (told, []))[1].append(one)
    return found


def own_options(format_name: str, given: Mapping[str, str]) -> Any:
    """The format's own options with what was typed for some of them; None where it has none.

    Options of other formats are checked, too, and left out. Raises JobError for a value that does
    not fit.
    """
    chosen, known = named(format_name), all_options()
    made = chosen.options() if chosen.options else None
    for name, text in given.items():
        formats = known[name][1]
        kind = (chosen if chosen in formats else formats[0]).options
        value = {name: said(kind, name, text)}
        if chosen in formats:
            made = changed(made, value)
        else:
            changed(kind(), value)
    return made


__all__ = [
    "FORMATS",
    "ClassReceipt",
    "Format",
    "LabelImage",
    "Options",
    "Receipt",
    "all_options",
    "export",
    "format_of",
    "named",
    "ours",
    "own_options",
    "suffixes",
    "target",
    "total",
]
