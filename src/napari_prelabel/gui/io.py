"""Between napari's layers and our files: names, colours and pixel size go both ways."""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FileFormatError
from ..formats import FORMATS, LabelImage, Options
from ..vocabulary import IGNORE, Class, Vocabulary
from .images import pixel_size_of

LayerData = tuple[Any, dict[str, Any], str]
_BY_SUFFIX = {".png": "png", ".tif": "tiff", ".tiff": "tiff", ".json": "coco"}


def ours(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one of our label files; never true for other people's images.

    Looks at its first bytes only: napari asks in the GUI thread.
    """
    where = Path(path)
    name = _BY_SUFFIX.get(where.suffix.lower())
    return name is not None and where.is_file() and FORMATS[name].recognises(where)


def read(path: str | list[str]) -> list[LayerData]:
    """Labels layers of our files, with names, colours, pixel size and provenance."""
    paths = [path] if isinstance(path, str) else path
    return [
        labels_layer(image)
        for p in paths
        for image in FORMATS[_BY_SUFFIX[Path(p).suffix.lower()]].read(Path(p), None)
    ]


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
                "run": dict(image.provenance),
                "image": image.source,
            }
        },
    }
    if image.scale is not None:
        ahead = (1.0,) * (image.ids.ndim - 2)
        attributes["scale"] = (*ahead, *image.scale)
        attributes["units"] = (*("pixel",) * len(ahead), image.unit, image.unit)
    # A copy: the person paints into the layer's array.
    return image.ids.copy(), attributes, "labels"


def write(name: str, path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Write one Labels layer; the person agreed to overwriting in napari's dialog."""
    target = Path(path)
    image = _image(np.asarray(data), attributes, target)
    planes = [image] if FORMATS[name].stacks or name == "coco" else list(image.planes())
    if name == "coco":
        planes = list(image.planes())
    elif len(planes) > 1:
        raise FileFormatError(
            target, f"{target.name} holds one plane only: save the stack as TIFF, or export it."
        )
    if name == "coco":
        return [str(_replaced(planes, target))]
    receipt = FORMATS[name].write(planes, target, Options(overwrite=True))
    return [str(p) for p in receipt.paths]


def _replaced(planes: list[LabelImage], target: Path) -> Path:
    """Write a COCO file anew: beside its place first, for our writer adds to a file it finds."""
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.json")
    try:
        FORMATS["coco"].write(planes, part, Options())
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def _image(data: Any, attributes: Mapping[str, Any], target: Path) -> LabelImage:
    told = attributes.get("metadata", {}).get("prelabel", {})
    vocabulary = _named(data, told.get("classes"), attributes)
    units = attributes.get("units") or ("pixel",)
    source = str(told.get("image") or target.stem)
    return LabelImage(
        data, vocabulary, target.stem, source, pixel_size_of(attributes, data.ndim), str(units[-1]),
        provenance=told.get("run", {}),
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
