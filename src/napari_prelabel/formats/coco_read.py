"""Reading COCO instances files that may come from anywhere: nothing in them is trusted."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..values.errors import FileFormatError, VocabularyError
from ..values.labels import Ids, read_record
from ..values.names import names_of
from ..values.vocabulary import IGNORE, Class, Vocabulary
from . import provenance
from .outlines import Indices, packed, pixels, rasterise
from .table import (
    KIND,
    MAX_FILE,
    MAX_PLANE,
    check_pixels,
    is_finite,
    label_image,
    own_name,
    read_identity,
    read_json,
    read_scale,
    safe_name,
    shown,
    vocabulary_of,
)
from .values import LabelImage

_LISTS = ("images", "annotations", "categories")


def read_document(path: Path) -> dict[str, Any]:
    """The JSON of an instances file with its lists checked; FileFormatError otherwise."""
    document = read_json(path)
    if not isinstance(document, dict) or not all(
        isinstance(document.get(key), list)
        and all(isinstance(entry, dict) for entry in document[key])
        for key in _LISTS
    ):
        raise FileFormatError(
            path, f"{path} is no COCO instances file: it needs the lists {', '.join(_LISTS)}."
        )
    for key in _LISTS:
        numbers = [
            _whole(entry.get("id"), f"the id of an entry of {key}", path) for entry in document[key]
        ]
        if len(set(numbers)) < len(numbers):
            raise FileFormatError(path, f"{path}: two entries of {key} have one id.")
    for entry in document["images"]:
        checked = own_name if is_own(entry) else safe_name
        entry["file_name"] = checked(entry.get("file_name"), path)
    for entry in document["categories"]:
        if not isinstance(entry.get("name"), str):
            raise FileFormatError(path, f"{path}: category {entry['id']} has no name.")
    known = {entry["id"] for entry in document["images"]}
    for entry in document["annotations"]:
        if entry.get("image_id") not in known:
            raise FileFormatError(
                path,
                f"{path}: annotation {entry['id']} belongs to image "
                f"{shown(entry.get('image_id'))}, "
                "which is not listed.",
            )
    return document


def is_own(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of the images was written by us."""
    return isinstance(entry.get("prelabel"), dict)


def read_images(
    path: Path, only: Collection[str] | None = None
) -> Iterator[tuple[LabelImage, int]]:
    """Images, and how many of their pixels more than one annotation claims.

    only : file names of the images to read; without it all, which then must fit into memory.
    """
    document = read_document(path)
    entries = entries_beside(path, document)
    vocabulary, numbers = _vocabulary(document, path)
    filed: dict[int, list[dict[str, Any]]] = {entry["id"]: [] for entry in document["images"]}
    for annotation in document["annotations"]:
        if annotation.get("category_id") not in numbers:
            raise FileFormatError(
                path,
                f"{path}: annotation {annotation['id']} has category "
                f"{shown(annotation.get('category_id'))}, which is not listed.",
            )
        filed[annotation["image_id"]].append(annotation)
    sizes = {entry["id"]: _size(entry, path) for entry in document["images"]}
    if only is None:
        pixels_in_all = sum(height * width for height, width in sizes.values())
        check_pixels(path, pixels_in_all, MAX_FILE, "split it into several files")
    for entry in document["images"]:
        if only is None or entry["file_name"] in only:
            annotations = filed[entry["id"]]
            image, overlaps = _read_image(
                entry, sizes[entry["id"]], annotations, vocabulary, numbers, path
            )
            told = entry["prelabel"] if is_own(entry) else None
            yield provenance.restored(image, told, path, entries), overlaps


def entries_beside(path: Path, document: Mapping[str, Any]) -> provenance.Entries | None:
    """Entries of the provenance beside a file, as far as its table needs them; None where they
    cannot be read."""
    if not any(e["prelabel"].get("whose") == provenance.MIXED for e in own_entries(document)):
        return {}
    sizes = [_size(entry, path) for entry in document["images"]]
    pixels = sum(height * width for height, width in sizes)
    return provenance.entries_beside(path, pixels, len(sizes))


def own_entries(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Entries of the images that were written by us."""
    return [entry for entry in document["images"] if is_own(entry)]


def _vocabulary(document: Mapping[str, Any], path: Path) -> tuple[Vocabulary, dict[int, int]]:
    """The classes in the order of their category ids, and category id -> id of the class."""
    known = without_root(document["categories"], document["annotations"])
    categories = sorted(known, key=lambda entry: int(entry["id"]))
    numbers = {entry["id"]: index for index, entry in enumerate(categories, start=1)}
    ours = document.get("prelabel")
    if isinstance(ours, dict) and ours.get("format") == KIND:
        vocabulary = vocabulary_of(ours, path)
        listed = [(entry["id"], entry["name"]) for entry in categories]
        if listed == [(c.id, c.name) for c in vocabulary.classes]:
            return vocabulary, numbers
    try:
        classes = tuple(
            Class(index, entry["name"]) for index, entry in enumerate(categories, start=1)
        )
        plain = Vocabulary(classes)
        return Vocabulary.from_dict(plain.to_dict()), numbers
    except VocabularyError as error:
        raise FileFormatError(path, f"{path}: {error}") from error


def without_root(entries: list[Any], annotations: Any) -> list[Any]:
    """Categories without the root that Roboflow writes: above all others, used by no annotation."""
    used = {a.get("category_id") for a in annotations or () if isinstance(a, dict)}
    for entry in entries:
        others = [e for e in entries if e is not entry]
        if (
            isinstance(entry, dict)
            and entry.get("supercategory") in ("none", "", None)
            and others
            and all(
                isinstance(e, dict) and e.get("supercategory") == entry.get("name") for e in others
            )
            and entry.get("id") not in used
        ):
            return others
    return entries


def _size(entry: Mapping[str, Any], path: Path) -> tuple[int, int]:
    """(height, width) of an entry of the images."""
    height = _whole(entry.get("height"), f"the height of {entry['file_name']}", path)
    width = _whole(entry.get("width"), f"the width of {entry['file_name']}", path)
    if not 0 < height * width <= MAX_PLANE:
        raise FileFormatError(
            path,
            f"{path}: {entry['file_name']} has {shown(height)} x {shown(width)} pixels; from 1 to "
            f"{MAX_PLANE:,} are read.",
        )
    return height, width


def _read_image(
    entry: Mapping[str, Any],
    shape: tuple[int, int],
    annotations: list[dict[str, Any]],
    vocabulary: Vocabulary,
    numbers: Mapping[int, int],
    path: Path,
) -> tuple[LabelImage, int]:
    extra = entry["prelabel"] if is_own(entry) else {}
    ids, overlaps = drawn(annotations, extra, shape, numbers, path)
    name = names_of(entry["file_name"], "", "").outputs[0]
    image = label_image(
        ids,
        vocabulary,
        path,
        name=name,
        source=entry["file_name"],
        scale=read_scale(extra.get("scale"), path),
        unit=str(extra.get("unit", "pixel")),
        record=read_record(extra),
        **read_identity(extra),
    )
    return image, overlaps


def drawn(
    annotations: Sequence[Mapping[str, Any]],
    extra: Mapping[str, Any],
    shape: tuple[int, int],
    numbers: Mapping[int, int],
    path: Path,
) -> tuple[Ids, int]:
    """The ids (Y, X) that annotations of an image of this shape draw, and how many pixels more
    than one of them claims.

    extra : what we wrote of the image. numbers : category id -> id.
    """
    height, width = shape
    found = [(f"annotation {a.get('id')}", a.get("segmentation")) for a in annotations]
    claims = zip(annotations, _claimed(found, shape, path), strict=True)
    flat = np.zeros(height * width, np.uint16)
    times = np.zeros(height * width, np.uint16)
    for annotation, where in sorted(claims, key=lambda claim: -claim[1].size):
        flat[where] = numbers[annotation["category_id"]]
        times[where] += 1
    if "ignore" in extra:
        (where,) = _claimed([("the ignored region", extra["ignore"])], shape, path)
        flat[where] = IGNORE
    ids: Ids = np.ascontiguousarray(flat.reshape(width, height).T)
    return ids, int((times > 1).sum())


def _claimed(found: Sequence[tuple[str, Any]], shape: tuple[int, int], path: Path) -> list[Indices]:
    """Column-by-column indices of the pixels of segmentations, each with what it is called."""
    try:
        return list(pixels([_text(segmentation, shape) for _, segmentation in found], shape))
    except ValueError as error:
        if len(found) > 1:  # one by one, to tell which
            return [where for one in found for where in _claimed([one], shape, path)]
        raise FileFormatError(path, f"{path}: {found[0][0]} cannot be drawn: {error}.") from error


def _text(segmentation: Any, shape: tuple[int, int]) -> str:
    """Run lengths of a segmentation of any of COCO's three forms; ValueError says what is wrong."""
    if not isinstance(segmentation, dict):
        _check_polygons(segmentation, shape)
        return rasterise(segmentation, shape)
    if segmentation.get("size") != list(shape):
        raise ValueError(f"its size is {segmentation.get('size')}, not {list(shape)}")
    counts = segmentation.get("counts")
    if not isinstance(counts, (str, list)):
        raise ValueError("it has no run lengths")
    return counts if isinstance(counts, str) else packed(counts, shape)


def _check_polygons(polygons: Any, shape: tuple[int, int]) -> None:
    """Raise ValueError unless every polygon has three corners not far outside the image."""
    if not isinstance(polygons, list) or not polygons:
        raise ValueError("it has neither run lengths nor polygons")
    height, width = shape
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a polygon needs at least three corners x, y")
        # All in C: files have tens of thousands of specks.
        if not {*map(type, polygon)} <= {int, float} or not is_finite(sum(polygon)):
            raise ValueError("a corner is no number")
        for values, size in ((polygon[::2], width), (polygon[1::2], height)):
            if min(values) < -size or max(values) > 2 * size:
                raise ValueError("a corner lies far outside the image")


def _whole(value: Any, what: str, path: Path) -> int:
    if type(value) is not int or value < 0:
        raise FileFormatError(path, f"{path}: {what} must be a whole number, not {shown(value)}.")
    return value
