"""The result layer: a napari Labels layer that follows an Annotation and the person's strokes."""

import json
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from ..labels import Ids, LabelMap
from ..vocabulary import Vocabulary
from .annotation import Annotation, Step

_KNOWN: "WeakKeyDictionary[Labels, ResultLayer]" = WeakKeyDictionary()
METADATA = "prelabel"


def dtype_for(vocabulary: Vocabulary) -> type[np.unsignedinteger[Any]]:
    """The layer's type: napari maps every value of uint16 anew with each change of colours."""
    return np.uint8 if len(vocabulary.classes) < 250 else np.uint16


class ResultLayer:
    """Joins a Labels layer with its Annotation; `on_change` is called after every stroke."""

    def __init__(self, layer: Labels, vocabulary: Vocabulary) -> None:
        self.layer = layer
        self.annotation = Annotation(layer.data.shape, vocabulary)
        self.annotation.found_different(np.asarray(layer.data))
        self.hidden: frozenset[str] = frozenset()
        self._dress: tuple[Any, ...] | None = None
        self.on_change: Callable[[], None] = _nothing
        self._undo, self._redo = layer.undo, layer.redo
        layer.undo, layer.redo = self._undo_stroke, self._redo_stroke
        layer.events.paint.connect(self._painted)
        _KNOWN[layer] = self
        self.dress()

    @classmethod
    def of(cls, layer: Labels) -> "ResultLayer | None":
        """The result a layer belongs to, None for other people's layers."""
        return _KNOWN.get(layer)

    # A run

    @property
    def drawing(self) -> bool:
        """True while a stroke is under way; nothing may be written into the layer then."""
        return bool(self.layer._staged_history) or bool(self.layer._block_history)

    def put(
        self, step: Step, found: LabelMap, plane: tuple[int, ...], **how: Any
    ) -> dict[tuple[int, int], int]:
        """Show one answer of a run; returns `(old id, new id) -> pixels`."""
        self.annotation.found_different(self.layer.data)
        changed = self.annotation.put(step, found, plane, **how)
        self._write()
        return changed

    def finish(self, step: Step, job: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
        """After the last answer: drop words nobody uses, say how the layer came about."""
        vocabulary = Vocabulary.from_dict(job["vocabulary"])
        self.annotation.finish(step, vocabulary)
        self._write()
        self.layer.metadata[METADATA] = {
            "job": dict(job),
            "run": json.loads(json.dumps(dict(provenance), default=str)),
            "classes": self.annotation.vocabulary.to_dict(),
        }

    def undo_run(self) -> bool:
        """Take back the last run; False when there is none."""
        self.annotation.found_different(self.layer.data)
        done = self.annotation.undo_run()
        if done:
            self._write()
        return done

    def blank_below(self, threshold: float) -> None:
        """Hide the model's doubtful pixels, or bring them back."""
        if self.annotation.found_different(self.layer.data):
            self.layer._reset_history()
        self.annotation.blank_below(threshold)
        self._copy()
        self.layer.refresh(extent=False)

    def _write(self) -> None:
        self.dress()
        self._copy()
        self.layer._reset_history()
        self.layer.refresh(extent=False)

    def _copy(self) -> None:
        """What the annotation shows becomes the layer's data; the array stays the same one."""
        np.copyto(self.layer.data, self.annotation.shown, casting="unsafe")

    # Colours and names

    def dress(self) -> None:
        """Give the layer the class names and colours."""
        classes = self.annotation.vocabulary.classes
        if len(classes) > np.iinfo(self.layer.data.dtype).max:
            self.layer.data = self.layer.data.astype(np.uint16)
        dress = tuple((c.name, c.rgb, c.name in self.hidden) for c in classes)
        if dress == self._dress:
            return
        self._dress = dress
        colours: dict[int | None, Any] = {None: (0.5, 0.5, 0.5, 1.0), 0: (0.0, 0.0, 0.0, 0.0)}
        for c in classes:
            alpha = 0.0 if c.name in self.hidden else 1.0
            colours[c.id] = (*(v / 255 for v in c.rgb), alpha)
        self.layer.colormap = DirectLabelColormap(color_dict=colours)
        self.layer.features = {
            "index": np.arange(len(classes) + 1),
            "name": ["unlabelled", *(c.name for c in classes)],
        }

    def recolour(self, colours: Mapping[str, str], hidden: frozenset[str]) -> None:
        """Change the dress only: class colours by name, and which classes are not drawn."""
        self.annotation.vocabulary = self.annotation.vocabulary.with_colours(colours)
        self.hidden = hidden
        self.dress()

    # The person

    def _painted(self, event: Any) -> None:
        box = _box(event.value, self.layer.data.ndim)
        self.annotation.painted(_after(event.value, self.layer.data[box].copy(), box), box)
        self.on_change()

    def _undo_stroke(self) -> None:
        self._follow(self._undo, self.annotation.stroke_undone, self.layer._undo_history)

    def _redo_stroke(self) -> None:
        self._follow(self._redo, self.annotation.stroke_redone, self.layer._redo_history)

    def _follow(
        self, napari_does: Callable[[], None], we_do: Callable[[Any], None], history: Any
    ) -> None:
        if not history:
            return
        napari_does()
        we_do(self.layer.data)
        self._copy()
        self.layer.refresh(extent=False)
        self.on_change()


def _nothing() -> None:
    pass


def _after(atoms: Any, ids: Ids, box: tuple[slice, ...]) -> Ids:
    """What a box holds once the edits are written; napari tells of some before it writes them."""
    for atom in atoms:
        where = getattr(atom, "slice_key", None)
        if where is None:
            indices, _, value = atom
            ids[tuple(np.asarray(i) - s.start for i, s in zip(indices, box, strict=True))] = value
            continue
        pairs = zip(where, box, strict=True)
        part = ids[tuple(slice(w.start - s.start, w.stop - s.start) for w, s in pairs)]
        part[... if atom.mask is None else atom.mask] = atom.new_value
    return ids


def _box(atoms: Any, ndim: int) -> tuple[slice, ...]:
    """Smallest box around the edits of one entry of napari's undo list."""
    bounds = []
    for atom in atoms:
        where = getattr(atom, "slice_key", None)
        if where is None:
            axes = [np.asarray(i) for i in atom[0]]
            bounds.append([(int(i.min()), int(i.max()) + 1) for i in axes])
        else:
            bounds.append([(s.start, s.stop) for s in where])
    return tuple(
        slice(min(b[axis][0] for b in bounds), max(b[axis][1] for b in bounds))
        for axis in range(ndim)
    )
