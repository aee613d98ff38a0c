"""Why this label? A click on the picture asks which references caused it."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QPushButton, QWidget

from ..layers.result import ResultLayer
from ..parts.pieces import column, label
from .entries import EntryList
from .pairs import MARK

NAME = "asked segment"
HELP = (
    "Press the button, then click a place that ReME labelled: the references that decided it are "
    "listed."
)
Plane = tuple[int, ...]


class WhyTool(QObject):
    """Follows clicks on the canvas; `asked` brings (ResultLayer, plane, (y, x))."""

    asked = Signal(object, object, object)
    missed = Signal(str)

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._on = False
        self._mark: Labels | None = None

    def switch(self, on: bool) -> None:
        """Listen to clicks, or not; the brush is put down meanwhile."""
        if on == self._on:
            return
        self._on = on
        if on:
            for layer in self._viewer.layers:
                if isinstance(layer, Labels):
                    layer.mode = "pan_zoom"
            self._viewer.mouse_drag_callbacks.append(self._pressed)
        else:
            self._viewer.mouse_drag_callbacks.remove(self._pressed)
            self.unmark()

    def _pressed(self, _: Any, event: Any) -> Iterator[None]:
        """A click asks; a drag moves the picture as always."""
        yield
        dragged = False
        while event.type == "mouse_move":
            dragged = True
            yield
        if not dragged:
            self.ask_at(tuple(event.position))

    def ask_at(self, position: tuple[float, ...]) -> None:
        """Ask about a place in world coordinates."""
        for layer in reversed(self._viewer.layers):
            result = ResultLayer.of(layer) if isinstance(layer, Labels) else None
            if result is None or not layer.visible:
                continue
            at = tuple(round(float(v)) for v in layer.world_to_data(position[-layer.ndim :]))
            if all(0 <= v < n for v, n in zip(at, layer.data.shape, strict=True)):
                self.asked.emit(result, at[:-2], at[-2:])
                return
        self.missed.emit("No labels of ours lie there: run ReME on this image first.")

    def mark(self, result: ResultLayer, plane: Plane, mask: Any) -> None:
        """Draw the outline of a segment (Y, X) over the labels."""
        self.unmark()
        ids = np.zeros(result.layer.data.shape, np.uint8)
        ids[plane] = mask
        chosen = self._viewer.layers.selection.active
        colours = {None: (0.0, 0.0, 0.0, 0.0), 0: (0.0, 0.0, 0.0, 0.0), 1: (1.0, 1.0, 1.0, 1.0)}
        made = Labels(
            ids, name=NAME, opacity=1.0, metadata={MARK: True},
            colormap=DirectLabelColormap(color_dict=colours),
            scale=result.layer.scale, translate=result.layer.translate,
            rotate=result.layer.rotate, shear=result.layer.shear, affine=result.layer.affine,
            units=result.layer.units, axis_labels=result.layer.axis_labels,
        )  # fmt: skip
        made.contour = 2
        self._mark = made
        self._viewer.add_layer(made)
        if chosen in self._viewer.layers:
            self._viewer.layers.selection.active = chosen

    def unmark(self) -> None:
        """Take the outline away."""
        if self._mark is not None and self._mark in self._viewer.layers:
            self._viewer.layers.remove(self._mark)
        self._mark = None


class WhyBox(QWidget):
    """`toggled` when the tool is taken up or put down."""

    toggled = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.button = QPushButton("Why this label?")
        self.button.setCheckable(True)
        self.button.setToolTip("Then click a place on the picture that ReME labelled")
        self.button.setProperty("role", "tool")
        self.button.toggled.connect(self._toggled)
        self.help = label(HELP, "muted")
        self.answer = label(role="head", selectable=True)
        self.note = label(role="muted")
        self.list = EntryList()
        rows = column(self, 0)
        for widget in (self.button, self.help, self.answer, self.note, self.list):
            rows.addWidget(widget)
        self.say("")

    def _toggled(self, on: bool) -> None:
        self.button.setText("Click on the picture …" if on else "Why this label?")
        self.toggled.emit(on)

    def say(self, answer: str, note: str = "") -> None:
        """The headline of an answer and what it needs beside; "" for neither."""
        self.list.show_lines(())
        self.help.setVisible(not answer)
        for widget, text in ((self.answer, answer), (self.note, note)):
            widget.setText(text)
            widget.setVisible(bool(text))


def image_named(result: ResultLayer) -> Image:
    """The image a result was made from; raises ImageError when it is closed."""
    from ...values.errors import ImageError

    image = result.image()
    if image is None:
        raise ImageError("The image of these labels is closed: open it again and run once more.")
    return image
