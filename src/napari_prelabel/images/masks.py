"""Masks as other tools draw them: black and white, and the unlabelled as a class of its own."""

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..values.errors import ImageError
from ..values.labels import Ids
from ..values.vocabulary import UNLABELLED, Class, Vocabulary, key

BACKGROUND = "background"
# Names of what surrounds the thing that a mask of two values shows.
_GROUND = {BACKGROUND, "bg", "back ground", "ground", "rest", "other", "others", "nothing", "void",
           "unlabelled", "unlabeled", "none", "_background_"}  # fmt: skip


# Whites of 8, 16 and 32 bits.
_WHITES = (0, 255, 65535, 2**32 - 1)
# What JPEG leaves of black and white: values this near to either, in nearly all pixels.
_NEAR, _SHARE = 40, 0.95
Two = Literal["", "exact", "near"]


def two_values(values: npt.NDArray[Any]) -> Two:
    """Whether a mask holds 0 and white alone ("exact"; one that is all 0 does, too), or values of
    8 bits near them, as JPEG leaves them ("near")."""
    if values.dtype == np.bool_:
        return "exact"
    if not values.size or not np.issubdtype(values.dtype, np.integer) or values.min() < 0:
        return ""
    white = int(values.max())
    if white in _WHITES and bool(((values == 0) | (values == white)).all()):
        return "exact"
    if white > 255:
        return ""
    counts = np.bincount(values.ravel().astype(np.uint8), minlength=256)
    # Small ids beside 255 for "ignore" have nothing between them.
    damaged = counts[1:_NEAR].any() and counts[255 - _NEAR : 255].any()
    near = counts[:_NEAR].sum() + counts[256 - _NEAR :].sum()
    return "near" if damaged and near >= _SHARE * values.size else ""


def black_and_white(
    values: npt.NDArray[Any], vocabulary: Vocabulary, name: str, *, from_zero: bool = False
) -> Ids:
    """Ids of a mask of two values, 0 and white, or near them; (Y, X) uint16.

    White is the only class, or of two the second where they count from 0, else the one that is not
    called background. ImageError where that does not tell.
    """
    ids = _ids(vocabulary, from_zero)
    if ids is None:
        raise ImageError(
            f"{name} holds 0 and 255 alone, and which of {len(vocabulary.classes)} classes is 255 "
            "is not told: name that class alone, or both from 0 on: '0 background, 1 tree'."
        )
    white = values > 127 if two_values(values) == "near" else values != 0
    return np.where(white, np.uint16(ids[1]), np.uint16(ids[0]))


def told(vocabulary: Vocabulary, from_zero: bool, two: Two = "exact") -> str:
    """A sentence on what the two values of masks are taken for; "" where it is not known."""
    ids = _ids(vocabulary, from_zero)
    if ids is None:
        return ""
    names = ("unlabelled", *vocabulary.names)
    if two == "near":
        return (
            f"masks hold values near 0 and 255, as JPEG leaves them: 128 and more is taken for "
            f"{names[ids[1]]}, less for {names[ids[0]]}; save masks as PNG."
        )
    return (
        f"the masks hold 0 and 255 alone: 255 is taken for {names[ids[1]]}, 0 for {names[ids[0]]}."
    )


def _ids(vocabulary: Vocabulary, from_zero: bool) -> tuple[int, int] | None:
    """The ids that 0 and white stand for."""
    names = [key(name) for name in vocabulary.names]
    ground = [number for number, name in enumerate(names, start=1) if name in _GROUND]
    if len(names) == 1 and not from_zero:
        return UNLABELLED, 1
    if len(names) == 2 and from_zero:
        return 1, 2
    if len(names) == 2 and len(ground) == 1:
        return ground[0], 3 - ground[0]
    return None


def with_background(vocabulary: Vocabulary) -> tuple[Vocabulary, int]:
    """The vocabulary with a class for what is unlabelled, and that class's id."""
    for c in vocabulary.classes:
        if BACKGROUND in map(key, c.queries):
            return vocabulary, c.id
    number = len(vocabulary.classes) + 1
    words = tuple(word for word in vocabulary.background if key(word) != BACKGROUND)
    return Vocabulary((*vocabulary.classes, Class(number, BACKGROUND)), words), number


def filled(ids: Ids, number: int) -> Ids:
    """The ids with that of the background where nothing is labelled; the ignored stays."""
    return np.where(ids == UNLABELLED, np.uint16(number), ids)


def check_told_apart(words: Iterable[str], place: str) -> None:
    """Raise ImageError where a set would have one word: it would stand for every pixel."""
    names = sorted(set(words))
    if not names:
        raise ImageError(
            f"Nothing can be learnt for {place}: no region of at least 4 pixels has a label that "
            "counts. 0 is unlabelled and 255 is to be ignored."
        )
    if len(names) == 1:
        raise ImageError(
            f"{place} would know {names[0]!r} alone and give it every pixel. Label something else, "
            "too, or take what is unlabelled for background (--unlabelled-is-background, in the "
            "dock “Unlabelled is background”)."
        )
