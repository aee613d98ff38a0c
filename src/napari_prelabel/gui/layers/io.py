"""Between napari's layers and our files: names, colours and pixel size go both ways."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...annotation.owned import OWNED, Owned
from ...formats import FORMATS, LabelImage, Options, provenance
from ...formats.atomic import part_of
from ...formats.png import MAX_INDEXED, TABLE, write_plain
from ...formats.table import identity, read_identity
from ...values.errors import FileFormatError
from ...values.labels import read_record
from ...values.vocabulary import IGNORE, Class, Vocabulary
from .images import pixel_size_of

# In our metadata, a sentence on a provenance that does not fit.
DOUBT = "doubt"
LayerData = tuple[Any, dict[str, Any], str]
_BY_SUFFIX = {".png": "png", ".tif": "tiff", ".tiff": "tiff", ".json": "coco"}
_ONE_PLANE = "{} holds one plane only: save the stack as TIFF, or export it."


def ours(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one of our label files; never true for other people's images.

    Looks at its first bytes only: napari asks in the GUI thread.
    """
    where = _picture(Path(path))
    name = _BY_SUFFIX.get(where.suffix.lower())
    return name is not None and where.is_file() and FORMATS[name].recognises(where)


def read(path: str | list[str]) -> list[LayerData]:
    """Labels layers of our files, with names, colours, pixel size and record.

    A table of classes, `<name>.labels.json`, stands for the PNG beside it.
    """
    paths = [path] if isinstance(path, str) else path
    return [labels_layer(image) for p in paths for image in _images(_picture(Path(p)))]


def _images(path: Path) -> tuple[LabelImage, ...]:
    name = _BY_SUFFIX.get(path.suffix.lower())
    if name is None:
        raise FileFormatError(path, f"{path} is no label file: choose a PNG, TIFF or COCO JSON.")
    return FORMATS[name].read(path, None)


def _picture(path: Path) -> Path:
    """The PNG that a table of classes lies beside; any other file itself."""
    stem = path.name.lower().removesuffix(TABLE)
    beside = (path.with_name(f"{path.name[: len(stem)]}{end}") for end in (".png", ".PNG"))
    return next(filter(Path.is_file, beside), path) if stem != path.name.lower() else path


def labels_layer(image: LabelImage) -> LayerData:
    """A Labels layer with the names and colours of a label image."""
    classes = image.vocabulary.classes
    colours: dict[int | None, Any] = {None: (0.5, 0.5, 0.5, 1.0), 0: (0.0, 0.0, 0.0, 0.0)}
    colours |= {c.id: (*(v / 255 for v in c.rgb), 1.0) for c in classes}
    attributes: dict[str, Any] = {
        "name": image.name,
        "colormap": colours,
        "features": {
            "index": np.arange(len(classes) + 1),
            "name": ["unlabelled", *(c.name for c in classes)],
        },
        "metadata": {
            "prelabel": {
                "classes": image.vocabulary.to_dict(),
                "record": dict(image.record),
                "image": image.source,
                "file": identity(image),
            }
        },
    }
    if image.provenance is not None:
        attributes["metadata"][OWNED] = Owned(image.ids, image.provenance)
    elif image.doubt:
        attributes["metadata"]["prelabel"][DOUBT] = image.doubt
    if image.scale is not None:
        ahead = (1.0,) * (image.ids.ndim - 2)
        attributes["scale"] = (*ahead, *image.scale)
        attributes["units"] = (*("pixel",) * len(ahead), image.unit, image.unit)
    # A copy: the person paints into the layer's array.
    return image.ids.copy(), attributes, "labels"


def write(name: str, path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write one Labels layer; the person agreed to overwriting in napari's dialog.

    The suffix of the path decides: napari hands on what was typed, whatever filter was chosen; a
    name without one gets the format's. Labels that are not ours are written as napari does, where
    it can. Raises FileFormatError.
    """
    target = Path(path)
    if target.suffix.lower() not in _BY_SUFFIX:
        if target.suffix.lower() in _napari_writes():
            return _by_napari(path, data, attributes)
        target = target.with_name(f"{target.name}{FORMATS[name].suffix}")
    name = _BY_SUFFIX[target.suffix.lower()]
    told = attributes.get("metadata", {}).get("prelabel")
    named = isinstance(told, Mapping) and "classes" in told
    if name == "tiff" and not (named and _fit(data, IGNORE)):
        return _by_napari(str(target), data, attributes)
    array = np.asarray(data)
    if name == "png" and not (named or _fit(array, MAX_INDEXED)):
        return [str(_plain_png(array, target))]
    image = _image(array, attributes, target)
    if name == "coco":
        return [str(_replaced(list(image.planes()), target))]
    if name == "png" and image.ids.ndim > 2:
        raise FileFormatError(target, _ONE_PLANE.format(target.name))
    receipt = FORMATS[name].write([image], target, Options(overwrite=True))
    return [str(p) for p in receipt.paths]


def _by_napari(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    from napari_builtins.io import napari_write_labels  # type: ignore[import-untyped]

    written = napari_write_labels(path, data, attributes)
    return [written] if written else []


def _napari_writes() -> frozenset[str]:
    """Suffixes of napari's own writer of labels."""
    from npe2 import PluginManager

    writers = PluginManager.instance().iter_compatible_writers(["labels"])
    return frozenset(e for w in writers if w.plugin_name == "napari" for e in w.filename_extensions)


def _fit(data: Any, highest: int) -> bool:
    """Whether all ids of an array lie in 0..highest; no for several resolutions."""
    whole = isinstance(data, np.ndarray) and data.size > 0
    return whole and bool(data.min() >= 0 and data.max() <= highest)


def _plain_png(ids: Any, target: Path) -> Path:
    """Labels without names as 16-bit grey, id for id; FileFormatError where they do not fit."""
    if ids.ndim != 2:
        raise FileFormatError(target, _ONE_PLANE.format(target.name))
    if not _fit(ids, IGNORE):
        raise FileFormatError(
            target,
            f"{target.name}: a PNG holds ids from 0 to {IGNORE}, and these labels have ids from "
            f"{int(ids.min())} to {int(ids.max())}: save them as TIFF.",
        )
    write_plain(ids.astype(np.uint16), target)
    return target


def _replaced(planes: list[LabelImage], target: Path) -> Path:
    """Write a COCO file anew: beside its place first, for our writer adds to a file it finds."""
    part = part_of(target, ".json")
    try:
        FORMATS["coco"].write(planes, part, Options())
        provenance.move(part, target)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
        provenance.forget(part)
    return target


def _image(data: Any, attributes: Mapping[str, Any], target: Path) -> LabelImage:
    told = attributes.get("metadata", {}).get("prelabel", {})
    vocabulary = _named(data, told.get("classes"), attributes)
    units = attributes.get("units") or ("pixel",)
    source = str(told.get("image") or target.stem)
    owned = attributes.get("metadata", {}).get(OWNED)
    whose = owned.now(data) if isinstance(owned, Owned) else None
    return LabelImage(
        data, vocabulary, target.stem, source, pixel_size_of(attributes, data.ndim), str(units[-1]),
        record=read_record(told), **read_identity(told.get("file", {})), provenance=whose,
    )  # fmt: skip


def _named(data: Any, classes: Any, attributes: Mapping[str, Any]) -> Vocabulary:
    """The layer's own classes, and names for ids that have none."""
    highest = int(np.max(data, initial=0, where=data != IGNORE))
    known = Vocabulary.from_dict(classes).classes if classes else _features(attributes)
    missing = range(len(known) + 1, highest + 1)
    extra = tuple(Class(i, f"label {i}") for i in missing)
    return Vocabulary((*known, *extra) or (Class(1, "label 1"),))


def _features(attributes: Mapping[str, Any]) -> tuple[Class, ...]:
    features = attributes.get("features")
    if features is None or "name" not in features or "index" not in features:
        return ()
    named = dict(zip(features["index"], features["name"], strict=True))
    last = max((int(i) for i in named), default=0)
    return tuple(Class(i, str(named.get(i, f"label {i}"))) for i in range(1, last + 1))
