"""Which differences between segments tell classes apart: a linear map fitted to a set's own rows.

Rows are whitened by their spread within the classes, so that what changes between segments of one
class (light, stain, shade) counts little, and then turned onto the directions in which the classes
lie apart most, longest first: linear discriminants (Fisher 1936, Rao 1948), each stretched by the
spread it keeps. NumPy only at module level; scikit-learn gives the shrunk covariance.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import ImageError
from .values import Metric

if TYPE_CHECKING:
    from .store import ReferenceSet

# As many directions as rows are compared along: more add noise and time.
DIRECTIONS = 24
# Rows that a fit reads at most, spread evenly over the set.
SAMPLE = 20_000
_LEAST = 1e-4


def fit(
    rows: npt.NDArray[np.floating[Any]],
    classes: npt.ArrayLike,
    directions: int | None = DIRECTIONS,
) -> Metric:
    """Fit the map x -> (x - mean) @ matrix from rows whose classes are known.

    The covariance within classes is that of all rows about the mean of their class, shrunk
    towards a multiple of the identity (Ledoit and Wolf 2004), which keeps it invertible however
    few rows there are. With one class, or one row of each, there is no direction between or no
    spread within: what is known of the two is used, and nothing else.

    Parameters
    ----------
    rows : (n, d) float, finite
    classes : (n,) whole numbers
    directions : at most so many are kept; None keeps all d

    Returns
    -------
    Metric of a (d,) mean and a (d, e) matrix, e = min(d, directions)

    Raises
    ------
    ImageError : no row, or not as many classes as rows
    """
    x = np.asarray(rows, np.float64)
    found, owner = np.unique(np.asarray(classes), return_inverse=True)
    if x.ndim != 2 or not len(x) or len(owner) != len(x):
        raise ImageError(
            f"A metric is fitted to rows of known classes, not to {x.shape} and {owner.shape}: "
            "correct an image first."
        )
    mean = x.mean(0)
    deviation = x.std(0)
    unit = np.maximum(deviation, max(_LEAST, float(deviation.max()) * 1e-2))
    z = (x - mean) / unit
    counts = np.bincount(owner)
    centres = np.zeros((len(found), x.shape[1]))
    np.add.at(centres, owner, z)
    centres /= counts[:, None]
    whiten = _inverse_root(_covariance(z - centres[owner]))
    moved = z @ whiten
    spread, turn = np.linalg.eigh(moved.T @ moved / len(moved))
    order = np.argsort(-spread, kind="stable")[:directions]
    stretch = np.sqrt(np.maximum(spread[order], 0))
    top = float(stretch.max(initial=0.0))
    stretch = stretch / top if top > 0 else np.ones(len(order))
    matrix = (whiten @ (turn[:, order] * stretch)) / unit[:, None]
    return Metric(mean.astype(np.float32), matrix.astype(np.float32))


def _covariance(residuals: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(d, d) shrunk covariance of rows about 0; the identity where they do not spread."""
    if not residuals.any():
        return np.eye(residuals.shape[1])
    from sklearn.covariance import ledoit_wolf

    found: npt.NDArray[np.float64] = ledoit_wolf(residuals, assume_centered=True)[0]
    return found


def _inverse_root(covariance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    values, vectors = np.linalg.eigh(covariance)
    least = max(float(values.max()) * 1e-6, 1e-12)
    root: npt.NDArray[np.float64] = vectors / np.sqrt(np.maximum(values, least))
    return root


def fit_set(references: "ReferenceSet", directions: int | None = DIRECTIONS) -> Metric | None:
    """The metric of a set, from the words that count in it; None for a set without any.

    Reads at most SAMPLE rows, evenly spread; rows without a word, switched off or filtered away
    teach nothing. A row of several words counts with its first.
    """
    links = references.links()
    live = np.flatnonzero(np.diff(links.indptr) > 0)
    if not len(live):
        return None
    step = -(-len(live) // SAMPLE)
    chosen = live[::step]
    return fit(references.rows(chosen), links.indices[links.indptr[chosen]], directions)
