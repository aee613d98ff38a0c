"""Which image, and which part of it: follows the viewer's layer list."""

import math
from typing import Any

import numpy as np
from napari.layers import Image, Labels, Shapes
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from ...values.errors import ImageError
from ...values.job import Display, Job
from ..layers import from_file, images, limits
from ..layers.images import LayerSource
from ..layers.lying import image_under
from ..layers.opened import is_picture
from ..parts.pieces import Combo, Name, column, label, row
from ..threads import Background
from .values_row import ValuesRow

WHOLE, SLICE, SLICES, VISIBLE, RECTANGLE = "whole", "slice", "slices", "visible", "rectangle"
REGION_NAME = "region"


class PlaceBox(QWidget):
    """`image_changed` comes with the Image layer or None."""

    image_changed = Signal(object)
    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self.image = Combo("The image to label")
        self.image.setAccessibleName("Image")
        self.level = Combo("Which resolution of the pyramid is labelled")
        self.axis = Combo("Whether one axis of the image holds colour channels")
        self.channels = [Combo(f"Channel shown as {c}") for c in ("red", "green", "blue")]
        self.region = Combo("Which part of the image is labelled")
        rows = column(self, 0)
        rows.addLayout(row(Name("Image"), self.image, stretch=1))
        self.turned = label(role="muted")
        self.turned.hide()
        self._header = Background()
        self._header.done.connect(self._show_turned)
        rows.addWidget(self.turned)
        self._level_row = _boxed(Name("Resolution"), self.level)
        self._axis_row = _boxed(Name("Channels"), self.axis)
        self._channel_row = _boxed(Name("R, G, B"), *self.channels)
        self.values = ValuesRow()
        self.values.changed.connect(self.changed)
        for extra in (self._level_row, self._axis_row, self._channel_row, self.values):
            rows.addWidget(extra)
        rows.addLayout(row(Name("Region"), self.region, stretch=1))
        self.image.currentIndexChanged.connect(self._new_image)
        self.axis.currentIndexChanged.connect(self._new_axis)
        for combo in (self.level, self.region, *self.channels):
            combo.currentIndexChanged.connect(lambda *_: self.changed.emit())
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self._follow)
        viewer.layers.selection.events.active.connect(self._selected)
        self._renamed: list[Image] = []
        self._follow()

    # The viewer

    def _follow(self, event: Any = None) -> None:
        """Take over the viewer's images, newest first."""
        layers = [x for x in reversed(self._viewer.layers) if is_picture(x)]
        for layer in layers:
            if layer not in self._renamed:
                layer.events.name.connect(self._follow)
                limits.watch(layer)
                self._renamed.append(layer)
        self._renamed = [x for x in self._renamed if x in layers]
        before = self.layer
        self.image.offer([(x.name, x) for x in layers] or [("no image is open", None)])
        if event is not None and event.type == "inserted" and event.value in layers:
            self.image.choose(event.value)
        if self.layer is not before or not layers:
            self._new_image()

    def _selected(self, event: Any) -> None:
        """Choose the image that is selected, or that the selected labels lie on."""
        layer = event.value
        image = image_under(layer, self._viewer.layers) if isinstance(layer, Labels) else layer
        self.image.choose(image)

    def disconnect_viewer(self) -> None:
        """Stop following, when the dock closes."""
        self.values.leave()
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.disconnect(self._follow)
        self._viewer.layers.selection.events.active.disconnect(self._selected)
        for layer in self._renamed:
            layer.events.name.disconnect(self._follow)

    @property
    def layer(self) -> Image | None:
        chosen: Image | None = self.image.currentData()
        return chosen

    def _new_image(self, *_: Any) -> None:
        layer = self.layer
        self._level_row.setVisible(layer is not None and bool(layer.multiscale))
        self._axis_row.setVisible(layer is not None and not layer.rgb and layer.ndim > 2)
        if layer is not None:
            self._offer_levels(layer)
            self._offer_axes(layer)
        self._new_axis()
        self.values.show_layer(layer)
        self._ask_turned(layer)
        self.image_changed.emit(layer)

    def _ask_turned(self, layer: Image | None) -> None:
        """Look into the file's head, off the GUI thread; napari shows pixels as stored."""
        self.turned.hide()
        if layer is not None and layer.source.path and layer.source.reader_plugin == "napari":
            self._header.start(lambda: (layer, from_file.head_of(layer)))

    def _show_turned(self, answer: Any) -> None:
        if isinstance(answer, tuple):
            layer, head = answer
            told = head.notices if head is not None else ()
            self.turned.setText(" ".join(told))
            self.turned.setVisible(bool(told) and layer is self.layer)

    def _offer_levels(self, layer: Image) -> None:
        if layer.multiscale:
            shapes = [" x ".join(map(str, d.shape)) for d in layer.data]
            self.level.offer([(s, i) for i, s in enumerate(shapes)], keep=False)
            self.level.choose(images.guess_level(layer))

    def _offer_axes(self, layer: Image) -> None:
        shape = (layer.data[0] if layer.multiscale else layer.data).shape[: layer.ndim]
        choices: list[tuple[str, int | None]] = [("none: every plane is an image", None)]
        choices += [(f"axis {i} holds {n} channels", i) for i, n in enumerate(shape) if n <= 64]
        self.axis.offer(choices, keep=False)
        self.axis.choose(images.guess_channel_axis(layer))

    def _new_axis(self, *_: Any) -> None:
        layer, axis = self.layer, self.axis.currentData()
        channelled = layer is not None and not layer.rgb and layer.ndim > 2 and axis is not None
        self._channel_row.setVisible(channelled)
        if channelled and layer is not None:
            count = (layer.data[0] if layer.multiscale else layer.data).shape[axis]
            usable, usual = from_file.channels_of(layer, count)
            for combo in self.channels:
                combo.offer([(str(k), k) for k in usable], keep=False)
            if len(usable) > 1:
                self.channels[2].addItem("none", None)
            self._choose_channels(usual)
        self._offer_regions()
        self.changed.emit()

    def _choose_channels(self, channels: tuple[int, ...]) -> None:
        """One is grey: the same thrice; of two blue is none."""
        padded = channels * 3 if len(channels) == 1 else (*channels, None)
        for combo, channel in zip(self.channels, padded, strict=False):
            combo.choose(channel)

    def _chosen_channels(self) -> tuple[int, ...]:
        chosen = tuple(c.currentData() for c in self.channels)
        if len(set(chosen)) == 1:
            return chosen[:1]
        return tuple(c for c in chosen if c is not None)

    def show_job(self, job: Job) -> str:
        """Take a job's rectangle, channels and limits for the image; a sentence on what failed."""
        if self.layer is None and (job.region is not None or job.display != Display()):
            what = "a rectangle" if job.region is not None else "channels or contrast limits"
            return (
                f"The settings have {what}, but no image is open to show it on: open the image and "
                "load them again."
            )
        self.values.choose(job.display.limits)
        if job.display.channels and not self._show_channels(job.display.channels):
            told = ", ".join(map(str, job.display.channels))
            return f"The image has no channels {told}, which the settings choose: choose others."
        self.show_region(job.region)
        return ""

    def _show_channels(self, channels: tuple[int, ...]) -> bool:
        layer = self.layer
        if layer is None or layer.rgb or self.axis.currentData() is None:
            return False
        self._choose_channels(channels)
        return self._chosen_channels() == channels

    def _offer_regions(self) -> None:
        planes = self.source.shape[:-2] if self.layer is not None else ()
        parts = [("Visible field", VISIBLE), ("Rectangle of a Shapes layer", RECTANGLE)]
        if planes:
            every = f"All slices ({math.prod(planes)})"
            self.region.offer([("Current slice", SLICE), (every, SLICES), *parts])
        else:
            self.region.offer([("Whole image", WHOLE), *parts])

    def show_region(self, box: tuple[int, int, int, int] | None) -> bool:
        """Choose a job's rectangle (y0, x0, y1, x1) by drawing it; False without an image.

        Without a rectangle the first choice, the whole image or slice, is taken.
        """
        if box is None:
            self.region.setCurrentIndex(0)
            return True
        if self.layer is None:
            return False
        source = self.source
        here = images.current_plane(source, tuple(self._viewer.dims.point))
        corners = images.corners_of(box)
        corners = np.hstack([np.tile(np.asarray(here, float), (4, 1)), corners])
        shapes = Shapes(
            [corners], shape_type="rectangle", name=REGION_NAME, ndim=corners.shape[1],
            face_color="transparent", edge_color="yellow", **images.placement(source),
        )  # fmt: skip
        self._viewer.add_layer(shapes)
        self._viewer.layers.selection.active = shapes
        return bool(self.region.choose(RECTANGLE))

    # The answers

    @property
    def source(self) -> LayerSource:
        """What is to be segmented; raises ImageError when nothing can be."""
        images.check(self.layer)
        layer = self.layer
        assert layer is not None
        axis = None if layer.rgb or layer.ndim < 3 else self.axis.currentData()
        channels = None
        if axis is not None and self.channels[0].count():
            channels = self._chosen_channels()
        level = self.level.currentData() if layer.multiscale else 0
        return LayerSource(layer, level or 0, axis, channels, limits.limits_of(layer))

    def where(self) -> dict[str, Any]:
        """What a job says of the image: rectangle, channels, limits; ImageError without one."""
        return {"display": self.source.display, "region": self.rectangle()}

    def planes(self) -> list[tuple[int, ...]]:
        """Indices of the planes to run on, the one in view first."""
        source = self.source
        if not source.shape[:-2]:
            return [()]
        here = images.current_plane(source, tuple(self._viewer.dims.point))
        if self.region.currentData() != SLICES:
            return [here]
        every = [()]
        for n in source.shape[:-2]:
            every = [(*p, i) for p in every for i in range(n)]  # type: ignore[misc]
        return [here, *(p for p in every if p != here)]

    def rectangle(self) -> tuple[int, int, int, int] | None:
        """The rectangle (y0, x0, y1, x1) if one is asked for; ImageError when none is drawn."""
        if self.region.currentData() == VISIBLE:
            return images.visible(self.source)
        if self.region.currentData() != RECTANGLE:
            return None
        drawn = [x for x in self._viewer.layers if isinstance(x, Shapes)]
        chosen = [x for x in drawn if x in self._viewer.layers.selection] or drawn
        if not chosen:
            raise ImageError(
                "No rectangle is drawn: add a Shapes layer, draw a rectangle on the image, and "
                "run again; or choose another region."
            )
        return images.rectangle(self.source, chosen[-1])


def _boxed(*widgets: QWidget) -> QWidget:
    box = QWidget()
    layout = row(*widgets, stretch=1)
    box.setLayout(layout)
    return box
