"""Labels that were opened or that others made: which image they lie on, and taking them up."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels
from napari.utils.transforms import Affine

from ...values.labels import IMPORTED
from ...values.vocabulary import IGNORE, UNLABELLED, Vocabulary, key
from .images import LayerSource, guess_channel_axis, placement
from .opened import is_picture
from .result import METADATA, OURS, ResultLayer, after_edits, box_of_edits, owners_of, values_met

# More different labels than this are things that were counted, not classes.
MOST_CLASSES = 1000
# How far corners may lie apart, in pixels.
_NEAR = 0.51


def belongs(layer: Labels, image: Image, layers: Iterable[Any]) -> bool:
    """Whether labels with our metadata, of no result yet, were made for an image.

    They have its size, and name it or fit no other image.
    """
    told = layer.metadata.get(METADATA)
    if not is_of_others(layer) or not isinstance(told, Mapping) or "classes" not in told:
        return False
    if not can_be_edited(layer) or not _sources(layer, image):
        return False
    source = str(told.get("image") or "")
    if image.name in (source, PurePath(source).stem, layer.name.removesuffix(" labels")):
        return True
    others = [x for x in layers if is_picture(x) and x is not image]
    return not any(_sources(layer, other) for other in others)


def is_of_others(layer: Labels) -> bool:
    """Whether a layer is neither a result nor something a tool of ours draws for a while."""
    drawn = any(str(name).startswith(f"{METADATA}_") for name in layer.metadata)
    return not drawn and not hasattr(layer, OURS)


def can_be_edited(layer: Labels) -> bool:
    """Whether a person can paint into a layer: neither multiscale nor read piece by piece."""
    return not layer.multiscale and isinstance(layer.data, np.ndarray)


def lies_on(layer: Labels, image: Image) -> bool:
    """Whether labels have an image's size and cover the same part of the world."""
    return any(_same_place(layer, source) for source in _sources(layer, image))


def image_under(layer: Labels, layers: Iterable[Any]) -> Image | None:
    """The image that labels belong to, else the topmost that they lie on."""
    result = ResultLayer.of(layer)
    if result is not None:
        return result.image()
    found = [x for x in layers if is_picture(x) and lies_on(layer, x)]
    named = [x for x in found if layer.name.startswith(x.name)]
    return (named or found or [None])[-1]


def _sources(layer: Labels, image: Image) -> list[LayerSource]:
    """What of an image has the shape of labels."""
    levels = range(len(image.data) if image.multiscale else 1)
    axes = {None, guess_channel_axis(image)}
    found = [LayerSource(image, level, axis) for level in levels for axis in axes]
    return [source for source in found if source.shape == layer.data.shape]


def _same_place(layer: Labels, source: LayerSource) -> bool:
    """Whether the corners lie in the same places."""
    there = placement(source)
    matrix = source.layer._data_to_world
    if "scale" not in there:
        matrix = Affine(affine_matrix=there["affine"])
    ends = np.array([[0, n - 1] for n in layer.data.shape])
    corners = np.array(list(product(*ends)))
    apart = [np.asarray(matrix.inverse(layer._data_to_world(c))) - c for c in corners]
    return bool((np.abs(apart) < _NEAR).all())


# Their classes


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What is in a layer of labels: its values but 0, and a name for each."""

    layer: Labels
    image: Image
    values: tuple[int, ...]
    names: tuple[str, ...]


def values_of(data: npt.NDArray[Any]) -> tuple[int, ...]:
    """The different values but 0 and 65535, sorted; slow, so call it off the GUI thread."""
    if data.size == 0:
        return ()
    low, high = int(data.min()), int(data.max())
    if high - low < 1 << 20:
        counts = np.zeros(high - low + 1, np.int64)
        for plane in data.reshape(-1, data.shape[-1]):
            counts += np.bincount(plane.astype(np.int64) - low, minlength=len(counts))
        found = (np.flatnonzero(counts) + low).tolist()
    else:
        found = np.unique(data).tolist()
    return tuple(int(v) for v in found if v not in (UNLABELLED, IGNORE))


def names_for(
    values: Iterable[int], features: Mapping[int, str], typed: Vocabulary | None
) -> tuple[str, ...]:
    """A name for each value: the layer's own, else typed words in their order, else a number."""
    values = list(values)
    words = typed.names if typed is not None else ()
    by_order = not features and bool(values) and min(values) > 0 and max(values) <= len(words)
    return tuple(
        features.get(v) or (words[v - 1] if by_order else f"label {v}") for v in values
    )  # fmt: skip


def features_of(layer: Labels) -> dict[int, str]:
    """Names of values as the layer's table of features gives them."""
    table = layer.features
    if "name" not in table or "index" not in table:
        return {}
    pairs = zip(table["index"].tolist(), table["name"].tolist(), strict=True)
    return {int(i): n.strip() for i, n in pairs if isinstance(n, str) and n.strip() and i == i}


# Taking them up


def take_up(found: Found, typed: Vocabulary | None) -> ResultLayer:
    """Make labels those of their image; equal names become one class.

    What is there is imported, and locked, unless a file of ours tells otherwise; strokes that
    napari can undo are the person's, and stay undoable. Raises VocabularyError when a name cannot
    be a class.
    """
    layer, strokes = found.layer, _strokes(found.layer)
    late = sorted({v for s in strokes for v in values_of(values_met(s))} - set(found.values))
    values = (*found.values, *late)
    vocabulary, ids = _classes(values, (*found.names, *(f"label {v}" for v in late)), typed)
    # From here on in an array of its own: this one may be a file or somebody's variable.
    many = len(vocabulary.classes) > np.iinfo(layer.data.dtype).max
    layer.data = np.array(layer.data, np.int32 if many else None)
    for _ in strokes:
        layer.undo()
    layer._reset_history()
    owned = owners_of(layer.metadata, layer.data)
    for plane in np.ndindex(layer.data.shape[:-2]):
        layer.data[plane] = _renumbered(layer.data[plane], ids)
    result = ResultLayer(layer, vocabulary, found.image, IMPORTED if owned is None else owned)
    for stroke in strokes:
        box = box_of_edits(stroke, layer.ndim)
        after, drawn = after_edits(stroke, layer.data[box].copy(), box)
        layer.data[box] = np.where(drawn, _renumbered(after, ids), layer.data[box])
        result.annotation.painted(layer.data[box].astype(np.uint16), box, drawn)
    layer.selected_label = ids.get(layer.selected_label, layer.selected_label)
    layer.refresh(extent=False)
    return result


def _strokes(layer: Labels) -> list[Any]:
    """napari's undo list, the oldest first; nothing where it no longer belongs to these pixels."""
    strokes, now = list(layer._undo_history), layer.data.copy()
    for _ in strokes:
        layer.undo()
    for _ in strokes:
        layer.redo()
    if np.array_equal(layer.data, now):
        return strokes
    layer.data[...] = now
    return []


def _classes(
    values: tuple[int, ...], names: tuple[str, ...], typed: Vocabulary | None
) -> tuple[Vocabulary, dict[int, int]]:
    """Classes of these names, and the id of each value; the typed ones where they are enough."""
    if typed is None or not all(typed.find(name) for name in names):
        firsts = {key(name): name for name in reversed(names or ("label 1",))}
        ordered = sorted(firsts.values(), key=(names or ("label 1",)).index)
        typed = Vocabulary.from_dict({"classes": [{"name": name} for name in ordered]})
    found = [typed.find(name) for name in names]
    return typed, {v: c.id for v, c in zip(values, found, strict=True) if c is not None}


def _renumbered(ids: npt.NDArray[Any], mapping: Mapping[int, int]) -> npt.NDArray[Any]:
    """Ids with every value of the mapping replaced at once; others stay as they are."""
    if not mapping or all(old == new for old, new in mapping.items()):
        return ids
    old = np.array(sorted(mapping), np.int64)
    new = np.array([mapping[int(v)] for v in old])
    at = np.searchsorted(old, ids).clip(max=len(old) - 1)
    return np.where(old[at] == ids, new[at], ids).astype(ids.dtype)
