"""What the samples of a picture stand for, as its file says it; NumPy only."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

Space = Literal["measured", "rgb", "palette", "cmyk", "ycbcr", "lab", "icclab"]


@dataclass(frozen=True, slots=True, eq=False)
class Meaning:
    """What the samples (..., C) of a plane stand for; a plane without that axis has one.

    space : "measured": each sample is a quantity of its own, one alone is a grey value.
        "lab" is CIE L*a*b* with signed a and b, "icclab" with both counted from half their range;
        "cmyk" counts ink, 0 is none.
    alpha : number of the sample that is opacity, None without; at 0 there is no picture.
    associated : whether the colours are multiplied by the opacity already.
    white_is_zero : the lowest grey value is white.
    bits : of a sample, where an integer type holds fewer bits than it could.
    palette : (N, 3) uint8 colours of the values.
    nodata : the value where nothing was measured, in all samples that are shown.
    clear : one value a sample; a pixel that has them is transparent.
    """

    space: Space = "measured"
    alpha: int | None = None
    associated: bool = False
    white_is_zero: bool = False
    bits: int | None = None
    palette: npt.NDArray[np.uint8] | None = field(default=None, repr=False)
    nodata: float | int | None = None
    clear: tuple[int, ...] = ()

    @classmethod
    def of(cls, count: int, rgb: bool) -> "Meaning":
        """Of an array that no file explains: RGB, RGBA, or measurements."""
        return cls("rgb", alpha=3 if count == 4 else None) if rgb else cls()

    @property
    def coloured(self) -> bool:
        return self.space != "measured"

    def shown(self, count: int) -> tuple[int, ...]:
        """Samples of `count` that become red, green, blue (one: grey) where none are chosen."""
        if self.coloured:
            return (0, 1, 2)
        return tuple(i for i in range(count) if i != self.alpha)[:3]

    def colours(self, count: int) -> tuple[int, ...]:
        """Samples of `count` that may be chosen: all but the opacity."""
        if self.space in ("measured", "rgb"):
            return tuple(i for i in range(count) if i != self.alpha)
        return (0, 1, 2)

    def equals(self, other: "Meaning") -> bool:
        """Whether both show an array alike; palettes are never equal."""
        names = ("space", "alpha", "associated", "white_is_zero", "bits", "nodata", "clear")
        same = all(getattr(self, n) == getattr(other, n) for n in names)
        return same and self.palette is None and other.palette is None
