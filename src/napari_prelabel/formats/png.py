"""Indexed PNG: one byte a pixel, the classes' colours as palette, a table of classes beside it."""

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from ..values.colours import BLACK, distinct, rgb_of
from ..values.errors import FileFormatError
from ..values.labels import Ids, one_channel
from ..values.vocabulary import IGNORE, UNLABELLED, Vocabulary
from . import provenance
from .atomic import Fill, refuse_existing, write_atomic
from .format import Format
from .one_image import only, put, subjects, with_classes
from .subject import Subject
from .table import (
    BEGINNING,
    MAX_PLANE,
    begins,
    check_pixels,
    dump,
    from_table,
    read_json,
    to_table,
    vocabulary_of,
)
from .values import LabelImage, Options, Receipt

IGNORE_8 = 255
MAX_INDEXED = 254
TABLE = ".labels.json"
_MARK = "napari-prelabel classes"
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)


def table_path(path: Path) -> Path:
    """Where the table of classes of a PNG lies: `<stem>.labels.json`."""
    return path.with_name(f"{path.stem}{TABLE}")


def write_png(images: Sequence[LabelImage], path: Path, options: Options) -> Receipt:
    """Write one label map (Y, X): mode P with ids as in the vocabulary, 0 unlabelled, 255 ignore.

    More than 254 classes do not fit into a palette: the file is then 16-bit grey, 65535 ignore,
    and the receipt says so. FileFormatError for stacks and for files that exist.
    """
    image = only(images, path)
    table = table_path(path)
    for file in (path, table):
        refuse_existing(file, options.overwrite)
    if table.exists() and not begins(table, BEGINNING):
        raise FileFormatError(table, f"{table} is no table of ours: choose another name.")
    indexed = len(image.vocabulary.classes) <= MAX_INDEXED
    picture = _indexed(image) if indexed else Image.fromarray(image.ids)
    said = provenance.told(image)
    facts = to_table(image, IGNORE_8 if indexed else IGNORE) | said
    mark = PngInfo()
    mark.add_text(_MARK, _digest(image.vocabulary))
    save: Any = partial(picture.save, format="PNG", optimize=False, pnginfo=mark)

    def fill(file: BinaryIO) -> None:
        save(file)

    # The table goes first: a PNG that is there is complete.
    parts: dict[Path, Fill] = {table: dump(facts, path), path: fill}
    return put(image, path, said, parts, options, read_png, () if indexed else (_GREY,))


def write_plain(ids: Ids, path: Path) -> None:
    """Write ids (Y, X) uint16 as 16-bit grey without names, over a file and a table that exist."""
    named = recognises_png(path)

    def fill(file: BinaryIO) -> None:
        Image.fromarray(ids).save(file, format="PNG", compress_level=1)

    write_atomic(path, fill, overwrite=True)
    if named:
        table_path(path).unlink(missing_ok=True)
        provenance.forget(path)


_GREY = (
    f"More than {MAX_INDEXED} classes do not fit into a palette: the PNG is 16-bit grey, "
    "with the ids of the vocabulary and 65535 for ignore."
)


def read_png(path: Path, vocabulary: Vocabulary | None = None) -> tuple[LabelImage]:
    """Read a label PNG (palette, 8-bit or 16-bit grey) with its table, or with a vocabulary.

    255 of an 8-bit file becomes 65535 (ignore). Raises FileFormatError.
    """
    values, mark = pixels(path)
    ids: Ids = values.astype(np.uint16)
    if values.dtype == np.uint8:
        ids[values == IGNORE_8] = IGNORE
    beside = table_path(path)
    if vocabulary is not None:
        return (with_classes(ids, vocabulary, lambda: _table_beside(path), path),)
    if not beside.exists():
        raise FileFormatError(
            path,
            f"{path} has no {beside.name} beside it, so its ids have no names: "
            "choose the vocabulary it was made with.",
        )
    told = read_json(beside)
    image = from_table(told, ids, beside, path.stem)
    if mark not in (None, _digest(image.vocabulary)):
        raise FileFormatError(
            path,
            f"{path} and {beside.name} are of two different exports: export the labels again, or "
            "choose the vocabulary that the PNG was made with.",
        )
    return (provenance.restored_alone(image, told, path),)


def _table_beside(path: Path) -> Any:
    """The table of a PNG that is ours, None without one."""
    return read_json(table_path(path)) if recognises_png(path) else None


def recognises_png(path: Path) -> bool:
    """Whether a PNG has a table of ours beside it; reads no pixels."""
    return begins(path, r"\A\x89PNG") and begins(table_path(path), BEGINNING)


def subjects_png(path: Path, vocabulary: Vocabulary | None = None) -> dict[str, Subject]:
    """Whose labels the table beside a PNG is of, with the PNG or without it."""
    del vocabulary
    return subjects(lambda: read_json(table_path(path)), path)


def whole_png(path: Path) -> bool:
    """Whether a PNG is there and of the same export as its table; reads no pixels."""
    try:
        with path.open("rb") as file, PngImageFile(file) as picture:
            mark = picture.info.get(_MARK)
        told = read_json(table_path(path))
        return mark in (None, _digest(vocabulary_of(told, path)))
    except Exception:  # whatever is wrong with it, it is not whole
        return False


def _digest(vocabulary: Vocabulary) -> str:
    """What ties a PNG to its table: the names in the order of their ids."""
    return hashlib.sha256(json.dumps(vocabulary.names).encode()).hexdigest()


def palette(vocabulary: Vocabulary) -> list[int]:
    """768 values: colours of the classes, the default ones for the indices beyond, 255 included."""
    own = ["#{:02x}{:02x}{:02x}".format(*rgb) for rgb in vocabulary.palette()[1 : MAX_INDEXED + 1]]
    colours = [BLACK, *distinct([*own, *[""] * (255 - len(own))])]
    return [value for colour in colours for value in rgb_of(colour)]


def _indexed(image: LabelImage) -> Image.Image:
    ids = np.where(image.ids == IGNORE, IGNORE_8, image.ids).astype(np.uint8)
    picture = Image.fromarray(ids, mode="L")
    picture.putpalette(palette(image.vocabulary))
    return picture


def pixels(path: Path) -> tuple[npt.NDArray[Any], str | None]:
    """(Y, X) uint8 or uint16 values of a PNG, and what ties it to its table.

    Colours must be greys: red, green and blue alike.
    """
    try:
        # Image.open has a limit of its own, a third of ours.
        with path.open("rb") as file, PngImageFile(file) as picture:
            check_pixels(path, math.prod(picture.size), MAX_PLANE, "cut it into tiles")
            mode, mark = picture.mode, picture.info.get(_MARK)
            if mode == "1":
                return np.asarray(picture).astype(np.uint8), mark
            if mode in ("P", "L"):
                return np.asarray(picture, np.uint8), mark
            if mode in ("I;16", "I;16B", "I"):
                return np.asarray(picture).astype(np.uint16), mark
            if (grey := one_channel(_colours(picture, path))) is not None:
                return grey, mark
    except FileNotFoundError as error:
        raise FileFormatError(path, f"{path} is not there.") from error
    except MemoryError as error:
        raise FileFormatError(path, f"{path} does not fit into memory.") from error
    except _BROKEN as error:
        raise FileFormatError(path, f"{path} is damaged or no PNG: {error}.") from error
    raise FileFormatError(
        path,
        f"{path} is a colour picture (mode {mode}), not a label map: choose the indexed or grey "
        f"PNG. Pixels there must be ids from {UNLABELLED} up.",
    )


def _colours(picture: PngImageFile, path: Path) -> npt.NDArray[Any]:
    """(Y, X, C) of a picture in colours or with opacity; Pillow halves those of 16 bits."""
    if ";16" not in str(picture.tile[0][3]):
        return np.asarray(picture)
    import imagecodecs

    return np.asarray(imagecodecs.png_decode(path.read_bytes()))


FORMAT = Format(
    "png",
    "PNG, indexed colours",
    "PNG: a palette image in the classes' colours, and a table of the classes beside it.",
    "Indexed PNG with names",
    ".png",
    write_png,
    read_png,
    recognises_png,
    subjects_png,
    (".png",),
    beside=(TABLE,),
    opens=(f"*{TABLE}",),
    whole=whole_png,
    values=lambda path: pixels(path)[0],
    plain=write_plain,
    most=MAX_INDEXED,
)
