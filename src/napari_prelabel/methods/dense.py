"""Dense CLIP: patch features from a vision transformer's last block (docs/methods/bases.md#forms).

The blocks before the last are the same for every base and run once (`run_trunk`); a base is a
pure function of what they leave. MaskCLIP, SCLIP and ClearCLIP are as in FreeCP's published code,
where they lose the residual connection of the last block; `_residual` and `_bare` are the forms
of other published code (docs/methods/bases.md).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from .attention import attend
from .linear import linear, linear_each

NACLIP_SIGMA = 5.0
_GEM_BLOCKS = 6
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """Layer normalisation: weight and bias (D,)."""

    weight: Tensor
    bias: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, list(self.weight.shape), self.weight, self.bias, self.eps)


@dataclass(frozen=True, slots=True, eq=False)
class Mlp:
    """x -> out(activation(hidden(norm(x)))) · scale, the second half of a block."""

    norm: Norm
    hidden_weight: Tensor
    hidden_bias: Tensor
    out_weight: Tensor
    out_bias: Tensor
    activation: Callable[[Tensor], Tensor]
    scale: Tensor | None = None

    def __call__(self, x: Tensor) -> Tensor:
        hidden = self.activation(linear(self.norm(x), self.hidden_weight, self.hidden_bias))
        return _scaled(linear(hidden, self.out_weight, self.out_bias), self.scale)


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Weights of one pre-norm transformer block.

    qkv_weight (3 D, D), qkv_bias (3 D,) : query, key and value projections, in this order.
    out_weight (D', D), out_bias (D',) : D' = D, but for a ResNet's attention pool D' = E.
    scale : (D,) of a LayerScale after the attention, or None.
    norm, mlp : None in a ResNet's attention pool, which has neither.
    """

    heads: int
    norm: Norm | None
    qkv_weight: Tensor
    qkv_bias: Tensor | None
    out_weight: Tensor
    out_bias: Tensor | None
    mlp: Mlp | None = None
    scale: Tensor | None = None

    def to(self, dtype: torch.dtype) -> "Block":
        """The block with its weights in another floating type."""
        return _cast(self, dtype)

    def normed(self, x: Tensor) -> Tensor:
        return x if self.norm is None else self.norm(x)

    def qkv(self, normed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key, value, each (B, H, T, d), of the normed tokens (B, T, D)."""
        joint = linear(normed, self.qkv_weight, self.qkv_bias)
        q, k, v = torch.unflatten(joint, -1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return q, k, v

    def merge(self, heads: Tensor) -> Tensor:
        """Heads (B, H, T, d) joined and projected: (B, T, D')."""
        joined = heads.transpose(1, 2).flatten(2)
        return _scaled(linear(joined, self.out_weight, self.out_bias), self.scale)

    def feed(self, x: Tensor) -> Tensor:
        """x plus the MLP's answer; x itself where there is no MLP."""
        return x if self.mlp is None else x + self.mlp(x)


@dataclass(frozen=True, slots=True, eq=False)
class Tower:
    """A vision tower after the patch embedding.

    blocks : all transformer blocks; a ResNet has one, its attention pool.
    norm : ln_post, None for a ResNet.
    proj : (D, E) into the space shared with text, None where the blocks end there already.
    residual : False for a ResNet's attention pool.
    pool : image vector from the "cls" token, or the mean of patches after or before ln_post.
    """

    blocks: tuple[Block, ...]
    norm: Norm | None
    proj: Tensor | None
    residual: bool = True
    pool: str = "cls"

    def to(self, dtype: torch.dtype) -> "Tower":
        """The tower with its weights in another floating type."""
        return _cast(self, dtype)

    def read(self, x: Tensor) -> Tensor:
        """Unit rows (..., E) float32, or float64 when the weights are, of tokens (..., D)."""
        return self.project(x if self.norm is None else self.norm(x))

    def project(self, x: Tensor) -> Tensor:
        """`read` for tokens that were normed already."""
        x = x if self.proj is None else x @ self.proj
        return F.normalize(x if x.dtype == torch.float64 else x.float(), dim=-1)


@dataclass(frozen=True, slots=True, eq=False)
class Trunk:
    """What the blocks before the last leave of B windows; bases read nothing else.

    tokens : (B, 1 + N, D) input of the last block, CLS first, patches row by row.
    grid : (h, w) patches, N = h · w.
    attention : (B, 1 + N, 1 + N) float32, rows sum to 1: softmax(Q Kᵀ) averaged over heads and
        over layers 1 to L - 1 (docs/methods/freecp.md#affinity), or None if it was not asked for.
    attention_head0 : the same of head 0 alone (GEM's affinity as published), or None.
    block_inputs : inputs of the last `gem_depth` blocks, each (B, 1 + N, D); empty unless asked.
    cls : (B, E) unit rows, the image vectors of the windows, or None if they were not asked for.
    """

    tokens: Tensor
    grid: tuple[int, int]
    attention: Tensor | None = None
    attention_head0: Tensor | None = None
    block_inputs: tuple[Tensor, ...] = ()
    cls: Tensor | None = None


def quick_gelu(x: Tensor) -> Tensor:
    """x · sigmoid(1.702 x), OpenAI's activation, with one temporary instead of three."""
    return torch.mul(x, 1.702).sigmoid_().mul_(x)


def gem_depth(layers: int) -> int:
    """How many last blocks GEM replaces: 6, as published for 12 and 24 layers, at most half."""
    return max(1, min(_GEM_BLOCKS, layers // 2))


def run_block(
    block: Block, x: Tensor, total: Tensor | None = None, total_head0: Tensor | None = None
) -> Tensor:
    """One whole block: tokens (B, T, D) -> (B, T, D); sums of weights as in `attend`."""
    q, k, v = block.qkv(block.normed(x))
    return block.feed(x + block.merge(attend(q, k, v, total=total, total_head0=total_head0)))


def run_trunk(
    tower: Tower,
    tokens: Tensor,
    grid: tuple[int, int],
    *,
    attention: bool = False,
    head0: bool = False,
    inputs: bool = False,
    cls: bool = False,
) -> Trunk:
    """All blocks but the last, and on the way what the caller asks for.

    tokens : (B, 1 + N, D), the embedded windows; grid : (h, w), N = h · w.
    attention, head0, inputs, cls : which optional fields of the Trunk to fill.
    """
    size = (tokens.shape[0], tokens.shape[1], tokens.shape[1])
    kind = torch.promote_types(tokens.dtype, torch.float32)
    total = tokens.new_zeros(size, dtype=kind) if attention else None
    total0 = tokens.new_zeros(size, dtype=kind) if head0 else None
    before = tower.blocks[:-1]
    first = len(tower.blocks) - gem_depth(len(tower.blocks))
    kept: list[Tensor] = []
    for index, block in enumerate(before):
        if inputs and index >= first:
            kept.append(tokens)
        tokens = run_block(block, tokens, total, total0)
    if inputs:
        kept.append(tokens)
    for given, count in ((total, len(before) * tower.blocks[0].heads), (total0, len(before))):
        if given is not None:
            given /= max(count, 1)
    trunk = Trunk(tokens, grid, total, total0, tuple(kept))
    return replace(trunk, cls=image_vector(tower, tokens)) if cls else trunk


def image_vector(tower: Tower, tokens: Tensor) -> Tensor:
    """The model's own image vector, (B, E) unit rows, from the last block's input (B, 1 + N, D).

    Where the CLS token is the vector, the last block computes that token alone.
    """
    last = tower.blocks[-1]
    if tower.pool != "cls":
        out = run_block(last, tokens)[:, 1:]
        if tower.pool == "mean_then_norm" or tower.norm is None:
            return tower.read(out.mean(1))
        return tower.project(tower.norm(out).mean(1))
    width = last.qkv_weight.shape[1]
    weight, bias = last.qkv_weight, last.qkv_bias
    normed = last.normed(tokens)
    q = linear(normed[:, :1], weight[:width], None if bias is None else bias[:width])
    kv = linear(normed, weight[width:], None if bias is None else bias[width:])
    k, v = torch.unflatten(kv, -1, (2, last.heads, -1)).permute(2, 0, 3, 1, 4)
    x = last.merge(attend(torch.unflatten(q, -1, (last.heads, -1)).transpose(1, 2), k, v))
    x = last.feed(tokens[:, :1] + x if tower.residual else x)
    return tower.read(x[:, 0])


def vanilla(trunk: Trunk, tower: Tower) -> Tensor:
    """CLIP's own last block, patches only."""
    last = tower.blocks[-1]
    if tower.residual:
        return tower.read(run_block(last, trunk.tokens)[:, 1:])
    return tower.read(last.merge(attend(*last.qkv(last.normed(trunk.tokens))))[:, 1:])


def maskclip(trunk: Trunk, tower: Tower) -> Tensor:
    """Attention = identity; MLP kept, residual not: y = out(V), y + MLP(y)."""
    return tower.read(tower.blocks[-1].feed(_identity(trunk, tower)))


def maskclip_residual(trunk: Trunk, tower: Tower) -> Tensor:
    """MaskCLIP's own form: y = x + out(V), y + MLP(y)."""
    return _whole(trunk, tower, _identity(trunk, tower))


def maskclip_bare(trunk: Trunk, tower: Tower) -> Tensor:
    """MaskCLIP as ClearCLIP's code has it: out(V), neither residual nor MLP."""
    return tower.read(_identity(trunk, tower))


def sclip(trunk: Trunk, tower: Tower) -> Tensor:
    """Attention = softmax(Q Qᵀ) + softmax(K Kᵀ), rows sum to 2; MLP kept, residual not."""
    return tower.read(tower.blocks[-1].feed(_correlative(trunk, tower)))


def sclip_residual(trunk: Trunk, tower: Tower) -> Tensor:
    """SCLIP's own form: the same attention, residual and MLP kept."""
    return _whole(trunk, tower, _correlative(trunk, tower))


def clearclip(trunk: Trunk, tower: Tower) -> Tensor:
    """Attention = softmax(Q Qᵀ); neither residual nor MLP."""
    last = tower.blocks[-1]
    q, _, v = last.qkv(last.normed(trunk.tokens))
    return tower.read(last.merge(attend(q[:, :, 1:], q, v)))


def naclip(trunk: Trunk, tower: Tower) -> Tensor:
    """Attention = softmax(K Kᵀ + ω), ω a Gaussian of the distance; neither residual nor MLP."""
    last = tower.blocks[-1]
    _, k, v = last.qkv(last.normed(trunk.tokens))
    omega = gaussian(trunk.grid, NACLIP_SIGMA).to(k)
    bias = F.pad(omega, (1, 0))
    return tower.read(last.merge(attend(k[:, :, 1:], k, v, bias=bias)))


def gem(trunk: Trunk, tower: Tower) -> Tensor:
    """Self-self attention of V, K and Q in the last blocks, summed in a stream of its own.

    The ordinary stream goes on unchanged and feeds Q, K and V (docs/methods/bases.md#gem); the GEM
    stream starts where the first of these blocks does and adds up their attention outputs, no MLP.
    """
    stream = trunk.block_inputs[0]
    for block, x in zip(tower.blocks[-len(trunk.block_inputs) :], trunk.block_inputs, strict=True):
        normed = block.normed(x)
        q, k, v = block.qkv(normed)
        temperature = torch.linalg.vector_norm(normed, dim=-1).mean(-1) * q.shape[-1] ** -0.5
        factor = temperature[:, None, None, None]
        heads = sum((_self_self(z, v, factor) for z in (v, k, q)), torch.zeros_like(v))
        stream = stream + block.merge(heads / 3)
    return tower.read(stream[:, 1:])


BASES: dict[str, Callable[[Trunk, Tower], Tensor]] = {
    "vanilla": vanilla,
    "maskclip": maskclip,
    "sclip": sclip,
    "clearclip": clearclip,
    "gem": gem,
    "naclip": naclip,
    "maskclip_residual": maskclip_residual,
    "maskclip_bare": maskclip_bare,
    "sclip_residual": sclip_residual,
}


def gaussian(grid: tuple[int, int], sigma: float) -> Tensor:
    """exp(-|pᵢ - pⱼ|² / 2 σ²) of the patches of an (h, w) grid: (N, N) float64, CLS left out."""
    y, x = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    place = torch.stack([y.flatten(), x.flatten()], 1).double()
    squared = (place[:, None] - place[None]).square().sum(-1)
    return torch.exp(squared / (-2 * sigma**2))


def class_logits(features: Tensor, text: Tensor, scale: float) -> Tensor:
    """scale · cosine of patches and queries: unit rows (B, N, E) and (Q, E) -> (B, Q, N)."""
    return scale * linear_each(text.to(features.dtype), features)


def _identity(trunk: Trunk, tower: Tower) -> Tensor:
    """out(V) of the patches, (B, N, D'): every patch attends to itself alone."""
    last = tower.blocks[-1]
    _, _, v = last.qkv(last.normed(trunk.tokens[:, 1:]))
    return last.merge(v)


def _correlative(trunk: Trunk, tower: Tower) -> Tensor:
    """out((softmax(Q Qᵀ) + softmax(K Kᵀ)) V) of the patches, (B, N, D')."""
    last = tower.blocks[-1]
    q, k, v = last.qkv(last.normed(trunk.tokens))
    return last.merge(attend(q[:, :, 1:], q, v) + attend(k[:, :, 1:], k, v))


def _whole(trunk: Trunk, tower: Tower, attended: Tensor) -> Tensor:
    """What CLIP's last block makes of another attention's output (B, N, D')."""
    x = trunk.tokens[:, 1:] + attended if tower.residual else attended
    return tower.read(tower.blocks[-1].feed(x))


def _self_self(z: Tensor, v: Tensor, factor: Tensor) -> Tensor:
    z = F.normalize(z, dim=-1)
    z = F.normalize(attend(z * factor, z, z, scale=1.0), dim=-1)
    return attend(z * factor, z, v, scale=1.0)


def _scaled(x: Tensor, scale: Tensor | None) -> Tensor:
    return x if scale is None else x * scale


def _cast(value: _Value, dtype: torch.dtype) -> _Value:
    """A copy of a nest of dataclasses and tuples with every tensor in it cast."""
    if isinstance(value, Tensor):
        return cast(_Value, value.to(dtype))
    if isinstance(value, tuple):
        return cast(_Value, tuple(_cast(v, dtype) for v in value))
    if is_dataclass(value) and not isinstance(value, type):
        return replace(
            value, **{f.name: _cast(getattr(value, f.name), dtype) for f in fields(value)}
        )
    return value
