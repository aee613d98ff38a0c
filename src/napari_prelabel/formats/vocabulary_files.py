"""Vocabularies as files: our text, CSV and JSON; the class lists of YOLO, CVAT, LabelMe, COCO."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from ..errors import FileFormatError, VocabularyError
from ..vocabulary import Vocabulary
from .atomic import write_atomic
from .table import parse_json, shown

# LabelMe begins its lists with these two; they are no classes.
NO_CLASSES = {"__ignore__", "_background_"}
_COLUMNS = ("id", "name", "synonyms", "colour")
_BACKGROUND = "-"


def read_vocabulary(path: Path) -> Vocabulary:
    """Read classes from a file, by its suffix.

    ``.txt`` and ``.names`` are our text, or one name a line as YOLO and LabelMe write it;
    ``.csv`` has columns id, name, synonyms (separated by `;`) and colour; ``.json`` is ours, a
    saved job, CVAT's labels, COCO's categories or a list of names; ``.yaml`` is YOLO's data file
    with `names`.

    Raises FileFormatError naming the file, and the line where there is one.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise FileFormatError(
            path, f"{path} is no class file: its name must end in {', '.join(_READERS)}."
        )
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise FileFormatError(path, f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise FileFormatError(
            path, f"{path} is no UTF-8 text: save it again with that encoding."
        ) from error
    try:
        return reader(content, path)
    except VocabularyError as error:
        raise FileFormatError(path, f"{path}: {error}") from error


def write_vocabulary(path: Path, vocabulary: Vocabulary, *, overwrite: bool = False) -> None:
    """Write a vocabulary as ``.txt``, ``.csv`` or ``.json``.

    Describing sentences are kept by JSON only. Raises FileFormatError for another suffix and for
    a file that exists.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise FileFormatError(
            path, f"{path}: a vocabulary is written as {', '.join(_WRITERS)}: choose one of them."
        )
    write_atomic(path, writer(vocabulary).encode(), overwrite=overwrite)


def _read_text(content: str, path: Path) -> Vocabulary:
    del path
    kept = ["" if line.strip() in NO_CLASSES else line for line in content.splitlines()]
    return Vocabulary.parse("\n".join(kept))


def _read_csv(content: str, path: Path) -> Vocabulary:
    try:
        rows = list(csv.DictReader(io.StringIO(content), skipinitialspace=True))
    except csv.Error as error:
        raise FileFormatError(path, f"{path} is no table: {error}.") from error
    if not rows or "name" not in rows[0]:
        raise FileFormatError(
            path, f"{path} needs a first line with the column 'name' (of {', '.join(_COLUMNS)})."
        )
    classes = [r for r in rows if not _is_background(r)]
    numbers = [(row.get("id") or "").strip() for row in classes]
    if any(numbers) and numbers != [str(i) for i in range(1, len(numbers) + 1)]:
        raise FileFormatError(
            path, f"{path}: ids must run 1, 2, 3 ... in the order of the lines, or be left out."
        )
    return Vocabulary.from_dict(
        {
            "classes": [
                {
                    "name": row["name"],
                    "synonyms": [w for w in (row.get("synonyms") or "").split(";") if w.strip()],
                    "colour": (row.get("colour") or row.get("color") or "").strip(),
                }
                for row in classes
            ],
            "background": [r["name"] for r in rows if _is_background(r)],
        }
    )


def _is_background(row: Mapping[str, Any]) -> bool:
    return (row.get("id") or "").strip() == _BACKGROUND


def _write_csv(vocabulary: Vocabulary) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for c in vocabulary.classes:
        writer.writerow([c.id, c.name, "; ".join(c.synonyms), c.colour])
    for word in vocabulary.background:
        writer.writerow([_BACKGROUND, word, "", ""])
    return file.getvalue()


def _read_json(content: str, path: Path) -> Vocabulary:
    data = parse_json(content, path)
    if isinstance(data, list):
        return _listed(data, path)
    if isinstance(data, dict) and isinstance(data.get("vocabulary"), dict):
        data = data["vocabulary"]
    if isinstance(data, dict) and isinstance(data.get("classes"), list):
        return Vocabulary.from_dict(data)
    for key in ("labels", "categories", "names"):
        if isinstance(data, dict) and isinstance(data.get(key), list):
            return _listed(data[key], path)
    raise FileFormatError(
        path,
        f"{path} has no classes: it needs a list 'classes', 'labels', 'categories' or 'names'.",
    )


def _write_json(vocabulary: Vocabulary) -> str:
    return json.dumps(vocabulary.to_dict(), indent=2, ensure_ascii=False) + "\n"


class _Plain(yaml.SafeLoader):  # type: ignore[misc]
    """Takes no merge keys: no list of classes needs them, and nested ones grow without bound."""

    def flatten_mapping(self, node: Any) -> None:
        del node


def _read_yaml(content: str, path: Path) -> Vocabulary:
    try:
        data = yaml.load(content, _Plain)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise FileFormatError(path, f"{path} is damaged: it holds no valid YAML.") from error
    names = data.get("names") if isinstance(data, dict) else None
    if isinstance(names, dict) and all(type(key) is int for key in names):
        names = [names[key] for key in sorted(names)]
    if not isinstance(names, list):
        raise FileFormatError(path, f"{path} has no list 'names' of classes.")
    return _listed(names, path)


def _listed(entries: Sequence[Any], path: Path) -> Vocabulary:
    """Classes from names, or from objects with a name and perhaps an id and a colour."""
    if all(isinstance(e, dict) and type(e.get("id")) is int for e in entries):
        entries = sorted(entries, key=lambda entry: int(entry["id"]))
    classes = [_entry(entry, path) for entry in entries]
    return Vocabulary.from_dict({"classes": [c for c in classes if c["name"] not in NO_CLASSES]})


def _entry(entry: Any, path: Path) -> Mapping[str, Any]:
    if isinstance(entry, str):
        return {"name": entry}
    if isinstance(entry, dict) and isinstance(entry.get("name"), str):
        colour = entry.get("color", entry.get("colour", ""))
        return {"name": entry["name"], "colour": colour if isinstance(colour, str) else ""}
    raise FileFormatError(path, f"{path}: {shown(entry)} is no class name.")


_READERS: dict[str, Callable[[str, Path], Vocabulary]] = {
    ".txt": _read_text,
    ".names": _read_text,
    ".csv": _read_csv,
    ".json": _read_json,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
}
SUFFIXES = tuple(_READERS)
_WRITERS: dict[str, Callable[[Vocabulary], str]] = {
    ".txt": Vocabulary.to_text,
    ".csv": _write_csv,
    ".json": _write_json,
}
