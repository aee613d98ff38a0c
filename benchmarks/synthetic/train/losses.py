"""Losses from images and captions alone; no mask enters any of them.

``named`` says which classes a crop's caption names. It is (B, K) bool; K is the number of classes.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_prelabel.methods import freecp


def contrastive(image: Tensor, text: Tensor, scale: Tensor, named: Tensor) -> Tensor:
    """CLIP's symmetric loss on unit rows (B, D), without pairs that name the same classes."""
    logits = scale * image.float() @ text.T
    same = (named[:, None] == named[None]).all(dim=2)
    same.fill_diagonal_(False)
    logits = logits.masked_fill(same, -1e4)
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def naming(image: Tensor, words: Tensor, scale: Tensor, named: Tensor) -> Tensor:
    """An image's unit rows (B, D) against one phrase per class and others (W, D).

    The words that its caption names share the probability equally. Look-alikes of the same family
    are always among the words, while a batch of captions may lack them.
    """
    logp = (scale * image.float() @ words.T).log_softmax(dim=-1)[:, : named.shape[1]]
    return -((logp * named).sum(dim=1) / named.sum(dim=1).clamp_min(1)).mean()


def log_probabilities(tokens: Tensor, words: Tensor, scale: Tensor) -> Tensor:
    """Patch tokens (B, N, D) against words (W, D): log softmax over words, (B, N, W) float32."""
    logits = scale * F.normalize(tokens.float(), dim=-1) @ words.T
    return logits.log_softmax(dim=-1)


def explained(logp: Tensor, named: Tensor) -> Tensor:
    """Every patch shows something the caption names: -log of the mass on named words."""
    allowed = logp[..., : named.shape[1]].masked_fill(~named[:, None], -1e4)
    return -allowed.logsumexp(dim=-1).mean()


def found(logp: Tensor, named: Tensor, sharpness: float = 2.0) -> Tensor:
    """Every word of a caption is found somewhere: text-conditioned pooling of patch scores.

    The pooling of each word attends to the patches that answer to it (as PACL, SPARC and FLAIR do).
    """
    known = logp[..., : named.shape[1]]
    where = (sharpness * known.detach()).softmax(dim=1)
    pooled = (where * known).sum(dim=1)
    return -(pooled * named).sum() / named.sum()


def consensus(logps: list[Tensor], named: Tensor, power: float, balance: float = 0.6) -> Tensor:
    """Which named word each patch shows, as all tails together believe: (B, N, K), no gradient.

    Parameters
    ----------
    power : above 1 sharpens the belief
    balance : 0 takes the scores as they are; towards 1 every named word gets its share of the
        patches. Without it the large stuff regions explain the small things away.
    """
    with torch.no_grad():
        mean = torch.stack([p[..., : named.shape[1]].exp() for p in logps]).mean(dim=0)
        mean = mean.clamp_min(1e-6) * named[:, None]
        share = mean / mean.sum(dim=-1, keepdim=True)
        sharp = (mean / share.mean(dim=1, keepdim=True).clamp_min(1e-4) ** balance) ** power
        return sharp / sharp.sum(dim=-1, keepdim=True)


def balanced(belief: Tensor, named: Tensor) -> Tensor:
    """Weights of patches, (B, N), rows sum to 1: every named word counts the same in its image.

    By area alone, small things would hardly count.
    """
    share = belief / belief.sum(dim=1, keepdim=True).clamp_min(1.0)
    weight = (share * named[:, None]).sum(dim=-1)
    return weight / weight.sum(dim=1, keepdim=True).clamp_min(1e-6)


def agreement(logp: Tensor, belief: Tensor, named: Tensor) -> Tensor:
    """Cross-entropy of one tail against the consensus of all, half by area, half by word."""
    cross = -(belief * logp[..., : belief.shape[-1]]).sum(dim=-1)
    return (cross.mean() + (balanced(belief, named) * cross).sum(dim=1).mean()) / 2


def affinity(maps: list[Tensor], belief: Tensor, named: Tensor) -> Tensor:
    """FreeCP's affinity from averaged attention keeps within what the consensus takes for a region.

    The maps of the named words go through the same rounds and the same two products as in a run
    (docs/methods/freecp.md#refinement), so what is asked for is that refinement leaves them where
    they are.

    Parameters
    ----------
    maps : head-averaged attention (B, 1 + N, 1 + N) of every block but the last
    """
    s = freecp.affinity(torch.stack(maps).mean(dim=0).float())
    within = (belief * (s @ (s @ belief))).sum(dim=-1)
    weight = balanced(belief, named)
    several = named.sum(dim=1) > 1
    if not bool(several.any()):
        return within.sum() * 0.0
    return -(weight * within.clamp_min(1e-4).log()).sum(dim=1)[several].mean()
