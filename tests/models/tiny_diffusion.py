"""Tiny diffusion models in the layout of published ones, with random weights."""

import numpy as np
import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from benchmarks.synthetic.train.diffusion_parts import write_tokenizer
from napari_prelabel.models.entries import DiffusionEntry

BLOCK = "transformer_blocks.0.attn1"
LAYERS = (f"up_blocks.1.attentions.1.{BLOCK}", f"down_blocks.0.attentions.0.{BLOCK}")
ENTRY = DiffusionEntry(source="nobody/tiny", licence="none", layers=LAYERS, side=32, timestep=101)
VAE = {
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "block_out_channels": (4, 8),
    "norm_num_groups": 2,
    "scaling_factor": 0.5,
}
UNET = {
    "sample_size": 16,
    "block_out_channels": (8, 16),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "cross_attention_dim": 8,
}
KINDS = {
    "1.x": {"attention_head_dim": 2},
    "2.x": {"attention_head_dim": (2, 4), "use_linear_projection": True},
}


def write_pipeline(folder, kind="2.x", prediction="epsilon", variant=None):
    """Random weights in the layout of a published pipeline."""
    torch.manual_seed(0)
    write_tokenizer(folder / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=514, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=8, bos_token_id=512, eos_token_id=513,
    )  # fmt: skip
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(**VAE),
        unet=UNet2DConditionModel(**UNET, **KINDS[kind]),
        text_encoder=CLIPTextModel(text),
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        scheduler=PNDMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012,
            skip_prk_steps=True, steps_offset=1, prediction_type=prediction,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipeline.save_pretrained(folder, variant=variant)
    (folder / "tokenizer" / "tokenizer.json").unlink()  # the published folders have none
    return pipeline


def image(height=24, width=40, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
