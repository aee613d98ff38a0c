"""A CLIP so small that a run takes milliseconds, and engines around it."""

import numpy as np
import pytest
from small_models import small_clip

from napari_prelabel.engine.cache import Encodings
from napari_prelabel.engine.engine import Engine


@pytest.fixture(scope="session")
def clip():
    return small_clip()


@pytest.fixture
def make_engine(clip):
    def make(cache=None, words=None):
        return Engine(
            "cpu",
            Encodings() if cache is None else cache,
            Encodings() if words is None else words,
            load=lambda *_: clip,
        )

    return make


@pytest.fixture(scope="session")
def image():
    """(90, 131, 3): blobs of a few colours."""
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (6, 9, 3), np.uint8)
    return np.kron(coarse, np.ones((15, 15, 1), np.uint8))[:, :131]
