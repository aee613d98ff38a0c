"""Batches of crops and their captions, cut from the cached scenes.

A crop is a close-up of a thing, a part of one, a piece of stuff, or a window on several regions;
its caption names what it shows, as alt text does.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from open_clip import OPENAI_IMAGENET_TEMPLATES
from PIL import Image

from ..captions import described, joined, phrase
from ..classes import CLASS_IDS, CLASSES, COLOUR_NAMES, DISTRACTORS
from .cache import SceneCache

BATCH = {32: 192, 48: 96, 64: 64, 96: 32, 112: 24, 128: 16}
"""Crop side in pixels -> crops per step (about equal cost)."""

MIX = {
    "early": {32: 0.8, 48: 0.2},
    "middle": {32: 0.30, 48: 0.30, 64: 0.33, 96: 0.07},
    "late": {32: 0.10, 48: 0.16, 64: 0.32, 96: 0.22, 112: 0.10, 128: 0.10},
}
KINDS = {
    32: {"thing": 0.40, "part": 0.15, "stuff": 0.25, "window": 0.20},
    48: {"thing": 0.35, "part": 0.10, "stuff": 0.20, "window": 0.35},
    64: {"thing": 0.25, "part": 0.10, "stuff": 0.15, "window": 0.50},
    96: {"thing": 0.20, "part": 0.10, "stuff": 0.10, "window": 0.60},
    112: {"thing": 0.45, "part": 0.10, "stuff": 0.25, "window": 0.20},
    128: {"thing": 0.15, "part": 0.05, "stuff": 0.10, "window": 0.70},
}
NAMED_SHARE = 0.012
STRETCHED_SHARE = 0.5
"""Close-ups of things that fill their own box, whatever its shape: as purification cuts them."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Crops with captions.

    Attributes
    ----------
    images : (B, S, S, 3) uint8
    captions : B strings
    named : (B, classes) bool, the classes that the caption's words stand for
    phrases : one phrase per class of the world, then texts that describe nothing drawn
    """

    images: NDArray[np.uint8]
    captions: list[str]
    named: NDArray[np.bool_]
    phrases: list[str]


def crop_side(rng: np.random.Generator, done: float) -> int:
    """Crop side for a step, by the fraction of the training already done."""
    mix = MIX["early" if done < 0.10 else "middle" if done < 0.35 else "late"]
    return int(rng.choice(list(mix), p=list(mix.values())))


class CropSource:
    """Draws class-balanced crops from a scene cache."""

    def __init__(self, cache: SceneCache, words: list[str]) -> None:
        self.cache = cache
        self.words = np.asarray([w for w in words if w not in DISTRACTORS])
        big = cache.regions[cache.regions[:, 7] >= 80]
        self.by_class = [big[big[:, 1] == i] for i in range(1, len(CLASSES) + 1)]
        scenes = cache.regions[:, 0]
        self.first = np.searchsorted(scenes, np.arange(len(cache.images) + 1))

    def batch(self, rng: np.random.Generator, side: int, count: int | None = None) -> Batch:
        count = count or BATCH[side]
        images = np.empty((count, side, side, 3), np.uint8)
        named = np.zeros((count, len(CLASSES)), np.bool_)
        captions = []
        kinds = KINDS[side]
        for i, kind in enumerate(rng.choice(list(kinds), size=count, p=list(kinds.values()))):
            row = self._region(rng, str(kind))
            box = self._box(rng, str(kind), row, side)
            images[i] = self._pixels(rng, int(row[0]), box, side)
            shares = self._shares(int(row[0]), box)
            named[i] = shares >= NAMED_SHARE
            captions.append(self._caption(rng, int(row[0]), shares, int(row[1])))
        return Batch(images, captions, named, self._phrases(rng))

    def _region(self, rng: np.random.Generator, kind: str) -> NDArray[np.int32]:
        while True:
            info = int(rng.integers(len(CLASSES)))
            wanted = {"thing": "thing", "part": "thing", "stuff": "stuff"}.get(kind)
            if (wanted is None or CLASSES[info].kind == wanted) and len(self.by_class[info]):
                row: NDArray[np.int32] = rng.choice(self.by_class[info])
                return row

    def _box(
        self, rng: np.random.Generator, kind: str, row: NDArray[np.int32], side: int
    ) -> tuple[float, float, float, float]:
        y0, x0, y1, x1 = row[3:7].astype(float)
        limit = self.cache.labels.shape[1]
        longest = max(y1 - y0, x1 - x0)
        if kind == "thing" and rng.random() < STRETCHED_SHARE:
            return _stretched(rng, (y0, x0, y1, x1), limit)
        if kind == "thing":
            size = longest * rng.uniform(0.9, 1.9)
            cy, cx = (
                (y0 + y1) / 2 + rng.normal(0, 0.1) * size,
                (x0 + x1) / 2 + rng.normal(0, 0.1) * size,
            )
        else:
            size = {
                "part": longest * rng.uniform(0.3, 0.8),
                "stuff": rng.uniform(0.5, 1.5) * side,
                "window": rng.uniform(0.8, 2.3) * side,
            }[kind]
            cy, cx = rng.uniform(y0, y1), rng.uniform(x0, x1)
        size = min(max(size, 12.0), limit)
        top = float(np.clip(cy - size / 2, 0, limit - size))
        left = float(np.clip(cx - size / 2, 0, limit - size))
        return top, left, size, size

    def _pixels(
        self, rng: np.random.Generator, scene: int, box: tuple[float, ...], side: int
    ) -> NDArray[np.uint8]:
        top, left, tall, wide = box
        y0, x0, y1, x1 = int(top), int(left), int(np.ceil(top + tall)), int(np.ceil(left + wide))
        cut = Image.fromarray(self.cache.images[scene, y0:y1, x0:x1])
        frame = (left - x0, top - y0, min(left - x0 + wide, x1 - x0), min(top - y0 + tall, y1 - y0))
        pixels = np.asarray(cut.resize((side, side), Image.Resampling.BILINEAR, box=frame))
        gain, lift = rng.uniform(0.8, 1.2), rng.uniform(-15, 15)
        table = np.clip(np.arange(256) * gain + lift, 0, 255).astype(np.uint8)
        toned: NDArray[np.uint8] = table[pixels]
        return toned[:, ::-1] if rng.random() < 0.5 else toned

    def _shares(self, scene: int, box: tuple[float, ...]) -> NDArray[np.float64]:
        top, left, tall, wide = (int(v) for v in box)
        down, right = max(tall // 24, 1), max(wide // 24, 1)
        seen = self.cache.labels[scene, top : top + tall : down, left : left + wide : right]
        counts = np.bincount(seen.ravel(), minlength=len(CLASSES) + 1)[1:]
        shares: NDArray[np.float64] = counts / counts.sum()
        return shares

    def _colours(self, scene: int) -> dict[int, int | None]:
        """Class id -> colour index, or None where things of the class differ in colour."""
        seen: dict[int, int | None] = {}
        for row in self.cache.regions[self.first[scene] : self.first[scene + 1]]:
            class_id, colour = int(row[1]), int(row[2])
            seen[class_id] = colour if seen.get(class_id, colour) == colour else None
        return seen

    def _caption(
        self, rng: np.random.Generator, scene: int, shares: NDArray[np.float64], centre: int
    ) -> str:
        order = [int(i) for i in np.argsort(-shares) if shares[i] >= NAMED_SHARE][:6]
        single = order[0] + 1 == centre and shares[order[0]] > 0.45 and len(order) <= 2
        if single and rng.random() < 0.35:
            return described(rng, CLASSES[order[0]].name)
        colours = self._colours(scene)
        words = []
        for i in order:
            colour = colours.get(i + 1)
            words.append(
                phrase(rng, CLASSES[i].name, None if colour is None else COLOUR_NAMES[colour])
            )
        return joined(rng, words)

    def _phrases(self, rng: np.random.Generator) -> list[str]:
        known = []
        for info in CLASSES:
            kind = rng.random()
            if kind < 0.12:
                known.append(described(rng, info.name))
            elif kind < 0.5:
                word = str(rng.choice([info.name, info.name, *info.synonyms]))
                template = OPENAI_IMAGENET_TEMPLATES[int(rng.integers(80))]
                known.append(template(word))
            else:
                known.append(joined(rng, [phrase(rng, info.name, None, loose=0.0)]))
        strange = [joined(rng, [str(w)]) for w in rng.choice(self.words, size=8)]
        return known + strange


def _stretched(
    rng: np.random.Generator, box: tuple[float, ...], limit: int
) -> tuple[float, float, float, float]:
    """Top, left, height and width of about ``box``, at least 12 pixels, within ``limit``."""
    sides = []
    for low, high in ((box[0], box[2]), (box[1], box[3])):
        size = min(max((high - low) * rng.uniform(0.9, 1.4), 12.0), limit)
        centre = (low + high) / 2 + rng.normal(0, 0.05) * size
        sides.append((float(np.clip(centre - size / 2, 0, limit - size)), size))
    (top, tall), (left, wide) = sides
    return top, left, tall, wide


def vocabulary_words() -> list[str]:
    """Words of the standard tokenizer that no caption uses: examples of text that is not drawn."""
    from open_clip import SimpleTokenizer

    used = {
        w for c in CLASSES for t in (c.name, c.family, *c.synonyms, *c.looks) for w in t.split()
    }
    whole = (t[:-4] for t in SimpleTokenizer().encoder if t.endswith("</w>"))
    return sorted(t for t in whole if t.isalpha() and t.isascii() and len(t) > 3 and t not in used)


def validation_batch(cache: SceneCache, side: int, count: int, seed: int) -> Batch:
    """A fixed batch of close-ups."""
    return CropSource(cache, vocabulary_words()).batch(np.random.default_rng(seed), side, count)


__all__ = [
    "BATCH",
    "CLASS_IDS",
    "Batch",
    "CropSource",
    "crop_side",
    "validation_batch",
    "vocabulary_words",
]
