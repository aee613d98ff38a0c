"""The layer over the labels that shows strokes, what they would take, and how far they reach."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from ...annotation.blank import blank
from .strokes import Box, Codes, Ink, around

NAME = "scribble preview"
MARK = "prelabel_preview"
REACH, EDGE = 254, 255
_WHITE = (1.0, 1.0, 1.0, 1.0)
_NOT = (0.95, 0.15, 0.15, 1.0)
_ERASED = (0.75, 0.75, 0.75, 0.8)
Plane = tuple[int, ...]
Colour = tuple[float, float, float, float]
# Box, ids and reach of the worker's answer.
Taken = tuple[Box, npt.NDArray[Any], npt.NDArray[np.bool_]]


class Preview:
    """A Labels layer of one plane, lying exactly over `layer`; it is never saved or exported."""

    def __init__(
        self,
        viewer: Any,
        layer: Labels,
        plane: Plane,
        strokes: Codes,
        box: Box | None,
        taken: Taken | None,
        colours: Sequence[Colour],
    ) -> None:
        """Add the layer with what `show` would draw, so that napari draws it once."""
        self._viewer = viewer
        self.plane = plane
        self._picture = blank(layer.data.shape[-2:], np.uint8)
        self._box: Box | None = None
        self._dress = tuple(colours)
        self._draw(strokes, box, taken)
        # A plane at an offset, placed by one matrix whatever the layer's own transforms are.
        matrix = np.asarray(layer._data_to_world.affine_matrix)
        offset = np.eye(layer.ndim + 1)
        offset[: len(plane), -1] = plane
        self.layer = Labels(
            self._picture[(np.newaxis,) * len(plane)], name=NAME, opacity=0.9,
            metadata={MARK: True}, colormap=_colours(self._dress),
            affine=matrix @ offset, units=layer.units, axis_labels=layer.axis_labels,
        )  # fmt: skip
        chosen = viewer.layers.selection.active
        viewer.add_layer(self.layer)
        viewer.layers.selection.active = chosen

    def show(
        self, strokes: Codes, box: Box | None, taken: Taken | None, colours: Sequence[Colour]
    ) -> None:
        """Draw anew.

        strokes : (H, W) numbers of inks. box : around them, None where nothing is drawn.
        taken : box, ids and reach of the worker's answer. colours : of the inks.
        """
        self._draw(strokes, box, taken)
        self._colour(tuple(colours))
        self.layer.refresh(extent=False)

    def _draw(self, strokes: Codes, box: Box | None, taken: Taken | None) -> None:
        picture = self._picture
        if self._box is not None:
            picture[self._box] = 0
        self._box = box if box is None or taken is None else around(box, taken[0])
        if taken is not None and box is not None:
            where, ids, reach = taken
            part = picture[where]
            part[...] = np.where(ids > 0, 2 * ids.astype(np.uint8), 0)
            part[_edge(reach)] = REACH
            part[_edge(ids)] = EDGE
        if box is not None:
            drawn = strokes[box] > 0
            picture[box][drawn] = 2 * strokes[box][drawn] + 1

    def _colour(self, colours: tuple[Colour, ...]) -> None:
        if colours == self._dress:
            return
        self._dress = colours
        self.layer.colormap = _colours(colours)

    def remove(self) -> None:
        """Take the layer away."""
        if self.layer in self._viewer.layers:
            chosen = self._viewer.layers.selection.active
            self._viewer.layers.remove(self.layer)
            if chosen is not self.layer and chosen in self._viewer.layers:
                self._viewer.layers.selection.active = chosen


def _colours(inks: Sequence[Colour]) -> DirectLabelColormap:
    found: dict[int | None, Any] = {None: (0.0,) * 4, 0: (0.0,) * 4}
    found |= {REACH: (1.0, 1.0, 1.0, 0.55), EDGE: _WHITE}
    for number, (r, g, b, a) in enumerate(inks, 1):
        found[2 * number] = (r, g, b, 0.75 * a)
        found[2 * number + 1] = (r, g, b, 1.0)
    return DirectLabelColormap(color_dict=found)


def colour_of(ink: Ink, layer: Labels) -> Colour:
    """The ink's colour: its class's own on the layer, red for "not this"."""
    if ink.keeps:
        return (*_NOT[:3], 0.0)
    if ink.label == 0:
        return _ERASED
    r, g, b = (float(v) for v in layer.get_color(ink.label)[:3])
    return r, g, b, 1.0


def _edge(ids: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Pixels inside whose neighbour below, above, left or right is another."""
    out = np.zeros(ids.shape, np.bool_)
    for axis in (0, 1):
        here = [slice(None), slice(None)]
        there = [slice(None), slice(None)]
        here[axis], there[axis] = slice(None, -1), slice(1, None)
        differ = ids[tuple(here)] != ids[tuple(there)]
        out[tuple(here)] |= differ
        out[tuple(there)] |= differ
    edge: npt.NDArray[np.bool_] = out & (ids > 0)
    return edge
