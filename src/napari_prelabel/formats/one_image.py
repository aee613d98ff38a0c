"""What formats of one image a file have in common: what they take, and writing with a receipt."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..values.errors import FileFormatError
from ..values.labels import Ids
from ..values.vocabulary import Vocabulary
from . import provenance
from .atomic import Fill, write_together
from .receipt import compare
from .subject import Subject, subject_of
from .table import MAX_FILE, MAX_PLANE, check_pixels, label_image
from .values import LabelImage, Options, Receipt


def only(images: Sequence[LabelImage], path: Path, *, stacks: bool = False) -> LabelImage:
    """The one image, (Y, X) or with `stacks` (..., Y, X); FileFormatError for what does not fit."""
    kind = "one image or stack" if stacks else "one (Y, X) map"
    if len(images) != 1 or (images[0].ids.ndim != 2 and not stacks):
        raise FileFormatError(
            path, f"{path}: such a file holds {kind}; export several into a folder."
        )
    cure = "cut the stack into parts" if stacks else "cut the image into tiles, or write a TIFF"
    check_pixels(path, images[0].ids.size, MAX_FILE if stacks else MAX_PLANE, cure)
    return images[0]


def put(
    image: LabelImage,
    path: Path,
    said: Mapping[str, str],
    parts: Mapping[Path, Fill],
    options: Options,
    read: Callable[[Path], tuple[LabelImage]],
    notices: tuple[str, ...] = (),
) -> Receipt:
    """Write the files of an image and its provenance together, and compare what is read back.

    said : of its provenance, as `provenance.told` says it. parts : what is written, the file at
    `path` last. Raises FileFormatError where one is there and is not to be replaced.
    """
    whose = provenance.document(provenance.entries_of([(image, said)]), path)
    write_together({**whose, **parts}, overwrite=options.overwrite)
    if not whose:
        provenance.forget(path)
    (back,) = read(path)
    rows = compare(image.ids, back.ids, image.vocabulary)
    return Receipt((*reversed(list(parts)), *whose), 1, rows, notices=notices)


def with_classes(
    ids: Ids, vocabulary: Vocabulary, table: Callable[[], Any], path: Path
) -> LabelImage:
    """Ids of a file under classes that were chosen; `table` gives what is told in it or beside it,
    None where nothing of ours is. Raises FileFormatError where the ids are not of these classes."""
    try:
        told = table()
    except FileFormatError:
        told = None
    image = label_image(ids, vocabulary, path, name=path.stem, source=path.name)
    return provenance.restored_alone(image, told, path)


def subjects(table: Callable[[], Any], path: Path) -> dict[str, Subject]:
    """The image that the labels of a file are of, by its name; none where `table`, which gives what
    is told of it, has nothing or fails, whatever is wrong with the file."""
    try:
        subject = subject_of(table(), path)
    except Exception:
        return {}
    return {subject.image: subject} if subject else {}
