"""Seeded scenes: an image, its exact label map, its regions and its captions.

The main path begins at ``scene``: lay out stuff, paint it, put things on it, photograph the result.
"""

import io
import math
import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from napari_prelabel.values.errors import PrelabelError

from .captions import scene_captions
from .classes import CLASS_IDS, CLASSES, COLOUR_NAMES, STUFF_COLOURS, THINGS
from .layout import lay_out
from .shapes import SHAPES, draw_thing
from .textures import smooth_noise, texture

Split = Literal["train", "val", "test"]
Float = NDArray[np.float32]

SPLIT_SEEDS: dict[str, range] = {
    "train": range(1_000_000),
    "val": range(1_000_000, 1_010_000),
    "test": range(1_010_000, 1_020_000),
}
HELD_OUT_SHARE = 8


@dataclass(frozen=True, slots=True)
class Region:
    """One painted thing or stuff area, as the captions know it.

    Attributes
    ----------
    name : class name
    colour : colour word
    on : for a thing, the stuff below its foot; for stuff, ""
    box : (y0, x0, y1, x1) in pixels, end exclusive, of what is visible
    pixels : visible pixels
    """

    name: str
    colour: str
    on: str
    box: tuple[int, int, int, int]
    pixels: int


@dataclass(frozen=True, slots=True)
class Scene:
    """A drawn scene and its truth.

    Attributes
    ----------
    image : (H, W, 3) uint8 RGB
    labels : (H, W) uint16, position in CLASSES plus one; no pixel is 0
    captions : alt-text sentences, the longest first
    regions : what is visible, stuff first, then things from back to front
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint16]
    captions: tuple[str, ...]
    regions: tuple[Region, ...]


def split_seeds(split: str) -> range:
    """Seeds that belong to a split; no seed belongs to two."""
    if split not in SPLIT_SEEDS:
        raise PrelabelError(f"No split named {split!r}: choose one of {', '.join(SPLIT_SEEDS)}.")
    return SPLIT_SEEDS[split]


def held_out(thing: str, colour: str, on: str) -> bool:
    """Whether a combination of thing, colour and stuff below is kept out of training."""
    return zlib.crc32(f"{thing}|{colour}|{on}".encode()) % HELD_OUT_SHARE == 0


def _thing_colour(rng: np.random.Generator, thing: str, on: str, split: str) -> str:
    allowed = [c for c in COLOUR_NAMES if split != "train" or not held_out(thing, c, on)]
    rare = [c for c in allowed if held_out(thing, c, on)]
    if rare and rng.random() < 0.5:
        return str(rng.choice(rare))
    return str(rng.choice(allowed))


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """(y0, x0, y1, x1) around the true pixels, end exclusive."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(ys[0]), int(xs[0]), int(ys[-1]) + 1, int(xs[-1]) + 1


def _paint_stuff(
    rng: np.random.Generator, labels: NDArray[np.uint16]
) -> tuple[Float, dict[int, str]]:
    height, width = labels.shape
    canvas = np.zeros((height, width, 3), np.float32)
    colours: dict[int, str] = {}
    for class_id in np.unique(labels).tolist():
        name = CLASSES[class_id - 1].name
        colours[class_id] = str(rng.choice(STUFF_COLOURS[name]))
        where = labels == class_id
        y0, x0, y1, x1 = _box(where)
        box = np.s_[y0:y1, x0:x1]
        scale = float(rng.uniform(0.8, 1.35))
        paint = texture(name, colours[class_id], rng, y1 - y0, x1 - x0, scale)
        canvas[box][where[box]] = paint[where[box]]
    return canvas, colours


def _thing_size(rng: np.random.Generator, name: str, side: int) -> tuple[int, int]:
    longest = side * math.exp(rng.uniform(math.log(0.03), math.log(0.6)))
    if rng.random() < 0.7:
        longest = side * rng.uniform(0.12, 0.45)
    aspect = SHAPES[name][0] * math.exp(rng.normal(0, 0.08))
    height, width = (longest, longest * aspect) if aspect < 1 else (longest / aspect, longest)
    return max(round(height), 4), max(round(width), 4)


def _put_things(
    rng: np.random.Generator, canvas: Float, labels: NDArray[np.uint16], split: str
) -> list[tuple[str, str, str, NDArray[np.bool_]]]:
    """Draw things over the canvas and labels in place; returns name, colour, on, full mask."""
    height, width = labels.shape
    stuff = labels.copy()
    drawn: list[tuple[str, str, str, NDArray[np.bool_]]] = []
    for _ in range(int(rng.integers(2, 8))):
        name = str(rng.choice(THINGS))
        h, w = _thing_size(rng, name, min(height, width))
        y0 = int(rng.integers(-h // 8, max(height - h + h // 8, 1)))
        x0 = int(rng.integers(-w // 6, max(width - w + w // 6, 1)))
        foot = stuff[min(max(y0 + h - 1, 0), height - 1), min(max(x0 + w // 2, 0), width - 1)]
        on = CLASSES[int(foot) - 1].name
        colour = _thing_colour(rng, name, on, split)
        thing = draw_thing(name, colour, h, w, rng)
        ya, xa, yb, xb = max(y0, 0), max(x0, 0), min(y0 + h, height), min(x0 + w, width)
        if ya >= yb or xa >= xb:
            continue
        cut = np.s_[ya - y0 : yb - y0, xa - x0 : xb - x0]
        mask = np.zeros((height, width), np.bool_)
        mask[ya:yb, xa:xb] = thing.mask[cut]
        canvas[mask] = thing.paint[cut][thing.mask[cut]]
        labels[mask] = CLASS_IDS[name]
        for _, _, _, earlier in drawn:
            earlier &= ~mask
        drawn.append((name, colour, on, mask))
    return drawn


def _photograph(rng: np.random.Generator, canvas: Float) -> NDArray[np.uint8]:
    """Light, shadow, blur, sensor noise and JPEG, as a camera would add them."""
    height, width, _ = canvas.shape
    tint = np.clip(rng.normal(1.0, 0.05, 3), 0.85, 1.15).astype(np.float32)
    light = np.exp(0.16 * smooth_noise(rng, height, width, height / 1.7, width / 1.7))
    shot = np.clip(canvas * light[..., None] * tint, 0, 1) ** np.float32(rng.uniform(0.8, 1.25))
    if rng.random() < 0.5:
        sigma = rng.uniform(0.2, 0.8)
        shot = gaussian_filter(shot, (sigma, sigma, 0))
    shot = shot + rng.normal(0, 1, shot.shape).astype(np.float32) * np.float32(
        rng.uniform(0, 0.025)
    )
    pixels = (np.clip(shot, 0, 1) * 255).round().astype(np.uint8)
    if rng.random() < 0.7:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=int(rng.integers(60, 95)))
        pixels = np.asarray(Image.open(buffer))
    return np.ascontiguousarray(pixels)


def _region(name: str, colour: str, on: str, mask: NDArray[np.bool_]) -> Region:
    return Region(name, colour, on, _box(mask), int(mask.sum()))


def scene_size(seed: int, split: str) -> tuple[int, int]:
    """The size a seed draws when none is given: both sides 128..512, not always square."""
    rng = np.random.default_rng([seed, 7])
    low = 256 if split == "test" else 128
    height, width = (16 * int(n) for n in rng.integers(low // 16, 33, 2))
    return height, width


def scene(seed: int, split: Split | str, size: tuple[int, int] | None = None) -> Scene:
    """Draw one scene.

    Parameters
    ----------
    seed : one of ``split_seeds(split)``; equal arguments give equal bytes
    split : "train", "val" or "test"; training scenes leave out the held-out combinations
    size : (height, width) in pixels, each at least 32; drawn from the seed when None

    Raises
    ------
    PrelabelError
        Unknown split, a seed of another split, or a size under 32 pixels.
    """
    seeds = split_seeds(split)
    if seed not in seeds:
        raise PrelabelError(
            f"Seed {seed} is not of split {split!r}: use {seeds[0]} to {seeds[-1]}."
        )
    height, width = size or scene_size(seed, split)
    if min(height, width) < 32:
        raise PrelabelError(f"A scene of {height} x {width} is too small: use at least 32 x 32.")
    rng = np.random.default_rng(seed)
    labels = lay_out(rng, height, width)
    canvas, colours = _paint_stuff(rng, labels)
    things = _put_things(rng, canvas, labels, split)
    stuff_ids = [i for i in colours if (labels == i).any()]
    regions = [_region(CLASSES[i - 1].name, colours[i], "", labels == i) for i in stuff_ids]
    regions += [_region(*thing) for thing in things if thing[3].any()]
    image = _photograph(rng, canvas)
    return Scene(image, labels, scene_captions(rng, regions, labels.size), tuple(regions))
