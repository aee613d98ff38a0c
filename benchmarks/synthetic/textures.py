"""Twelve procedural stuff textures: each a tone field, mixed between a dark and a light colour.

Colours are shared between classes on purpose; what tells a class from another is the pattern.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .classes import COLOURS

Float = NDArray[np.float32]
Generator = np.random.Generator


def smooth_noise(rng: Generator, height: int, width: int, sy: float, sx: float) -> Float:
    """Noise with cells of sy x sx pixels: (H, W) float32, mean 0, deviation about 1."""
    rows, cols = int(height / sy) + 4, int(width / sx) + 4
    coarse = rng.standard_normal((rows, cols), dtype=np.float32)
    oy, ox = rng.random(2)
    box = (ox + 0.5, oy + 0.5, ox + 0.5 + width / sx, oy + 0.5 + height / sy)
    fine = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC, box=box)
    noise: Float = np.asarray(fine, dtype=np.float32) * np.float32(1.3)
    return noise


def coordinates(height: int, width: int) -> tuple[Float, Float]:
    """Open grids y (H, 1) and x (1, W) in pixels, float32."""
    y = np.arange(height, dtype=np.float32)[:, None]
    x = np.arange(width, dtype=np.float32)[None, :]
    return y, x


def _unit(field: Float) -> Float:
    clipped: Float = np.clip(field, 0.0, 1.0, dtype=np.float32)
    return clipped


def _slant(rng: Generator, low: float, high: float) -> tuple[float, float]:
    angle = np.deg2rad(rng.uniform(low, high)) * rng.choice([-1.0, 1.0])
    return float(np.cos(angle)), float(np.sin(angle))


def _cells(rng: Generator, height: int, width: int, side: float) -> tuple[Float, Float, Float]:
    """Worley cells: distance to the nearest and second seed over the side, and a value per cell."""
    rows, cols = int(height / side) + 3, int(width / side) + 3
    jitter = rng.random((rows, cols, 2), dtype=np.float32) * 0.8 + 0.1
    value = rng.random((rows, cols), dtype=np.float32)
    y, x = coordinates(height, width)
    y, x = y / side + 1, x / side + 1
    iy, ix = y.astype(np.intp), x.astype(np.intp)
    first = np.full((height, width), 9.0, np.float32)
    second, tone = first.copy(), np.zeros_like(first)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            seeds = jitter[iy + dy, ix + dx]
            d2 = (iy + dy + seeds[..., 0] - y) ** 2 + (ix + dx + seeds[..., 1] - x) ** 2
            nearer = d2 < first
            second = np.where(nearer, first, np.minimum(second, d2))
            tone = np.where(nearer, value[iy + dy, ix + dx], tone)
            first = np.where(nearer, d2, first)
    return np.sqrt(first), np.sqrt(second), tone


def _sky(rng: Generator, h: int, w: int, s: float) -> Float:
    y, _ = coordinates(h, w)
    return _unit(0.75 - 0.35 * y / h + 0.22 * smooth_noise(rng, h, w, 30 * s, 50 * s))


def _sea(rng: Generator, h: int, w: int, s: float) -> Float:
    y, x = coordinates(h, w)
    bend = 2.2 * s * np.sin(x / (7 * s) + 1.5 * smooth_noise(rng, h, w, 20 * s, 30 * s))
    crest = 0.5 + 0.5 * np.sin((y + bend) * (2 * np.pi / (9 * s)))
    foam = (crest > 0.88) & (smooth_noise(rng, h, w, 3 * s, 9 * s) > -0.2)
    return _unit(0.1 + 0.55 * crest**2 + 0.6 * foam)


def _lake(rng: Generator, h: int, w: int, s: float) -> Float:
    dashes = smooth_noise(rng, h, w, 1.7 * s, 11 * s)
    return _unit(0.45 + 0.20 * dashes + 0.12 * smooth_noise(rng, h, w, 25 * s, 40 * s))


def _river(rng: Generator, h: int, w: int, s: float) -> Float:
    y, x = coordinates(h, w)
    c, d = _slant(rng, 35, 65)
    warp = 3.0 * s * smooth_noise(rng, h, w, 14 * s, 14 * s)
    wave = np.sin((c * y + d * x + warp) * (2 * np.pi / (6.5 * s)))
    return _unit(0.45 + 0.38 * wave)


def _grass(rng: Generator, h: int, w: int, s: float) -> Float:
    blades = smooth_noise(rng, h, w, 6.5 * s, 1.6 * s)
    return _unit(0.48 + 0.42 * np.tanh(1.6 * blades))


def _field(rng: Generator, h: int, w: int, s: float) -> Float:
    y, x = coordinates(h, w)
    c, d = _slant(rng, 10, 75)
    row = ((c * y + d * x) / (8.5 * s)) % 1.0
    ridge = np.where(row < 0.6, row / 0.6, 0.0)
    return _unit(0.12 + 0.72 * ridge + 0.06 * smooth_noise(rng, h, w, 2, 2))


def _sand(rng: Generator, h: int, w: int, s: float) -> Float:
    grain = rng.standard_normal((h, w), dtype=np.float32)
    dunes = smooth_noise(rng, h, w, 22 * s, 30 * s)
    return _unit(0.58 + 0.20 * grain + 0.10 * dunes - 0.5 * (grain < -1.9))


def _snow(rng: Generator, h: int, w: int, s: float) -> Float:
    mounds = smooth_noise(rng, h, w, 9 * s, 14 * s)
    sparkle = smooth_noise(rng, h, w, 1.5, 1.5) > 2.6
    return _unit(0.55 + 0.17 * mounds + 0.5 * sparkle)


def _road(rng: Generator, h: int, w: int, s: float) -> Float:
    y, x = coordinates(h, w)
    c, d = _slant(rng, 0, 90)
    across, along = (c * y + d * x) / s, (c * x - d * y) / s
    blotch = np.sign(smooth_noise(rng, h, w, 2.6 * s, 2.6 * s))
    dash = (across % 15 < 2.2) & (along % 12 < 7)
    return _unit(np.where(dash, 1.0, 0.28 + 0.14 * blotch))


def _rock(rng: Generator, h: int, w: int, s: float) -> Float:
    first, second, tone = _cells(rng, h, w, 11 * s)
    return _unit(np.where(second - first < 0.10, 0.0, 0.25 + 0.65 * tone))


def _forest(rng: Generator, h: int, w: int, s: float) -> Float:
    first, _, tone = _cells(rng, h, w, 8.5 * s)
    return _unit(0.95 - 1.15 * first + 0.2 * (tone - 0.5))


def _pavement(rng: Generator, h: int, w: int, s: float) -> Float:
    y, x = coordinates(h, w)
    row = np.floor(y / (7 * s))
    col = x / (13 * s) + 0.5 * (row % 2)
    joint = (y / (7 * s) % 1.0 < 0.2) | (col % 1.0 < 0.12)
    rows, cols = int(h / (7 * s)) + 2, int(w / (13 * s)) + 3
    shade = rng.random((rows, cols), dtype=np.float32)
    brick = shade[row.astype(np.intp), np.floor(col).astype(np.intp)]
    return _unit(np.where(joint, 0.0, 0.45 + 0.5 * brick))


TONES: dict[str, Callable[[Generator, int, int, float], Float]] = {
    "sky": _sky, "sea": _sea, "lake": _lake, "river": _river, "grass": _grass, "field": _field,
    "sand": _sand, "snow": _snow, "road": _road, "rock": _rock, "forest": _forest,
    "pavement": _pavement,
}  # fmt: skip


def texture(
    name: str, colour: str, rng: Generator, height: int, width: int, scale: float = 1.0
) -> Float:
    """Paint one stuff class over a whole canvas.

    Returns
    -------
    (H, W, 3) float32 in 0..1
    """
    tone = TONES[name](rng, height, width, scale)[..., None]
    base = np.asarray(COLOURS[colour], np.float32) + rng.normal(0, 0.05, 3).astype(np.float32)
    drift = 0.12 * smooth_noise(rng, height, width, height / 2.5, width / 2.5)[..., None]
    dark, light = 0.50 * base + 0.02, 0.62 * base + 0.42
    return _unit((dark + (light - dark) * tone) * (1.0 + drift))
