"""SHAPES: the architectures of Stable Diffusion 1 and 2, as their configurations state them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DOWN = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",)
_UNET: Mapping[str, Any] = {
    "sample_size": 64,
    "down_block_types": _DOWN,
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
}
_VAE: Mapping[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
    "scaling_factor": 0.18215,
}


@dataclass(frozen=True, slots=True)
class Shape:
    """Arguments of diffusers' UNet2DConditionModel and AutoencoderKL, and the prompt's length."""

    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    tokens: int = 77


SHAPES: Mapping[str, Shape] = {
    "sd15": Shape({**_UNET, "cross_attention_dim": 768, "attention_head_dim": 8}, _VAE),
    "sd21": Shape(
        {
            **_UNET,
            "cross_attention_dim": 1024,
            # Numbers of heads, in spite of the name: 64 channels each.
            "attention_head_dim": (5, 10, 20, 20),
            "use_linear_projection": True,
        },
        _VAE,
    ),
}
SCHEDULE: Mapping[str, Any] = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
}
"""Noise schedule of both, for models without a configuration file."""
