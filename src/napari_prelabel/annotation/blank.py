"""Large arrays of zeros that cost nothing before they are written."""

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

# glibc keeps freed memory below 32 MiB, and clears it (up to 46 ms for 24 MiB) for the next
# array of zeros; what is larger comes from the system, which clears a page when it is touched.
_CLEARED_BELOW = 32 << 20
_SMALL = 1 << 20


def blank(shape: tuple[int, ...], kind: npt.DTypeLike) -> npt.NDArray[Any]:
    """Zeros of a shape and type, at once for a whole picture."""
    size = prod(shape) * np.dtype(kind).itemsize
    if not _SMALL <= size < _CLEARED_BELOW:
        return np.zeros(shape, kind)
    # The rest of the room is never touched, so it takes no memory.
    return np.zeros(_CLEARED_BELOW + 1, np.uint8)[:size].view(kind).reshape(shape)
