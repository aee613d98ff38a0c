"""open_clip's vision towers as plain weights, and windows as tokens."""

import copy
import math
from collections.abc import Callable
from typing import Any, Literal

import open_clip
import torch
import torch.nn.functional as F
from open_clip.transformer import QuickGELU, ResidualAttentionBlock
from torch import Tensor, nn

from ..methods.dense import Block, Mlp, Norm, Tower, quick_gelu
from ..values.errors import ModelError

_GRIDS_KEPT = 64
Resize = Literal["scale", "antialias"]
_OFFSET = 0.1  # keeps floor(side · factor) from falling one short; part of the published behaviour


def read_tower(name: str, visual: nn.Module) -> Tower:
    """The weights of a vision transformer or a CLIP ResNet's attention pool.

    Raises ModelError for every other tower.
    """
    if isinstance(visual, open_clip.model.ModifiedResNet):
        return _attention_pool(visual)
    if not isinstance(visual, open_clip.transformer.VisionTransformer):
        raise ModelError(
            name, f"{name} has a {type(visual).__name__} as its image tower: choose a CLIP ViT."
        )
    if visual.attn_pool is not None or visual.pool_type not in ("tok", "avg"):
        raise ModelError(name, f"{name} pools its patches by attention: choose a CLIP ViT.")
    pool = "cls"
    if visual.pool_type == "avg":
        pool = "mean_then_norm" if visual.final_ln_after_pool else "norm_then_mean"
    return Tower(
        blocks=read_blocks(name, visual.transformer.resblocks),
        norm=read_norm(visual.ln_post),
        proj=None if visual.proj is None else visual.proj.detach(),
        pool=pool,
    )


def read_blocks(name: str, blocks: Any) -> tuple[Block, ...]:
    """The weights of open_clip's standard residual blocks; ModelError for any other block."""
    for block in blocks:
        if not isinstance(block, ResidualAttentionBlock):
            raise ModelError(
                name, f"{name} has {type(block).__name__}s, not CLIP's blocks: choose a CLIP ViT."
            )
    return tuple(
        Block(
            heads=block.attn.num_heads,
            norm=read_norm(block.ln_1),
            qkv_weight=block.attn.in_proj_weight.detach(),
            qkv_bias=block.attn.in_proj_bias.detach(),
            out_weight=block.attn.out_proj.weight.detach(),
            out_bias=block.attn.out_proj.bias.detach(),
            scale=_layer_scale(block.ls_1),
            mlp=Mlp(
                norm=read_norm(block.ln_2),
                hidden_weight=block.mlp.c_fc.weight.detach(),
                hidden_bias=block.mlp.c_fc.bias.detach(),
                out_weight=block.mlp.c_proj.weight.detach(),
                out_bias=block.mlp.c_proj.bias.detach(),
                activation=_activation(block.mlp.gelu),
                scale=_layer_scale(block.ls_2),
            ),
        )
        for block in blocks
    )


def read_norm(norm: nn.LayerNorm) -> Norm:
    """The weights of a layer normalisation."""
    return Norm(norm.weight.detach(), norm.bias.detach(), norm.eps)


def _activation(module: nn.Module) -> Callable[[Tensor], Tensor]:
    return quick_gelu if isinstance(module, QuickGELU) else module


def _layer_scale(module: nn.Module) -> Tensor | None:
    gamma: Tensor | None = getattr(module, "gamma", None)
    return None if gamma is None else gamma.detach()


def _attention_pool(visual: nn.Module) -> Tower:
    pool: Any = visual.attnpool
    parts = (pool.q_proj, pool.k_proj, pool.v_proj)
    block = Block(
        heads=pool.num_heads,
        norm=None,
        qkv_weight=torch.cat([p.weight.detach() for p in parts]),
        qkv_bias=torch.cat([p.bias.detach() for p in parts]),
        out_weight=pool.c_proj.weight.detach(),
        out_bias=pool.c_proj.bias.detach(),
    )
    return Tower((block,), None, None, residual=False)


class Positions:
    """A position embedding (1 + N, D), resized to each grid once."""

    def __init__(self, table: Tensor, native: tuple[int, int]) -> None:
        self.table = table
        self.native = native
        self._kept: dict[tuple[tuple[int, int], Resize], Tensor] = {}

    def __call__(self, grid: tuple[int, int], resize: Resize) -> Tensor:
        """(1 + h · w, D) for the (h, w) grid."""
        if (grid, resize) not in self._kept:
            if len(self._kept) >= _GRIDS_KEPT:
                self._kept.clear()
            self._kept[grid, resize] = resize_positions(self.table, grid, resize, self.native)
        return self._kept[grid, resize]


class PatchEmbedding:
    """Windows to the tokens that enter a vision transformer's first block."""

    def __init__(self, weight: Tensor, cls: Tensor, positions: Positions, norm: Norm | None):
        self.weight, self.cls, self.positions, self.norm = weight, cls, positions, norm
        self.patch = int(weight.shape[-1])

    def to(self, dtype: torch.dtype) -> "PatchEmbedding":
        """A copy with its weights in another floating type."""
        positions = Positions(self.positions.table.to(dtype), self.positions.native)
        norm = self.norm and Norm(
            self.norm.weight.to(dtype), self.norm.bias.to(dtype), self.norm.eps
        )
        return PatchEmbedding(self.weight.to(dtype), self.cls.to(dtype), positions, norm)

    def __call__(
        self, pixels: Tensor, resize: Resize, *, positions: bool = True
    ) -> tuple[Tensor, tuple[int, int]]:
        """Tokens (B, 1 + N, D) and grid (h, w) of normalised pixels (B, 3, H, W)."""
        patches = F.conv2d(pixels.to(self.weight.dtype), self.weight, stride=self.patch)
        h, w = patches.shape[-2:]
        tokens = patches.new_empty(len(pixels), 1 + h * w, patches.shape[1])
        tokens[:, 0] = self.cls
        tokens[:, 1:] = patches.flatten(2).transpose(1, 2)
        if positions:
            tokens += self.positions((h, w), resize)
        return (tokens if self.norm is None else self.norm(tokens)), (h, w)


class MapEmbedding:
    """Windows to what enters a CLIP ResNet's attention pool: its last map, its mean first.

    Its position embedding serves the image vector only: published dense bases leave it out.
    """

    patch = 32

    def __init__(self, visual: Any) -> None:
        self._visual = visual
        table = visual.attnpool.positional_embedding.detach()
        side = math.isqrt(len(table) - 1)
        self.positions = Positions(table, (side, side))

    def to(self, dtype: torch.dtype) -> "MapEmbedding":
        """A copy with its weights in another floating type."""
        return MapEmbedding(copy.deepcopy(self._visual).to(dtype))

    def __call__(
        self, pixels: Tensor, resize: Resize, *, positions: bool = True
    ) -> tuple[Tensor, tuple[int, int]]:
        """Tokens (B, 1 + N, D) and grid (h, w) of normalised pixels (B, 3, H, W)."""
        v = self._visual
        x = v.stem(pixels.to(self.positions.table.dtype))
        x = v.layer4(v.layer3(v.layer2(v.layer1(x))))
        h, w = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(1, keepdim=True), x], 1)
        return (x + self.positions((h, w), resize) if positions else x), (h, w)


Embedding = PatchEmbedding | MapEmbedding


def read_embedding(visual: Any) -> Embedding:
    """What turns windows into tokens, of a tower that `read_tower` took."""
    if isinstance(visual, open_clip.model.ModifiedResNet):
        return MapEmbedding(visual)
    return PatchEmbedding(
        visual.conv1.weight.detach(),
        visual.class_embedding.detach(),
        Positions(visual.positional_embedding.detach(), tuple(visual.grid_size)),
        read_norm(visual.ln_pre) if isinstance(visual.ln_pre, nn.LayerNorm) else None,
    )


def resize_positions(
    table: Tensor, grid: tuple[int, int], resize: Resize, native: tuple[int, int]
) -> Tensor:
    """Position embeddings (1 + N, D) for another (h, w) grid: (1 + h · w, D), CLS's first.

    resize : as FreeCP's published code does it (docs/methods/bases.md#position-embeddings). "scale"
        is bicubic, its coordinates from the factor (side + 0.1) / native side; "antialias" (GEM) is
        bicubic with antialiasing to the exact size.
    native : (h, w) the table was trained for.
    """
    if grid == native:
        return table
    kind = torch.promote_types(table.dtype, torch.float32)
    image = table[1:].T.reshape(1, -1, *native).to(kind)
    if resize == "scale":
        factor = [(side + _OFFSET) / own for side, own in zip(grid, native, strict=True)]
        image = F.interpolate(image, scale_factor=factor, mode="bicubic")
    else:
        image = F.interpolate(image, size=grid, mode="bicubic", antialias=True)
    return torch.cat([table[:1], image.flatten(2)[0].T.to(table.dtype)])
