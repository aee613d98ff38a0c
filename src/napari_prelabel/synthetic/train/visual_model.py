"""The demo visual encoder: DINOv2's architecture, its head for training, and its export."""

import json
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
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
    """Encoder, projection to the space of the losses, and cluster centres."""

    def __init__(self, clusters: int = 256, dim: int = 128) -> None:
        super().__init__()
        self.encoder = Dinov2Model(config())
        width = self.encoder.config.hidden_size
        self.head = _head(width, dim)
        self.image_head = _head(width, dim)
        self.centres = nn.Parameter(F.normalize(torch.randn(clusters, dim), dim=1))

    def forward(self, pixels: Tensor, masked: Tensor | None = None) -> Tensor:
        """Normalised pixels (B, 3, H, W) to final-norm tokens (B, 1 + N, C), CLS first."""
        tokens: Tensor = self.encoder(pixels, bool_masked_pos=masked).last_hidden_state
        return tokens

    def scores(self, unit: Tensor) -> Tensor:
        """Cosines (M, K) of unit rows with the cluster centres."""
        return unit.float() @ F.normalize(self.centres.float(), dim=1).T


def _head(width: int, dim: int) -> nn.Module:
    """Projection with batch norms: without them all descriptions fall together within minutes."""
    return nn.Sequential(
        nn.Linear(width, 512, bias=False),
        nn.BatchNorm1d(512),
        nn.GELU(),
        nn.Linear(512, dim, bias=False),
        nn.BatchNorm1d(dim, affine=False),
    )


def normalised(pixels: Tensor) -> Tensor:
    """(B, 3, H, W) in [0, 1] with ImageNet's mean and deviation taken out, as DINOv2's input."""
    mean = torch.tensor(MEAN, device=pixels.device).view(3, 1, 1)
    return (pixels - mean) / torch.tensor(STD, device=pixels.device).view(3, 1, 1)


def from_bytes(images: NDArray[np.uint8]) -> Tensor:
    """(B, H, W, 3) uint8 to normalised (B, 3, H, W) float32."""
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
    return normalised(pixels.float() / 255)


def export(state: dict[str, Tensor], folder: Path) -> Path:
    """Write the encoder as transformers' folder, half precision, each file atomically.

    Parameters
    ----------
    state : of a `Student`; its heads and centres stay behind
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
