"""Twenty thing shapes as polygons in a unit box (x right, y down), painted part by part."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .classes import COLOUR_NAMES, COLOURS
from .textures import smooth_noise

Float = NDArray[np.float32]
Points = tuple[tuple[float, float], ...]
Part = tuple[str, Points]

ROLES = ("main", "accent", "dark", "light", "leaf")


def _rect(x0: float, y0: float, x1: float, y1: float) -> Points:
    return ((x0, y0), (x1, y0), (x1, y1), (x0, y1))


def _oval(
    cx: float, cy: float, rx: float, ry: float, start: float = 0, stop: float = 360
) -> Points:
    angles = np.deg2rad(np.linspace(start, stop, 21))
    return tuple((cx + rx * float(np.cos(a)), cy + ry * float(np.sin(a))) for a in angles)


def _many(role: str, *shapes: Points) -> tuple[Part, ...]:
    return tuple((role, shape) for shape in shapes)


def _legs(role: str, top: float, *xs: float, width: float = 0.07) -> tuple[Part, ...]:
    return _many(role, *(_rect(x, top, x + width, 1.0) for x in xs))


def _wheels(radius: float, aspect: float, *xs: float) -> tuple[Part, ...]:
    tyres = _many("dark", *(_oval(x, 1 - radius, radius / aspect, radius) for x in xs))
    r = 0.45 * radius
    return tyres + _many("light", *(_oval(x, 1 - radius, r / aspect, r) for x in xs))


def _battlements() -> tuple[Part, ...]:
    return _many("main", *(_rect(x, 0.0, x + 0.16, 0.16) for x in (0.02, 0.29, 0.56, 0.82)))


def _petals() -> tuple[Part, ...]:
    ring = [(0.5 + 0.27 * np.cos(a), 0.32 + 0.21 * np.sin(a)) for a in np.arange(6) * np.pi / 3]
    return _many("main", *(_oval(float(x), float(y), 0.19, 0.14) for x, y in ring))


def _wool() -> tuple[Part, ...]:
    ring = [(0.52 + 0.3 * np.cos(a), 0.42 + 0.24 * np.sin(a)) for a in np.arange(9) * np.pi / 4.5]
    return _many("light", *(_oval(float(x), float(y), 0.17, 0.18) for x, y in ring))


SHAPES: dict[str, tuple[float, tuple[Part, ...]]] = {
    "house": (1.0, (
        ("main", _rect(0.08, 0.42, 0.92, 1.0)), ("accent", ((0, 0.45), (0.5, 0.0), (1, 0.45))),
        ("dark", _rect(0.42, 0.62, 0.58, 1.0)),
        *_many("light", _rect(0.17, 0.55, 0.34, 0.75), _rect(0.66, 0.55, 0.83, 0.75)),
    )),
    "barn": (1.5, (
        ("main", _rect(0.04, 0.42, 0.96, 1.0)),
        ("accent", ((0, 0.46), (0.14, 0.14), (0.5, 0), (0.86, 0.14), (1, 0.46))),
        ("light", _rect(0.30, 0.50, 0.70, 1.0)),
        *_many("dark", ((0.30, 0.50), (0.36, 0.50), (0.70, 1.0), (0.64, 1.0)),
               ((0.64, 0.50), (0.70, 0.50), (0.36, 1.0), (0.30, 1.0))),
        ("dark", _rect(0.44, 0.18, 0.56, 0.36)),
    )),
    "tower": (0.45, (
        ("main", _rect(0.12, 0.2, 0.88, 1.0)), ("main", _rect(0.02, 0.10, 0.98, 0.27)),
        *_battlements(),
        *_many("dark", _rect(0.42, 0.36, 0.58, 0.48), _rect(0.42, 0.58, 0.58, 0.70)),
        ("accent", _oval(0.5, 1.0, 0.22, 0.17, 180, 360)),
    )),
    "tree": (0.75, (
        ("dark", _rect(0.42, 0.55, 0.58, 1.0)),
        *_many("leaf", _oval(0.5, 0.33, 0.36, 0.33), _oval(0.25, 0.42, 0.25, 0.22),
               _oval(0.75, 0.42, 0.25, 0.22)),
    )),
    "bush": (1.6, _many(
        "leaf", _oval(0.5, 0.95, 0.5, 0.62, 180, 360), _oval(0.25, 0.66, 0.25, 0.36),
        _oval(0.52, 0.42, 0.28, 0.42), _oval(0.76, 0.64, 0.24, 0.36), _rect(0.02, 0.7, 0.98, 1.0),
    )),
    "pine": (0.6, (
        ("dark", _rect(0.43, 0.8, 0.57, 1.0)),
        *_many("leaf", ((0, 0.84), (0.5, 0.36), (1, 0.84)), ((0.1, 0.58), (0.5, 0.17), (0.9, 0.58)),
               ((0.22, 0.33), (0.5, 0), (0.78, 0.33))),
    )),
    "car": (2.0, (
        ("main", ((0, 0.5), (0.2, 0.44), (0.8, 0.44), (1, 0.55), (1, 0.82), (0, 0.82))),
        ("main", ((0.2, 0.46), (0.32, 0.05), (0.68, 0.05), (0.82, 0.46))),
        *_many("light", ((0.27, 0.42), (0.35, 0.13), (0.48, 0.13), (0.48, 0.42)),
               ((0.53, 0.42), (0.53, 0.13), (0.65, 0.13), (0.75, 0.42))),
        ("accent", _rect(0.0, 0.62, 1.0, 0.70)),
        *_wheels(0.22, 2.0, 0.22, 0.78),
    )),
    "truck": (1.9, (
        ("main", _rect(0.0, 0.0, 0.66, 0.82)),
        ("accent", ((0.69, 0.84), (0.69, 0.28), (0.88, 0.28), (1.0, 0.54), (1.0, 0.84))),
        ("light", ((0.75, 0.53), (0.75, 0.36), (0.86, 0.36), (0.93, 0.53))),
        ("dark", _rect(0.0, 0.78, 1.0, 0.86)),
        *_wheels(0.17, 1.9, 0.14, 0.38, 0.84),
    )),
    "bus": (2.3, (
        ("main", _rect(0.0, 0.04, 1.0, 0.86)),
        *_many("light",
               *(_rect(0.05 + 0.155 * i, 0.16, 0.165 + 0.155 * i, 0.46) for i in range(6))),
        ("accent", _rect(0.0, 0.58, 1.0, 0.67)),
        *_wheels(0.18, 2.3, 0.2, 0.8),
    )),
    "boat": (1.0, (
        ("dark", _rect(0.49, 0.0, 0.53, 0.78)),
        ("light", ((0.55, 0.04), (0.55, 0.70), (0.98, 0.70))),
        ("accent", ((0.46, 0.12), (0.46, 0.70), (0.12, 0.70))),
        ("main", ((0, 0.75), (1, 0.75), (0.82, 1.0), (0.2, 1.0))),
    )),
    "cow": (1.5, (
        *_legs("main", 0.6, 0.16, 0.28, 0.58, 0.70, width=0.08),
        ("main", _oval(0.46, 0.45, 0.38, 0.27)), ("main", _oval(0.86, 0.30, 0.14, 0.17)),
        *_many("dark", _oval(0.32, 0.40, 0.12, 0.13), _oval(0.57, 0.53, 0.12, 0.11),
               _oval(0.62, 0.30, 0.07, 0.08)),
        *_many("light", ((0.76, 0.20), (0.70, 0.0), (0.82, 0.15)),
               ((0.92, 0.16), (1.0, 0.0), (0.97, 0.22)), _oval(0.93, 0.38, 0.06, 0.08)),
        ("dark", ((0.08, 0.36), (0.0, 0.72), (0.04, 0.74), (0.12, 0.42))),
    )),
    "sheep": (1.3, (
        *_legs("dark", 0.6, 0.3, 0.42, 0.58, 0.70, width=0.05), *_wool(),
        ("light", _oval(0.52, 0.42, 0.34, 0.28)), ("accent", _oval(0.90, 0.34, 0.10, 0.17)),
        ("accent", _oval(0.78, 0.26, 0.08, 0.05)),
    )),
    "person": (0.45, (
        *_many("accent", _rect(0.28, 0.56, 0.47, 1.0), _rect(0.53, 0.56, 0.72, 1.0)),
        ("main", ((0.22, 0.22), (0.78, 0.22), (0.74, 0.60), (0.26, 0.60))),
        *_many("main", ((0.24, 0.22), (0.0, 0.52), (0.12, 0.57), (0.32, 0.34)),
               ((0.76, 0.22), (1.0, 0.52), (0.88, 0.57), (0.68, 0.34))),
        ("light", _oval(0.5, 0.10, 0.2, 0.10)), ("dark", _oval(0.5, 0.08, 0.21, 0.08, 180, 360)),
    )),
    "bird": (1.5, (
        ("main", ((0.42, 0.58), (0.0, 0.0), (0.18, 0.02), (0.58, 0.45))),
        ("accent", ((0.48, 0.58), (0.78, 0.0), (0.92, 0.06), (0.66, 0.55))),
        ("main", _oval(0.52, 0.66, 0.27, 0.2)), ("main", _oval(0.80, 0.55, 0.11, 0.15)),
        ("main", ((0.3, 0.62), (0.02, 0.82), (0.12, 0.98), (0.38, 0.78))),
        ("light", ((0.88, 0.50), (1.0, 0.58), (0.88, 0.63))),
        ("dark", _oval(0.82, 0.51, 0.03, 0.04)),
    )),
    "fish": (1.8, (
        ("accent", ((0.24, 0.5), (0.0, 0.1), (0.07, 0.5), (0.0, 0.9))),
        *_many("accent", ((0.42, 0.2), (0.52, 0.0), (0.68, 0.2)),
               ((0.45, 0.8), (0.5, 1), (0.62, 0.8))),
        ("main", _oval(0.58, 0.5, 0.4, 0.36)),
        *_many("light", _oval(0.38, 0.5, 0.05, 0.2, 90, 270), _oval(0.5, 0.5, 0.05, 0.24, 90, 270),
               _oval(0.62, 0.5, 0.05, 0.24, 90, 270)),
        ("light", _oval(0.84, 0.40, 0.07, 0.12)), ("dark", _oval(0.85, 0.40, 0.035, 0.06)),
    )),
    "flower": (0.7, (
        ("leaf", _rect(0.46, 0.5, 0.54, 1.0)),
        *_many("leaf", ((0.5, 0.92), (0.2, 0.68), (0.48, 0.76)),
               ((0.5, 0.85), (0.82, 0.62), (0.53, 0.7))),
        *_petals(), ("accent", _oval(0.5, 0.32, 0.15, 0.11)),
    )),
    "umbrella": (1.0, (
        ("dark", _rect(0.47, 0.45, 0.53, 0.95)),
        ("dark", ((0.47, 0.9), (0.47, 1.0), (0.68, 1.0), (0.68, 0.86), (0.62, 0.86), (0.62, 0.93))),
        ("main", _oval(0.5, 0.52, 0.5, 0.52, 180, 360)),
        *_many("accent", ((0.5, 0), (0.2, 0.52), (0.4, 0.52)),
               ((0.5, 0), (0.6, 0.52), (0.8, 0.52))),
    )),
    "ball": (1.0, (
        ("main", _oval(0.5, 0.5, 0.5, 0.5)),
        ("accent", ((0.0, 0.42), (0.25, 0.35), (0.75, 0.35), (1.0, 0.42), (1.0, 0.58), (0.75, 0.65),
                    (0.25, 0.65), (0.0, 0.58))),
        *_many("light", _oval(0.5, 0.16, 0.26, 0.09), _oval(0.5, 0.84, 0.26, 0.09)),
    )),
    "kite": (0.7, (
        ("main", ((0.5, 0), (1.0, 0.32), (0.5, 0.78), (0.0, 0.32))),
        *_many("accent", ((0.5, 0), (0.5, 0.32), (0.0, 0.32)),
               ((0.5, 0.32), (1.0, 0.32), (0.5, 0.78))),
        *_many("dark", _rect(0.475, 0.0, 0.525, 0.84), _rect(0.0, 0.30, 1.0, 0.335)),
        *_many("light", ((0.3, 0.82), (0.5, 0.87), (0.3, 0.93)),
               ((0.7, 0.82), (0.5, 0.87), (0.7, 0.93)),
               ((0.36, 0.91), (0.5, 0.95), (0.36, 1.0)),
               ((0.64, 0.91), (0.5, 0.95), (0.64, 1.0))),
    )),
    "fence": (2.4, (
        *_many("accent", _rect(0, 0.3, 1, 0.42), _rect(0, 0.68, 1, 0.8)),
        *_many("main", *(((x, 1), (x, 0.16), (x + 0.045, 0), (x + 0.09, 0.16), (x + 0.09, 1))
                         for x in (0.0, 0.18, 0.36, 0.55, 0.73, 0.91))),
    )),
}  # fmt: skip
"""Shape name -> (width over height, parts from back to front)."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One drawn thing: its painted pixels and where they go.

    Attributes
    ----------
    mask : (h, w) bool, the silhouette
    paint : (h, w, 3) float32 in 0..1, valid inside the mask
    """

    mask: NDArray[np.bool_]
    paint: Float


def _place(
    points: Points, size: tuple[int, int], flip: bool, angle: float
) -> list[tuple[float, float]]:
    """Unit-box points to pixels of a canvas (height, width), mirrored and turned."""
    height, width = size
    c, s = np.cos(angle), np.sin(angle)
    xy = np.asarray(points, np.float64) - 0.5
    x, y = (-xy[:, 0] if flip else xy[:, 0]) * width, xy[:, 1] * height
    shrink = min(
        width / (width * abs(c) + height * abs(s)), height / (width * abs(s) + height * abs(c))
    )
    px = shrink * (c * x - s * y) + (width - 1) / 2
    py = shrink * (s * x + c * y) + (height - 1) / 2
    return list(zip(px.tolist(), py.tolist(), strict=True))


def _role_colours(colour: str, rng: np.random.Generator) -> Float:
    """(roles + 1, 3) float32 paint by role; row 0 is unused."""
    main = np.asarray(COLOURS[colour], np.float32)
    other = np.asarray(
        COLOURS[str(rng.choice([c for c in COLOUR_NAMES if c != colour]))], np.float32
    )
    dark = np.asarray(COLOURS["brown"], np.float32) * rng.uniform(0.3, 0.8)
    light = 0.80 + 0.20 * np.asarray(rng.random(3), np.float32)
    light = np.where(rng.random() < 0.5, light, 0.4 * main + 0.55)
    table = np.stack([main * 0, main, other, dark, light, main]).astype(np.float32)
    jittered: Float = np.clip(table + rng.normal(0, 0.03, table.shape), 0, 1).astype(np.float32)
    return jittered


def draw_thing(name: str, colour: str, height: int, width: int, rng: np.random.Generator) -> Thing:
    """Draw one thing into a box of height x width pixels."""
    _, parts = SHAPES[name]
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    flip, angle = bool(rng.random() < 0.5), float(np.deg2rad(rng.normal(0, 5)))
    for role, points in parts:
        draw.polygon(_place(points, (height, width), flip, angle), fill=ROLES.index(role) + 1)
    roles = np.asarray(canvas)
    paint = _role_colours(colour, rng)[roles]
    leaves = smooth_noise(rng, height, width, 2.5, 2.5)[..., None]
    paint = np.where((roles == 5)[..., None], paint * (1 + 0.45 * np.tanh(2 * leaves)), paint)
    light = rng.normal(0, 0.25, 2)
    y, x = np.linspace(-1, 1, height)[:, None, None], np.linspace(-1, 1, width)[None, :, None]
    shade = (
        1.0 + light[0] * x + light[1] * y + 0.05 * smooth_noise(rng, height, width, 3, 3)[..., None]
    )
    return Thing(roles > 0, np.clip(paint * shade, 0, 1).astype(np.float32))
