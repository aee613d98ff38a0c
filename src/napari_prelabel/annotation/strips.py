"""Large planes a few milliseconds at a time, so that the window lives meanwhile. NumPy only."""

import numpy as np
import numpy.typing as npt

from ..values.labels import Mask

# Pixels of a plane that is worked on strip by strip, and of a strip.
LARGE, STRIP = 1 << 20, 1 << 18


def below(score: npt.NDArray[np.float16], threshold: float) -> Mask:
    """Where a score, 0..1, is less than a threshold over 0; many times as fast as for float16.

    Floats that are not negative lie in the order of their bits, and -0.0 comes before them.
    """
    least = np.float16(threshold).view(np.int16)
    found: Mask = np.ascontiguousarray(score).view(np.int16) < least
    return found


def strips_of(height: int, width: int) -> list[slice]:
    """Rows of a plane in parts that take a few milliseconds each, from top to bottom."""
    rows = max(1, STRIP // max(width, 1))
    if height * width <= LARGE:
        return [slice(0, height)]
    return [slice(at, min(at + rows, height)) for at in range(0, height, rows)]
