"""The demo CLIP: an open_clip architecture, its passes with every tail, and its export."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..classes import CLASSES

CONFIG: dict[str, Any] = {
    "model_cfg": {
        "embed_dim": 128,
        "vision_cfg": {
            "image_size": 64,
            "layers": 6,
            "width": 192,
            "head_width": 32,
            "patch_size": 8,
        },
        "text_cfg": {
            "context_length": 32,
            "vocab_size": 49408,
            "width": 96,
            "heads": 3,
            "layers": 3,
        },
    },
    "preprocess_cfg": {
        "mean": [0.48145466, 0.4578275, 0.40821073],
        "std": [0.26862954, 0.26130258, 0.27577711],
    },
}
GEM_BLOCKS = 3
"""GEM replaces half of the blocks of so small a tower, as the product's GEM does."""

TAILS = ("vanilla", "maskclip", "sclip", "sclip_residual", "clearclip", "naclip", "gem")


def build() -> open_clip.CLIP:
    """The untrained demo architecture."""
    return open_clip.CLIP(**CONFIG["model_cfg"])


def tokenize(texts: Sequence[str]) -> Tensor:
    """(N, L) int64, L the longest text rounded up to eight, at most the context length.

    Few different lengths matter on CPUs: bfloat16 products are compiled anew for each new shape.
    """
    tokens: Tensor = _TOKENIZER(list(texts))
    longest = int(tokens.argmax(dim=1).max()) + 1
    return tokens[:, : -(-longest // 8) * 8]


_TOKENIZER = open_clip.SimpleTokenizer(
    context_length=CONFIG["model_cfg"]["text_cfg"]["context_length"]
)


def encode_text(
    model: open_clip.CLIP, texts: Sequence[str] | Tensor, device: torch.device
) -> Tensor:
    """(N, D) unit rows of texts or of their tokens; as ``model.encode_text``, but cheaper."""
    tokens = (texts if isinstance(texts, Tensor) else tokenize(texts)).to(device)
    length = tokens.shape[1]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    # On CPUs the fused kernel's backward pass takes most of a step at these short lengths.
    with sdpa_kernel(SDPBackend.MATH):
        x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x)
    last = x[torch.arange(len(x), device=device), tokens.argmax(dim=-1)]
    return F.normalize((last @ model.text_projection).float(), dim=-1)


def embed(visual: Any, images: Tensor) -> Tensor:
    """Images (B, 3, H, W) to tokens (B, 1 + h * w, C), positions resized bicubically."""
    x = visual.conv1(images)
    batch, width, rows, cols = x.shape
    position = visual.positional_embedding
    side = visual.grid_size[0]
    if (rows, cols) != visual.grid_size:
        grid = position[1:].T.reshape(1, width, side, side)
        grid = F.interpolate(grid, size=(rows, cols), mode="bicubic", align_corners=False)
        position = torch.cat([position[:1], grid.flatten(2)[0].T])
    cls = visual.class_embedding.to(x.dtype).expand(batch, 1, -1)
    tokens: Tensor = visual.ln_pre(torch.cat([cls, x.flatten(2).transpose(1, 2)], dim=1) + position)
    return tokens


def heads_of(block: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Query, key and value of the normed input: each (B, heads, N, C / heads)."""
    attn = block.attn
    qkv = F.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
    batch, count, _ = x.shape
    q, k, v = qkv.view(batch, count, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
    return q, k, v


def attention(q: Tensor, k: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    """Softmax of scaled products: (B, heads, N, N)."""
    logits: Tensor = (q @ k.transpose(-1, -2)) * q.shape[-1] ** -0.5 + bias
    return logits.softmax(dim=-1)


def merged(block: Any, values: Tensor) -> Tensor:
    """Heads back together and through the output projection: (B, N, C)."""
    out: Tensor = block.attn.out_proj(values.transpose(1, 2).flatten(2))
    return out


def trunk(visual: Any, images: Tensor, with_attention: bool) -> tuple[list[Tensor], list[Tensor]]:
    """All blocks but the last.

    Returns
    -------
    states : input of every block, the last one's included, each (B, N, C)
    maps : head-averaged attention of each of these blocks (B, N, N), empty unless asked for
    """
    states, maps = [embed(visual, images)], []
    for block in visual.transformer.resblocks[:-1]:
        x = states[-1]
        q, k, v = heads_of(block, x)
        weights = attention(q, k)
        if with_attention:
            maps.append(weights.mean(dim=1))
        x = x + merged(block, weights.to(v.dtype) @ v)
        states.append(x + block.mlp(block.ln_2(x)))
    return states, maps


def _neighbourhood(count: int, shape: tuple[int, int], device: torch.device) -> Tensor:
    """NACLIP's Gaussian over the patch grid, zero for CLS: (N, N)."""
    y, x = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
    at = torch.stack([y.flatten(), x.flatten()], dim=1).float()
    bias = torch.zeros(count, count)
    bias[1:, 1:] = torch.exp(-torch.cdist(at, at).square() / 50.0)
    return bias.to(device)


def _self_similarity(unit: Tensor, sharp: Tensor) -> Tensor:
    return (sharp * unit @ unit.transpose(-1, -2)).softmax(dim=-1).to(unit.dtype)


def _gem(visual: Any, states: list[Tensor]) -> Tensor:
    x = states[-GEM_BLOCKS]
    pairs = zip(visual.transformer.resblocks[-GEM_BLOCKS:], states[-GEM_BLOCKS:], strict=True)
    for block, state in pairs:
        q, k, v = heads_of(block, state)
        sharp = block.ln_1(state).norm(dim=-1).mean() * q.shape[-1] ** -0.5
        out = torch.zeros_like(v)
        for z in (v, k, q):
            unit = F.normalize(z, dim=-1)
            unit = F.normalize(_self_similarity(unit, sharp) @ unit, dim=-1)
            out = out + _self_similarity(unit, sharp) @ v / 3
        x = x + merged(block, out)
    return x


def tail(visual: Any, states: list[Tensor], name: str, shape: tuple[int, int]) -> Tensor:
    """Tokens of the last block under one of TAILS: (B, 1 + h * w, D), not normalised."""
    block, x = visual.transformer.resblocks[-1], states[-1]
    if name == "gem":
        return _projected(visual, _gem(visual, states))
    q, k, v = heads_of(block, x)
    if name == "vanilla":
        values = attention(q, k).to(v.dtype) @ v
    elif name == "maskclip":
        values = v
    elif name == "clearclip":
        values = attention(q, q).to(v.dtype) @ v
    elif name == "naclip":
        values = attention(k, k, _neighbourhood(x.shape[1], shape, x.device)).to(v.dtype) @ v
    else:
        values = (attention(q, q) + attention(k, k)).to(v.dtype) @ v
    out = merged(block, values)
    if name in ("vanilla", "sclip_residual"):
        out = x + out
    if name not in ("clearclip", "naclip"):
        out = out + block.mlp(block.ln_2(out))
    return _projected(visual, out)


def _projected(visual: Any, x: Tensor) -> Tensor:
    tokens: Tensor = visual.ln_post(x) @ visual.proj
    return tokens


def trained_words() -> list[str]:
    """Every word that captions use for a class: names, synonyms, family words."""
    groups = ((c.name, *c.synonyms, c.family) for c in CLASSES)
    return list(dict.fromkeys(word for group in groups for word in group))


def export(state: dict[str, Tensor], folder: Path) -> Path:
    """Write the open_clip folder: config, half-precision weights, words; each atomically."""
    folder.mkdir(parents=True, exist_ok=True)
    half = {k: v.detach().cpu().half().contiguous() for k, v in state.items()}
    weights, config = folder / "open_clip_model.safetensors", folder / "open_clip_config.json"
    save_file(half, f"{weights}.part")
    Path(f"{weights}.part").chmod(0o644)
    os.replace(f"{weights}.part", weights)
    Path(f"{config}.part").write_text(json.dumps(CONFIG, indent=2) + "\n")
    os.replace(f"{config}.part", config)
    words = folder / "words.txt"
    Path(f"{words}.part").write_text("\n".join(trained_words()) + "\n")
    os.replace(f"{words}.part", words)
    return weights
