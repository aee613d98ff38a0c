"""Colours of classes: a series that is easy to tell apart, and who gets which where wishes meet."""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

# What has no label; a class may not look like it.
BLACK = "#000000"
# The list of twenty distinct colours by Sasha Trubetskoy, without black and white; then, one after
# the other, the colour farthest in CIELAB from those before, from black, white and mid-grey.
_DISTINCT = (
    "e6194b 3cb44b ffe119 4363d8 f58231 911eb4 42d4f4 f032e6 bfef45 fabed4 "
    "469990 dcbeff 9a6324 fffac8 800000 aaffc3 808000 ffd8b1 000075 a9a9a9 "
    "1414ff 6e144b 14f515 144115 14416f f56eb7 149bed d76e6f 5f3227 d78cff "
    "f53215 1450ff f5d76f 8c5fa5 5f8c4b b914ff 14f5a5 f51481 aad76f 14f5ed "
    "aa1481 f5aa15 aa9b5d 41236f 14f56f aa144b 50c815 23504b 147da5 e69b6f "
    "32b981 aa5f81 d75039 321439 8c8cb7 6e5f39 aaf5ed f532b7 b9d7ff 9b9bff "
    "b9b915 4114b7 9b5fff 6eaa15"
).split()
# How many of the series are looked at for one that is far from the colours in use, and how far.
_LOOKED_AT = 256
_FAR = 60.0


def default_colour(class_id: int) -> str:
    """A stable colour for an id: 64 that are easy to tell apart, then PASCAL VOC's series."""
    if 1 <= class_id <= len(_DISTINCT):
        return f"#{_DISTINCT[class_id - 1]}"
    r = g = b = 0
    rest = class_id
    for shift in range(7, -1, -1):
        r |= (rest & 1) << shift
        g |= (rest >> 1 & 1) << shift
        b |= (rest >> 2 & 1) << shift
        rest >>= 3
    return f"#{r:02x}{g:02x}{b:02x}"


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Three values 0..255 of `#rrggbb`."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def distinct(*ranks: Sequence[str]) -> list[str]:
    """A colour for each class, no two the same and none black.

    ranks : one wish a class each, "#rrggbb" or "" for none. Earlier ranks choose first, and in a
        rank earlier classes. Who gets no wish gets the default colour of its id (its place + 1),
        or the next of the series that is far from all that were wished for.
    """
    found = [""] * len(ranks[0])
    taken = {BLACK}
    for rank in ranks:
        for at, wish in enumerate(rank):
            if wish and not found[at] and wish not in taken:
                found[at] = wish
                taken.add(wish)
    left = [at for at, colour in enumerate(found) if not colour]
    few = len(found) <= len(_DISTINCT)
    apart = _apart(sorted(taken - {BLACK})) if few else np.full(_LOOKED_AT, np.inf)
    homeless = []
    for at in left:
        colour = default_colour(at + 1)
        if colour in taken or (few and apart[at] < _FAR):
            homeless.append(at)
        else:
            found[at] = colour
            taken.add(colour)
    for at, colour in zip(homeless, _free(taken, apart), strict=False):
        found[at] = colour
    return found


def _free(taken: set[str], apart: npt.NDArray[np.float64]) -> Iterator[str]:
    """Colours of the series that nobody has: those far from the wishes, in order, then the rest."""
    near = sorted(np.flatnonzero(apart < _FAR), key=lambda at: -apart[at])
    order = [*np.flatnonzero(apart >= _FAR), *near]
    for at in order:
        if (colour := default_colour(int(at) + 1)) not in taken:
            yield colour
    number = _LOOKED_AT
    while True:
        number += 1
        if (colour := default_colour(number)) not in taken:
            yield colour


def _apart(colours: list[str]) -> npt.NDArray[np.float64]:
    """How far the first colours of the series are from the nearest of some, by red-weighted RGB."""
    if not colours:
        return np.full(_LOOKED_AT, np.inf)
    series = _series()[:, None]
    others = np.array([rgb_of(c) for c in colours], float)[None]
    red = (series[..., 0] + others[..., 0]) / 2
    weights = np.stack([2 + red / 256, np.full_like(red, 4), 3 - red / 256], -1)
    nearest: npt.NDArray[np.float64] = np.sqrt((weights * (series - others) ** 2).sum(-1)).min(1)
    return nearest


@cache
def _series() -> npt.NDArray[np.float64]:
    return np.array([rgb_of(default_colour(i)) for i in range(1, _LOOKED_AT + 1)], float)
