"""The table of classes that travels with every label file, as JSON; and reading JSON safely."""

import json
import math
import re
import reprlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..values.errors import FileFormatError, ImageError, VocabularyError
from ..values.labels import Ids, read_record
from ..values.vocabulary import IGNORE, UNLABELLED, Vocabulary
from .values import LabelImage

SCHEMA = 1
KIND = "napari-prelabel labels"
# Pixels of one plane, and of one file that is opened in whole.
MAX_PLANE = 1 << 29
MAX_FILE = 1 << 31
# Bytes that `begins` looks at.
_PREFIX = 1 << 16
_DIGITS = re.compile(r"[0-9a-f]{16,128}")
_SHORT = reprlib.Repr()
_SHORT.maxlevel = 2
# How a table of ours begins, in a file of its own and inside others.
BEGINNING = rf'"format"\s*:\s*"{KIND}"'


def shown(value: Any) -> str:
    """A value out of a file as a sentence names it: short, whatever it is."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no whole numbers of thousands of digits
        return "a number without end"


def to_table(image: LabelImage, ignore: int = IGNORE) -> dict[str, Any]:
    """Everything but the pixels: ids, names, colours, synonyms, scale and record."""
    vocabulary = image.vocabulary
    classes = [
        {"id": c.id, **entry, "colour": "#{:02x}{:02x}{:02x}".format(*c.rgb)}
        for c, entry in zip(vocabulary.classes, vocabulary.to_dict()["classes"], strict=True)
    ]
    return {
        "format": KIND,
        "schema": SCHEMA,
        "image": image.source,
        "shape": list(image.ids.shape),
        "unlabelled": UNLABELLED,
        "ignore": ignore,
        "scale": list(image.scale) if image.scale else None,
        "unit": image.unit,
        "classes": classes,
        "background": list(vocabulary.background),
        "record": dict(image.record),
        **identity(image),
    }


def identity(image: LabelImage) -> dict[str, Any]:
    """What a table says of which image the labels are, besides its file name."""
    plane = list(image.plane) if image.plane else None
    told = {"content": image.content, "place": image.place, "plane": plane}
    return {key: value for key, value in told.items() if value}


def read_identity(data: Mapping[str, Any]) -> dict[str, Any]:
    """What `identity` wrote, as fields of a label image; what is no such value is left out."""
    found: dict[str, Any] = {
        key: data[key]
        for key in ("content", "place")
        if isinstance(data.get(key), str) and _DIGITS.fullmatch(data[key])
    }
    plane = data.get("plane")
    if isinstance(plane, list) and [type(n) for n in plane] == [int, int]:
        number, count = plane
        if 0 <= number < count < MAX_PLANE:
            found["plane"] = (number, count)
    return found


def from_table(data: Any, ids: Ids, path: Path, name: str) -> LabelImage:
    """The label image of `ids` (..., Y, X) and its table; FileFormatError names what is wrong."""
    if not isinstance(data, dict) or data.get("format") != KIND:
        raise FileFormatError(path, f"{path} is not a table of classes of napari-prelabel.")
    if data.get("schema") != SCHEMA:
        raise FileFormatError(
            path,
            f"{path} has schema {shown(data.get('schema'))} but this version reads {SCHEMA}: "
            "export the labels again.",
        )
    if data.get("shape") != list(ids.shape):
        raise FileFormatError(
            path,
            f"{path} describes a map of {shown(data.get('shape'))} pixels but the file has "
            f"{list(ids.shape)}: export the labels again.",
        )
    source = own_name(data.get("image"), path)
    unit = data.get("unit")
    return label_image(
        ids,
        vocabulary_of(data, path),
        path,
        name=name,
        source=source,
        scale=read_scale(data.get("scale"), path),
        unit=unit if isinstance(unit, str) else "pixel",
        record=read_record(data),
        **read_identity(data),
    )


def vocabulary_of(data: Mapping[str, Any], path: Path) -> Vocabulary:
    """The vocabulary of a table; ids must run 1, 2, 3 ... in order."""
    entries = data.get("classes")
    listed = entries if isinstance(entries, list) else []
    if [e.get("id") if isinstance(e, dict) else None for e in listed] != list(
        range(1, len(listed) + 1)
    ):
        raise FileFormatError(path, f"{path}: the ids of its classes must run 1, 2, 3 ...")
    try:
        background = data.get("background")
        return Vocabulary.from_dict(
            {"classes": listed, "background": background if isinstance(background, list) else []}
        )
    except VocabularyError as error:
        raise FileFormatError(path, f"{path}: {error}") from error


def label_image(ids: Ids, vocabulary: Vocabulary, path: Path, **rest: Any) -> LabelImage:
    """A LabelImage whose complaints name the file."""
    try:
        return LabelImage(ids, vocabulary, **rest)
    except ImageError as error:
        raise FileFormatError(path, f"{path}: {error}") from error


def dump(
    data: Mapping[str, Any], path: Path, indent: int | None = 1, ascii_only: bool = False
) -> bytes:
    """JSON bytes; FileFormatError when a value of the record is no JSON."""
    try:
        text = json.dumps(data, ensure_ascii=ascii_only, indent=indent, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise FileFormatError(path, f"{path}: its record is not plain JSON ({error}).") from error
    return text.encode() + b"\n"


def read_json(path: Path) -> Any:
    """The JSON value of a file; one clear sentence when it is none."""
    try:
        return parse_json(path.read_bytes(), path)
    except OSError as error:
        raise FileFormatError(path, f"{path} cannot be read: {error.strerror or error}.") from error


def parse_json(text: bytes | str, path: Path) -> Any:
    """The JSON value of a text that came out of `path`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileFormatError(
            path, f"{path} is damaged: it holds no valid JSON ({error})."
        ) from error


def safe_name(name: Any, path: Path) -> str:
    """A file name out of a file: relative, inside its folder; else FileFormatError."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise FileFormatError(path, f"{path} names an image {shown(name)}, which is no file name.")
    plain = PurePosixPath(name.replace("\\", "/"))
    if not plain.parts or not _encodes(name):
        raise FileFormatError(path, f"{path} names an image {shown(name)}, which is no file name.")
    if plain.is_absolute() or PureWindowsPath(name).drive or ".." in plain.parts:
        raise FileFormatError(
            path, f"{path} names the image {shown(name)} outside its own folder, which is refused."
        )
    return plain.as_posix()


def own_name(name: Any, path: Path) -> str:
    """An image's file name out of a table of ours: backslash and colon are letters like others.

    Relative, inside its folder; else FileFormatError.
    """
    plain = name.replace("\\", "_").replace(":", "_") if isinstance(name, str) else name
    safe_name(plain, path)
    return str(name)


def read_scale(value: Any, path: Path) -> tuple[float, float] | None:
    """A pixel size (Y, X) out of a file; FileFormatError when it is none."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(map(_is_length, value)):
        raise FileFormatError(
            path, f"{path}: scale must be two lengths above 0, not {shown(value)}."
        )
    return float(value[0]), float(value[1])


def is_finite(value: Any) -> bool:
    """Whether a JSON value is a number that a float can hold."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:
        return False


def _is_length(value: Any) -> bool:
    # The reciprocal goes into a TIFF's resolution.
    return is_finite(value) and 1e-30 < value < 1e30


def _encodes(name: str) -> bool:
    """JSON can hold half a character, which no file system takes."""
    try:
        return bool(name.encode())
    except UnicodeEncodeError:
        return False


def begins(path: Path, pattern: str) -> bool:
    """Whether a pattern stands in the first 64 KiB of a file; False where it cannot be read."""
    try:
        with path.open("rb") as file:
            return re.search(pattern.encode(), file.read(_PREFIX)) is not None
    except OSError:
        return False


def check_pixels(path: Path, count: int, most: int, cure: str) -> None:
    """Raise FileFormatError with the limit and its cure when a file has too many pixels."""
    if count > most:
        raise FileFormatError(
            path,
            f"{path} has {count:,} pixels, more than the {most:,} such a file may have: {cure}.",
        )
