"""Alt-text-like captions: synonyms, family words, colours, and what things look like."""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from .classes import CLASS_IDS, CLASSES


class Named(Protocol):
    """What a caption needs to know of a region."""

    @property
    def name(self) -> str: ...
    @property
    def colour(self) -> str: ...
    @property
    def pixels(self) -> int: ...


TEMPLATES = (
    "{}", "a photo of {}", "a picture of {}", "{} in the scene", "a close-up of {}",
    "an image of {}", "a drawing of {}", "a cropped photo of {}", "there is {}", "a view of {}",
)  # fmt: skip
JOINS = (" and ", " next to ", ", ", " with ", " near ", " beside ", " by ")


def article(words: str) -> str:
    """ "a red car", "an orange kite"."""
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def phrase(rng: np.random.Generator, name: str, colour: str | None, loose: float = 0.06) -> str:
    """A noun phrase for one class: its name, a synonym or a family word, sometimes a colour.

    Parameters
    ----------
    colour : colour word used in two of five phrases; None never names a colour
    loose : probability of the family word (water, building, vehicle, ...) in place of the name
    """
    info = CLASSES[CLASS_IDS[name] - 1]
    draw = rng.random()
    word = info.name
    if draw < loose:
        word = info.family
    elif draw < 0.45:
        word = info.synonyms[int(rng.integers(len(info.synonyms)))]
    if colour is not None and rng.random() < 0.4:
        word = f"{colour} {word}"
    return article(word) if info.kind == "thing" else word


def described(rng: np.random.Generator, name: str) -> str:
    """A sentence that says what a class looks like, with or without naming it."""
    info = CLASSES[CLASS_IDS[name] - 1]
    look = info.looks[int(rng.integers(len(info.looks)))]
    word = article(info.name) if info.kind == "thing" else info.name
    forms = (
        f"{look}",
        f"{word}, {look}",
        f"{word} shows {look}",
        f"a photo of {look}",
        f"{word} is {look}",
    )
    return forms[int(rng.integers(len(forms)))]


def joined(rng: np.random.Generator, phrases: Sequence[str]) -> str:
    """One caption from several phrases, in their order."""
    text = phrases[0]
    for more in phrases[1:]:
        text += JOINS[int(rng.integers(len(JOINS)))] + more
    return TEMPLATES[int(rng.integers(len(TEMPLATES)))].format(text)


def scene_captions(
    rng: np.random.Generator, regions: Iterable[Named], pixels: int
) -> tuple[str, ...]:
    """Three alt texts of a scene, from what covers at least one pixel in two hundred."""
    seen = sorted((r for r in regions if r.pixels >= pixels / 200), key=lambda r: -r.pixels)
    captions = []
    for limit in (6, 4, 2):
        named: dict[str, str] = {}
        for region in seen[:limit]:
            named.setdefault(region.name, region.colour)
        phrases = [phrase(rng, n, c, loose=0.04) for n, c in named.items()]
        captions.append(joined(rng, phrases))
    return tuple(captions)


def in_detail(rng: np.random.Generator, regions: Iterable[Named], pixels: int) -> str:
    """What a captioner says that is asked for all that it sees, as ReME's is.

    docs/methods/reme.md#pairing

    Every class that covers at least one pixel in two hundred, and the general words ("image",
    "background", "scene") that such captions are full of.
    """
    seen = sorted((r for r in regions if r.pixels >= pixels / 200), key=lambda r: -r.pixels)
    named: dict[str, str] = {}
    for region in seen:
        named.setdefault(region.name, region.colour)
    largest, *others = [phrase(rng, n, c, loose=0.04) for n, c in named.items()]
    shown = f"The image shows {', '.join(others)}. " if others else ""
    return f"{shown}In the background there is {largest}. The scene has a calm atmosphere."
