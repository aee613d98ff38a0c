"""From an image layer to planes the engine takes: which plane, which channels, which rectangle."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Layer, Shapes
from napari.utils.transforms import Affine

from ...values.errors import ImageError
from ...values.job import Display
from . import from_file
from .limits import Limits, limits_of

if TYPE_CHECKING:
    from ...images.rgb import Shown

MANY = 8
LARGE = 4_000_000


@dataclass(frozen=True, slots=True)
class LayerSource:
    """What of an image layer is segmented.

    level : of a multiscale image; 0 is the finest.
    channel_axis : the array axis that holds channels, None when there is none.
    channels : those shown as red, green, blue (one: grey; two: red and green).
    limits : values that become black and white, () automatic; None asks the layer each time.
    """

    layer: Image
    level: int = 0
    channel_axis: int | None = None
    channels: tuple[int, ...] | None = None
    limits: Limits | None = None

    @property
    def data(self) -> Any:
        """The array, dask or NumPy, of the chosen level."""
        return self.layer.data[self.level] if self.layer.multiscale else self.layer.data

    @property
    def axes(self) -> tuple[int, ...]:
        """The layer's axes that the result has: all but the channels."""
        return tuple(i for i in range(self.layer.ndim) if i != self.channel_axis)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result, (..., Y, X)."""
        return tuple(int(self.data.shape[i]) for i in self.axes)

    @property
    def display(self) -> Display:
        """How its values become bytes, for a job; channels that the file means are not named."""
        limits = limits_of(self.layer) if self.limits is None else self.limits
        channels = self.channels or ()
        if self.channel_axis is not None:
            _, usual = from_file.channels_of(self.layer, self.data.shape[self.channel_axis])
            channels = () if channels == usual else channels
        return Display(limits, channels)

    def plane(self, index: tuple[int, ...]) -> npt.NDArray[np.uint8]:
        """One plane as (Y, X, 3) uint8; reads lazy arrays, so call it off the GUI thread."""
        return self.view(index).rgb

    def view(self, index: tuple[int, ...]) -> "Shown":
        """One plane as the models see it, and where there is a picture; as `plane`."""
        from ...images.meaning import Meaning
        from ...images.pixels import Plane

        where: list[Any] = [slice(None)] * self.data.ndim
        for axis, i in zip(self.axes[:-2], index, strict=True):
            where[axis] = i
        array = np.asarray(self.data[tuple(where)])
        if self.channel_axis is not None:
            at = sum(axis < self.channel_axis for axis in self.axes[-2:])
            array = np.moveaxis(array, at, -1)
        sizes = self.shape[:-2]
        number = int(np.ravel_multi_index(index, sizes)) if sizes else 0
        plane = from_file.plane_of(self.layer, number, int(np.prod(sizes)), array)
        if plane is None:
            count = array.shape[2] if array.ndim == 3 else 1
            plane = Plane(array, Meaning.of(count, bool(self.layer.rgb)))
        return plane.show(self.display.channels, self.display.limits)


def check(layer: Image | None) -> None:
    """Raise ImageError with one sentence when nothing can be segmented."""
    if layer is None:
        raise ImageError("Open an image first: File > Open File(s), or File > Open Sample.")
    data = layer.data[0] if layer.multiscale else layer.data
    if 0 in data.shape:
        raise ImageError(f"The image {layer.name!r} has no pixels: choose another image.")


def guess_channel_axis(layer: Image) -> int | None:
    """The axis that the layer's file says, else the last one if it is short and the others are
    not, as in (Y, X, 5); else None."""
    shape = (layer.data[0] if layer.multiscale else layer.data).shape
    if layer.rgb or len(shape) < 3:
        return None
    known, axis = from_file.channel_axis_of(layer)
    if known:
        return axis
    if shape[-1] <= MANY < min(shape[-3:-1]):
        return len(shape) - 1
    return None


def guess_level(layer: Image) -> int:
    """The finest level of a multiscale image of at most four million pixels a plane."""
    if not layer.multiscale:
        return 0
    for level, data in enumerate(layer.data):
        shape = data.shape[:-1] if layer.rgb else data.shape
        if shape[-1] * shape[-2] <= LARGE:
            return level
    return len(layer.data) - 1


def current_plane(source: LayerSource, point: tuple[float, ...]) -> tuple[int, ...]:
    """The plane of the result that the viewer's position (world coordinates) lies in."""
    at = source.layer.world_to_data(point[-source.layer.ndim :])
    factors = _factors(source)
    planes = [round(float(at[a]) / factors[a]) for a in source.axes[:-2]]
    return tuple(int(np.clip(i, 0, n - 1)) for i, n in zip(planes, source.shape[:-2], strict=True))


def rectangle(source: LayerSource, shapes: Shapes | None) -> tuple[int, int, int, int]:
    """Box (y0, x0, y1, x1) in pixels around the selected shapes, else around the last one."""
    if shapes is None or len(shapes.data) == 0:
        raise ImageError(
            "No rectangle is drawn: add a Shapes layer, draw a rectangle on the image, and run "
            "again; or choose another region."
        )
    chosen = sorted(shapes.selected_data) or [len(shapes.data) - 1]
    corners = np.concatenate([np.asarray(shapes.data[i]) for i in chosen])
    world = np.stack([shapes.data_to_world(c) for c in corners])
    return _box(source, world, "The rectangle lies outside the image: move it onto the image.")


def corners_of(box: tuple[int, int, int, int]) -> npt.NDArray[np.float64]:
    """Corners (4, 2) of a rectangle that `rectangle` gives back as this box of pixels."""
    y0, x0, y1, x1 = (n - 0.5 for n in box)
    return np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]])


def _box(source: LayerSource, world: npt.NDArray[Any], outside: str) -> tuple[int, int, int, int]:
    """Box of pixels around points in world coordinates (points, axes), cut to the image."""
    world = world[:, -source.layer.ndim :]
    missing = source.layer.ndim - world.shape[1]
    world = np.pad(world, ((0, 0), (missing, 0)))
    data = np.stack([source.layer.world_to_data(w) for w in world])
    factors = _factors(source)
    yx = np.stack([data[:, a] / factors[a] for a in source.axes[-2:]], axis=1)
    low = np.floor(yx.min(0) + 0.5).astype(int)
    high = np.ceil(yx.max(0) + 0.5).astype(int)
    h, w = source.shape[-2:]
    y0, x0 = max(int(low[0]), 0), max(int(low[1]), 0)
    y1, x1 = min(int(high[0]), h), min(int(high[1]), w)
    if y0 >= y1 or x0 >= x1:
        raise ImageError(outside)
    return y0, x0, y1, x1


def visible(source: LayerSource) -> tuple[int, int, int, int]:
    """Box (y0, x0, y1, x1) in pixels of what the canvas shows of the image."""
    layer = source.layer
    ratio = np.ones(layer.ndim)
    if layer.multiscale:
        fine, drawn = layer.data[0].shape, layer.data[layer.data_level].shape
        ratio = np.asarray([a / b for a, b in zip(fine, drawn, strict=True)])[: layer.ndim]
    ratio = ratio / _factors(source)
    box = []
    for axis, size in zip(source.axes[-2:], source.shape[-2:], strict=True):
        first, last = (int(n) for n in layer.corner_pixels[:, axis])
        if first == last and size > 1:
            raise ImageError("The canvas shows no part of the image: move it into view.")
        low, high = int(first * ratio[axis]), int(np.ceil((last + 1) * ratio[axis]))
        box.append((max(low, 0), min(high, size)))
    (y0, y1), (x0, x1) = box
    return y0, x0, y1, x1


def pixel_size(layer: Layer) -> tuple[float, float]:
    """Size of a pixel along (Y, X) in the layer's units, however the layer is placed."""
    return _lengths(np.asarray(layer._data_to_world.affine_matrix))


def pixel_size_of(attributes: Mapping[str, Any], ndim: int) -> tuple[float, float]:
    """The same from the attributes that napari hands to a writer."""
    scale = np.ones(ndim)
    given = attributes.get("scale", (1.0,))
    scale[-len(given) :] = given
    inner = Affine(
        scale=scale,
        rotate=attributes.get("rotate"),
        shear=attributes.get("shear"),
        ndim=ndim,
    )
    outer = np.asarray(attributes.get("affine", np.eye(ndim + 1)), float)
    return _lengths(outer @ np.asarray(inner.affine_matrix))


def _lengths(matrix: npt.NDArray[Any]) -> tuple[float, float]:
    y, x = np.linalg.norm(matrix[:-1, :-1], axis=0)[-2:]
    return float(y), float(x)


def placement(source: LayerSource) -> Mapping[str, Any]:
    """Keyword arguments that put a Labels layer exactly over the image."""
    layer, axes = source.layer, list(source.axes)
    factors = _factors(source)[axes]
    if len(axes) == layer.ndim and (factors == 1).all():
        return {
            "scale": layer.scale,
            "translate": layer.translate,
            "rotate": layer.rotate,
            "shear": layer.shear,
            "affine": layer.affine,
            "units": layer.units,
            "axis_labels": layer.axis_labels,
        }
    # Pixel 0 of a coarser level covers pixels 0 .. factor - 1 of the finest.
    matrix = np.eye(len(axes) + 1)
    whole = np.asarray(layer._data_to_world.affine_matrix)
    rows = [*axes, layer.ndim]
    matrix = whole[np.ix_(rows, rows)]
    level = np.eye(len(axes) + 1)
    level[range(len(axes)), range(len(axes))] = factors
    level[:-1, -1] = (factors - 1) / 2
    return {
        "affine": matrix @ level,
        "units": tuple(layer.units[a] for a in axes),
        "axis_labels": tuple(layer.axis_labels[a] for a in axes),
    }


def _factors(source: LayerSource) -> npt.NDArray[np.float64]:
    if not source.layer.multiscale:
        return np.ones(source.layer.ndim)
    n = source.layer.ndim
    fine, coarse = source.layer.data[0].shape[:n], source.data.shape[:n]
    return np.asarray([a / b for a, b in zip(fine, coarse, strict=True)], float)
