"""CLIP's text tower as plain weights: prompts and classes to unit rows, fast.

Two exact savings over open_clip's `encode_text`, both resting on the causal mask: tokens after
the end of the longest prompt are not computed, and for classes in templates, the keys and
values of what stands before the word are computed once per template and kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..methods.dense import Block, Norm
from ..methods.linear import linear
from ..values.errors import JobError, ModelError
from .vision import read_blocks, read_norm

IMAGENET_TEMPLATES: tuple[str, ...] = tuple(
    template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES
)
_ROWS_AT_ONCE = 512


@dataclass(frozen=True, slots=True, eq=False)
class TextTower:
    """Weights of a causal text transformer read out at its end-of-text token.

    embedding (V, D), positions (T, D), proj (D, E) or None, proj_bias (E,) or None.
    """

    blocks: tuple[Block, ...]
    embedding: Tensor
    positions: Tensor
    norm: Norm
    proj: Tensor | None
    proj_bias: Tensor | None
    tokenizer: Any

    @property
    def context(self) -> int:
        return len(self.positions)

    def tokens(self, prompts: Sequence[str]) -> list[Tensor]:
        """Token ids of each prompt, from start to end of text, cut to the context."""
        table = self.tokenizer(list(prompts), context_length=self.context)
        ends = (table == self.tokenizer.eot_token_id).int().argmax(1) + 1
        return [row[:end] for row, end in zip(table, ends.tolist(), strict=True)]

    def embed(self, ids: Tensor, start: Tensor | int = 0) -> Tensor:
        """Embedded ids (n, T), the first of each row at position `start`: (n, T, D)."""
        place = torch.arange(ids.shape[1], device=ids.device) + start
        return F.embedding(ids, self.embedding) + self.positions[place.clamp(max=self.context - 1)]

    def read(self, x: Tensor) -> Tensor:
        """Unit rows (n, E) float32 of end-of-text tokens (n, D)."""
        x = self.norm(x)
        if self.proj is not None:
            x = x @ self.proj
        if self.proj_bias is not None:
            x = x + self.proj_bias
        return F.normalize(x if x.dtype == torch.float64 else x.float(), dim=-1)


@dataclass(frozen=True, slots=True, eq=False)
class Prefixes:
    """What stands before the word in each of t templates.

    ids : the tokens of each, ragged. lengths (t,).
    keys, values : per block (t, H, P, d), padded to the longest of P tokens.
    """

    templates: tuple[str, ...]
    ids: tuple[Tensor, ...]
    lengths: Tensor
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]


def read_text_tower(name: str, model: nn.Module) -> TextTower:
    """The text weights of an open_clip model.

    Raises ModelError unless they are a causal transformer read at its end-of-text token.
    """
    tower: Any = getattr(model, "text", model)
    pool = getattr(tower, "pool_type", None) or getattr(tower, "text_pool_type", None)
    if (
        not hasattr(tower, "token_embedding")
        or tower.attn_mask is None
        or getattr(tower, "cls_emb", None) is not None
        or pool not in ("argmax", "eos")
    ):
        raise ModelError(
            name, f"{name} has no CLIP text tower (causal, read at the end of text): choose a CLIP."
        )
    proj: Any = tower.text_projection
    linear = isinstance(proj, nn.Linear)
    return TextTower(
        blocks=read_blocks(name, tower.transformer.resblocks),
        embedding=tower.token_embedding.weight.detach(),
        positions=tower.positional_embedding.detach(),
        norm=read_norm(tower.ln_final),
        proj=proj.weight.detach().T if linear else None if proj is None else proj.detach(),
        proj_bias=proj.bias.detach() if linear and proj.bias is not None else None,
        tokenizer=open_clip.SimpleTokenizer(context_length=len(tower.positional_embedding)),
    )


def encode_prompts(tower: TextTower, prompts: Sequence[str]) -> Tensor:
    """Unit rows (n, E) float32 of whole prompts; equals open_clip's `encode_text`."""
    ids = tower.tokens(prompts)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    device = tower.embedding.device
    out = [torch.empty(0)] * len(ids)
    for start in range(0, len(order), _ROWS_AT_ONCE // 4):
        part = order[start : start + _ROWS_AT_ONCE // 4]
        lengths = torch.tensor([len(ids[i]) for i in part], device=device)
        padded = nn.utils.rnn.pad_sequence([ids[i] for i in part], batch_first=True).to(device)
        x = tower.embed(padded)
        for block in tower.blocks:
            x, _, _ = _causal(block, x)
        rows = tower.read(x[torch.arange(len(part), device=device), lengths - 1])
        for i, row in zip(part, rows, strict=True):
            out[i] = row
    return torch.stack(out)


def read_prefixes(tower: TextTower, templates: Sequence[str]) -> Prefixes:
    """Run what stands before the word in each template, once.

    templates : format strings with one {}. Raises JobError for one without.
    """
    for template in templates:
        if template.count("{}") != 1:
            raise JobError("templates", f"The template {template!r} needs one {{}} for the word.")
    pairs = zip(
        tower.tokens([t.format("a") for t in templates]),
        tower.tokens([t.format("zebra") for t in templates]),
        strict=True,
    )
    ids = tuple(a[: _common(a, b)] for a, b in pairs)
    device = tower.embedding.device
    x = tower.embed(nn.utils.rnn.pad_sequence(list(ids), batch_first=True).to(device))
    keys, values = [], []
    for block in tower.blocks:
        x, k, v = _causal(block, x)
        keys.append(k.contiguous())
        values.append(v.contiguous())
    lengths = torch.tensor([len(i) for i in ids], device=device)
    return Prefixes(tuple(templates), ids, lengths, tuple(keys), tuple(values))


def encode_words(tower: TextTower, prefixes: Prefixes, words: Sequence[str]) -> Tensor:
    """Unit rows (n, E) float32: each word's unit rows over the templates, averaged, normalised.

    Equals `encode_prompts` on the filled templates, to rounding (docs/methods/bases.md#decision).
    """
    count = len(prefixes.templates)
    prompts = [t.format(word) for t in prefixes.templates for word in words]
    ids = tower.tokens(prompts)
    starts = [len(p) for p in prefixes.ids for _ in words]
    joins = [
        len(whole) > start and bool((whole[:start] == prefixes.ids[i // len(words)]).all())
        for i, (whole, start) in enumerate(zip(ids, starts, strict=True))
    ]
    if not all(joins):  # a word that fuses with the template's tokens, or fills the context
        rows = encode_prompts(tower, prompts)
    else:
        rest = [whole[start:] for whole, start in zip(ids, starts, strict=True)]
        rows = _after_prefixes(tower, prefixes, rest, len(words))
    mean = torch.unflatten(rows, 0, (count, len(words))).mean(0)
    return F.normalize(mean, dim=-1)


def words_at_once(prefixes: Prefixes) -> int:
    """How many words one pass of `encode_words` should take to keep memory low."""
    return max(1, _ROWS_AT_ONCE // len(prefixes.templates))


def _after_prefixes(tower: TextTower, prefixes: Prefixes, rest: list[Tensor], words: int) -> Tensor:
    """Rows (t · w, E) of the tokens after the prefixes, template by template.

    The linear layers see the real tokens only, packed; attention sees (t, w, R) padded.
    """
    device = tower.embedding.device
    lengths = torch.tensor([len(r) for r in rest], device=device)
    padded = nn.utils.rnn.pad_sequence(rest, batch_first=True).to(device)
    length = padded.shape[1]
    packed = (torch.arange(length, device=device) < lengths[:, None]).flatten().nonzero()[:, 0]
    ends = torch.arange(len(rest), device=device) * length + lengths - 1
    start = prefixes.lengths.repeat_interleave(words)[:, None]
    x = tower.embed(padded, start).flatten(0, 1)[packed]
    shape = (len(prefixes.templates), words, length)
    for index, block in enumerate(tower.blocks):
        heads = _attend_after(prefixes, index, block, x, packed, shape)
        if index == len(tower.blocks) - 1:  # only the end-of-text token is read
            x, packed = x[torch.searchsorted(packed, ends)], ends
        x = block.feed(x + block.merge(heads[packed][None, :, None].transpose(1, 2))[0])
    return tower.read(x)


def _attend_after(
    prefixes: Prefixes,
    index: int,
    block: Block,
    x: Tensor,
    packed: Tensor,
    shape: tuple[int, int, int],
) -> Tensor:
    """Attention of packed tokens (M, D) to their prefix and, causally, to each other.

    Returns heads (t · w · R, H, d), rows of padding meaningless.
    """
    t, w, r = shape
    joint = linear(block.normed(x), block.qkv_weight, block.qkv_bias)
    full = joint.new_zeros(t * w * r, joint.shape[-1])
    full[packed] = joint
    q, k, v = full.view(t, w, r, 3, block.heads, -1).permute(3, 0, 4, 1, 2, 5)
    q = q * q.shape[-1] ** -0.5
    before, kept = prefixes.keys[index], prefixes.values[index]
    outside = torch.arange(before.shape[2], device=x.device) >= prefixes.lengths[:, None]
    to_prefix = q.flatten(2, 3) @ before.transpose(-1, -2)
    to_prefix = to_prefix.masked_fill(outside[:, None, None], -torch.inf)
    to_prefix = torch.unflatten(to_prefix, 2, (w, r))
    later = torch.ones(r, r, dtype=torch.bool, device=x.device).triu(1)
    to_own = (q @ k.transpose(-1, -2)).masked_fill(later, -torch.inf)
    weights = torch.cat([to_prefix, to_own], -1).softmax(-1)
    split = before.shape[2]
    out = weights[..., split:] @ v
    out = out + torch.unflatten(weights[..., :split].flatten(2, 3) @ kept, 2, (w, r))
    joined: Tensor = out.permute(0, 2, 3, 1, 4).flatten(0, 2)
    return joined


def _causal(block: Block, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One block with the causal mask: its output (n, T, D), keys and values (n, H, T, d)."""
    q, k, v = block.qkv(block.normed(x))
    heads = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return block.feed(x + block.merge(heads)), k, v


def _common(a: Tensor, b: Tensor) -> int:
    """How many first tokens two prompts share."""
    size = min(len(a), len(b))
    return int((a[:size] == b[:size]).int().cumprod(0).sum())
