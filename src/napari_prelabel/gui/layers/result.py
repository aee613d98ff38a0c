"""The result layer: a napari Labels layer that follows an Annotation and the person's strokes."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QTimer

from ...annotation.annotation import Annotation, Index, Plane, box_of
from ...annotation.blank import blank
from ...annotation.history import Step, Stroke
from ...annotation.owned import OWNED, Owned
from ...annotation.strips import LARGE
from ...values.labels import HUMAN, IMPORTED, MODEL, Ids, LabelMap, Mask, Provenance
from ...values.vocabulary import Vocabulary
from .images import LayerSource
from .seconds import Seconds

METADATA = "prelabel"
BUSY_MS, SHARE_S = 40, 0.008
OURS = "_prelabel_result"
UNDONE = "The run was undone. Ctrl+Shift+Z brings it back; Ctrl+Z goes on to what was before it."
REDONE = "The run is back. Ctrl+Z undoes it again."
UNDER_WAY = "The run is still under way: Shift+U ends and undoes it, Cancel keeps what is done."


def dtype_for(vocabulary: Vocabulary, *held: Ids) -> type[np.unsignedinteger[Any]]:
    """The layer's type, wide enough for the ids that it is to hold, "ignore" among them.

    napari maps every value of uint16 anew with each change of colours.
    """
    highest = max((int(ids.max(initial=0)) for ids in held), default=0)
    return np.uint8 if len(vocabulary.classes) < 250 and highest <= 255 else np.uint16


class ResultLayer:
    """Joins a Labels layer with its Annotation.

    image : the image it was made from. place : which level and channel axis of it, None for
    labels that came from elsewhere. source : what of the image was run last, if anything.
    turn : larger for the result that was run last.
    listeners : called when the person or the slider changed pixels.
    walked : called with a sentence when an undo or a redo of the layer met a run.
    step : the run that is under way, None between runs.
    unfinished : the session's task of the last run, where it ended before its last plane.
    seconds : what the runs that are shown would have said second.
    kept : the file that the labels are kept in between sessions, None before the first stroke;
        kept_at : the annotation's `edits` that it holds.
    """

    def __init__(
        self,
        layer: Labels,
        vocabulary: Vocabulary,
        image: Image | None = None,
        owner: int | Provenance | None = HUMAN,
    ) -> None:
        """owner : of the labels that the layer holds, one for all or of each pixel; None where it
        is known to hold none."""
        self.layer = layer
        self.image: Callable[[], Image | None] = ref(image) if image is not None else _nothing
        self.place: tuple[int, int | None] | None = None
        self.source: LayerSource | None = None
        self.turn = 0
        self.kept: Path | None = None
        self.annotation = Annotation(layer.data.shape, vocabulary)
        if isinstance(owner, np.ndarray):
            self.annotation.adopt_owned(np.asarray(layer.data, np.uint16), owner)
            self._copy()
        elif owner is not None and layer.data.any():
            self.annotation.adopt(np.asarray(layer.data), owner)
            self._copy()
        self.kept_at = self.annotation.edits
        self.seconds = Seconds()
        self.annotation.facts = dict(layer.metadata.get(METADATA, {}))
        self.hidden: frozenset[str] = frozenset()
        self.listeners: set[Callable[[], None]] = set()
        self.walked: set[Callable[[str], None]] = set()
        self.step: Step | None = None
        self.unfinished: Any = None
        self._dress: tuple[Any, ...] | None = None
        self._catching_up = False
        self._confirmed: Mask = blank(layer.data.shape, np.bool_)
        self._pending: list[tuple[Any, ...]] = []
        self._follow_layer()
        self.dress()

    def _follow_layer(self) -> None:
        layer = self.layer
        layer.undo, layer.redo = self.undo, self.redo
        self._set_item, self._apply_mask = layer.data_setitem, layer._apply_mask_to_data
        layer.data_setitem, layer._apply_mask_to_data = self._setting, self._masking
        layer.events.paint.connect(self._painted)
        # An attribute, so that layer and result are forgotten together.
        setattr(layer, OURS, self)

    @classmethod
    def of(cls, layer: Labels) -> "ResultLayer | None":
        """The result a layer belongs to, None for other people's layers."""
        result: ResultLayer | None = getattr(layer, OURS, None)
        if result is None or layer.data.shape != result.annotation.shown.shape:
            return None
        return result

    @classmethod
    def adopt(cls, layer: Labels, image: Image) -> "ResultLayer":
        """Take over labels that one of our files or `launch` brought.

        Each pixel is whose the file says it is; what a file does not tell is imported, and no run
        writes over it. The layer gets an array of its own: the one it had may be a file or
        somebody's variable.
        """
        vocabulary = Vocabulary.from_dict(layer.metadata[METADATA]["classes"])
        layer.data = np.array(layer.data)
        owned = owners_of(layer.metadata, layer.data)
        return cls(layer, vocabulary, image, IMPORTED if owned is None else owned)

    # A run

    @property
    def drawing(self) -> bool:
        """True while a stroke is under way; nothing may be written into the layer then."""
        return bool(self.layer._staged_history) or bool(self.layer._block_history)

    def put(
        self, step: Step, found: LabelMap, plane: Plane, *, more: bool = False, **how: Any
    ) -> dict[tuple[str, str], int]:
        """Show one answer of a run; returns `(old name, new name) -> pixels`.

        more : other strips of the answer follow at once, and the canvas waits for the last.
        """
        box = box_of(found, plane) if self.annotation.keeps_ids(step, found.vocabulary) else ()
        self.step = step
        with self.writing(box, refresh=not more):
            changed = self.annotation.put(step, found, plane, **how)
        self.seconds.put(step, found, plane)
        return changed

    def finish(self, step: Step, job: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """After the last answer: drop words nobody uses, say how the layer came about."""
        self.step = None
        image = self.image()
        facts = {
            "job": dict(job),
            "record": json.loads(json.dumps(dict(record), default=str)),
            "image": image.name if image is not None else self.annotation.facts.get("image", ""),
        }
        vocabulary = Vocabulary.from_dict(job["vocabulary"])
        if self.annotation.vocabulary.names == vocabulary.names:
            self.annotation.finish(step, vocabulary, facts)
            self.dress()
        else:
            with self.writing():
                self.annotation.finish(step, vocabulary, facts)
        self._tell()

    def undo_run(self) -> bool:
        """Take back the last run; False when there is none, or in the middle of a stroke."""
        runs = self.annotation.history.runs
        return bool(runs) and not self.drawing and self._cross(runs[-1], False)

    def redo_run(self) -> bool:
        """Bring back the run that was undone last; False when there is none, or in a stroke."""
        runs = self.annotation.history.undone_runs
        return bool(runs) and not self.drawing and self._cross(runs[-1], True)

    def undo(self) -> None:
        """What Ctrl+Z does: take the last stroke or run back, whichever came last."""
        self._walk(False)

    def redo(self) -> None:
        """What Ctrl+Shift+Z does: bring back what was undone last."""
        self._walk(True)

    def _walk(self, forward: bool) -> None:
        if self.drawing:
            return
        history = self.annotation.history
        entry = history.next_redo if forward else history.next_undo
        for edit in entry.edits if entry is not None else []:
            if self.take_unseen(edit.box):
                entry = None if forward else history.next_undo
                break
        if isinstance(entry, Stroke):
            self._cross_stroke(entry, forward)
        elif entry is not None and entry is self.step:
            self._say(UNDER_WAY)
        elif entry is not None:
            self._cross(entry, forward)
            self._say(REDONE if forward else UNDONE)

    def _cross(self, step: Step, forward: bool) -> bool:
        (self.seconds.redo if forward else self.seconds.undo)(step)
        with self.writing():
            done = self.annotation.redo(step) if forward else self.annotation.undo(step)
        self._tell()
        return done

    def _cross_stroke(self, stroke: Stroke, forward: bool) -> None:
        (self.annotation.redo if forward else self.annotation.undo)(stroke)
        self.dress()
        for edit in stroke.edits:
            self._copy(edit.box)
        self.layer.refresh(extent=False)
        self._tell()

    @contextmanager
    def writing(self, box: Index = (), refresh: bool = True) -> Iterator[None]:
        """Change a box of the annotation, all of it by default, and show it.

        What others wrote there is taken first, and the brush keeps its class.
        """
        self.take_unseen(box)
        with self._same_brush():
            yield
            self.dress()
        self._copy(box)
        self.layer._reset_history()
        if refresh:
            self.layer.refresh(extent=False)

    def take_unseen(self, box: Index = ()) -> bool:
        """Take what others wrote into a box of the layer as the person's; True if anything was."""
        known = self.annotation.vocabulary
        found = self.annotation.found_different(self.layer.data, box)
        if self.annotation.vocabulary is not known:
            self.dress()
            self._copy(box)
            self.layer.refresh(extent=False)
        return found

    def _class_of(self, value: Any) -> Any:
        """The id, or ids, to paint instead: one without a name becomes a class, held by the brush.

        Before napari writes it: what it tells of an edit comes partly before, partly after.
        """
        known, ids = self.annotation.vocabulary, np.asarray(value)
        named = self.annotation.name_all(ids)
        if self.annotation.vocabulary is known:
            return value
        self.dress()
        held = named[ids == self.layer.selected_label]
        if held.size:
            self.layer.selected_label = int(held[0])
        return named if ids.ndim else int(named)

    def _copy(self, box: Index = ()) -> None:
        """What the annotation shows becomes the layer's data; the array stays the same one."""
        np.copyto(self.layer.data[box], self.annotation.shown[box], casting="unsafe")

    @contextmanager
    def _same_brush(self) -> Iterator[None]:
        """Selected labels follow their class; without it the brush is put down."""
        layer, notes = self.layer, self.annotation
        held, before = layer.selected_label, layer._prev_selected_label
        name, name_before = notes.name_of(held), notes.name_of(before or 0)
        yield
        layer._prev_selected_label = notes.id_of(name_before) or None
        now = notes.id_of(name)
        if now is None and held <= len(notes.vocabulary.classes):
            if layer.mode in ("paint", "fill", "polygon"):
                layer.mode = "pan_zoom"
        elif now is not None and now != held:
            kept = layer._prev_selected_label
            layer.selected_label = now
            layer._prev_selected_label = kept

    # The slider

    def blank_below(self, threshold: float) -> None:
        """Hide the model's doubtful pixels, or bring them back; the plane in view goes first."""
        here = self.plane_in_view()
        small = self.layer.data[here].size <= LARGE
        if small:
            self.take_unseen(here)
        self.annotation.blank_below(threshold, here)
        if small:
            self._copy(here)
            self.layer.refresh(extent=False)
        if self.annotation.waiting and not self._catching_up:
            self._catching_up = True
            QTimer.singleShot(0, self._catch_up)

    def _catch_up(self) -> None:
        """Bring what waits to the slider's value, a few milliseconds at a time."""
        end = time.perf_counter() + SHARE_S
        while self.annotation.waiting and not self.drawing and time.perf_counter() < end:
            self.take_unseen(self.annotation.waiting[-1])
            done = self.annotation.catch_up()
            self._copy(done)
            waiting = self.annotation.waiting
            if waiting and waiting[-1][:-1] != done[:-1] and done[:-1] == self.plane_in_view():
                self.layer.refresh(extent=False)
        if self.annotation.waiting:
            QTimer.singleShot(BUSY_MS if self.drawing else 0, self._catch_up)
            return
        self._catching_up = False
        self.layer.refresh(extent=False)
        self._tell()

    def plane_in_view(self) -> Plane:
        """Index of the plane that the canvas shows, () for a single image."""
        at, shape = self.layer._get_pt_not_disp(), self.layer.data.shape
        return tuple(int(np.clip(at.get(a, 0), 0, n - 1)) for a, n in enumerate(shape[:-2]))

    # Colours and names

    def dress(self) -> None:
        """Give the layer the class names and colours, and say what it is to those who save it."""
        vocabulary = self.annotation.vocabulary
        classes = vocabulary.classes
        self.layer.metadata[METADATA] = {**self.annotation.facts, "classes": vocabulary.to_dict()}
        notes = self.annotation
        self.layer.metadata[OWNED] = Owned(notes.shown, notes.provenance, live=True)
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
        box = box_of_edits(event.value, self.layer.data.ndim)
        ids, drawn = after_edits(event.value, self.layer.data[box].copy(), box)
        self._forget_confirmed()
        self.annotation.painted(ids, box, drawn)
        # The history is ours: napari's knows ids only, which a run may renumber.
        self.layer._undo_history.clear()
        self._tell()

    def _setting(self, indices: Any, value: Any, refresh: bool = True) -> None:
        value = self._class_of(value)
        same = np.asarray(self.layer.data[indices] == value)
        where = tuple(np.asarray(i)[same] for i in indices)
        with self._confirming(where):
            self._set_item(indices, value, refresh)

    def _masking(self, data: Ids, mask: Mask, label: int, where: tuple[slice, ...]) -> Any:
        label = self._class_of(label)
        same = np.nonzero(mask & (data == label))
        starts = (s.start for s in where)
        with self._confirming(tuple(i + at for i, at in zip(same, starts, strict=True))):
            return self._apply_mask(data, mask, label, where)

    @contextmanager
    def _confirming(self, where: tuple[Any, ...]) -> Iterator[None]:
        """A stroke over pixels that show its class already makes them the person's, too.

        napari tells of changed pixels only, so these join its undo list as a change to what they
        were. Dabs of one stroke overlap: each pixel is told of once.
        """
        if not self.layer._staged_history:
            self._forget_confirmed()
        model = self.annotation.provenance[where] == MODEL
        new = model & ~self._confirmed[where] & (
            self.annotation.shown[where] == self.layer.data[where]
        )  # fmt: skip
        where = tuple(i[new] for i in where)
        if not where or not where[0].size:
            yield
            return
        held = self.layer.data[where]
        with nullcontext() if self.layer._block_history else self.layer.block_history():
            self._confirmed[where] = True
            self._pending.append(where)
            self.layer._save_history((where, held, held))
            yield

    def _forget_confirmed(self) -> None:
        for where in self._pending:
            self._confirmed[where] = False
        self._pending.clear()

    def _tell(self) -> None:
        for told in list(self.listeners):
            told()

    def _say(self, text: str) -> None:
        for told in list(self.walked):
            told(text)


def owners_of(metadata: Mapping[str, Any], data: Any) -> Provenance | None:
    """Whose the pixels of labels are that a file of ours brought; None where it does not say."""
    owned = metadata.get(OWNED)
    if not isinstance(owned, Owned) or owned.live or not isinstance(data, np.ndarray):
        return None
    return owned.now(data)


def _nothing() -> None:
    return None


def after_edits(atoms: Any, ids: Ids, box: tuple[slice, ...]) -> tuple[Ids, Mask]:
    """What a box holds once the edits are written, and the pixels they went over.

    napari tells of some edits before it writes them.
    """
    drawn = np.zeros(ids.shape, np.bool_)
    for atom in atoms:
        where = getattr(atom, "slice_key", None)
        if where is None:
            indices, _, value = atom
            at = tuple(np.asarray(i) - s.start for i, s in zip(indices, box, strict=True))
            ids[at], drawn[at] = value, True
            continue
        pairs = zip(where, box, strict=True)
        part = tuple(slice(w.start - s.start, w.stop - s.start) for w, s in pairs)
        mask = ... if atom.mask is None else atom.mask
        ids[part][mask], drawn[part][mask] = atom.new_value, True
    return ids, drawn


def values_met(atoms: Any) -> Ids:
    """The ids that the edits of one entry of napari's undo list put, and those they replaced."""
    values: list[Any] = []
    for atom in atoms:
        masked = getattr(atom, "slice_key", None) is not None
        values += (atom.old_values, atom.new_value) if masked else atom[1:]
    return np.concatenate([np.asarray(v).ravel() for v in values])


def box_of_edits(atoms: Any, ndim: int) -> tuple[slice, ...]:
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
