"""An engine without models whose labels change with every level of red, green and blue."""

import numpy as np

from napari_prelabel.values.job import Progress
from napari_prelabel.values.labels import LabelMap

WORDS = "\n".join(f"w{i}" for i in range(250))


def ids_of(rgb):
    """(H, W, 3) uint8 -> (H, W) uint16 ids 1..250."""
    mixed = rgb.astype(np.uint32) @ np.array([1, 7, 49], np.uint32)
    return (mixed % 250 + 1).astype(np.uint16)


class RgbEngine:
    """For `Pool`, and for the command line in place of the engine with models."""

    device = "cpu"

    def run(self, job, image, cancelled=lambda: False):
        yield Progress("encode", int(cancelled()), 1)
        image = np.asarray(image)
        y0, x0, y1, x1 = job.region or (0, 0, *image.shape[:2])
        ids = ids_of(image[y0:y1, x0:x1])
        score = np.ones(ids.shape, np.float16)
        return LabelMap(ids, score, np.zeros_like(ids), job.vocabulary, (y0, x0))
