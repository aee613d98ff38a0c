"""A CLIP so small that a run takes milliseconds."""

import open_clip
import torch

from napari_prelabel.engine.cache import Encodings
from napari_prelabel.engine.engine import Engine
from napari_prelabel.models.clip import Clip

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {
        "image_size": 32, "layers": 4, "width": 32, "head_width": 8, "patch_size": 8,
    },
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2},
}  # fmt: skip


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


def small_engine():
    """An engine around it, as the worker of a test makes it."""
    clip = small_clip()
    return Engine("cpu", Encodings(), Encodings(), load=lambda *_: clip)
