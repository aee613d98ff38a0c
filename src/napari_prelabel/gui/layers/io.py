"""Between napari's layers and our files: names, colours and pixel size go both ways."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...annotation.owned import OWNED, Owned
from ...formats import FORMATS, Format, LabelImage, Options, format_of, suffixes
from ...formats import ours as format_of_ours
from ...formats.table import identity, read_identity
from ...values.errors import FileFormatError
from ...values.labels import Ids, read_record
from ...values.vocabulary import IGNORE, Class, Vocabulary
from .images import pixel_size_of

# In our metadata, a sentence on a provenance that does not fit.
DOUBT = "doubt"
LayerData = tuple[Any, dict[str, Any], str]


def ours(path: str | os.PathLike[str]) -> Format | None:
    """The format of one of our label files; None for all others, other people's images above all.

    Looks at its first bytes only: napari asks in the GUI thread.
    """
    where = _labels_of(Path(path))
    return format_of_ours(where) if where.is_file() else None


def read(path: str | list[str]) -> list[LayerData]:
    """Labels layers of our files, with names, colours, pixel size and record.

    What lies beside labels, as the table `<name>.labels.json` does, stands for them.
    """
    paths = [path] if isinstance(path, str) else path
    return [labels_layer(image) for p in paths for image in _images(_labels_of(Path(p)))]


def _images(path: Path) -> tuple[LabelImage, ...]:
    found = format_of(path)
    if found is None:
        known = ", ".join(suffixes())
        raise FileFormatError(path, f"{path} is no label file: its name must end in {known}.")
    return found.read(path, None)


def _labels_of(path: Path) -> Path:
    """The labels that a file lies beside; any other file itself."""
    for one in FORMATS.values():
        for end in one.beside:
            if path.name.lower().endswith(end):
                stem = path.name[: -len(end)]
                ends = (e for suffix in one.suffixes for e in (suffix, suffix.upper()))
                beside = (path.with_name(f"{stem}{e}") for e in ends)
                path = next(filter(Path.is_file, beside), path)
    return path


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
    fits = (f for f in (FORMATS[name], *FORMATS.values()) if f.takes(target))
    chosen = next(fits, None)
    if chosen is None and target.suffix.lower() not in _napari_writes():
        chosen = FORMATS[name]
        target = target.with_name(f"{target.name}{chosen.suffix}")
    told = attributes.get("metadata", {}).get("prelabel")
    named = isinstance(told, Mapping) and "classes" in told
    known = named and _fit(data, IGNORE)
    if chosen is None or (not known and target.suffix.lower() in _napari_writes()):
        return _by_napari(str(target), data, attributes)
    array = np.asarray(data)
    if array.ndim > 2 and not (chosen.stacks or chosen.file):
        raise FileFormatError(
            target, f"{target.name} holds one plane only: save the stack as TIFF, or export it."
        )
    if chosen.plain and not (named or _fit(array, chosen.most)):
        return [str(_plain(array, target, chosen.plain))]
    image = _image(array, attributes, target)
    images = list(image.planes()) if chosen.file else [image]
    receipt = chosen.write(images, target, Options(overwrite=True, anew=True))
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


def _plain(ids: Any, target: Path, put: Callable[[Ids, Path], None]) -> Path:
    """Labels without names, id for id; FileFormatError where they do not fit."""
    if not _fit(ids, IGNORE):
        raise FileFormatError(
            target,
            f"{target.name}: such a file holds ids from 0 to {IGNORE}, and these labels have ids "
            f"from {int(ids.min())} to {int(ids.max())}: save them as TIFF.",
        )
    put(ids.astype(np.uint16), target)
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
