"""Which differences between segments tell classes apart: a linear map fitted to a set's own rows.

Rows are whitened by their spread within the classes, so that what changes between segments of one
class (light, stain, shade) counts little, and then turned onto the directions in which all rows lie
apart most: the linear discriminants (Fisher 1936, Rao 1948) first, then what else is left over.
NumPy only at module level; scikit-learn gives the shrunk covariance.
"""

from collections.abc import Container
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..values.errors import ImageError
from .values import Metric, Rows

if TYPE_CHECKING:
    from .store import ReferenceSet

# Encoders whose numbers have no common scale of their own; the others are compared by cosine.
FITTED = ("texture",)
# As many directions as rows are compared along: more add noise and time.
DIRECTIONS = 24
# Rows that a fit reads at most, spread evenly over the set.
SAMPLE = 20_000
_LEAST = 1e-4


def fit(
    rows: npt.NDArray[np.floating[Any]],
    classes: npt.ArrayLike,
    directions: int | None = DIRECTIONS,
) -> Metric | None:
    """Fit the map x -> (x - mean) @ matrix from rows whose classes are known.

    The covariance within classes is that of all rows about the mean of their class, shrunk
    towards a multiple of the identity (Ledoit and Wolf 2004), which keeps it invertible however
    few rows there are. Of one class there is only the spread within, which is whitened.

    Parameters
    ----------
    rows : (n, d) float, finite
    classes : (n,) whole numbers
    directions : at most so many are kept; None keeps all d

    Returns
    -------
    Metric of a (d,) mean and a (d, e) matrix, e = min(d, directions); None where there
    is no spread to learn from: one row of every class, or all rows of a class alike

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
    within = z - centres[owner]
    if not np.abs(within).max() > 1e-9:
        return None
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(within, assume_centered=True)
    whiten = _inverse_root(covariance)
    moved = z @ whiten
    spread, turn = np.linalg.eigh(moved.T @ moved / len(moved))
    order = np.argsort(-spread, kind="stable")[:directions]
    matrix = (whiten @ turn[:, order]) / unit[:, None]
    return Metric(mean.astype(np.float32), matrix.astype(np.float32))


def compared(rows: Rows, metric: Metric | None) -> Rows:
    """Rows (n, d) as a set compares them: through its metric (n, e) where it has one, unit length.

    Searching, cleaning and the list of odd segments all judge these.
    """
    if metric is None:
        return rows
    moved = (rows - metric.mean) @ metric.matrix
    length = np.linalg.norm(moved, axis=1, keepdims=True)
    return np.asarray(moved / np.maximum(length, 1e-12), np.float32)


def _inverse_root(covariance: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    values, vectors = np.linalg.eigh(covariance)
    least = max(float(values.max()) * 1e-6, 1e-12)
    root: npt.NDArray[np.float64] = vectors / np.sqrt(np.maximum(values, least))
    return root


def fit_set(
    references: "ReferenceSet",
    directions: int | None = DIRECTIONS,
    without: Container[str] = (),
) -> Metric | None:
    """The metric of a set as it is now; None for encoders that are compared by cosine.

    without : hashes of images that must teach nothing, as when a set is measured on them.

    Reads at most SAMPLE rows, evenly spread; rows without a word or switched off teach nothing,
    and cleaning steps, which may be left away later, take none away. A row of several words
    counts with its first.
    """
    if references.encoder.name not in FITTED or not references.n_segments:
        return None
    links = references.links(abstract=False, outliers=False, synonyms=False, without=without)
    live = np.flatnonzero(np.diff(links.indptr) > 0)
    if not len(live):
        return None
    step = -(-len(live) // SAMPLE)
    chosen = live[::step]
    return fit(references.rows(chosen), links.indices[links.indptr[chosen]], directions)
