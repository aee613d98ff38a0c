"""What an image file holds: its planes, what their samples mean, the size of a pixel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .meaning import Meaning
from .rgb import Limits, Mask, Rgb, Shown, show

TURNED = (
    "The file asks to be shown turned or mirrored; it was labelled as its pixels are stored, as "
    "napari shows it: save the picture turned for better labels."
)

MORE = "The file holds more images than napari shows; `prelabel run` labels all of them."


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """One picture of a file.

    data : (H, W) or (H, W, C), as stored.
    mask : (H, W) where the file says that there is something, None everywhere.
    """

    data: npt.NDArray[Any]
    meaning: Meaning
    mask: Mask | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)"""
        return self.data.shape[0], self.data.shape[1]

    def show(self, channels: Sequence[int] = (), limits: Limits = ()) -> Shown:
        """As the models see it; ImageError when it cannot be shown to them."""
        return show(self.data, self.meaning, channels=channels, limits=limits, mask=self.mask)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What the head of a file says of its first image, which is what viewers show.

    shape : of the array that viewers make of it, None where the head does not tell.
    channel_axis : of that array, None without.
    dtype : of the stored values. masked : whether the file says where there is a picture.
    scale, unit : as `Pixels` has them.
    """

    meaning: Meaning
    dtype: np.dtype[Any]
    shape: tuple[int, ...] | None = None
    channel_axis: int | None = None
    masked: bool = False
    notices: tuple[str, ...] = ()
    scale: tuple[float, float] | None = None
    unit: str = "pixel"

    def says_no_more_than(self, plane: npt.NDArray[Any], rgb: bool) -> bool:
        """Whether a plane (H, W) or (H, W, C) of a viewer, shown as RGB or not, tells it all."""
        count = plane.shape[2] if plane.ndim == 3 else 1
        alike = self.meaning.equals(Meaning.of(count, rgb)) and self.dtype == plane.dtype
        return alike and not self.masked


@dataclass(frozen=True, slots=True, eq=False)
class Pixels:
    """The planes of an image file, in the file's order.

    stack : whether there are several, or the file had an axis for them.
    scale : size of a pixel along (Y, X) in `unit`, None where the file does not say.
    notices : what the person must know about the file.
    first : numbers of the planes that belong together as the file's first image, which is what
        viewers show.
    """

    planes: tuple[Plane, ...]
    stack: bool
    scale: tuple[float, float] | None = None
    unit: str = "pixel"
    notices: tuple[str, ...] = ()
    first: tuple[int, ...] = (0,)

    @property
    def equal(self) -> bool:
        """Whether all planes have one size."""
        return len({p.shape for p in self.planes}) == 1

    def choice(self, channels: Sequence[int]) -> tuple[str, ...]:
        """A notice on channels that are not shown, where none were chosen; else nothing."""
        plane = self.planes[0]
        count = plane.data.shape[2] if plane.data.ndim == 3 else 1
        usable, shown = plane.meaning.colours(count), plane.meaning.shown(count)
        if channels or len(usable) <= len(shown):
            return ()
        first = ", ".join(map(str, shown))
        return (
            f"The file has {len(usable)} channels; {first} were shown as red, green and blue: "
            "choose others with --channels, counted from 0, or in the dock under Image.",
        )

    def plane(self, number: int) -> Rgb:
        """(H, W, 3) uint8 of one plane; ImageError when it cannot be shown to the models."""
        return self.planes[number].show().rgb
