"""Validation of the demo CLIP: retrieval, dense mIoU per tail, and attention as an affinity."""

import warnings
from collections.abc import Sequence

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..classes import CLASSES, DISTRACTORS
from ..colour_auc import auc
from ..scenes import Scene, scene, split_seeds
from .crops import Batch
from .model import CONFIG, encode_text, tail, trunk

WINDOW, STRIDE = 128, 64
TEMPLATES = ("{}", "a photo of {}", "a close-up of {}", "a picture of {}", "there is {}")


def validation_scenes(count: int) -> list[Scene]:
    """Validation scenes of 192 x 256 pixels."""
    return [scene(s, "val", (192, 256)) for s in split_seeds("val")[:count]]


def class_vectors(model: open_clip.CLIP, words: Sequence[str], device: torch.device) -> Tensor:
    """(K, D) unit rows: templates averaged per word."""
    things = {c.name for c in CLASSES if c.kind == "thing"} | set(DISTRACTORS)
    rows = []
    for word in words:
        shown = f"a {word}" if word in things else word
        vectors = encode_text(model, [t.format(shown) for t in TEMPLATES], device)
        rows.append(F.normalize(vectors.mean(dim=0), dim=0))
    return torch.stack(rows)


def normalised(images: NDArray[np.uint8] | Tensor, device: torch.device) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float32, mean and deviation of the model."""
    pixels = torch.as_tensor(np.ascontiguousarray(images), device=device)
    pixels = pixels.permute(0, 3, 1, 2).float() / 255
    prep = CONFIG["preprocess_cfg"]
    mean = torch.tensor(prep["mean"], device=device).view(3, 1, 1)
    return (pixels - mean) / torch.tensor(prep["std"], device=device).view(3, 1, 1)


def _windows(height: int, width: int) -> list[tuple[int, int]]:
    rows = sorted({min(y, height - WINDOW) for y in range(0, height - WINDOW + STRIDE, STRIDE)})
    cols = sorted({min(x, width - WINDOW) for x in range(0, width - WINDOW + STRIDE, STRIDE)})
    return [(y, x) for y in rows for x in cols]


def refined(p: Tensor, maps: list[Tensor]) -> Tensor:
    """FreeCP's affinity on p (B, N, K): layer mean, Sinkhorn rounds, symmetrised, squared."""
    t = torch.stack(maps).mean(dim=0)[:, 1:, 1:].float()
    for _ in range(3):
        t = t / t.sum(dim=1, keepdim=True)
        t = t / t.sum(dim=2, keepdim=True)
    t = (t + t.transpose(1, 2)) / 2
    return t @ (t @ p)


def _iou(confusion: NDArray[np.int64]) -> dict[str, float]:
    count = len(CLASSES)
    hit = np.diag(confusion)[:count].astype(float)
    union = confusion.sum(1)[:count] + confusion.sum(0)[:count] - hit
    present = confusion.sum(1)[:count] > 0
    iou = np.where(present, hit / np.maximum(union, 1), np.nan)
    stuff = np.asarray([c.kind == "stuff" for c in CLASSES])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return {
            "miou": round(100 * float(np.nanmean(iou)), 1),
            "stuff": round(100 * float(np.nanmean(iou[stuff])), 1),
            "things": round(100 * float(np.nanmean(iou[~stuff])), 1),
        }


def _affinity_auc(maps: list[Tensor], labels: NDArray[np.integer]) -> list[float]:
    """AUC of "same label" per layer, then of their mean, over patches of one label each."""
    count = labels.shape[0]
    patches = labels.reshape(count, WINDOW // 8, 8, WINDOW // 8, 8).transpose(0, 1, 3, 2, 4)
    patches = patches.reshape(count, -1, 64)
    pure = (patches == patches[..., :1]).all(axis=2)
    rng = np.random.default_rng(0)
    scores: list[list[NDArray[np.float32]]] = [[] for _ in range(len(maps) + 1)]
    same = []
    layers = [m[:, 1:, 1:].float().cpu().numpy() for m in maps]
    layers.append(np.mean(layers, axis=0))
    for b in range(count):
        usable = np.flatnonzero(pure[b])
        i, j = rng.choice(usable, (2, 2000))
        same.append(patches[b, i, 0] == patches[b, j, 0])
        for kept, layer in zip(scores, layers, strict=True):
            kept.append(layer[b, i, j] + layer[b, j, i])
    truth = np.concatenate(same)
    return [round(auc(np.concatenate(s), truth), 3) for s in scores]


@torch.no_grad()
def dense(
    model: open_clip.CLIP, scenes: Sequence[Scene], tails: Sequence[str], device: torch.device
) -> dict[str, object]:
    """mIoU per tail with all classes and the distractors, and what attention adds to one of them.

    ``*_true`` rows are given the scene's own classes; ``*_true_refined`` also FreeCP's affinity.
    """
    words = [c.name for c in CLASSES] + list(DISTRACTORS)
    vectors = class_vectors(model, words, device)
    scale = float(model.logit_scale.exp())
    size = len(words)
    tables: dict[str, NDArray[np.int64]] = {}
    aucs = []
    for shown in scenes:
        height, width = shown.labels.shape
        places = _windows(height, width)
        cut = np.stack([shown.image[y : y + WINDOW, x : x + WINDOW] for y, x in places])
        truth = np.stack([shown.labels[y : y + WINDOW, x : x + WINDOW] for y, x in places])
        states, maps = trunk(model.visual, normalised(cut, device), with_attention=True)
        aucs.append(_affinity_auc(maps, truth))
        present = torch.zeros(size, dtype=torch.bool)
        present[torch.as_tensor(np.unique(shown.labels).astype(np.int64)) - 1] = True
        grid = (WINDOW // 8, WINDOW // 8)
        for name in tails:
            tokens = F.normalize(tail(model.visual, states, name, grid)[:, 1:].float(), dim=-1)
            logits = scale * tokens @ vectors.T
            answers = {name: logits.softmax(-1)}
            given = logits.masked_fill(~present.to(device), -1e4).softmax(-1)
            answers[f"{name}_true"] = given
            answers[f"{name}_true_refined"] = refined(given, maps)
            for key, p in answers.items():
                total = torch.zeros(size, height, width)
                up = p.transpose(1, 2).reshape(len(places), size, *grid).float().cpu()
                up = F.interpolate(up, size=(WINDOW, WINDOW), mode="bilinear", align_corners=False)
                for (y, x), one in zip(places, up, strict=True):
                    total[:, y : y + WINDOW, x : x + WINDOW] += one
                decided = total.argmax(dim=0).numpy()
                pair = (shown.labels.astype(np.int64) - 1) * size + decided
                table = np.bincount(pair.ravel(), minlength=size * size).reshape(size, size)
                tables[key] = tables.get(key, 0) + table
    rows: dict[str, object] = {key: _iou(table) for key, table in tables.items()}
    rows["attention_auc"] = np.mean(aucs, axis=0).round(3).tolist()
    return rows


@torch.no_grad()
def retrieval(model: open_clip.CLIP, batch: Batch, device: torch.device) -> dict[str, float]:
    """Crop to caption: share of crops whose best caption names the same classes as their own."""
    images = normalised(batch.images, device)
    states, _ = trunk(model.visual, images, with_attention=False)
    side = images.shape[-1] // 8
    out = F.normalize(tail(model.visual, states, "vanilla", (side, side)).float(), dim=-1)
    text = encode_text(model, batch.captions, device)
    named = torch.as_tensor(batch.named)
    pooled = {"cls": out[:, 0], "mean": F.normalize(out[:, 1:].mean(dim=1), dim=-1)}
    answer = {}
    for key, rows in pooled.items():
        best = (rows @ text.T).argmax(dim=1).cpu()
        answer[key] = round(100 * float((named[best] == named).all(dim=1).float().mean()), 1)
    return answer
