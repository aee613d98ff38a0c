"""The worker's own engine with the demo models; passes of the diffusion model are written down.

A line goes to the file PRELABEL_PASSES for every image that the diffusion model looks at.
"""

import os

from napari_prelabel.engine.affinities import Affinities
from napari_prelabel.engine.engine import Engine

_attention = Affinities._attention


def _counted(self, image, settings):
    with open(os.environ["PRELABEL_PASSES"], "a", encoding="utf-8") as file:
        file.write(f"{image.shape}\n")
    return _attention(self, image, settings)


Affinities._attention = _counted


class CountedEngine(Engine):
    """As the product's."""
