"""Where the stuff lies: a label map of two to six stuff regions, before any thing is drawn."""

import numpy as np
from numpy.typing import NDArray

from .classes import CLASS_IDS, STUFF
from .textures import coordinates, smooth_noise

Labels = NDArray[np.uint16]
GROUND = ("grass", "field", "sand", "snow", "road", "rock", "pavement", "forest", "sea")
SKYLINE = ("forest", "rock", "snow", "sea")


def _pick(rng: np.random.Generator, names: tuple[str, ...], count: int) -> list[str]:
    return [str(n) for n in rng.choice(names, size=count, replace=False)]


def _warped(rng: np.random.Generator, height: int, width: int) -> tuple[NDArray[np.float32], ...]:
    """Pixel coordinates bent by noise, so that region borders are curved."""
    y, x = coordinates(height, width)
    side, reach = min(height, width), 0.05 * min(height, width)
    bend = [reach * smooth_noise(rng, height, width, side / 5, side / 5) for _ in range(2)]
    return y + bend[0], x + bend[1]


def _mosaic(rng: np.random.Generator, height: int, width: int, names: list[str]) -> Labels:
    """Curved Voronoi cells, one per name."""
    y, x = _warped(rng, height, width)
    seeds = rng.random((len(names), 2)) * (height, width)
    distance = np.stack([(y - sy) ** 2 + (x - sx) ** 2 for sy, sx in seeds])
    ids = np.asarray([CLASS_IDS[n] for n in names], np.uint16)
    labels: Labels = ids[distance.argmin(axis=0)]
    return labels


def _lake(rng: np.random.Generator, labels: Labels, top: int) -> None:
    height, width = labels.shape
    y, x = _warped(rng, height, width)
    cy, cx = rng.uniform(top + 0.15 * (height - top), height), rng.uniform(0, width)
    ry, rx = rng.uniform(0.12, 0.3) * height, rng.uniform(0.2, 0.45) * width
    inside = ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
    inside[:top] = False
    labels[inside] = CLASS_IDS["lake"]


def _band(rng: np.random.Generator, labels: Labels, top: int, name: str, bend: float) -> None:
    """A strip of one class that winds from the horizon to the lower edge."""
    height, width = labels.shape
    y, x = coordinates(height, width)
    down = np.clip((y - top) / max(height - top, 1), 0, 1)
    start, stop = rng.uniform(0, 1, 2) * width
    sway = bend * width * np.sin(down * rng.uniform(2, 6) + rng.uniform(0, 6))
    centre = start + (stop - start) * down + sway
    half = width * rng.uniform(0.05, 0.12) * (0.5 + 1.0 * down)
    inside = np.abs(x - centre) < half
    inside[:top] = False
    labels[inside] = CLASS_IDS[name]


def _horizon(rng: np.random.Generator, height: int, width: int) -> Labels:
    count = int(rng.integers(1, 4))
    labels = _mosaic(rng, height, width, _pick(rng, GROUND, count))
    line = rng.uniform(0.15, 0.55) * height
    y, x = coordinates(height, width)
    ridge = 0.03 * height * smooth_noise(rng, 1, width, 1, width / 6)
    if rng.random() < 0.5:
        far = str(rng.choice(SKYLINE))
        hills = (
            rng.uniform(0.06, 0.22) * height * (1 + 0.5 * smooth_noise(rng, 1, width, 1, width / 4))
        )
        labels[(y < line + ridge) & (y > line + ridge - np.abs(hills))] = CLASS_IDS[far]
        line_of_sky = line + ridge - np.abs(hills)
    else:
        line_of_sky = line + ridge
    top = int(line + float(ridge.max()))
    if rng.random() < 0.35:
        _band(rng, labels, top, "river", 0.12)
    if rng.random() < 0.35:
        _lake(rng, labels, top)
    if rng.random() < 0.25:
        _band(rng, labels, top, "road", 0.02)
    labels[y + 0 * x <= line_of_sky + 0 * y] = CLASS_IDS["sky"]
    return labels


def lay_out(rng: np.random.Generator, height: int, width: int) -> Labels:
    """Stuff regions of one scene: (H, W) uint16 of class ids, every pixel labelled."""
    if rng.random() < 0.6:
        return _horizon(rng, height, width)
    return _mosaic(rng, height, width, _pick(rng, STUFF, int(rng.integers(2, 6))))
