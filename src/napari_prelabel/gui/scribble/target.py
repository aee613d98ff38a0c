"""Which labels the scribble tool draws on, and the image they belong to."""

from collections.abc import Callable
from typing import Any

from napari.layers import Image, Labels

from ...values.errors import ImageError
from ..layers import images
from ..layers.images import LayerSource
from ..layers.result import ResultLayer
from ..run.place_box import PlaceBox
from ..run.session import Session


def target_of(
    viewer: Any, session: Session, place: PlaceBox, fresh: Callable[[], ResultLayer]
) -> tuple[ResultLayer, LayerSource]:
    """The selected labels if they are ours, else those of the dock's image, else `fresh`.

    Raises ImageError when no image of theirs is open.
    """
    active = viewer.layers.selection.active
    result = ResultLayer.of(active) if isinstance(active, Labels) else None
    result = result or session.result(place.layer)
    if result is None:
        images.check(place.layer)
        result = fresh()
    return result, source_of(result, place)


def source_of(result: ResultLayer, place: PlaceBox) -> LayerSource:
    """What of the image the labels lie on; raises ImageError when it is closed or another size."""
    image = result.image()
    if image is None:
        raise ImageError("The image of these labels is closed: open it again and run once more.")
    known = [result.source] if result.source is not None else []
    if place.layer is image:
        known.append(place.source)
    for source in [*known, *_sources(image)]:
        if source.layer is image and source.shape == result.layer.data.shape:
            return source
    raise ImageError("The image has another size than these labels: run once more.")


def _sources(image: Image) -> list[LayerSource]:
    levels = len(image.data) if image.multiscale else 1
    axis = images.guess_channel_axis(image)
    return [LayerSource(image, level, a) for level in range(levels) for a in {axis, None}]
