"""Open napari with images, their labels and the Pre-label dock; used by `prelabel demo`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image as ImageLayer
from napari.layers import Labels
from PIL import Image

from ..values.labels import Ids, LabelMap
from ..values.vocabulary import Vocabulary
from . import DOCK, PLUGIN
from .layers.result import ResultLayer, dtype_for

Picture = Path | npt.NDArray[Any]


def launch(
    images: Sequence[Picture],
    vocabulary: Vocabulary,
    labels: Sequence[Ids | None] = (),
    names: Sequence[str] = (),
    *,
    block: bool = True,
) -> Any:
    """Show images (Y, X, 3), each with its labels (Y, X) uint16, and the dock with the words.

    labels, names : as many as images, or none. The labels are a model's: they can be painted
    over, and a run replaces the rest. The first image is visible, the others are in the layer
    list. block : run until the window is closed. Returns the viewer.
    """
    import napari

    viewer = napari.Viewer(title="Prelabel")
    for number, image in enumerate(images):
        name = names[number] if names else _name(image, number)
        words = {"prelabel_vocabulary": vocabulary.to_text()}
        pixels = _pixels(image)
        colour = pixels.ndim == 3 and pixels.shape[2] in (3, 4)
        layer = viewer.add_image(pixels, name=name, rgb=colour, metadata=words, visible=number == 0)
        ids = labels[number] if labels else None
        if ids is not None:
            result = _result(layer, np.asarray(ids), vocabulary)
            result.layer.visible = number == 0
            viewer.add_layer(result.layer)
    _, frame = viewer.window.add_plugin_dock_widget(PLUGIN, DOCK)
    dock = frame.dock
    if images:
        first = next(layer for layer in viewer.layers if "prelabel_vocabulary" in layer.metadata)
        dock.place.image.choose(first)
    if block:
        napari.run()
    return viewer


def _result(image: ImageLayer, ids: Ids, vocabulary: Vocabulary) -> ResultLayer:
    """Labels over an image, as a run of the dock would have left them."""
    empty = np.zeros(ids.shape, dtype_for(vocabulary, ids))
    layer = Labels(empty, name=f"{image.name} labels", opacity=0.6)
    result = ResultLayer(layer, vocabulary, image)
    found = LabelMap(
        ids.astype(np.uint16), np.ones(ids.shape, np.float16), np.zeros(ids.shape, np.uint16),
        vocabulary,
    )  # fmt: skip
    result.put(result.annotation.begin(), found, ())
    result.step = None
    result.annotation.history.clear()
    return result


def _pixels(image: Picture) -> npt.NDArray[Any]:
    if not isinstance(image, Path):
        return image
    with Image.open(image) as picture:
        return np.asarray(picture.convert("RGB"))


def _name(image: Picture, number: int) -> str:
    return image.stem if isinstance(image, Path) else f"image {number + 1}"
