"""What was drawn with the scribble tool on one plane, until it is accepted or dropped."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

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


class Strokes:
    """Strokes of several inks; a later one lies over those before it.

    codes : (H, W) uint8, number of the ink from 1 on, 0 where nothing is drawn.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.codes: Codes = np.zeros(shape, np.uint8)
        self.inks: list[Ink] = []
        self._strokes: list[_Stroke] = []

    def __bool__(self) -> bool:
        return bool(self._strokes)

    def begin(self, ink: Ink, width: float, point: Point) -> None:
        """Start a stroke; coordinates (y, x) in pixels, a pixel's middle at whole numbers."""
        if ink not in self.inks and len(self.inks) < MOST_INKS:
            self.inks.append(ink)
        self._strokes.append(_Stroke(self.inks.index(ink) + 1, width))
        self.go_on(point)

    def go_on(self, point: Point) -> None:
        """Draw the stroke under way to a point."""
        stroke = self._strokes[-1]
        before = stroke.points[-1] if stroke.points else point
        stroke.points.append(point)
        _line(self.codes, before, point, stroke.width, stroke.code)

    def take_back(self) -> bool:
        """Take the last stroke back; False when there is none."""
        if not self._strokes:
            return False
        self._strokes.pop()
        self.codes[:] = 0
        for stroke in self._strokes:
            starts = [stroke.points[0], *stroke.points]
            for before, point in zip(starts, stroke.points, strict=False):
                _line(self.codes, before, point, stroke.width, stroke.code)
        return True

    def box(self, margin: float) -> Box | None:
        """The drawn pixels and a margin around them, cut to the plane; None without any."""
        bounds = []
        for axis in (0, 1):
            drawn = np.flatnonzero(self.codes.any(1 - axis))
            if not drawn.size:
                return None
            reach, size = int(np.ceil(margin)), self.codes.shape[axis]
            bounds.append(
                slice(max(0, int(drawn[0]) - reach), min(size, int(drawn[-1]) + reach + 1))
            )
        return bounds[0], bounds[1]


def _line(codes: Codes, a: Point, b: Point, width: float, code: int) -> None:
    """Set the pixels whose middle lies within half a width of the line from a to b."""
    reach = max(width / 2, 0.5)
    (y0, y1), (x0, x1) = (sorted((a[i], b[i])) for i in (0, 1))
    rows = slice(max(0, int(np.floor(y0 - reach))), max(0, int(np.ceil(y1 + reach)) + 1))
    columns = slice(max(0, int(np.floor(x0 - reach))), max(0, int(np.ceil(x1 + reach)) + 1))
    part = codes[rows, columns]
    y = np.arange(rows.start, rows.start + part.shape[0])[:, None] - a[0]
    x = np.arange(columns.start, columns.start + part.shape[1]) - a[1]
    dy, dx = b[0] - a[0], b[1] - a[1]
    along = np.clip((y * dy + x * dx) / max(dy * dy + dx * dx, 1e-9), 0, 1)
    part[np.hypot(y - along * dy, x - along * dx) <= reach] = code
