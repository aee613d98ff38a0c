"""How good label maps are: confusion, mIoU, boundary F, pixels to fix, intervals. NumPy only.

Percentages are left to those who print: everything here is a share, 0..1, or a count.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from .errors import ImageError
from .labels import Ids, Mask
from .vocabulary import IGNORE, UNLABELLED

Matrix = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]
Absent = Literal["skip", "mmseg"]
Statistic = Callable[[npt.NDArray[Any]], Shares]

# What becomes of a class without a true pixel in a mean over classes.
ABSENT: Mapping[Absent, str] = {
    "skip": "classes without a true pixel are left out",
    "mmseg": "classes in neither truth nor prediction are left out; predicted alone counts 0",
}


def confusion(truth: Ids, predicted: Ids, n_classes: int) -> Matrix:
    """Pixels of every (true id, predicted id), for two (Y, X) maps of ids 0..n_classes.

    Pixels that the truth ignores (65535) are left out; pixels that only the prediction ignores
    count as unlabelled (0).

    Returns
    -------
    (n_classes + 1, n_classes + 1) int64, rows truth, columns prediction
    """
    _same(truth, predicted)
    valid = truth != IGNORE
    a = truth[valid].astype(np.int64)
    b = np.where(predicted[valid] == IGNORE, UNLABELLED, predicted[valid]).astype(np.int64)
    highest = max(a.max(initial=0), b.max(initial=0))
    if highest > n_classes:
        raise ImageError(
            f"A map holds id {highest}, but there are {n_classes} classes: "
            "compare maps of one vocabulary."
        )
    side = n_classes + 1
    return np.bincount(a * side + b, minlength=side * side).reshape(side, side)


def class_iou(matrix: npt.NDArray[Any]) -> Shares:
    """Intersection over union of every id, (..., K, K) -> (..., K) float64.

    NaN for ids that stand in neither truth nor prediction.
    """
    hits = np.diagonal(matrix, axis1=-2, axis2=-1).astype(np.float64)
    union = matrix.sum(-1) + matrix.sum(-2) - hits
    return _ratio(hits, union)


def miou(
    matrix: npt.NDArray[Any], classes: Sequence[int] | None = None, absent: Absent = "skip"
) -> Shares:
    """Mean IoU of the given ids (all but 0), (..., K, K) -> (...).

    absent : a class is true when it has at least one true pixel in the matrix. "skip" leaves the
        others, distractor words among them, out of the mean. Their false positives count all the
        same: they are misses of the class that is true there. So all methods on the same images
        are averaged over the same classes, whatever they predict, and so are both sides of a
        paired difference in every draw of `bootstrap`. "mmseg" is the rule of mmsegmentation's
        IoUMetric: a class that is predicted and not true counts 0, one that is neither is left
        out, so that methods may be averaged over different classes.

    NaN when no class counts.
    """
    chosen = list(range(1, matrix.shape[-1]) if classes is None else classes)
    counted = matrix.sum(-1)[..., chosen] > 0
    if absent == "mmseg":
        counted |= matrix.sum(-2)[..., chosen] > 0
    top = np.where(counted, class_iou(matrix)[..., chosen], 0.0).sum(-1)
    return _ratio(top, counted.sum(-1))


def pixel_accuracy(matrix: npt.NDArray[Any]) -> Shares:
    """Share of right pixels, (..., K, K) -> (...); NaN without pixels."""
    return _ratio(np.trace(matrix, axis1=-2, axis2=-1), matrix.sum((-2, -1)))


def pixels_to_fix(truth: Ids, predicted: Ids) -> int:
    """Pixels an annotator must still change; those the truth ignores cost nothing."""
    _same(truth, predicted)
    return int(((truth != predicted) & (truth != IGNORE)).sum())


def boundary_f(truth: Ids, predicted: Ids, tolerance: float = 2.0) -> float:
    """Mean over the true classes of an image of the F-measure of their boundaries (Csurka 2013).

    A boundary pixel is right when the other map's boundary of the class is at most `tolerance`
    pixels away (Euclidean). Pixels that the truth ignores are out of both maps; the frame of the
    image is no boundary. A class without boundary in both maps counts 1, in one of them 0.
    NaN when the truth has no class.
    """
    _same(truth, predicted)
    valid = truth != IGNORE
    scores = []
    for class_id in np.unique(truth[valid]):
        if class_id != UNLABELLED:
            a, b = (truth == class_id) & valid, (predicted == class_id) & valid
            scores.append(_f_measure(_boundary(a, valid), _boundary(b, valid), tolerance))
    return float(np.mean(scores)) if scores else float("nan")


def _boundary(mask: Mask, valid: Mask) -> Mask:
    """Pixels of the mask with a valid edge neighbour outside it."""
    outside = valid & ~mask
    touched = np.zeros(mask.shape, bool)
    touched[1:] |= outside[:-1]
    touched[:-1] |= outside[1:]
    touched[:, 1:] |= outside[:, :-1]
    touched[:, :-1] |= outside[:, 1:]
    return mask & touched


def _f_measure(a: Mask, b: Mask, tolerance: float) -> float:
    if not a.any() or not b.any():
        return float(a.any() == b.any())
    recall = _near(a, b, tolerance)
    precision = _near(b, a, tolerance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _near(a: Mask, b: Mask, tolerance: float) -> float:
    """Share of the pixels of `a` with a pixel of `b` at most `tolerance` away."""
    rows, columns = np.flatnonzero(a.any(1)), np.flatnonzero(a.any(0))
    reach = int(np.ceil(tolerance)) + 1
    box = np.s_[
        max(rows[0] - reach, 0) : rows[-1] + reach + 1,
        max(columns[0] - reach, 0) : columns[-1] + reach + 1,
    ]
    if not b[box].any():
        return 0.0
    distance = ndimage.distance_transform_edt(~b[box])
    return float((distance[a[box]] <= tolerance).mean())


def bootstrap(
    matrices: npt.NDArray[Any],
    statistic: Statistic = miou,
    other: npt.NDArray[Any] | None = None,
    *,
    rounds: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of a statistic of the summed confusion, images drawn with replacement.

    matrices : (I, K, K), one confusion matrix an image, or other counts that add up.
    statistic : (..., K, K) -> (...).
    other : (I, K, K) of a second method on the same images; the interval is then of the
        difference `statistic(matrices) - statistic(other)` on the same draws (paired).
    level : share of the draws inside the interval, 0..1.

    Returns
    -------
    (low, high); equal seeds give equal intervals
    """
    if not len(matrices) or (other is not None and other.shape != matrices.shape):
        raise ImageError("An interval needs at least one image, and the same images for both.")
    rng = np.random.default_rng(seed)
    count = len(matrices)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=rounds).astype(np.float64)
    values = statistic(_weighted(drawn, matrices))
    if other is not None:
        values = values - statistic(_weighted(drawn, other))
    tail = 50 * (1 - level)
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def _ratio(top: npt.ArrayLike, bottom: npt.ArrayLike) -> Shares:
    """Quotient, NaN where the lower number is 0."""
    a, b = np.asarray(top, np.float64), np.asarray(bottom, np.float64)
    out: Shares = np.full(b.shape, np.nan)
    np.divide(a, b, out=out, where=b > 0)
    return out


def _weighted(weights: Shares, matrices: npt.NDArray[Any]) -> Shares:
    flat: Shares = weights @ matrices.reshape(len(matrices), -1).astype(np.float64)
    return flat.reshape(-1, *matrices.shape[1:])


def _same(truth: Ids, predicted: Ids) -> None:
    if truth.shape != predicted.shape:
        raise ImageError(
            f"Truth of {truth.shape} and prediction of {predicted.shape} pixels cannot be compared."
        )
