"""What was drawn with the scribble tool on one plane, until it is accepted or dropped."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ...annotation.blank import blank

Point = tuple[float, float]
Box = tuple[slice, slice]
Codes = npt.NDArray[np.uint8]
MOST_INKS = 100


@dataclass(frozen=True, slots=True)
class Ink:
    """What a stroke says: a class by its name and id at that time, or "not this".

    label : the id in the layer, 0 unlabelled. keeps : the pixels it wins stay as they are.
    """

    label: int
    name: str
    keeps: bool = False


NOT_THIS = Ink(-1, "not this", keeps=True)


@dataclass(slots=True)
class _Stroke:
    code: int
    width: float
    points: list[Point] = field(default_factory=list)

    @property
    def extent(self) -> float:
        """Diagonal of the rectangle around it, in pixels."""
        sides = (max(v) - min(v) + self.width for v in zip(*self.points, strict=True))
        return float(np.hypot(*sides))


class Strokes:
    """Strokes of several inks; a later one lies over those before it.

    Nothing here looks at the whole plane while a stroke grows, however large the plane is.

    codes : (H, W) uint8, number of the ink from 1 on, 0 where nothing is drawn.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.codes: Codes = blank(shape, np.uint8)
        self.inks: list[Ink] = []
        self._strokes: list[_Stroke] = []
        self._drawn: Box | None = None
        self._open = False

    def __bool__(self) -> bool:
        return bool(self._strokes)

    def begin(self, ink: Ink, width: float, point: Point) -> None:
        """Start a stroke; coordinates (y, x) in pixels, a pixel's middle at whole numbers."""
        if ink not in self.inks:
            self.inks.append(ink)
        self._strokes.append(_Stroke(self.inks.index(ink) + 1, width))
        self._open = True
        self.go_on(point)

    def go_on(self, point: Point) -> None:
        """Draw the stroke under way to a point; nothing when it was taken back meanwhile."""
        if not self._open:
            return
        stroke = self._strokes[-1]
        before = stroke.points[-1] if stroke.points else point
        stroke.points.append(point)
        self._line(before, point, stroke)

    def take_back(self) -> bool:
        """Take the last stroke back; False when there is none."""
        if not self._strokes:
            return False
        self._strokes.pop()
        self._open = False
        if self._drawn is not None:
            self.codes[self._drawn] = 0
        self._drawn = None
        for stroke in self._strokes:
            starts = [stroke.points[0], *stroke.points]
            for before, point in zip(starts, stroke.points, strict=False):
                self._line(before, point, stroke)
        return True

    def full(self, ink: Ink) -> bool:
        """Whether there is no number left for an ink."""
        return ink not in self.inks and len(self.inks) >= MOST_INKS

    @property
    def extent(self) -> float:
        """Of the longest stroke that says a class, in pixels; 0 without any."""
        said = (s for s in self._strokes if not self.inks[s.code - 1].keeps)
        return max((s.extent for s in said), default=0.0)

    def box(self, margin: float) -> Box | None:
        """The drawn pixels and a margin around them, cut to the plane; None without any."""
        if self._drawn is None:
            return None
        reach = int(np.ceil(margin))
        rows, columns = (
            slice(max(0, part.start - reach), min(size, part.stop + reach))
            for part, size in zip(self._drawn, self.codes.shape, strict=True)
        )
        return rows, columns

    def _line(self, a: Point, b: Point, stroke: _Stroke) -> None:
        drawn = _line(self.codes, a, b, stroke.width, stroke.code)
        if drawn is not None:
            self._drawn = drawn if self._drawn is None else around(self._drawn, drawn)


def around(a: Box, b: Box) -> Box:
    """The rectangle around two."""
    rows, columns = (
        slice(min(p.start, q.start), max(p.stop, q.stop)) for p, q in zip(a, b, strict=True)
    )
    return rows, columns


def _line(codes: Codes, a: Point, b: Point, width: float, code: int) -> Box | None:
    """Set the pixels whose middle lies within half a width of the line from a to b.

    Returns the rectangle around them, None where all would lie outside.
    """
    reach = max(width / 2, 0.5)
    (y0, y1), (x0, x1) = (sorted((a[i], b[i])) for i in (0, 1))
    rows = slice(max(0, int(np.floor(y0 - reach))), max(0, int(np.ceil(y1 + reach)) + 1))
    columns = slice(max(0, int(np.floor(x0 - reach))), max(0, int(np.ceil(x1 + reach)) + 1))
    part = codes[rows, columns]
    y = np.arange(rows.start, rows.start + part.shape[0])[:, None] - a[0]
    x = np.arange(columns.start, columns.start + part.shape[1]) - a[1]
    dy, dx = b[0] - a[0], b[1] - a[1]
    along = np.clip((y * dy + x * dx) / max(dy * dy + dx * dx, 1e-9), 0, 1)
    on = np.hypot(y - along * dy, x - along * dx) <= reach
    part[on] = code
    if not on.any():
        return None
    bounds = []
    for axis, start in ((1, rows.start), (0, columns.start)):
        hit = np.flatnonzero(on.any(axis))
        bounds.append(slice(start + int(hit[0]), start + int(hit[-1]) + 1))
    return bounds[0], bounds[1]
