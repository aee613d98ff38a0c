"""Labels as a file brought them, and whose each pixel is, until somebody takes them up."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..values.labels import HUMAN, Ids, Provenance

# Where a layer's metadata has its Owned; not beside the plain values that we keep there.
OWNED = "napari-prelabel owned"


@dataclass(frozen=True, slots=True, eq=False)
class Owned:
    """Ids (..., Y, X) and whose they are.

    live : whether both are arrays of an annotation, which change with it; its layer is taken up.
    """

    ids: Ids
    provenance: Provenance
    live: bool = False

    def now(self, data: npt.NDArray[Any]) -> Provenance | None:
        """Whose the pixels of an array are: a person's where it differs from these ids.

        None for an array of another shape.
        """
        if data.shape != self.ids.shape:
            return None
        return np.where(data == self.ids, self.provenance, np.uint8(HUMAN))
