"""Clip: images and words as unit vectors of one space, and the dense bases on top."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import open_clip
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..methods.dense import BASES, Tower, Trunk, image_vector, run_trunk
from ..values.errors import ChecksumMismatch, JobError, ModelError
from .entries import CLIP_CONFIG, MEAN, STD, ClipEntry
from .opened import PRECISIONS, SEED, opened
from .text import (
    IMAGENET_TEMPLATES,
    Prefixes,
    encode_prompts,
    encode_words,
    read_prefixes,
    read_text_tower,
    words_at_once,
)
from .vision import Embedding, Resize, read_embedding, read_tower

Need = Literal["attention", "head0", "gem", "cls"]
_TOKENS_AT_ONCE = 4096


class Clip:
    """A loaded CLIP. Everything it returns is a unit row, float32, on `device`.

    digest : hex SHA-256 that changes with weights, configuration and precision.
    patch : side of a patch in pixels; sides that are no multiple lose the remainder at the
        right and the bottom, as in the published code.
    logit_scale : the learned factor, already exponentiated.
    mean, std : of the three channels, what pixels in [0, 1] are normalised with.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        digest: str,
        *,
        device: torch.device | str = "cpu",
        precision: str = "float32",
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
    ) -> None:
        dtype = PRECISIONS[precision]
        # Before the weights lose digits: as bfloat16 a scale of 100 would be 98.9.
        self.logit_scale = float(cast(Tensor, model.logit_scale).detach().float().exp())
        model.eval().requires_grad_(False).to(device, dtype)
        visual: Any = model.visual
        self.name = name
        self.digest = hashlib.sha256(f"{digest} {precision}".encode()).hexdigest()
        self.device = torch.device(device)
        if self.device.type == "cuda" and dtype == torch.float32:
            # Otherwise the patch embedding alone would be computed with ten bits.
            torch.backends.cudnn.allow_tf32 = False
        self.dtype = dtype
        self.mean, self.std = tuple(mean), tuple(std)
        self.tower = read_tower(name, visual)
        self._embedding = read_embedding(visual)
        self._towers = {dtype: (self.tower, self._embedding)}
        self.is_resnet = not self.tower.residual
        self.patch = self._embedding.patch
        self._text = read_text_tower(name, model)
        self.embed_dim = int(visual.output_dim)
        self._prefixes: dict[tuple[str, ...], Prefixes] = {}
        self._words: dict[tuple[tuple[str, ...], str], Tensor] = {}

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Patches (h, w) of a window of (height, width) pixels."""
        return height // self.patch, width // self.patch

    @torch.no_grad()
    def encode_trunk(self, pixels: Tensor, *, need: Iterable[Need] = ()) -> Trunk:
        """Everything before the last block, once per window.

        pixels : (B, 3, H, W) float, RGB in [0, 1].
        need : "attention", "head0" (affinities for FreeCP), "gem" (which also resizes the
            position embedding as published GEM does), "cls" (the windows' image vectors).

        Raises ModelError where a ResNet is asked for layer attention or GEM.
        """
        need = frozenset(need)
        if self.is_resnet and need & {"attention", "head0", "gem"}:
            raise ModelError(
                self.name,
                f"{self.name} is a ResNet without layer attention, which FreeCP and GEM need: "
                "choose a ViT bundle, or the base method with maskclip.",
            )
        resize: Resize = "antialias" if "gem" in need else "scale"
        pixels = self._normalised(pixels)
        step = max(1, _TOKENS_AT_ONCE // (1 + _product(self.grid(*pixels.shape[-2:]))))
        parts = [self._trunk(chunk, need, resize) for chunk in torch.split(pixels, step)]
        return parts[0] if len(parts) == 1 else _joined(parts)

    @torch.no_grad()
    def dense(self, trunk: Trunk, base: str) -> Tensor:
        """Patch features of a base: (B, N, E), patches row by row.

        Raises JobError for an unknown base, or for GEM on a trunk encoded without "gem".
        """
        if base not in BASES:
            raise JobError("base", f"There is no base {base!r}: choose one of {', '.join(BASES)}.")
        if base == "gem" and not trunk.block_inputs:
            raise JobError("base", "GEM needs a trunk that was encoded for it: ask for 'gem'.")
        return BASES[base](trunk, self.tower)

    @torch.no_grad()
    def encode_cls(
        self, pixels: Tensor, *, precision: str | None = None, resize: Resize = "scale"
    ) -> Tensor:
        """Image vectors (B, E) by the model's own last block and pooling.

        pixels : (B, 3, h, w) float, RGB in [0, 1].
        precision : None computes as the rest of the model; "bfloat16" with copies of the
            weights, "auto" with them where the processor multiplies bfloat16 natively.
        resize : of the position embedding; "antialias" for GEM as published.
        """
        dtype = self.crop_dtype(precision)
        tower, embedding = self._tower_in(dtype)
        pixels = self._normalised(pixels)
        step = max(1, _TOKENS_AT_ONCE // (1 + _product(self.grid(*pixels.shape[-2:]))))
        out = [pixels.new_empty(0, self.embed_dim, dtype=torch.float32)]
        for chunk in torch.split(pixels, step) if len(pixels) else ():
            tokens, grid = embedding(chunk, resize)
            out.append(image_vector(tower, run_trunk(tower, tokens, grid).tokens))
        return torch.cat(out)

    @torch.no_grad()
    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Rows (n, E) of prompts as they stand, longer ones cut to the context."""
        if not prompts:
            return torch.empty(0, self.embed_dim, device=self.device)
        return encode_prompts(self._text, prompts)

    @torch.no_grad()
    def encode_classes(
        self, words: Sequence[str], templates: Sequence[str] = IMAGENET_TEMPLATES
    ) -> Tensor:
        """Rows (n, E) of words: unit rows over the templates, averaged, normalised.

        templates : format strings with one {}; JobError for another. Words are kept, so only
            new ones cost time.
        """
        key = tuple(templates)
        if key not in self._prefixes:
            self._prefixes[key] = read_prefixes(self._text, key)
        prefixes = self._prefixes[key]
        new = [w for w in dict.fromkeys(words) if (key, w) not in self._words]
        step = words_at_once(prefixes)
        for start in range(0, len(new), step):
            part = new[start : start + step]
            new_rows = encode_words(self._text, prefixes, part)
            self._words |= {(key, word): row for word, row in zip(part, new_rows, strict=True)}
        rows = [self._words[key, word] for word in words]
        return torch.stack(rows) if rows else torch.empty(0, self.embed_dim, device=self.device)

    @torch.no_grad()
    def encode_descriptions(self, descriptions: Sequence[Sequence[str]]) -> Tensor:
        """Rows (n, E) of classes given as sentences: unit rows averaged, normalised."""
        counts = [len(sentences) for sentences in descriptions]
        if not all(counts):
            raise JobError("descriptions", "A class has no description: give it a sentence.")
        rows = self.encode_text([s for sentences in descriptions for s in sentences])
        means = [part.mean(0) for part in torch.split(rows, counts)] if counts else []
        return F.normalize(torch.stack(means), dim=-1) if means else rows

    def _trunk(self, pixels: Tensor, need: frozenset[str], resize: Resize) -> Trunk:
        tokens, grid = self._embedding(pixels, resize, positions=not self.is_resnet)
        trunk = run_trunk(
            self.tower,
            tokens,
            grid,
            attention="attention" in need,
            head0="head0" in need,
            inputs="gem" in need,
            cls="cls" in need and not self.is_resnet,
        )
        if "cls" in need and self.is_resnet:
            placed, _ = self._embedding(pixels, resize)
            trunk = replace(trunk, cls=image_vector(self.tower, placed))
        return trunk

    def _normalised(self, pixels: Tensor) -> Tensor:
        pixels = pixels.to(self.device, torch.promote_types(torch.float32, self.dtype))
        mean = pixels.new_tensor(self.mean)[:, None, None]
        return (pixels - mean) / pixels.new_tensor(self.std)[:, None, None]

    def crop_dtype(self, precision: str | None) -> torch.dtype:
        """The arithmetic in which `encode_cls` works for a `precision`; JobError for another."""
        if precision is None:
            return self.dtype
        if precision == "auto":
            fast = self.device.type == "cpu" and self.dtype == torch.float32 and has_bfloat16()
            return torch.bfloat16 if fast and not self.is_resnet else self.dtype
        if precision not in PRECISIONS:
            raise JobError("precision", f"precision must be one of {', '.join(PRECISIONS)}, auto.")
        return PRECISIONS[precision]

    def _tower_in(self, dtype: torch.dtype) -> tuple[Tower, Embedding]:
        if dtype not in self._towers:
            self._towers[dtype] = self.tower.to(dtype), self._embedding.to(dtype)
        return self._towers[dtype]


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 natively, several times faster than float32."""
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def load_clip(name: str, device: str = "cpu", precision: str = "float32") -> Clip:
    """Load a model of the catalogue from disk, or build it with seeded random weights.

    Raises ModelError when it is unknown, not installed, refused or broken, ChecksumMismatch
    when its weights are not the published ones.
    """
    entry, folder, target, _ = opened(ClipEntry, name, device, precision)
    if not entry.random:
        return load_folder(folder, name, entry, device=target, precision=precision)
    model = _built(name, open_clip.get_model_config(entry.arch), SEED)
    return Clip(name, model, f"{entry.arch} seed {SEED}", device=target, precision=precision)


def load_folder(
    folder: Path,
    name: str,
    entry: ClipEntry,
    *,
    device: torch.device | str = "cpu",
    precision: str = "float32",
) -> Clip:
    """Load weights, and the configuration beside them where the entry names no architecture."""
    path = folder / entry.files[0]
    if path.suffix != ".safetensors":
        raise ModelError(
            name,
            f"{path.name} is not a safetensors file, and other files can run code when loaded: "
            "convert it first.",
        )
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if entry.sha256 is not None and found != entry.sha256:
        raise ChecksumMismatch(name, path, entry.sha256, found)
    config: dict[str, Any] = {"model_cfg": open_clip.get_model_config(entry.arch)}
    if not entry.arch:
        config = _read_config(name, folder / CLIP_CONFIG)
    model = _built(name, config["model_cfg"])
    try:
        model.load_state_dict(load_file(path), strict=True)
    except (SafetensorError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelError(
            name, f"{path.name} does not hold the weights of {name}: fetch it again. ({reason})"
        ) from error
    given = config.get("preprocess_cfg", {})
    digest = found + json.dumps(config, sort_keys=True)
    mean, std = given.get("mean", entry.mean), given.get("std", entry.std)
    return Clip(name, model, digest, device=device, precision=precision, mean=mean, std=std)


def _read_config(name: str, path: Path) -> dict[str, Any]:
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {**config, "model_cfg": dict(config["model_cfg"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            name, f"{path.name} of {name} is missing or broken: fetch the model again."
        ) from error


def _built(name: str, config: dict[str, Any], seed: int = SEED) -> nn.Module:
    """An open_clip model of a configuration; the same seed gives the same weights."""
    config = dict(config)
    custom = config.pop("custom_text", False)
    if "hf_model_name" in config["text_cfg"] or "timm_model_name" in config["vision_cfg"]:
        raise ModelError(name, f"{name} needs another library's towers: choose a CLIP.")
    kind = open_clip.CustomTextCLIP if custom else open_clip.CLIP
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: nn.Module = kind(**config)
    return model


def _joined(parts: Sequence[Trunk]) -> Trunk:
    """One trunk of all windows of several."""

    def cat(tensors: Sequence[Tensor | None]) -> Tensor | None:
        given = [t for t in tensors if t is not None]
        return torch.cat(given) if given else None

    columns = zip(*(p.block_inputs for p in parts), strict=True)
    return Trunk(
        torch.cat([p.tokens for p in parts]),
        parts[0].grid,
        cat([p.attention for p in parts]),
        cat([p.attention_head0 for p in parts]),
        tuple(torch.cat(column) for column in columns),
        cat([p.cls for p in parts]),
    )


def _product(grid: tuple[int, int]) -> int:
    return grid[0] * grid[1]
