"""Parts of FreeCP left away, as in the paper's ablations."""

from napari_prelabel.engine.accuracy import Variant
from napari_prelabel.values.job import FreeCP

_REFINE = FreeCP(redundancy=False, ambiguity=False)
# The rows of the paper's tables 1 and 3 (docs/methods/freecp.md#published-figures); "freecp" itself
# is RP, then AP.
ABLATIONS: dict[str, Variant] = {
    "refine": Variant("freecp", _REFINE),
    "rp": Variant("freecp", FreeCP(ambiguity=False)),
    "ap": Variant("freecp", FreeCP(redundancy=False)),
    "base, true classes": Variant("base", known=True),
    "refine, true classes": Variant("freecp", _REFINE, True, "base, true classes"),
}
