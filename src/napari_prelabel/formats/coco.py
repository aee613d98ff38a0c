"""COCO instances JSON: run lengths or polygons, whole files that grow image by image."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from .. import __version__
from ..values.declare import Ask, settings
from ..values.errors import FileFormatError
from ..values.labels import Ids, Mask
from ..values.vocabulary import IGNORE, Vocabulary
from . import provenance
from .atomic import alone, write_together
from .coco_read import drawn, entries_beside, is_own, own_entries, read_document, read_images
from .format import Format
from .outlines import outlines, pixels, rasterise, run_lengths
from .provenance import MIXED
from .receipt import compare
from .subject import Subject, image_subject
from .table import BEGINNING, MAX_PLANE, begins, check_pixels, dump, identity, to_table
from .values import LabelImage, Options, Receipt, total

# Pixels of the box of a speck: there are many, and many are alike.
_SMALL = 64
_EIGHT = np.ones((3, 3), bool)


@settings("coco")
class CocoOptions:
    """How COCO holds the labels."""

    segmentation: Annotated[
        Literal["auto", "rle", "polygons"],
        Field(
            title="Outlines",
            description="Run lengths (rle) keep every pixel. Polygons are for tools that read "
            "nothing else and lose holes. auto writes polygons where they give back every pixel.",
        ),
        Ask(words=("polygons where exact", "run lengths", "polygons, holes lost")),
    ] = "auto"
    annotation: Annotated[
        Literal["region", "class"],
        Field(title="Entries", description="What is one annotation."),
        Ask(words=("per connected region", "per class of an image")),
    ] = "region"


def write_coco(images: Sequence[LabelImage], path: Path, options: Options) -> Receipt:
    """Write label maps (Y, X) into one instances file, beside the images it already holds.

    Category ids are the ids of the vocabulary, iscrowd is 0, area is the number of pixels of the
    mask. Ignored pixels are kept as run lengths of the image's own entry. No licence is stamped.

    Raises FileFormatError when the file was made with other classes, and when it holds an image
    of this name and overwriting was not asked for.
    """
    if not images or any(image.ids.ndim != 2 for image in images):
        raise FileFormatError(path, f"{path}: COCO holds (Y, X) maps; export to a folder.")
    for image in images:
        check_pixels(path, image.ids.size, MAX_PLANE, "cut the image into tiles, or write a TIFF")
    with alone(path.parent):
        _add(images, path, options)
    return _receipt(images, path)


def _add(images: Sequence[LabelImage], path: Path, options: Options) -> None:
    document, own = _opened(path, images, options), options.own or CocoOptions()
    whose = entries_beside(path, document) or {}
    known = {entry["id"] for entry in document["images"]}
    number = max(known, default=0)
    annotation = max((a["id"] for a in document["annotations"]), default=0)
    for image in images:
        number += 1
        entry = _image_entry(image, number)
        document["images"].append(entry)
        pieces = list(_annotations(image, own))
        entry["prelabel"] |= _told(image, pieces, entry, own, path)
        whose |= provenance.entries_of([(image, entry["prelabel"])])
        for piece in pieces:
            annotation += 1
            document["annotations"].append({"id": annotation, "image_id": number, **piece})
    wanted = {e["file_name"] for e in own_entries(document) if e["prelabel"].get("whose") == MIXED}
    parts = provenance.document({name: e for name, e in whose.items() if name in wanted}, path)
    write_together({**parts, path: dump(document, path, indent=None)}, overwrite=True)
    if not parts:
        provenance.forget(path)


def _told(
    image: LabelImage,
    pieces: Sequence[dict[str, Any]],
    entry: dict[str, Any],
    options: CocoOptions,
    path: Path,
) -> dict[str, str]:
    """What an image's entry says of its provenance; polygons may draw other pixels than it has."""
    if options.segmentation != "polygons" or image.provenance is None:
        return provenance.told(image)
    shape = (entry["height"], entry["width"])
    same = {c.id: c.id for c in image.vocabulary.classes}
    return provenance.told(image, drawn(pieces, entry["prelabel"], shape, same, path)[0])


def _receipt(images: Sequence[LabelImage], path: Path) -> Receipt:
    written = {image.source: image for image in images}
    receipts = []
    for found, overlaps in read_images(path, written.keys()):
        image = written[found.source]
        rows = compare(image.ids, found.ids, image.vocabulary)
        receipts.append(Receipt((path, *provenance.there(path)), 1, rows, overlaps))
    return total(receipts)


def _opened(path: Path, images: Sequence[LabelImage], options: Options) -> dict[str, Any]:
    """The document to append to, without the images that are written anew."""
    vocabulary = images[0].vocabulary
    categories = [_category(vocabulary, i) for i in range(len(vocabulary.classes))]
    names = {image.source for image in images}
    if any(image.vocabulary != vocabulary for image in images) or len(names) < len(images):
        raise FileFormatError(
            path, f"{path}: images of one COCO file need one vocabulary and a name each."
        )
    if options.anew or not path.exists():
        return _new(categories, images[0])
    document = _of_these_classes(path, vocabulary)
    twice = [e for e in document["images"] if e["file_name"] in names]
    if twice and not options.overwrite:
        raise FileFormatError(
            path,
            f"{path} already holds {twice[0]['file_name']}: tick Replace files that exist "
            "(--overwrite) or choose another folder.",
        )
    gone = {e["id"] for e in twice}
    ours = {"prelabel": _new(categories, images[0])["prelabel"]}
    # Ours stands first in the file, where `recognises_coco` looks for it.
    return {key: ours.get(key, document.get(key)) for key in {**ours, **document}} | {
        "images": [e for e in document["images"] if e["id"] not in gone],
        "annotations": [a for a in document["annotations"] if a["image_id"] not in gone],
    }


def subjects_coco(path: Path, vocabulary: Vocabulary) -> dict[str, Subject]:
    """The images that a file holds, by file name; none if there is no file.

    FileFormatError when it was made with other classes.
    """
    if not path.exists():
        return {}
    found = {}
    for entry in _of_these_classes(path, vocabulary)["images"]:
        told = entry["prelabel"] if is_own(entry) else {}
        subject = image_subject(entry["file_name"], told, vocabulary.names, path)
        found[entry["file_name"]] = subject or Subject(entry["file_name"])
    return found


def _of_these_classes(path: Path, vocabulary: Vocabulary) -> dict[str, Any]:
    document = read_document(path)
    found = [(c["id"], c["name"]) for c in document["categories"]]
    if found != [(c.id, c.name) for c in vocabulary.classes]:
        raise FileFormatError(
            path, f"{path} was made with other classes: choose another folder or delete it first."
        )
    return document


def _new(categories: list[dict[str, Any]], image: LabelImage) -> dict[str, Any]:
    table = to_table(image)
    return {
        "prelabel": {key: table[key] for key in ("format", "schema", "classes", "background")},
        "info": {"description": "Label maps of napari-prelabel", "version": __version__},
        "licenses": [],
        "images": [],
        "annotations": [],
        "categories": categories,
    }


def _category(vocabulary: Vocabulary, index: int) -> dict[str, Any]:
    c = vocabulary.classes[index]
    return {
        "id": c.id,
        "name": c.name,
        "supercategory": "",
        "color": "#{:02x}{:02x}{:02x}".format(*c.rgb),
    }


def _image_entry(image: LabelImage, number: int) -> dict[str, Any]:
    height, width = image.ids.shape
    extra: dict[str, Any] = {"record": dict(image.record), **identity(image)}
    if image.scale:
        extra |= {"scale": list(image.scale), "unit": image.unit}
    ignored = image.ids == IGNORE
    if ignored.any():
        extra["ignore"] = run_lengths(ignored, (0, 0), (height, width))
    return {
        "id": number,
        "file_name": image.source,
        "height": height,
        "width": width,
        "prelabel": extra,
    }


def _annotations(image: LabelImage, options: CocoOptions) -> Iterator[dict[str, Any]]:
    """One annotation per connected region (corners touching) or per class, without its ids."""
    from scipy import ndimage
    from skimage.measure import label

    shape = image.ids.shape
    ids = np.where(image.ids == IGNORE, 0, image.ids)
    numbered = label(ids, connectivity=2) if options.annotation == "region" else ids
    for number, box in enumerate(ndimage.find_objects(numbered), start=1):
        if box is None:
            continue
        mask: Mask = numbered[box] == number
        y, x = box[0].start, box[1].start
        yield {
            "category_id": int(ids[box][mask][0]),
            "segmentation": _segmentation(mask, (y, x), (shape[0], shape[1]), options),
            "area": int(mask.sum()),
            "bbox": [x, y, mask.shape[1], mask.shape[0]],
            "iscrowd": 0,
        }


def _segmentation(
    mask: Mask, origin: tuple[int, int], shape: tuple[int, int], options: CocoOptions
) -> list[list[float]] | dict[str, Any]:
    if options.segmentation == "rle":
        return run_lengths(mask, origin, shape)
    if mask.all():  # specks are many, and a box is drawn as it is
        left, top = float(origin[1]), float(origin[0])
        right, foot = left + mask.shape[1], top + mask.shape[0]
        return [[left, foot, left, top, right, top, right, foot]]
    auto, small = options.segmentation == "auto", mask.size <= _SMALL
    drawn = _outlines_of(mask.tobytes(), mask.shape, auto) if small else _outlines(mask, auto)
    if drawn is None:
        return run_lengths(mask, origin, shape)
    y, x = origin
    shift = np.array([x, y], float)
    return [(np.reshape(p, (-1, 2)) + shift).ravel().tolist() for p in drawn]


@functools.lru_cache(1 << 14)
def _outlines_of(mask: bytes, shape: tuple[int, int], auto: bool) -> list[list[float]] | None:
    return _outlines(np.frombuffer(mask, bool).reshape(shape), auto)


def _outlines(mask: Mask, auto: bool) -> list[list[float]] | None:
    """Polygons of a mask; None where pycocotools would not draw it from them, if `auto`."""
    from scipy import ndimage

    if auto and ndimage.label(~np.pad(mask, 1), _EIGHT)[1] > 1:  # a hole, which no polygon has
        return None
    polygons = outlines(mask)
    if not auto:
        return polygons
    height, width = mask.shape
    (where,) = pixels([rasterise(polygons, (height, width))], (height, width))
    drawn = np.zeros(mask.size, bool)
    drawn[where] = True
    return polygons if np.array_equal(mask, drawn.reshape(width, height).T) else None


def read_coco(path: Path, vocabulary: Vocabulary | None = None) -> tuple[LabelImage, ...]:
    """Read every image of a COCO instances file, of ours or of others.

    Where annotations overlap the smaller one takes the pixels. Category ids that do not run
    1, 2, 3 ... are renumbered in their order; names stay. With a vocabulary, categories are
    matched by name. Raises FileFormatError.
    """
    images = tuple(image for image, _ in read_images(path))
    return images if vocabulary is None else tuple(_renamed(i, vocabulary, path) for i in images)


def recognises_coco(path: Path) -> bool:
    """Whether an instances file begins with a table of ours; other people's files do not."""
    return begins(path, rf'\A\s*\{{\s*"prelabel"\s*:\s*\{{\s*{BEGINNING}')


def _renamed(image: LabelImage, vocabulary: Vocabulary, path: Path) -> LabelImage:
    table = np.zeros(IGNORE + 1, np.uint16)
    table[IGNORE] = IGNORE
    for c in image.vocabulary.classes:
        wanted = vocabulary.find(c.name)
        if wanted is None:
            raise FileFormatError(
                path, f"{path} has the class {c.name!r}, which the vocabulary lacks: add it first."
            )
        table[c.id] = wanted.id
    ids: Ids = table[image.ids]
    return replace(image, ids=ids, vocabulary=vocabulary)


FORMAT = Format(
    "coco",
    "COCO instances",
    "COCO: one instances.json for all images of the folder.",
    "COCO JSON",
    ".json",
    write_coco,
    read_coco,
    recognises_coco,
    subjects_coco,
    (".coco.json", ".json"),
    opens=("instances.json", "*.coco.json"),
    file="instances.json",
    options=CocoOptions,
)
