"""Vocabularies as files: our text, CSV and JSON; and the class lists that other tools write."""

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml  # type: ignore[import-untyped]
from PIL import ImageColor

from ..values.errors import FileFormatError, VocabularyError
from ..values.vocabulary import Vocabulary, key
from .atomic import write_atomic
from .coco_read import without_root
from .table import parse_json, shown

# LabelMe begins its lists with these two; they are no classes.
NO_CLASSES = {"__ignore__", "_background_"}
_COLUMNS = ("id", "name", "synonyms", "colour")
_NAMES = ("class", "label", "class_name", "class name", "label_name", "label name", "category")
_BACKGROUND = "-"


# An id before a name, as lists of other tools have it: "0 tree", "1. tree", "2: tree", "3,tree".
_NUMBERED = re.compile(r"\s*(\d{1,5})\s*[.):;,\s]\s*(\S.*)")


@dataclass(frozen=True, slots=True)
class Listed:
    """Classes as a list has them.

    ids : of the classes in their order where the list tells them, which label maps then hold; None
        where it tells none.
    """

    vocabulary: Vocabulary
    ids: tuple[int, ...] | None = None


def read_vocabulary(path: Path) -> Vocabulary:
    """The classes of a file; see `read_listed`."""
    return read_listed(path).vocabulary


def read_listed(path: Path) -> Listed:
    """Read classes from a file, by its suffix; the dock and the command line both ask here.

    ``.txt`` and ``.names`` are our text, or one name a line as YOLO and LabelMe write it, perhaps
    with ids before the names; ``.csv`` (apart by comma, semicolon or tab) has columns id, name,
    synonyms and colour; ``.json`` is ours, a saved job, CVAT's labels, COCO's categories or a list
    of names; ``.yaml`` is YOLO's data file with `names`; ``.xml`` is Label Studio's labelling
    interface or CVAT's annotations. Text is UTF-8 or UTF-16, with its mark or without.

    Raises FileFormatError naming the file, and the line where there is one.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise FileFormatError(
            path, f"{path} is no class file: its name must end in {', '.join(_READERS)}."
        )
    try:
        return reader(text_of(path), path)
    except VocabularyError as error:
        raise FileFormatError(path, f"{path}: {error}") from error


def text_of(path: Path) -> str:
    """The text of a class file; FileFormatError where it is none."""
    try:
        content = path.read_bytes()
        return content.decode(_encoding(content))
    except OSError as error:
        raise FileFormatError(path, f"{path} cannot be read: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise FileFormatError(
            path, f"{path} is no UTF-8 text: save it again with that encoding."
        ) from error


def _encoding(content: bytes) -> str:
    """UTF-16 without a mark is told by its zeros, which no list in UTF-8 has: line breaks and ASCII
    letters have theirs behind them, or before them."""
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    before, behind = content[::2].count(0), content[1::2].count(0)
    if before == behind:
        return "utf-8-sig"
    return "utf-16-le" if behind > before else "utf-16-be"


def numbered(found: Vocabulary) -> Listed:
    """Typed classes without the ids before their names, where all have one that counts up.

    Numbers that belong to the names stay: those that do not count up from 0 or 1, and those without
    which two names would be one ("1 euro coin", "2 euro coin"). A 0 before the first alone counts
    for all.
    """
    told = [_NUMBERED.fullmatch(c.name) for c in found.classes]
    ids = [int(t[1]) for t in told if t is not None]
    if ids == [0] and told[0] is not None:
        ids = list(range(len(told)))
    bare = [c.name if t is None else t[2] for c, t in zip(found.classes, told, strict=True)]
    if len(ids) < len(told) or len({key(n).rstrip("s") for n in bare}) < len(bare):
        return Listed(found)
    if not follow(ids):  # what begins with 0 is no name: a list with gaps, for label maps
        return Listed(found, tuple(ids) if ids[0] == 0 and ids == sorted(ids) else None)
    plain = (replace(c, name=name) for c, name in zip(found.classes, bare, strict=True))
    return Listed(Vocabulary(tuple(plain), found.background), tuple(ids))


def follow(ids: Sequence[int]) -> bool:
    """Whether ids run one after the other from 0 or 1."""
    return ids[0] in (0, 1) and list(ids) == list(range(ids[0], ids[0] + len(ids)))


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


def _read_text(content: str, path: Path) -> Listed:
    del path
    kept = ["" if line.strip() in NO_CLASSES else line for line in content.splitlines()]
    lines = [line for line in kept if line.strip()]
    told = [_NUMBERED.fullmatch(line) for line in lines]
    if all(told) and told and follow([int(t[1]) for t in told if t is not None]):
        # A colon or a comma behind the ids would begin synonyms.
        kept = [f"{t[1]} {t[2]}" for t in told if t is not None]
    return numbered(Vocabulary.parse("\n".join(kept)))


def _read_csv(content: str, path: Path) -> Listed:
    first = content.partition("\n")[0]
    apart = max(",;\t", key=first.count)
    try:
        table = [r for r in csv.reader(io.StringIO(content), delimiter=apart, skipinitialspace=True)
                 if any(cell.strip() for cell in r)]  # fmt: skip
    except csv.Error as error:
        raise FileFormatError(path, f"{path} is no table: {error}.") from error
    head = [cell.strip().casefold() for cell in table[0]] if table else []
    head = ["name" if cell in _NAMES and "name" not in head else cell for cell in head]
    if len(head) == 2 and head[0].isdecimal():  # ids and names, without a line that says so
        head, table = ["id", "name"], [[], *table]
    if "name" not in head or len(table) < 2:
        raise FileFormatError(
            path, f"{path} needs a first line with the column 'name' (of {', '.join(_COLUMNS)})."
        )
    rows = [dict(zip(head, row + [""] * len(head), strict=False)) for row in table[1:]]
    classes, ids = _by_id([r for r in rows if not _is_background(r)], path)
    within = "," if apart == ";" else ";"
    found = Vocabulary.from_dict(
        {
            "classes": [
                {
                    "name": row["name"],
                    "synonyms": [w for w in row.get("synonyms", "").split(within) if w.strip()],
                    "colour": (row.get("colour") or row.get("color") or "").strip(),
                }
                for row in classes
            ],
            "background": [r["name"] for r in rows if _is_background(r)],
        }
    )
    return Listed(found, ids)


def _by_id(
    rows: list[dict[str, str]], path: Path
) -> tuple[list[dict[str, str]], tuple[int, ...] | None]:
    """Rows in the order of their ids, and the ids; FileFormatError where they are none."""
    told = [row.get("id", "").strip() for row in rows]
    if not any(told):
        return rows, None
    if not all(t.isdecimal() for t in told) or len({int(t) for t in told}) < len(told):
        raise FileFormatError(
            path, f"{path}: the ids must be whole numbers, each once, or be left out."
        )
    rows = sorted(rows, key=lambda row: int(row["id"]))
    return rows, tuple(int(row["id"]) for row in rows)


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


def _read_json(content: str, path: Path) -> Listed:
    data = parse_json(content, path)
    if isinstance(data, list):
        return _listed(data, path)
    if isinstance(data, dict) and isinstance(data.get("vocabulary"), dict):
        data = data["vocabulary"]
    if isinstance(data, dict) and isinstance(data.get("label_config"), str):
        return _read_xml(data["label_config"], path)  # a project of Label Studio
    if isinstance(data, dict) and isinstance(data.get("classes"), list):
        if all(isinstance(entry, str) for entry in data["classes"]):
            return _listed(data["classes"], path)
        return Listed(Vocabulary.from_dict(data))
    for name in ("labels", "categories", "names"):
        entries = data.get(name) if isinstance(data, dict) else None
        if isinstance(entries, list):
            return _listed(without_root(entries, data.get("annotations")), path)
        if isinstance(entries, dict):
            return _mapped(entries, path)
    raise FileFormatError(
        path,
        f"{path} has no classes: it needs a list 'classes', 'labels', 'categories' or 'names'.",
    )


def _write_json(vocabulary: Vocabulary) -> str:
    return json.dumps(vocabulary.to_dict(), indent=2, ensure_ascii=False) + "\n"


def _read_yaml(content: str, path: Path) -> Listed:
    try:
        # All as it is written: no, 007 and 1e3 are names.
        data = yaml.load(content, yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise FileFormatError(path, f"{path} is damaged: it holds no valid YAML.") from error
    names = data.get("names") if isinstance(data, dict) else None
    if isinstance(names, dict):
        return _mapped(names, path)
    if not isinstance(names, list):
        raise FileFormatError(path, f"{path} has no list 'names' of classes.")
    return _listed(names, path)


def _read_xml(content: str, path: Path) -> Listed:
    """Label Studio's `<Label value background>`, once each, or CVAT's `<label><name><color>`."""
    if "<!DOCTYPE" in content or "<!ENTITY" in content:
        raise FileFormatError(path, f"{path} declares entities, which are not read: take them out.")
    try:
        root = ElementTree.fromstring(content.strip())
    except (ElementTree.ParseError, ValueError) as error:
        raise FileFormatError(path, f"{path} is damaged: it holds no valid XML.") from error
    told = [(e.get("value", ""), e.get("background", "")) for e in root.iter("Label")]
    told += [(e.findtext("name", ""), e.findtext("color", "")) for e in root.iter("label")]
    found: dict[str, str] = {}
    for name, colour in told:
        found[name] = found.get(name) or _colour(colour)
    names = [name for name in found if name.strip()]
    if not names:
        raise FileFormatError(
            path, f"{path} has no classes: it needs <Label value=…> or <label><name>…."
        )
    return _listed([{"name": name, "color": found[name]} for name in names], path)


def _colour(text: str) -> str:
    """A colour of a web page as "#rrggbb"; "" for what is none, or lets everything through."""
    told = re.sub(r"^rgba(\([^,)]*,[^,)]*,[^,)]*),[^)]*\)", r"rgb\1)", text.strip())
    try:
        return "#{:02x}{:02x}{:02x}".format(*ImageColor.getrgb(told)[:3])
    except ValueError:
        return ""


def _mapped(names: Mapping[Any, Any], path: Path) -> Listed:
    """Classes of a mapping id -> name, by their ids."""
    if not names or not all(str(k).strip().isdecimal() for k in names):
        raise FileFormatError(path, f"{path} has no list 'names' of classes.")
    entries = [{"id": int(k), "name": name} for k, name in names.items()]
    return _listed(entries, path)


def _listed(entries: Sequence[Any], path: Path) -> Listed:
    """Classes from names, or from objects with a name and perhaps an id and a colour."""
    with_ids = bool(entries) and all(
        isinstance(e, dict) and type(e.get("id")) is int for e in entries
    )
    if with_ids:
        entries = sorted(entries, key=lambda entry: int(entry["id"]))
    found = [(_entry(e, path), e["id"] if with_ids else 0) for e in entries]
    kept = [(c, i) for c, i in found if c["name"] not in NO_CLASSES]
    ids = tuple(i for _, i in kept) if with_ids else None
    return Listed(Vocabulary.from_dict({"classes": [c for c, _ in kept]}), ids or None)


def _entry(entry: Any, path: Path) -> Mapping[str, Any]:
    if isinstance(entry, str):
        return {"name": entry}
    if isinstance(entry, dict) and isinstance(entry.get("name"), str):
        colour = entry.get("color", entry.get("colour", ""))
        return {"name": entry["name"], "colour": colour if isinstance(colour, str) else ""}
    raise FileFormatError(path, f"{path}: {shown(entry)} is no class name.")


_READERS: dict[str, Callable[[str, Path], Listed]] = {
    ".txt": _read_text,
    ".names": _read_text,
    ".csv": _read_csv,
    ".json": _read_json,
    ".yaml": _read_yaml,
    ".yml": _read_yaml,
    ".xml": _read_xml,
}
SUFFIXES = tuple(_READERS)
_WRITERS: dict[str, Callable[[Vocabulary], str]] = {
    ".txt": Vocabulary.to_text,
    ".csv": _write_csv,
    ".json": _write_json,
}
