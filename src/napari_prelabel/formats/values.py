"""What is exported, how it may be written, and the receipt of what a reader finds in the file."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import astuple, dataclass, field, replace
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from ..values.errors import ImageError
from ..values.labels import MODEL, Ids, LabelMap, Provenance
from ..values.names import plane_name, plane_source
from ..values.vocabulary import IGNORE, UNLABELLED, Vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class LabelImage:
    """The label map of one image (or stack), ready for a file.

    ids : (..., Y, X) uint16, ids of the vocabulary; 0 unlabelled, 65535 ignore. Any integer
        type is taken and converted.
    name : name of the output without its suffix; a `/` makes a folder.
    source : file name of the image that was labelled; `name` + ".png" where none is given.
    scale : size of a pixel along (Y, X), in `unit`.
    record : how the labels came about; plain JSON values.
    content : SHA-256 of the image's file, "" where it is not known.
    place : digits that tell the path of the image's file from others, "" likewise.
    plane : (number, count) of a plane that was cut out of a stack.
    provenance : (..., Y, X) uint8, who each pixel is of (values/labels.py); None: not known.
    doubt : a sentence on a provenance that was read and does not fit; "" otherwise.

    Raises ImageError when the ids are not a map of this vocabulary, or the provenance not theirs.
    """

    ids: Ids
    vocabulary: Vocabulary
    name: str
    source: str = ""
    scale: tuple[float, float] | None = None
    unit: str = "pixel"
    record: Mapping[str, Any] = field(default_factory=dict)
    content: str = ""
    place: str = ""
    plane: tuple[int, int] | None = None
    provenance: Provenance | None = None
    doubt: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", _checked(np.asarray(self.ids), self.vocabulary))
        object.__setattr__(self, "source", self.source or f"{self.name}.png")
        if self.provenance is not None and self.provenance.shape != self.ids.shape:
            raise ImageError(
                f"A provenance of {self.provenance.shape} pixels is not that of a label map of "
                f"{self.ids.shape}."
            )

    @classmethod
    def of(
        cls, result: LabelMap, name: str, source: str = "", shape: tuple[int, int] | None = None
    ) -> "LabelImage":
        """From a result of the engine; `shape` (Y, X) puts the result of a region into the
        whole image, unlabelled elsewhere. Every pixel is the model's."""
        ids = result.ids
        if shape is not None:
            (y, x), (h, w) = result.origin, ids.shape
            if y + h > shape[0] or x + w > shape[1]:
                raise ImageError(
                    f"A result of {h} x {w} pixels at ({y}, {x}) does not fit into an image of "
                    f"{shape[0]} x {shape[1]}."
                )
            ids = np.full(shape, UNLABELLED, np.uint16)
            ids[y : y + h, x : x + w] = result.ids
        owner = np.broadcast_to(np.uint8(MODEL), ids.shape)
        record = dict(result.record)
        return cls(ids, result.vocabulary, name, source, record=record, provenance=owner)

    def planes(self) -> Iterator["LabelImage"]:
        """The image itself, or each (Y, X) plane of a stack under `name_t0000`, `name_t0001`."""
        if self.ids.ndim == 2:
            yield self
            return
        shape = (-1, *self.ids.shape[-2:])
        flat, owners = self.ids.reshape(shape), self.provenance
        whose = [None] * len(flat) if owners is None else owners.reshape(shape)
        for number, (plane, owner) in enumerate(zip(flat, whose, strict=True)):
            yield replace(self, ids=plane, provenance=owner).numbered(number, len(flat))

    def numbered(self, number: int, count: int) -> "LabelImage":
        """The image under the name of this plane of a stack of `count`."""
        name, source = plane_name(self.name, number), plane_source(self.source, number)
        return replace(self, name=name, source=source, plane=(number, count))


@dataclass(frozen=True, slots=True)
class Options:
    """How to write.

    overwrite : replace what is already there.
    anew : a file of many images is begun again, and what it held goes.
    own : the format's own options, a value of `Format.options`; None takes the standard ones.
    """

    overwrite: bool = False
    anew: bool = False
    own: Any = None


@dataclass(frozen=True, slots=True)
class ClassReceipt:
    """One class before writing and after reading back; all counts but `id` in pixels or pieces.

    written, read : pixels of the class in the map and in the file.
    lost, gained : pixels of the class that are not of it in the file, and the reverse.
    holes_lost : holes of the class that are closed in the file.
    parts_lost : connected parts of the class without any pixel in the file.
    """

    id: int
    name: str
    written: int
    read: int
    lost: int = 0
    gained: int = 0
    holes_lost: int = 0
    parts_lost: int = 0


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a reader finds in the written files, compared with what was to be written.

    overlaps : pixels that more than one annotation claimed; the smaller one took them.
    """

    paths: tuple[Path, ...] = ()
    images: int = 0
    classes: tuple[ClassReceipt, ...] = ()
    overlaps: int = 0
    notices: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether every pixel came back as it was."""
        return not any(c.lost or c.gained for c in self.classes)

    def lines(self) -> list[str]:
        """The receipt in sentences: a summary, then every class that lost something."""
        files = f"{len(self.paths)} file" + ("s" if len(self.paths) != 1 else "")
        images = f"{self.images} image" + ("s" if self.images != 1 else "")
        state = "every pixel is as on the screen" if self.exact else "some pixels changed"
        text = [f"{images} in {files}, read back and compared: {state}."]
        for c in self.classes:
            if c.lost or c.gained:
                text.append(
                    f"{c.name}: {c.written} pixels written, {c.read} read, {c.lost} lost, "
                    f"{c.gained} gained, {c.holes_lost} holes lost, {c.parts_lost} parts dropped."
                )
        if self.overlaps:
            text.append(f"{self.overlaps} pixels were claimed twice; the smaller region has them.")
        return [*text, *self.notices]


def total(receipts: Iterable[Receipt]) -> Receipt:
    """One receipt for several."""
    paths: dict[Path, None] = {}
    notices: dict[str, None] = {}
    rows: dict[tuple[int, str], ClassReceipt] = {}
    images = overlaps = 0
    for receipt in receipts:
        paths |= dict.fromkeys(receipt.paths)
        notices |= dict.fromkeys(receipt.notices)
        images += receipt.images
        overlaps += receipt.overlaps
        for row in receipt.classes:
            seen = rows.get((row.id, row.name))
            rows[row.id, row.name] = row if seen is None else _sum(seen, row)
    classes = tuple(rows[key] for key in sorted(rows))
    return Receipt(tuple(paths), images, classes, overlaps, tuple(notices))


def _sum(a: ClassReceipt, b: ClassReceipt) -> ClassReceipt:
    (_, _, *ours), (_, _, *more) = astuple(a), astuple(b)
    return ClassReceipt(a.id, a.name, *map(add, ours, more))


def _checked(ids: np.ndarray[Any, Any], vocabulary: Vocabulary) -> Ids:
    if ids.ndim < 2 or not ids.size:
        raise ImageError(f"A label map needs at least one row and one column, not {ids.shape}.")
    if not np.issubdtype(ids.dtype, np.integer):
        raise ImageError(f"A label map holds whole numbers, not {ids.dtype}.")
    known = (ids >= 0) & (ids <= len(vocabulary.classes)) | (ids == IGNORE)
    if not known.all():
        raise ImageError(
            f"The label map holds id {int(ids[~known][0])}, but its table has "
            f"{len(vocabulary.classes)} classes: choose the vocabulary it was made with."
        )
    return np.ascontiguousarray(ids, np.uint16)
