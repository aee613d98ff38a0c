"""Label maps as files: a table of formats, each a pair of write and read, and one `export`.

>>> receipt = export([LabelImage(ids, vocabulary, "img")], folder, "png")  # doctest: +SKIP
>>> print(*receipt.lines(), sep="\\n")  # doctest: +SKIP
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..values.errors import FileFormatError
from ..values.vocabulary import Vocabulary
from .coco import read_coco, recognises_coco, subjects_coco, write_coco
from .png import read_png, recognises_png, subjects_png, whole_png, write_png
from .subject import Subject
from .table import safe_name
from .tiff import read_tiff, recognises_tiff, subjects_tiff, write_tiff
from .values import (
    Annotation,
    ClassReceipt,
    LabelImage,
    Options,
    Receipt,
    Segmentation,
    total,
)

Write = Callable[[Sequence[LabelImage], Path, Options], Receipt]
Read = Callable[[Path, Vocabulary | None], tuple[LabelImage, ...]]


@dataclass(frozen=True, slots=True)
class Format:
    """One file format.

    title : as a chooser shows it.
    suffix : of the files, with its dot.
    write : images, path, options -> what a reader finds; png and tiff take one image a file.
    read : path, vocabulary or None -> the images of the file.
    recognises : whether a file of this suffix is ours, from its first bytes alone; never raises.
    subjects : path, vocabulary -> whose labels the file holds, by file name, without reading
        pixels; none where there is no table of ours. Raises for a shared file of other classes.
    suffixes : of all files that belong to one name.
    whole : whether the files of one name are there and belong together.
    file : name of the one file for all images of a folder, "" for one file an image.
    stacks : whether a (T, Y, X) stack fits into one file.
    """

    name: str
    title: str
    suffix: str
    write: Write
    read: Read
    recognises: Callable[[Path], bool]
    subjects: Callable[[Path, Vocabulary], dict[str, Subject]]
    suffixes: tuple[str, ...] = ()
    whole: Callable[[Path], bool] = Path.exists
    file: str = ""
    stacks: bool = False


FORMATS: dict[str, Format] = {
    "png": Format(
        "png",
        "PNG, indexed colours",
        ".png",
        write_png,
        read_png,
        recognises_png,
        subjects_png,
        (".png", ".labels.json"),
        whole_png,
    ),
    "tiff": Format(
        "tiff",
        "TIFF, also stacks",
        ".tif",
        write_tiff,
        read_tiff,
        recognises_tiff,
        subjects_tiff,
        (".tif",),
        stacks=True,
    ),
    "coco": Format(
        "coco",
        "COCO instances",
        ".json",
        write_coco,
        read_coco,
        recognises_coco,
        subjects_coco,
        file="instances.json",
    ),
}


def export(
    images: Iterable[LabelImage], folder: Path, format_name: str, options: Options | None = None
) -> Receipt:
    """Write label images into a folder, read them back and compare.

    Stacks are cut into planes where the format cannot hold them. Raises FileFormatError for an
    unknown format, a name outside the folder and files that exist.
    """
    chosen = _chosen(format_name)
    options = options or Options()
    wanted = list(images) if chosen.stacks else [p for image in images for p in image.planes()]
    if not wanted:
        raise FileFormatError(folder, "There is nothing to export: run or open a label map first.")
    if chosen.file:
        return chosen.write(wanted, folder / chosen.file, options)
    return total(chosen.write([i], target(folder, format_name, i.name), options) for i in wanted)


def target(folder: Path, format_name: str, name: str) -> Path:
    """The file that `export` writes for the image of this name."""
    chosen = _chosen(format_name)
    if chosen.file:
        return folder / chosen.file
    plain = safe_name(name, folder)
    return folder / f"{plain}{chosen.suffix}"


def _chosen(format_name: str) -> Format:
    if format_name not in FORMATS:
        raise FileFormatError(
            format_name, f"{format_name!r} is no format: choose one of {', '.join(FORMATS)}."
        )
    return FORMATS[format_name]


__all__ = [
    "FORMATS",
    "Annotation",
    "ClassReceipt",
    "Format",
    "LabelImage",
    "Options",
    "Receipt",
    "Segmentation",
    "export",
    "target",
    "total",
]
