"""From a segment of the set to its place in an image that is open."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import QObject, Signal

from ..images import Source, guess_channel_axis
from .pairs import Pair, source_of
from .reader import Reader

if TYPE_CHECKING:
    from .shelf import Entry

Plane = tuple[int, ...]
# How much of the canvas a segment takes, and the least world side that is shown around it.
SHARE, LEAST = 0.3, 24.0
_INDEX = re.compile(r" \[(\d+)\]")


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A plane of an open image; layer : its labels where there are some, else the image."""

    source: Source
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

    def close(self) -> None:
        """For a dock that is closed."""
        self._reader.close()

    def show(self, entry: "Entry") -> None:
        """Move the camera to a segment and take up the labels it lies in."""
        source, box = entry.record.source, entry.record.segment.box
        plane = tuple(int(i) for i in _INDEX.findall(source.name))
        fitting = [p for p in self._open(plane) if p.source.shape[-2:] == tuple(source.size)]

        def then(place: Place | None) -> None:
            if place is None:
                self.missed.emit(f"{source.name} is not open here: open it to see this place.")
            else:
                self._look(place, box)

        self._reader.ask(lambda: _same(fitting, source.hash), then)

    def _open(self, plane: Plane) -> list[Place]:
        """Planes that are open and may be meant, those with labels first."""
        pairs = [(source_of(p), p.labels) for p in self._pairs() if not p.problem]
        images = [x for x in self._viewer.layers if isinstance(x, Image) and not x.multiscale]
        bare = [(Source(x), x) for x in images if guess_channel_axis(x) is None]
        return [
            Place(source, layer, plane)
            for source, layer in [*pairs, *bare]
            if len(source.shape) == len(plane) + 2
        ]

    def _look(self, place: Place, box: tuple[int, int, int, int]) -> None:
        if place.layer not in self._viewer.layers:
            return
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
        place.layer.visible = True
        self._viewer.layers.selection.active = place.layer


def _same(places: Sequence[Place], content_hash: str) -> Place | None:
    """The first place whose pixels have this hash."""
    from ...pixels import content_hash as hash_of

    for place in places:
        if hash_of(place.source.plane(place.plane)) == content_hash:
            return place
    return None
