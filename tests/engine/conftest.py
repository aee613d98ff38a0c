"""A CLIP so small that a run takes milliseconds, and engines around it."""

import numpy as np
import open_clip
import pytest
import torch

from napari_prelabel.engine.cache import Encodings
from napari_prelabel.engine.run import Engine
from napari_prelabel.models.clip import Clip

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32, "layers": 4, "width": 32, "head_width": 8, "patch_size": 8,
    },
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2},
}  # fmt: skip


@pytest.fixture(scope="session")
def clip():
    return small_clip()


def small_clip():
    """The same weights in every process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.CLIP(**CONFIG)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())
            )
    return Clip("small", model, "digest")


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
