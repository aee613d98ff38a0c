"""How much plain colour gives away: AUC of "same label" from colour distance between pixels."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from .scenes import Scene


def auc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Probability that a positive pair scores above a negative one, ties counted half."""
    ranks = rankdata(scores)
    hits, misses = int(positive.sum()), int((~positive).sum())
    return float((ranks[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


def colour_auc(scenes: Iterable[Scene], pairs: int = 20_000, seed: int = 0) -> float:
    """AUC of "same label" from negative RGB distance, over random pixel pairs within each scene.

    Parameters
    ----------
    pairs : pixel pairs per scene, both ends uniform over the image

    Returns
    -------
    0.5 says nothing, 1.0 says that colour alone tells regions apart; pairs of all scenes pooled
    """
    rng = np.random.default_rng(seed)
    scores, same = [], []
    for shown in scenes:
        pixels = shown.image.reshape(-1, 3).astype(np.float32)
        labels = shown.labels.reshape(-1)
        a, b = rng.integers(0, labels.size, (2, pairs))
        scores.append(-np.linalg.norm(pixels[a] - pixels[b], axis=1))
        same.append(labels[a] == labels[b])
    return auc(np.concatenate(scores), np.concatenate(same))
