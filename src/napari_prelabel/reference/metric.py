"""How rows of a set are compared: whitened by the spread inside its classes. NumPy only."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from .values import Metric, Rows

if TYPE_CHECKING:
    from .store import ReferenceSet

# Encoders whose numbers have no common scale of their own; the others are compared by cosine.
WHITENED = ("texture",)
# Rows that a metric is fitted to at most, spread evenly over the set.
_SAMPLE = 20_000


def fit(rows: Rows, classes: npt.NDArray[np.integer]) -> Metric | None:
    """Whitening by the covariance inside the classes, shrunk after Ledoit and Wolf (2004).

    rows : (n, d); classes : (n,) any whole numbers.

    Returns
    -------
    Metric whose matrix is the inverse root of the shrunk covariance; None where there is no
    spread to learn from: fewer than two rows in every class, or all rows of a class alike
    """
    from sklearn.covariance import ledoit_wolf

    _, index, counts = np.unique(classes, return_inverse=True, return_counts=True)
    kept = counts[index] > 1
    if not kept.any():
        return None
    x = rows.astype(np.float64)
    sums = np.zeros((len(counts), x.shape[1]))
    np.add.at(sums, index, x)
    means = sums / counts[:, None]
    centred = (x - means[index])[kept]
    if not np.abs(centred).max() > 1e-9:
        return None
    spread, _ = ledoit_wolf(centred, assume_centered=True)
    values, vectors = np.linalg.eigh(spread)
    root = vectors / np.sqrt(np.maximum(values, 1e-12)) @ vectors.T
    return Metric(means.mean(0).astype(np.float32), root.astype(np.float32))


def fit_set(held: "ReferenceSet") -> Metric | None:
    """The metric of a set as it is now; None for encoders that are compared by cosine."""
    if held.encoder.name not in WHITENED or not held.n_segments:
        return None
    links = held.links(abstract=False, outliers=False, synonyms=False)
    labelled = np.flatnonzero(np.diff(links.indptr))
    if not len(labelled):
        return None
    step = -(-len(labelled) // _SAMPLE)
    chosen = labelled[::step]
    return fit(held.rows(chosen), links.indices[links.indptr[chosen]])
