"""Load an encoder of reference sets, whatever it is made of."""

import torch
from transformers import Dinov2Config, Dinov2Model

from ..values.encoder import Encoder
from ..values.errors import ModelError
from ..values.settings import Windows
from .clip import load_clip
from .crops import ClipCrops
from .entries import VisualEntry
from .folder import load_folder, read_config
from .opened import SEED, opened
from .texture import Texture
from .visual import ClipPatches, Dinov2Patches, VisualEncoder


def load_encoder(
    encoder: Encoder, device: str = "cpu", precision: str = "float32"
) -> VisualEncoder:
    """Load an encoder.

    Raises ModelError when its model is unknown, not installed or broken, ChecksumMismatch when its
    weights are not the published ones, JobError for an unknown precision.
    """
    if encoder.how == "texture":
        return Texture()
    if encoder.how == "crops":
        return ClipCrops(load_clip(encoder.model, device, precision))
    if encoder.how == "clip":
        return ClipPatches(load_clip(encoder.model, device, precision))
    name = encoder.model
    entry, folder, place, dtype = opened(VisualEntry, name, device, precision)
    if entry.random:
        model, digest = _random(entry), f"{name} seed {SEED}"
    else:
        _check_shape(name, entry, read_config(name, folder, ("dinov2",)))
        model, digest = load_folder(Dinov2Model, name, folder, entry, torch.float32)
    windows = _squares(entry) if encoder.windows else None
    return Dinov2Patches(str(encoder), model, entry.side, digest, place, dtype, windows)


def _squares(entry: VisualEntry) -> Windows:
    """Squares of the encoder's own side, one across the image's short side, half overlapping."""
    return Windows(entry.side, entry.side, entry.side // 2 // entry.patch * entry.patch)


def _random(entry: VisualEntry) -> Dinov2Model:
    """The true architecture with seeded random weights."""
    width, blocks, heads = entry.shape
    config = Dinov2Config(
        hidden_size=width,
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        patch_size=entry.patch,
        image_size=518,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return Dinov2Model(config)


def _check_shape(name: str, entry: VisualEntry, config: dict[str, object]) -> None:
    keys = ("hidden_size", "num_hidden_layers", "num_attention_heads", "patch_size")
    found = tuple(config.get(k) for k in keys)
    if found != (*entry.shape, entry.patch):
        raise ModelError(
            name,
            f"The configuration of {name} has width, blocks, heads and patch {found} instead of "
            f"{(*entry.shape, entry.patch)}: fetch it again.",
        )
