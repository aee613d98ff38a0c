"""Who each pixel of written labels comes from: a word in their table, or a file beside them.

Where all pixels are of one origin the table names it. Otherwise it says "mixed", and beside the
labels lies `<file name>.prov`, JSON of its own: for each image the digest of its ids and one byte a
pixel, deflated. Both count only for the very pixels they were written with.
"""

import base64
import hashlib
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..values.errors import FileFormatError, ImageError
from ..values.labels import HUMAN, IMPORTED, MODEL, REVIEWED, Ids, Provenance
from .table import begins, dump, parse_json
from .values import LabelImage

SUFFIX = ".prov"
KIND = "napari-prelabel provenance"
SCHEMA = 1
WORDS = {"model": MODEL, "human": HUMAN, "imported": IMPORTED, "reviewed": REVIEWED}
MIXED = "mixed"
_NAMES = {value: word for word, value in WORDS.items()}
_BEGINNING = rf'\A\s*\{{\s*"format"\s*:\s*"{KIND}"'
# What an entry takes besides its pixels, at most.
_OVERHEAD = 1 << 16

Entries = dict[str, dict[str, Any]]


def beside(path: Path) -> Path:
    """Where the provenance of a file of labels lies: all of its name, and ".prov"."""
    return path.with_name(f"{path.name}{SUFFIX}")


def digest(ids: Ids) -> str:
    """SHA-256 of the size and the ids of a map; axes of length 1 make no difference."""
    told = hashlib.sha256(repr([n for n in ids.shape if n > 1]).encode())
    told.update(np.ascontiguousarray(ids, "<u2").data)
    return told.hexdigest()


def word_of(provenance: Provenance | None) -> str:
    """The origin that all pixels share, "mixed" where they share none, "" for None.

    Raises ImageError for values that are none of `WORDS`.
    """
    if provenance is None:
        return ""
    whole = provenance if any(provenance.strides) else provenance.reshape(-1)[:1]
    low, high = int(whole.min()), int(whole.max())
    if high > REVIEWED:
        raise ImageError(f"A provenance has values from 0 to {REVIEWED}, not {high}.")
    return _NAMES[low] if low == high else MIXED


def told(image: LabelImage, as_read: Ids | None = None) -> dict[str, str]:
    """What the table of labels says of their provenance; nothing where it is not known.

    as_read : the ids that a reader of the file finds, where they differ from the image's.
    """
    word = word_of(image.provenance)
    ids = image.ids if as_read is None else as_read
    return {"whose": word, "pixels": digest(ids)} if word else {}


def entries_of(images: Iterable[tuple[LabelImage, Mapping[str, Any]]]) -> Entries:
    """The entries of those images, each with what `told` says of it, that are of mixed origin."""
    return {
        image.source: {
            "image": image.source,
            "shape": list(image.ids.shape),
            "pixels": said["pixels"],
            "values": _packed(image.provenance),
        }
        for image, said in images
        if said.get("whose") == MIXED and image.provenance is not None
    }


def document(entries: Entries, path: Path) -> dict[Path, bytes]:
    """The file beside the labels of `path` and its bytes; empty without entries.

    FileFormatError where a file of others lies in its place.
    """
    if not entries:
        return {}
    file = beside(path)
    if file.exists() and not there(path):
        raise FileFormatError(file, f"{file} is no provenance of ours: choose another name.")
    head = {
        "format": KIND,
        "schema": SCHEMA,
        "meaning": {str(value): word for word, value in WORDS.items()},
        "encoding": "base64 of zlib, one byte a pixel, row by row",
    }
    return {file: dump({**head, "images": list(entries.values())}, file, indent=None)}


def there(path: Path) -> tuple[Path, ...]:
    """The file of ours beside the labels of `path`, if there is one."""
    file = beside(path)
    return (file,) if begins(file, _BEGINNING) else ()


def forget(path: Path) -> None:
    """Delete the file beside labels that have no need of it any more; one of others stays."""
    for file in there(path):
        file.unlink(missing_ok=True)


def entries_beside(path: Path, pixels: int, images: int = 1) -> Entries | None:
    """The entries beside the labels of `path`, by image; None where they cannot be read.

    pixels, images : of the labels in all; a file that is larger than these can fill is not read.
    """
    file = beside(path)
    try:
        if not there(path) or file.stat().st_size > 2 * pixels + _OVERHEAD * images:
            return None
        data = parse_json(file.read_bytes(), file)
    except (OSError, FileFormatError):
        return None
    listed = data.get("images")
    if data.get("schema") != SCHEMA or not isinstance(listed, list):
        return None
    named = [e for e in listed if isinstance(e, dict) and isinstance(e.get("image"), str)]
    return {entry["image"]: entry for entry in named}


def restored(image: LabelImage, table: Any, path: Path, entries: Entries | None) -> LabelImage:
    """The image with the provenance that its table, and the file beside it, tell.

    Without a word in the table none is known. What does not fit these very pixels is ignored, and
    `doubt` of the image says so in one sentence.

    table : of the image, a dict or anything else. entries : see `entries_beside`.
    """
    if not isinstance(table, dict) or "whose" not in table:
        return image
    word, own = table["whose"], digest(image.ids)
    if table.get("pixels") != own or word not in (*WORDS, MIXED):
        return _doubted(image, f"{path.name} was changed after it was exported")
    if word != MIXED:
        return replace(image, provenance=np.broadcast_to(np.uint8(WORDS[word]), image.ids.shape))
    file = beside(path)
    if entries is None:
        what = "is damaged" if file.exists() else "is missing"
        return _doubted(image, f"{file.name}, which says whose its pixels are, {what}")
    entry = entries.get(image.source, {})
    values = _unpacked(entry, image.ids.shape) if entry.get("pixels") == own else None
    if values is None:
        return _doubted(image, f"{file.name} does not fit the labels of {image.source}")
    return replace(image, provenance=values)


def restored_alone(image: LabelImage, table: Any, path: Path) -> LabelImage:
    """As `restored`, for a file that holds the labels of one image, whatever it is called."""
    entries = None
    if isinstance(table, dict) and table.get("whose") == MIXED:
        entries = entries_beside(path, image.ids.size)
    if entries is not None:
        entries = dict.fromkeys([image.source], next(iter(entries.values()), {}))
    return restored(image, table, path, entries)


def _doubted(image: LabelImage, why: str) -> LabelImage:
    return replace(image, doubt=f"{why}: all labels count as imported, and no run changes them.")


def _packed(provenance: Provenance) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(provenance).data, 6)).decode()


def _unpacked(entry: Mapping[str, Any], shape: tuple[int, ...]) -> npt.NDArray[np.uint8] | None:
    """The pixels of an entry; None where they are damaged or of another size."""
    count = int(np.prod(shape, dtype=np.int64))
    unzip = zlib.decompressobj()
    try:
        content = unzip.decompress(base64.b64decode(entry["values"], validate=True), count + 1)
    except (KeyError, TypeError, ValueError, zlib.error):
        return None
    values = np.frombuffer(content, np.uint8)
    if len(values) != count or not unzip.eof or values.max(initial=0) > REVIEWED:
        return None
    return values.reshape(shape)
