"""Sample scenes for File > Open Sample: images whose metadata brings their words to the dock."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..values.samples import sample_path

LayerData = tuple[Any, dict[str, Any], str]
# One that is easy to read first, then busier ones.
SCENES = ("scene-18", "scene-06", "scene-01")
MOST = 4


def scene(number: int) -> list[LayerData]:
    """One scene as an image layer."""
    name = SCENES[number]
    return [(_pixels(sample_path("scenes", "images", f"{name}.png")), _kwargs(name), "image")]


def stack() -> list[LayerData]:
    """The first scenes of the commonest size, (T, Y, X, 3)."""
    images = [_pixels(p) for p in sorted(sample_path("scenes", "images").glob("*.png"))]
    shapes = [i.shape for i in images]
    common = max(shapes, key=shapes.count)
    chosen = [i for i in images if i.shape == common][:MOST]
    return [(np.stack(chosen), _kwargs("scenes"), "image")]


def _kwargs(name: str) -> dict[str, Any]:
    words = sample_path("vocabularies", "scenes.txt").read_text(encoding="utf-8")
    sentences = str(sample_path("descriptions", "scenes.json"))
    metadata = {"prelabel_vocabulary": words, "prelabel_descriptions": sentences}
    return {"name": name, "rgb": True, "metadata": metadata}


def _pixels(path: Any) -> npt.NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))
