"""The scribble tool: strokes on our labels that spread to the edge of the thing under them.

The walk of one scribble: `_press` follows the mouse, `_ask` sends the box around the strokes,
`_came` shows what they would take, `accept` writes it as one stroke of the person's, or `drop`
forgets it. Until then no label changes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from ...annotation.annotation import Index
from ...engine.tasks import Scribbled, reach_of
from ...values.errors import Cancelled, PrelabelError, WorkerDied
from ...worker.pool import Pool
from ..layers.images import LayerSource, current_plane
from ..layers.result import ResultLayer
from ..parts.pieces import counted, sentence
from .asker import ScribbleAsker, Settings, Wish
from .box import ScribbleBox
from .preview import Plane, Preview, colour_of
from .strokes import NOT_THIS, Ink, Strokes

HELP = "Scribble: draw, Enter accepts, Esc drops"
_MIDDLE = 3
_RIGHT = 2
# A stroke is as wide as a 150th of the shorter side: seeds are to lie inside the thing.
_WIDTHS = 150


@dataclass(frozen=True, slots=True)
class Desk:
    """What the tool asks the dock when it is taken up.

    target : the labels to draw on and what of the image they were made from.
    settings : the models to read the image with. Both raise a PrelabelError naming the cure.
    locked : names of the classes whose pixels stay.
    """

    target: Callable[[], tuple[ResultLayer, LayerSource]]
    settings: Callable[[], Settings]
    locked: Callable[[], frozenset[str]]
    pool: Callable[[], Pool]


class ScribbleTool(QObject):
    """`failed` brings a sentence, `accepted` the pixels that were written."""

    failed = Signal(str)
    accepted = Signal(int)

    def __init__(self, viewer: Any, box: ScribbleBox, desk: Desk) -> None:
        super().__init__()
        self._viewer, self._box, self._desk = viewer, box, desk
        self._held: tuple[ResultLayer, LayerSource] | None = None
        self._plane: Plane = ()
        self._strokes: Strokes | None = None
        self._preview: Preview | None = None
        self._answer: tuple[Wish, Scribbled] | None = None
        self._version = self._since = 0
        self._accepting = False
        self._asker = ScribbleAsker(desk.pool)
        self._asker.reading.connect(self._reading)
        self._asker.came.connect(self._came)
        self._asker.failed.connect(self._fail)
        box.toggled.connect(self.switch)
        box.radius_changed.connect(self._new_radius)
        box.cancel.connect(self._asker.cancel)
        self._keys: dict[str, Callable[[Any], Any]] = {
            "Enter": lambda _: self.accept(),
            "Escape": lambda _: self.drop(),
            "[": lambda _: box.step(-1),
            "]": lambda _: box.step(1),
            "Control-Z": lambda _: self.take_back(),
            "Space": self._hold,
        }

    # The tool in the hand

    @property
    def on(self) -> bool:
        return self._held is not None

    def toggle(self) -> None:
        self.switch(not self.on)

    def switch(self, on: bool) -> None:
        """Take the tool up or put it down; what was not accepted is dropped."""
        if on == self.on:
            return
        try:
            self._take_up() if on else self._put_down()
        except PrelabelError as error:
            self.failed.emit(sentence(error))
        self._box.show_on(self.on)

    def _take_up(self) -> None:
        result, source = self._desk.target()
        settings = self._desk.settings()
        self._held = result, source
        layer = result.layer
        self._viewer.layers.selection.active = layer
        if not layer.visible:  # napari slices a layer anew even where it is visible already
            layer.visible = True
        layer.mode = "pan_zoom"
        layer.mouse_pan = False
        layer.mouse_drag_callbacks.append(self._press)
        for keys, function in self._keys.items():
            layer.bind_key(keys, function, overwrite=True)
        layer.events.mode.connect(self._mode_changed)
        self._viewer.layers.events.removed.connect(self._removed)
        source.layer.events.data.connect(self._image_changed)
        self._box.measure(min(source.shape[-2:]))
        # The cursor stays: napari 0.9.2 can crash when a layer with a circle is removed.
        layer.help = HELP
        self._asker.begin(settings)
        here = current_plane(source, tuple(self._viewer.dims.point))
        self._say(HELP)
        self._asker.read(here, lambda: source.plane(here))

    def _put_down(self) -> None:
        assert self._held is not None
        layer = self._held[0].layer
        self._held[1].layer.events.data.disconnect(self._image_changed)
        self._forget()
        self._held = None
        self._asker.leave()
        layer.mouse_drag_callbacks.remove(self._press)
        for keys in self._keys:
            layer.bind_key(keys, None)
        layer.events.mode.disconnect(self._mode_changed)
        self._viewer.layers.events.removed.disconnect(self._removed)
        if layer.mode == "pan_zoom":
            layer.mouse_pan, layer.help = True, ""
        self._box.say("")

    def leave(self) -> None:
        """For a dock that is closed."""
        self.switch(False)

    def _mode_changed(self, _: Any) -> None:
        """Another tool of napari's was taken up."""
        self.switch(False)

    def _image_changed(self, _: Any) -> None:
        """Other pixels than those that were read."""
        self.switch(False)
        self.failed.emit("The image has changed: press Scribble to read it again.")

    def _removed(self, _: Any) -> None:
        """Look at it afterwards: a layer removed while another is being removed ends napari."""
        QTimer.singleShot(0, self, self._tidy)

    def _tidy(self) -> None:
        if self._held is not None and self._held[0].layer not in self._viewer.layers:
            self.switch(False)
        elif self._preview is not None and self._preview.layer not in self._viewer.layers:
            self.drop()

    def _hold(self, layer: Any) -> Iterator[None]:
        """While Space is held the mouse moves the picture."""
        layer.mouse_pan = True
        yield
        layer.mouse_pan = not self.on

    # Drawing

    def _press(self, layer: Any, event: Any) -> Iterator[None]:
        if event.button == _MIDDLE or layer.mouse_pan or not self._in_plane(layer):
            return
        plane, point = _place(layer, event.position)
        if self._strokes is not None and plane != self._plane:
            self._say("Enter accepts or Esc drops what you drew on the other slice first.")
            return
        not_this = event.button == _RIGHT or "Alt" in event.modifiers
        if not self.begin(plane, point, NOT_THIS if not_this else None):
            return
        yield
        while event.type == "mouse_move":
            self.go_on(_place(layer, event.position)[1])
            yield

    def _in_plane(self, layer: Any) -> bool:
        """Whether the canvas shows the image's own plane."""
        if sorted(layer._slice_input.displayed) == [layer.ndim - 2, layer.ndim - 1]:
            return True
        self._say("Scribbles need the image's own plane: switch 3D off and put the axes back.")
        return False

    def begin(self, plane: Plane, point: tuple[float, float], ink: Ink | None = None) -> bool:
        """Start a stroke at a point (y, x) in pixels, with the selected class unless told."""
        if self._held is None:
            return False
        result, source = self._held
        if self._strokes is None:
            result.annotation.found_different(result.layer.data, plane)
            self._strokes, self._plane = Strokes(result.layer.data.shape[-2:]), plane
            self._asker.read(plane, lambda: source.plane(plane))
        label = int(result.layer.selected_label)
        ink = ink or Ink(label, result.annotation.name_of(label))
        if self._strokes.full(ink):
            self._say("One scribble holds so many classes only: Enter accepts what you drew.")
            return False
        self._strokes.begin(ink, max(3, min(source.shape[-2:]) // _WIDTHS), point)
        self._changed()
        return True

    def go_on(self, point: tuple[float, float]) -> None:
        """Draw the stroke under way to a point."""
        if self._strokes:
            self._strokes.go_on(point)
            self._changed()

    def take_back(self) -> None:
        """Take the last stroke back; without one, napari's undo."""
        if self._strokes is not None and self._strokes.take_back() and self._strokes:
            self._changed()
        elif self._strokes is not None:
            self._forget()
        elif self._held is not None:
            self._held[0].layer.undo()

    def drop(self) -> None:
        """Forget the strokes; without any, put the tool down."""
        if self._strokes is None:
            self.switch(False)
            return
        self._forget()
        self._say("Dropped. " + HELP)

    def _forget(self) -> None:
        self._asker.forget()
        if self._preview is not None:
            self._preview.remove()
        self._strokes = self._preview = self._answer = None
        self._accepting = False
        self._version += 1
        self._since = self._version
        self._box.forget()

    def _new_radius(self, _: int) -> None:
        if self._strokes is not None:
            self._changed()

    def _changed(self) -> None:
        self._version += 1
        self._accepting = False
        if self._strokes:
            self._box.suggest(reach_of(self._strokes.extent, self._strokes.codes.shape))
        self._ask()
        self._draw()

    # The preview

    def _ask(self) -> None:
        assert self._held is not None
        assert self._strokes is not None
        box = self._strokes.box(self._box.radius)
        if box is None:
            self._answer = None
            return
        locked = self._held[0].annotation.stays((*self._plane, *box), self._desk.locked())
        corner = box[0].start, box[1].start
        self._asker.want(
            Wish(self._plane, self._version, corner, self._strokes.codes[box].copy(), locked,
                 float(self._box.radius))
        )  # fmt: skip

    def _came(self, wish: Wish, answer: Scribbled) -> None:
        if self._strokes is None or wish.version <= self._since:
            return
        self._answer = wish, answer
        self._draw()
        if self._accepting and wish.version == self._version:
            self._apply(wish, answer)

    def _draw(self) -> None:
        if self._held is None or self._strokes is None:
            return
        layer, inks, taken = self._held[0].layer, self._strokes.inks, None
        if self._answer is not None:
            wish, answer = self._answer
            keeps = [0, *(0 if ink.keeps else n for n, ink in enumerate(inks, 1))]
            taken = wish.box, np.asarray(keeps, np.uint16)[answer.ids], answer.reach
        box = self._strokes.box(0)
        drawn = self._strokes.codes, box, taken, [colour_of(i, layer) for i in inks]
        if self._preview is None:
            self._preview = Preview(self._viewer, layer, self._plane, *drawn)
        else:
            self._preview.show(*drawn)

    # The end

    def accept(self) -> None:
        """Write what the preview shows, as soon as it shows the last stroke."""
        if self._strokes is None:
            self._say("Draw over a thing first. " + HELP)
        elif self._answer is not None and self._answer[0].version == self._version:
            self._apply(*self._answer)
        elif self._strokes.box(0) is None:
            self._forget()
        else:
            self._accepting = True
            self._ask()

    def _apply(self, wish: Wish, answer: Scribbled) -> None:
        """One entry of napari's undo list; every pixel of it is the person's from now on."""
        assert self._held is not None
        assert self._strokes is not None
        result, inks = self._held[0], self._strokes.inks
        if result.drawing:
            return
        place: Index = (*self._plane, *wish.box)
        free = ~result.annotation.stays(place, self._desk.locked())
        total = 0
        with result.layer.block_history():
            for number, ink in enumerate(inks, 1):
                label = None if ink.keeps else _label_now(result, ink)
                where = np.nonzero((answer.ids == number) & free)
                if label is None or not where[0].size:
                    continue
                y, x = (i + s.start for i, s in zip(where, wish.box, strict=True))
                lead = (np.full(y.shape, at) for at in self._plane)
                result.layer.data_setitem((*lead, y, x), label, refresh=False)
                total += len(y)
        result.layer.refresh(extent=False)
        self._forget()
        if total:
            self._say(f"Scribble: {counted(total, 'pixel')} more of yours; Ctrl+Z takes them back.")
        else:
            self._say(
                "Nothing was changed: these pixels are yours already, or their class is locked."
            )
        self.accepted.emit(total)

    # What is said

    def _say(self, text: str) -> None:
        self._viewer.status = text
        self._box.say(text)

    def _reading(self, on: bool) -> None:
        self._box.show_reading(on)
        if self.on:
            self._say("Reading the image … you can draw already." if on else HELP)

    def _fail(self, error: Exception) -> None:
        """The worker's complaint; strokes stay where trying again can help."""
        self._accepting = False
        if isinstance(error, WorkerDied):
            self.failed.emit(f"{error.event} Go on drawing.")
            return
        self.switch(False)
        if isinstance(error, Cancelled):
            self.failed.emit("Reading the image was cancelled; press Scribble to read it again.")
        else:
            self.failed.emit(sentence(error))


def _place(layer: Any, position: tuple[float, ...]) -> tuple[Plane, tuple[float, float]]:
    """Plane and point (y, x) of a position in the world."""
    *lead, y, x = (float(v) for v in layer.world_to_data(position[-layer.ndim :]))
    sizes = layer.data.shape[:-2]
    plane = tuple(int(np.clip(round(v), 0, n - 1)) for v, n in zip(lead, sizes, strict=True))
    return plane, (y, x)


def _label_now(result: ResultLayer, ink: Ink) -> int | None:
    """The id of an ink's class; a run may have moved it since. None when the class is gone."""
    notes = result.annotation
    if ink.label > len(notes.vocabulary.classes):
        return ink.label
    return notes.id_of(ink.name)
