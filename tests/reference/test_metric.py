"""The whitening of a set."""

import numpy as np
import pytest

from napari_prelabel.reference.metric import fit


def moved(rows, metric):
    return (rows - metric.mean) @ metric.matrix


def test_the_spread_inside_classes_becomes_round():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 4000)
    spread = np.array([[4.0, 1.5], [1.5, 1.0]])
    centres = np.array([[0, 0], [9, 1], [-3, 5.0]])
    rows = (centres[classes] + rng.multivariate_normal([0, 0], spread, 4000)).astype(np.float32)
    white = moved(rows, fit(rows, classes))
    for c in range(3):
        np.testing.assert_allclose(np.cov(white[classes == c].T), np.eye(2), atol=0.15)


def test_few_rows_in_many_dimensions_stay_finite():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(6, 40)).astype(np.float32)
    metric = fit(rows, np.array([1, 1, 2, 2, 3, 3]))
    assert np.isfinite(moved(rows, metric)).all()
    assert metric.matrix.shape == (40, 40)


@pytest.mark.parametrize("classes", [[1, 2, 3], [1, 2, 2]])
def test_without_spread_there_is_no_metric(classes):
    rows = np.array([[0, 1], [1, 0], [1, 0]], np.float32)
    assert fit(rows, np.array(classes)) is None
