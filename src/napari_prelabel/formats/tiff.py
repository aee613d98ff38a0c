"""TIFF: uint16 ids, the table of classes as JSON in the description, the pixel size kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile

from ..values.errors import FileFormatError, PrelabelError
from ..values.labels import Ids, one_channel
from ..values.vocabulary import IGNORE, Vocabulary
from . import provenance
from .atomic import refuse_existing
from .format import Format
from .one_image import only, put, subjects, with_classes
from .subject import Subject
from .table import (
    BEGINNING,
    KIND,
    MAX_FILE,
    begins,
    check_pixels,
    dump,
    from_table,
    parse_json,
    to_table,
)
from .values import LabelImage, Options, Receipt

_HIGHEST = 2**32 - 1
# Lengths that TIFF can express, in centimetres.
_CENTIMETRES = {
    "nm": 1e-7,
    "nanometer": 1e-7,
    "um": 1e-4,
    "µm": 1e-4,
    "μm": 1e-4,
    "micron": 1e-4,
    "micrometer": 1e-4,
    "mm": 0.1,
    "millimeter": 0.1,
    "cm": 1.0,
    "centimeter": 1.0,
    "m": 100.0,
    "meter": 100.0,
}


def write_tiff(images: Sequence[LabelImage], path: Path, options: Options) -> Receipt:
    """Write one label map or stack (..., Y, X) as deflated uint16 pages; 0 unlabelled, 65535
    ignore. FileFormatError for files that exist."""
    image = only(images, path, stacks=True)
    refuse_existing(path, options.overwrite)
    said = provenance.told(image)
    facts = to_table(image) | said
    description = dump(facts, path, indent=None, ascii_only=True).decode().strip()
    resolution, unit = _resolution(image)

    def fill(file: BinaryIO) -> None:
        tifffile.imwrite(
            file,
            image.ids,
            photometric="minisblack",
            compression="zlib",
            metadata=None,
            description=description,
            resolution=resolution,
            resolutionunit=unit,
            software="napari-prelabel",
            bigtiff=image.ids.nbytes > 2**31,
        )

    return put(image, path, said, {path: fill}, options, read_tiff)


def read_tiff(path: Path, vocabulary: Vocabulary | None = None) -> tuple[LabelImage]:
    """Read a label TIFF with its own table of classes, or with a vocabulary.

    Raises FileFormatError for damaged files, colour pictures and numbers that are no ids.
    """
    values, description = _pages(path, wanted=vocabulary is None)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    if not _are_ids(values):
        raise FileFormatError(
            path,
            f"{path} holds {values.dtype} of shape {values.shape}, not a map of ids 0..65535: save "
            "one channel of whole numbers, a number for each class.",
        )
    ids: Ids = values.astype(np.uint16)
    if vocabulary is not None:
        return (with_classes(ids, vocabulary, lambda: _own_table(description, path), path),)
    table = parse_json(description, path)
    shape = table.get("shape") if isinstance(table, dict) else None
    if isinstance(shape, list) and _same_size(shape, ids):
        ids = ids.reshape(shape)
    return (provenance.restored_alone(from_table(table, ids, path, path.stem), table, path),)


def _own_table(description: str, path: Path) -> Any:
    """The table in a description, None where it holds none of ours."""
    return parse_json(description, path) if KIND in description else None


def pixels(path: Path) -> np.ndarray[Any, Any]:
    """The values of a TIFF, (Y, X) or a stack; raises FileFormatError.

    Colours must be greys; whole numbers that are stored as floats are integers.
    """
    return _pages(path, wanted=False)[0]


def _whole(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Numbers with a decimal point that are whole and no less than 0, as integers."""
    if not np.issubdtype(values.dtype, np.floating) or not values.size:
        return values
    fit = np.isfinite(values).all() and values.min() >= 0 and values.max() <= _HIGHEST
    return values.astype(np.uint32) if fit and (values == np.floor(values)).all() else values


def _are_ids(values: np.ndarray[Any, Any]) -> bool:
    if not np.issubdtype(values.dtype, np.integer) or values.ndim < 2 or not values.size:
        return False
    return bool(values.min() >= 0 and values.max() <= IGNORE)


def _same_size(shape: list[Any], ids: Ids) -> bool:
    """Whether a table's shape holds the same pixels: tifffile drops axes of length 1."""
    plain = all(type(n) is int and n > 0 for n in shape)
    return plain and [n for n in shape if n > 1] == [n for n in ids.shape if n > 1]


def recognises_tiff(path: Path) -> bool:
    """Whether a TIFF begins with a table of ours; reads no pixels."""
    return begins(path, r"\A(II[*+]\x00|MM\x00[*+])") and begins(path, BEGINNING)


def subjects_tiff(path: Path, vocabulary: Vocabulary | None = None) -> dict[str, Subject]:
    """Whose labels a TIFF holds."""
    del vocabulary

    def table() -> Any:
        with tifffile.TiffFile(path) as file:
            return parse_json(file.pages[0].description, path)

    return subjects(table, path) if recognises_tiff(path) else {}


def _pages(path: Path, wanted: bool) -> tuple[np.ndarray[Any, Any], str]:
    """The pixels and the description, which must hold a table of ours where it is `wanted`."""
    try:
        with tifffile.TiffFile(path) as file:
            page = file.pages[0]
            if wanted and KIND not in page.description:
                raise FileFormatError(
                    path,
                    f"{path} holds no table of classes: choose the vocabulary it was made with.",
                )
            check_pixels(path, file.series[0].size, MAX_FILE, "cut the stack into parts")
            values = file.asarray()
            if page.photometric == tifffile.PHOTOMETRIC.RGB or page.samplesperpixel > 1:
                last = page.planarconfig == tifffile.PLANARCONFIG.CONTIG
                values = one_channel(values if last else np.moveaxis(values, 0, -1))
                if values is None:
                    raise FileFormatError(path, f"{path} is a colour picture, not a label map.")
            return _whole(values), page.description
    except PrelabelError:
        raise
    except FileNotFoundError as error:
        raise FileFormatError(path, f"{path} is not there.") from error
    except MemoryError as error:
        raise FileFormatError(path, f"{path} does not fit into memory.") from error
    except Exception as error:  # every codec has errors of its own
        raise FileFormatError(path, f"{path} is damaged or no TIFF: {error}.") from error


def _resolution(image: LabelImage) -> tuple[tuple[float, float] | None, str | None]:
    """Pixels per unit along (X, Y), TIFF's order, and its unit."""
    if image.scale is None:
        return None, None
    y, x = image.scale
    factor = _CENTIMETRES.get(image.unit.casefold())
    if factor is None:
        return (1 / x, 1 / y), "NONE"
    return (1 / (x * factor), 1 / (y * factor)), "CENTIMETER"


FORMAT = Format(
    "tiff",
    "TIFF, also stacks",
    "TIFF: ids, names and pixel size in one file; holds stacks.",
    "TIFF with names",
    ".tif",
    write_tiff,
    read_tiff,
    recognises_tiff,
    subjects_tiff,
    (".tif", ".tiff"),
    stacks=True,
    values=pixels,
)
