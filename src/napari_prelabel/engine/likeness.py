"""Whether an image looks drawn like the demo models' scenes, from its pixels alone.

Statistics of fine structure in four octaves and three colour channels, then one linear score.
What tells photographs apart is texture, not subject, so no model is asked and retraining one
changes nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy import ndimage

from ..models.catalog import model_dir, row_of
from ..models.entries import ClipEntry
from ..values.errors import FileFormatError

FILE = "likeness.safetensors"
OCTAVES = 4
_SHORT_SIDE, _LONG_SIDE = 256, 2048
_CELL, _LEAST, _SURE = 8, 160, 2.05
_EPS = 1e-7
# Statistics farther out than this many deviations say no more than that they are far out.
_FAR = 4.0

Floats = npt.NDArray[np.float64]
Plane = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """A linear score of image statistics; images above the limit are unlike the scenes.

    mean, deviation : (F,) of the statistics of training scenes.
    weights : (2 F,) of the standardised statistics and of their squares less 1.
    limit : score that validation scenes stay below.
    """

    mean: Floats
    deviation: Floats
    weights: Floats
    limit: float

    @classmethod
    def beside(cls, model: str) -> "Likeness | None":
        """Read the file beside a demo model's weights; None where there is none."""
        if row_of(ClipEntry, model).words is None:
            return None
        try:
            entry = load_file(model_dir(model) / FILE)
            return cls(
                entry["mean"], entry["deviation"], entry["weights"], float(entry["limit"][0])
            )
        except (OSError, SafetensorError, FileFormatError, KeyError):
            return None

    def save(self, path: Path) -> None:
        """Write the file that `beside` reads."""
        limit = np.array([self.limit])
        entry = {"mean": self.mean, "deviation": self.deviation, "weights": self.weights}
        save_file({**entry, "limit": limit}, path)

    def score(self, image: npt.NDArray[np.uint8]) -> float:
        """How unlike the scenes an image (H, W, 3) uint8 is; about the limit: doubtful."""
        return float(expand(statistics(image), self.mean, self.deviation) @ self.weights)

    def strange(self, image: npt.NDArray[np.uint8]) -> bool:
        """Whether the image is unlike the scenes."""
        return self.score(image) > self.limit

    def foreign(self, image: npt.NDArray[np.uint8]) -> bool:
        """Whether the image is so unlike the scenes that they tell nothing about it.

        Of 192 cuttings of scenes of 160 pixels none lies above, of scikit-image's photographs and
        of micrographs of nuclei all do (14.4 and more). Smaller images say too little.
        """
        return min(image.shape[:2]) >= _LEAST and self.score(image) > _SURE * self.limit


def expand(values: Floats, mean: Floats, deviation: Floats) -> Floats:
    """Standardised statistics (..., F) and their squares less 1: (..., 2 F)."""
    z = np.clip((values - mean) / deviation, -_FAR, _FAR)
    return np.concatenate([z, z**2 - 1], axis=-1)


def statistics(image: npt.NDArray[np.uint8]) -> Floats:
    """(F,) statistics of an image (H, W, 3) uint8, resized to a short side of 256 pixels."""
    rgb: Plane = _small(image).astype(np.float32) / np.float32(255)
    light: Plane = rgb.mean(2)
    red_green: Plane = rgb[..., 0] - rgb[..., 1]
    blue: Plane = rgb[..., 2] - (rgb[..., 0] + rgb[..., 1]) / np.float32(2)
    found = [*_channel(light, oriented=True)]
    for plane in (red_green, blue):
        found += _channel(plane, oriented=False)
    found += [light.mean(), np.log(light.std() + 1e-3)]
    found += [*_colours(red_green, blue), *_noise(rgb)]
    found += [ndimage.gaussian_filter(light, s).std() / (light.std() + 1e-3) for s in (4, 16)]
    return np.array(found, np.float64)


def _small(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Resized by means of what falls together; by Pillow, so that napari's process can ask."""
    height, width = image.shape[:2]
    scale = min(_SHORT_SIDE / min(height, width), _LONG_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def _channel(plane: Plane, *, oriented: bool) -> list[Any]:
    """Per octave: mean and spread of local contrast, its tails, and how aligned edges are."""
    found: list[Any] = []
    for _ in range(OCTAVES):
        smooth = ndimage.gaussian_filter(plane, 1)
        fine = plane - smooth
        contrast = np.log(_cells(fine**2).clip(_EPS))
        variance = fine.var()
        tails = ((fine - fine.mean()) ** 4).mean() / (variance**2 + 1e-12) - 3
        found += [contrast.mean(), contrast.std(), np.log1p(max(tails, -0.9))]
        if oriented:
            aligned = _alignment(plane)
            found += [aligned.mean(), aligned.std()]
        plane = smooth[::2, ::2]
    return found


def _alignment(plane: Plane) -> Plane:
    """0..1 per cell: whether its gradients point one way (structure tensor)."""
    y, x = (ndimage.gaussian_filter(plane, 0.7, order=o) for o in ((1, 0), (0, 1)))
    xx, yy, xy = _cells(x * x), _cells(y * y), _cells(x * y)
    aligned: Plane = np.sqrt((xx - yy) ** 2 + 4 * xy**2) / (xx + yy + _EPS)
    return aligned


def _cells(plane: Plane) -> Plane:
    means: Plane = ndimage.uniform_filter(plane, _CELL)[::_CELL, ::_CELL]
    return means


def _colours(a: Plane, b: Plane) -> list[Any]:
    spread = np.cov(np.stack([a.ravel(), b.ravel()]), bias=True) + 1e-6 * np.eye(2)
    return [*np.log(np.linalg.eigvalsh(spread)), a.mean(), b.mean()]


def _noise(rgb: Plane) -> list[float]:
    """Correlation of the finest structure of neighbouring channels."""
    fine = (rgb - ndimage.gaussian_filter(rgb, (1, 1, 0))).reshape(-1, 3).astype(np.float64)
    spread = np.cov(fine.T, bias=True) + 1e-12 * np.eye(3)
    return [float(spread[i, j] / np.sqrt(spread[i, i] * spread[j, j])) for i, j in ((0, 1), (1, 2))]
