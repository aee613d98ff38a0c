"""The demo diffusion model's parts in diffusers' own classes, and its export as a pipeline folder.

The layout is Stable Diffusion's: an AutoencoderKL, a UNet2DConditionModel, a scheduler, and a
CLIPTextModel with a CLIPTokenizer for the empty prompt, all of them tiny.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

TEXT_WIDTH, TEXT_LENGTH = 32, 8
FACTOR, CHANNELS = 4, 8
"""Pixels per latent each way, and channels of a latent."""

AUTOENCODER: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 3,
    "up_block_types": ("UpDecoderBlock2D",) * 3,
    "block_out_channels": (16, 32, 64),
    "layers_per_block": 1,
    "latent_channels": CHANNELS,
    "norm_num_groups": 8,
    "mid_block_add_attention": False,
    "sample_size": 128,
}
UNET: dict[str, Any] = {
    "sample_size": 32,
    "in_channels": CHANNELS,
    "out_channels": CHANNELS,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3,
    "up_block_types": ("CrossAttnUpBlock2D",) * 3,
    "block_out_channels": (48, 96, 144),
    "layers_per_block": 1,
    "attention_head_dim": (2, 4, 6),
    "cross_attention_dim": TEXT_WIDTH,
    "use_linear_projection": True,
    "norm_num_groups": 16,
}
SCHEDULER: dict[str, Any] = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "prediction_type": "v_prediction",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
TEXT: dict[str, Any] = {
    "hidden_size": TEXT_WIDTH,
    "intermediate_size": 4 * TEXT_WIDTH,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": TEXT_LENGTH,
}


def build_autoencoder() -> AutoencoderKL:
    """The untrained autoencoder: (B, 3, H, W) in [-1, 1] to latents (B, 8, H / 4, W / 4)."""
    return AutoencoderKL(**AUTOENCODER).to(memory_format=torch.channels_last)


def build_unet() -> UNet2DConditionModel:
    """The untrained UNet, self-attention at every level."""
    unet = UNet2DConditionModel(**UNET)
    for path, module in unet.named_modules():
        if path.endswith((".attn1.to_q", ".attn1.to_k")):
            # The default is three times smaller: attention would stay uniform for a short training.
            torch.nn.init.xavier_normal_(module.weight)
    return unet.to(memory_format=torch.channels_last)


def build_scheduler() -> DDIMScheduler:
    """Stable Diffusion's noise schedule."""
    return DDIMScheduler(**SCHEDULER)


def write_tokenizer(folder: Path) -> None:
    """A CLIP tokenizer that knows single bytes only, which is all an empty prompt needs."""
    folder.mkdir(parents=True, exist_ok=True)
    bytes_ = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = [chr(b) for b in bytes_] + [chr(256 + n) for n in range(256 - len(bytes_))]
    words = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: place for place, word in enumerate(words)}
    special = {"bos_token": words[-2], "eos_token": words[-1], "pad_token": words[-1]}
    special["unk_token"] = words[-1]
    kind = {"tokenizer_class": "CLIPTokenizer", "model_max_length": TEXT_LENGTH}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=1) + "\n")
    config = json.dumps(special | kind, indent=1) + "\n"
    (folder / "tokenizer_config.json").write_text(config)


def build_text(folder: Path, seed: int) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """The tokenizer, written below ``folder``, and a seeded text encoder that stays untrained."""
    write_tokenizer(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **ends, **TEXT
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return tokenizer, CLIPTextModel(config).eval().requires_grad_(False)


@torch.no_grad()
def empty_prompt(tokenizer: CLIPTokenizer, text: CLIPTextModel) -> Tensor:
    """The empty prompt's states, (1, L, C)."""
    tokens = tokenizer("", padding="max_length", max_length=TEXT_LENGTH, return_tensors="pt")
    states: Tensor = text(tokens.input_ids)[0]
    return states


def export(
    autoencoder: dict[str, Tensor], scale: float, unet: dict[str, Tensor], seed: int, folder: Path
) -> Path:
    """Write the pipeline folder in half precision, safetensors only; complete or not at all.

    Parameters
    ----------
    scale : factor that gives latents unit deviation
    """
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    tokenizer, text = build_text(part / "tokenizer", seed)
    vae, net = build_autoencoder(), build_unet()
    vae.load_state_dict(autoencoder)
    net.load_state_dict(unet)
    vae.register_to_config(scaling_factor=scale)
    pipeline = StableDiffusionPipeline(
        vae=vae.half(),
        unet=net.half(),
        text_encoder=text.half(),
        tokenizer=tokenizer,
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(part, safe_serialization=True)
    (part / "tokenizer" / "tokenizer.json").unlink(missing_ok=True)  # says the same once more
    for path in part.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(part, folder)
    return folder
