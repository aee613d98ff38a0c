"""The demo visual encoder: DINOv2's architecture, its part for training, and its export."""

import json
import os
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PATCH, SIDE = 8, 256
"""Patch in pixels; side that images are squashed to when the encoder is used."""

WEIGHTS_FILE = "model.safetensors"


def config() -> Dinov2Config:
    """Six blocks of width 192 with layer scale; position embeddings for 128 pixels."""
    return Dinov2Config(
        hidden_size=192,
        num_hidden_layers=6,
        num_attention_heads=6,
        mlp_ratio=4,
        patch_size=PATCH,
        image_size=128,
        layerscale_value=0.1,
        # The fused kernel's backward pass takes twice as long on CPUs at these short lengths.
        attn_implementation="eager",
    )


class Student(nn.Module):
    """Encoder, and the standardising of its pooled tokens that the loss sees.

    Without it all descriptions fall together within minutes. It has no weights of its own, so the
    loss shapes the very vectors that reference sets compare.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Dinov2Model(config())
        self.spread = nn.BatchNorm1d(self.encoder.config.hidden_size, affine=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalised pixels (B, 3, H, W) to final-norm tokens (B, 1 + N, C), CLS first."""
        tokens: Tensor = self.encoder(pixels).last_hidden_state
        return tokens


def normalised(pixels: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] with ImageNet's mean and deviation taken out, as DINOv2's input."""
    mean = torch.tensor(MEAN, device=pixels.device).view(3, 1, 1)
    return (pixels - mean) / torch.tensor(STD, device=pixels.device).view(3, 1, 1)


def from_bytes(images: NDArray[np.uint8]) -> Tensor:
    """(B, H, W, 3) uint8 to normalised (B, 3, H, W) float32."""
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
    return normalised(pixels.float() / 255)


@torch.no_grad()
def centred(model: Student, images: NDArray[np.uint8]) -> Student:
    """A copy whose patch tokens have mean 0 over images, folded into the last norm's bias.

    The tokens of all patches share most of their direction; without it their cosines spread.

    Parameters
    ----------
    images : (B, H, W, 3) uint8, which are squashed to SIDE
    """
    copy = deepcopy(model).eval()
    means = []
    for image in images:
        squashed = Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
        means.append(copy(from_bytes(np.asarray(squashed)[None]))[0, 1:].mean(dim=0))
    copy.encoder.layernorm.bias -= torch.stack(means).mean(dim=0)
    return copy


def export(state: dict[str, Tensor], folder: Path) -> Path:
    """Write the encoder as transformers' folder, half precision, each file atomically.

    Parameters
    ----------
    state : of a `Student`; its standardising stays behind
    """
    folder.mkdir(parents=True, exist_ok=True)
    kept = {k.removeprefix("encoder."): v for k, v in state.items() if k.startswith("encoder.")}
    half = {k: v.detach().cpu().half().contiguous() for k, v in kept.items()}
    weights, described = folder / WEIGHTS_FILE, folder / "config.json"
    save_file(half, f"{weights}.part", {"format": "pt"})
    Path(f"{weights}.part").chmod(0o644)
    os.replace(f"{weights}.part", weights)
    shown = json.loads(config().to_json_string(use_diff=False))
    Path(f"{described}.part").write_text(json.dumps(shown, indent=2, sort_keys=True) + "\n")
    os.replace(f"{described}.part", described)
    return weights
