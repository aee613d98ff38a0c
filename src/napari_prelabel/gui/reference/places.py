"""From a segment of the set to its place in an image that is open."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from qtpy.QtCore import QObject, Signal

from ..layers.images import LayerSource, corners_of, guess_channel_axis, placement
from ..layers.opened import is_picture
from .pairs import Pair, source_of
from .reader import Reader

if TYPE_CHECKING:
    from .shelf import Entry

Plane = tuple[int, ...]
# How much of the canvas a segment takes, and the least world side that is shown around it.
SHARE, LEAST = 0.3, 24.0
NAME = "shown segment"
_INDEX = re.compile(r" \[(\d+)\]")


@dataclass(frozen=True, slots=True, eq=False)
class OpenPlane:
    """A plane of an open image; layer : its labels where there are some, else the image."""

    source: LayerSource
    layer: Layer
    plane: Plane


class Places(QObject):
    """Finds images by their pixels, off the GUI thread; `missed` brings a sentence."""

    missed = Signal(str)

    def __init__(self, viewer: Any, pairs: Callable[[], Sequence[Pair]]) -> None:
        super().__init__()
        self._viewer, self._pairs = viewer, pairs
        self._reader = Reader()
        self._reader.failed.connect(lambda error: self.missed.emit(str(error)))
        self._frame: Shapes | None = None

    def close(self) -> None:
        """For a dock that is closed."""
        self._reader.close()
        self.clear()

    def show(self, entry: "Entry") -> None:
        """Move the camera to a segment and take up the labels it lies in."""
        source, box = entry.record.source, entry.record.segment.box
        plane = tuple(int(i) for i in _INDEX.findall(source.name))
        fitting = [p for p in self._open(plane) if p.source.shape[-2:] == tuple(source.size)]

        def then(place: OpenPlane | None) -> None:
            if place is None:
                self.missed.emit(f"{source.name} is not open here: open it to see this place.")
            else:
                self._look(place, box)

        self._reader.ask(lambda: _same(fitting, source.hash), then)

    def _open(self, plane: Plane) -> list[OpenPlane]:
        """Planes that are open and may be meant, those with labels first."""
        open_ = self._viewer.layers
        known = [p for p in self._pairs() if not p.problem and {p.image, p.labels} <= {*open_}]
        pairs = [(source_of(p), p.labels) for p in known]
        images = [x for x in open_ if is_picture(x) and not x.multiscale]
        bare = [(LayerSource(x), x) for x in images if guess_channel_axis(x) is None]
        return [
            OpenPlane(source, layer, plane)
            for source, layer in [*pairs, *bare]
            if len(source.shape) == len(plane) + 2
        ]

    def _look(self, place: OpenPlane, box: tuple[int, int, int, int]) -> None:
        if place.layer not in self._viewer.layers:
            return
        self._uncover(place)
        y0, x0, y1, x1 = box
        ends = [place.layer.data_to_world((*place.plane, y, x)) for y, x in ((y0, x0), (y1, x1))]
        low, high = (np.asarray(end, float) for end in ends)
        middle = (low + high) / 2
        offset = self._viewer.dims.ndim - len(middle)
        for axis, value in enumerate(middle[:-2]):
            self._viewer.dims.set_point(offset + axis, float(value))
        side = max(float(np.abs(high - low)[-2:].max()), LEAST)
        self._viewer.scene.camera.center = (0.0, *middle[-2:])
        self._viewer.scene.camera.zoom = SHARE * min(self._viewer.canvas.size) / side
        self._outline(place, box)
        self._viewer.layers.selection.active = place.layer

    def _uncover(self, place: OpenPlane) -> None:
        """Show the image and its labels, and hide the images and labels that lie over them."""
        layers, image = self._viewer.layers, place.source.layer
        for layer in layers[layers.index(image) :]:
            if isinstance(layer, (Image, Labels)):
                layer.visible = layer in (image, place.layer)

    def _outline(self, place: OpenPlane, box: tuple[int, int, int, int]) -> None:
        """Draw a frame around the segment, in place of the last one."""
        self.clear()
        corners = np.hstack([np.tile(np.asarray(place.plane, float), (4, 1)), corners_of(box)])
        self._frame = Shapes(
            [corners], shape_type="rectangle", name=NAME, ndim=corners.shape[1], opacity=1.0,
            face_color="transparent", edge_color="white", edge_width=1, **placement(place.source),
        )  # fmt: skip
        self._viewer.add_layer(self._frame)

    def clear(self) -> None:
        """Take the frame away."""
        if self._frame is not None and self._frame in self._viewer.layers:
            self._viewer.layers.remove(self._frame)
        self._frame = None


def _same(places: Sequence[OpenPlane], content_hash: str) -> OpenPlane | None:
    """The first place whose pixels have this hash."""
    from ...images.rgb import content_hash as hash_of

    for place in places:
        if hash_of(place.source.plane(place.plane)) == content_hash:
            return place
    return None
