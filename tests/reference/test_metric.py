"""The metric of a set: whitened within classes, turned onto what tells them apart."""

import numpy as np
import pytest

from napari_prelabel.reference.metric import fit
from napari_prelabel.values.errors import ImageError


def moved(rows, metric):
    return (rows - metric.mean) @ metric.matrix


def typed(rows, classes, directions):
    """The same map from its definition: float64, no shrinking, generalised eigenvectors."""
    from scipy.linalg import eigh

    x = rows - rows.mean(0)
    within = np.zeros((x.shape[1],) * 2)
    for c in np.unique(classes):
        part = x[classes == c] - x[classes == c].mean(0)
        within += part.T @ part
    values, vectors = eigh(x.T @ x / len(x), within / len(x))
    order = np.argsort(-values)[:directions]
    return x @ vectors[:, order]


def test_rows_are_compared_as_the_definition_says():
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 900)
    centres = rng.normal(0, 3, (3, 5))
    mixed = np.eye(5) + rng.normal(0, 0.2, (5, 5))
    rows = centres[classes] + rng.normal(size=(900, 5)) @ mixed
    ours, theirs = moved(rows, fit(rows, classes, 3)), typed(rows, classes, 3)
    assert ours.shape == (900, 3)
    products = [(a @ a.T).ravel() for a in (ours, theirs)]
    assert np.corrcoef(*products)[0, 1] > 0.999


def test_a_direction_in_which_classes_differ_outweighs_one_in_which_they_do_not():
    rng = np.random.default_rng(1)
    classes = np.repeat([4, 9], 500)
    rows = rng.normal(size=(1000, 2)) * [1, 100]
    rows[:, 0] += 6 * (classes == 9)
    metric = fit(rows, classes)
    lengths = moved(rows, metric).std(0)
    assert lengths[0] > 2 * lengths[1]
    assert abs(metric.matrix[0, 0]) > 50 * abs(metric.matrix[1, 0])


def test_few_rows_in_many_dimensions_stay_finite():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(6, 40)).astype(np.float32)
    metric = fit(rows, np.array([1, 1, 2, 2, 3, 3]), None)
    assert np.isfinite(moved(rows, metric)).all()
    assert metric.matrix.shape == (40, 40)
    assert metric.matrix.dtype == metric.mean.dtype == np.float32


def test_one_class_is_whitened():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(5000, 2)) @ np.array([[3, 1], [0, 0.5]])
    white = moved(rows, fit(rows, np.ones(5000, int)))
    np.testing.assert_allclose(np.cov(white.T), np.eye(2), atol=0.15)


def test_channels_that_never_change_say_nothing_and_break_nothing():
    rng = np.random.default_rng(3)
    rows = np.concatenate([rng.normal(size=(60, 3)), np.full((60, 2), 0.7)], axis=1)
    metric = fit(rows, np.arange(60) % 2)
    far = rows[:1].copy()
    far[0, 4] += 1e-3
    assert np.abs(moved(far, metric) - moved(rows[:1], metric)).max() < 1


@pytest.mark.parametrize("classes", [[1, 2, 3], [1, 2, 2]])
def test_without_spread_there_is_no_metric(classes):
    rows = np.array([[0, 1], [1, 0], [1, 0]], np.float32)
    assert fit(rows, np.array(classes)) is None


@pytest.mark.parametrize(("rows", "classes"), [(np.zeros((0, 3)), []), (np.zeros((2, 3)), [1])])
def test_rows_without_their_classes_are_refused(rows, classes):
    with pytest.raises(ImageError, match="correct an image first"):
        fit(rows, classes)
