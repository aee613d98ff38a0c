import numpy as np
import pytest

from napari_prelabel.values.errors import ImageError
from napari_prelabel.values.metrics import (
    bootstrap,
    boundary_f,
    class_iou,
    confusion,
    miou,
    pixel_accuracy,
    pixels_to_fix,
)

TRUTH = np.array([[1, 1, 2, 2], [1, 1, 2, 65535]], np.uint16)
GUESS = np.array([[1, 2, 2, 2], [1, 3, 65535, 3]], np.uint16)


def test_confusion_leaves_ignored_truth_out():
    matrix = confusion(TRUTH, GUESS, 3)
    expected = np.zeros((4, 4), int)
    expected[1, 1] = 2
    expected[1, 2] = 1
    expected[1, 3] = 1
    expected[2, 2] = 2
    expected[2, 0] = 1
    assert np.array_equal(matrix, expected)


def test_iou_against_a_plain_loop():
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 5, (2, 30, 40)).astype(np.uint16)
    matrix = confusion(truth, guess, 6)
    shares = class_iou(matrix)
    for k in range(5):
        a, b = truth == k, guess == k
        assert shares[k] == pytest.approx((a & b).sum() / (a | b).sum())
    assert np.isnan(shares[5:]).all()
    assert miou(matrix) == pytest.approx(shares[1:5].mean())
    assert miou(matrix, [2, 6]) == pytest.approx(shares[2])
    both = miou(np.stack([matrix, matrix.T]), [1, 3])
    assert both == pytest.approx([shares[[1, 3]].mean()] * 2)
    assert pixel_accuracy(matrix) == pytest.approx((truth == guess).mean())


def test_the_mean_is_over_true_classes_which_pay_for_false_ones():
    matrix = confusion(TRUTH, GUESS, 3)
    assert miou(matrix) == miou(matrix, [1, 2]) == pytest.approx((2 / 4 + 2 / 4) / 2)
    assert np.isnan(miou(matrix, [3]))
    right = np.where(GUESS == 3, TRUTH, GUESS)
    assert miou(confusion(TRUTH, right, 3)) > miou(matrix)


def test_mmseg_counts_a_class_that_is_predicted_alone_as_nothing():
    matrix = confusion(TRUTH, GUESS, 4)  # 3 is predicted and not true, 4 is neither
    assert miou(matrix, absent="mmseg") == pytest.approx((2 / 4 + 2 / 4 + 0) / 3)
    assert miou(matrix, [1, 2], "mmseg") == miou(matrix, [1, 2])
    assert miou(matrix, [3], "mmseg") == 0
    assert np.isnan(miou(matrix, [4], "mmseg"))
    assert miou(np.stack([matrix, matrix.T]), absent="mmseg")[0] == miou(matrix, absent="mmseg")
    # A class that is true and never predicted counts 0 under both.
    assert miou(matrix.T, [3]) == miou(matrix.T, [3], "mmseg") == 0


@pytest.mark.parametrize("seed", range(4))
def test_mmseg_s_rule_against_its_own_sums(seed):
    """IoUMetric: areas by histogram, intersect / union with 0 / 0 = NaN, nanmean."""
    rng = np.random.default_rng(seed)
    truth = rng.choice([1, 2, 5, 65535], (6, 9)).astype(np.uint16)
    guess = rng.choice([1, 3, 5], (6, 9)).astype(np.uint16)
    valid = truth != 65535
    a, b = truth[valid], guess[valid]
    hit, told, true = (np.histogram(x, np.arange(0.5, 7))[0] for x in (a[a == b], b, a))
    with np.errstate(invalid="ignore"):
        want = np.nanmean(hit / (told + true - hit))
    assert miou(confusion(truth, guess, 6), absent="mmseg") == pytest.approx(want)


def test_without_pixels_there_is_no_figure():
    empty = np.zeros((3, 3), int)
    assert np.isnan(miou(empty))
    assert np.isnan(pixel_accuracy(empty))
    assert np.isnan(bootstrap(empty[None])).all()


def test_pixels_to_fix():
    assert pixels_to_fix(TRUTH, GUESS) == 3
    assert pixels_to_fix(TRUTH, TRUTH) == 0


def plain_boundary_f(truth, guess, tolerance):
    def boundary(mask):
        points = []
        for y, x in np.argwhere(mask):
            for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
                v, u = y + dy, x + dx
                if 0 <= v < mask.shape[0] and 0 <= u < mask.shape[1] and not mask[v, u]:
                    points.append((y, x))
                    break
        return np.array(points, float).reshape(-1, 2)

    def near(a, b):
        if not len(b):
            return 0.0
        return np.mean([np.hypot(*(b - p).T).min() <= tolerance for p in a])

    scores = []
    for k in np.unique(truth[truth > 0]):
        a, b = boundary(truth == k), boundary(guess == k)
        if not len(a) or not len(b):
            scores.append(float(len(a) == len(b)))
            continue
        recall, precision = near(a, b), near(b, a)
        total = precision + recall
        scores.append(2 * precision * recall / total if total else 0.0)
    return np.mean(scores)


@pytest.mark.parametrize("tolerance", [0, 1, 1.5, 3])
def test_boundary_f_against_a_plain_loop(tolerance):
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 4, (2, 5, 6))
    truth, guess = np.kron(coarse, np.ones((1, 5, 4), int)).astype(np.uint16)
    guess[7:9, 3:9] = 3
    assert boundary_f(truth, guess, tolerance) == pytest.approx(
        plain_boundary_f(truth, guess, tolerance)
    )


def test_boundary_f_of_equal_far_and_empty_maps():
    assert boundary_f(TRUTH, TRUTH) == 1
    left, right = np.zeros((2, 9, 60), np.uint16)
    left[3:6, 3:6] = 1
    right[3:6, 50:53] = 1
    assert boundary_f(left, right) == 0
    assert boundary_f(left, np.zeros_like(left)) == 0
    assert boundary_f(np.ones((3, 3), np.uint16), np.ones((3, 3), np.uint16)) == 1
    assert np.isnan(boundary_f(np.zeros((3, 3), np.uint16), TRUTH[:1, :3].repeat(3, 0)))


def test_ignored_pixels_make_no_boundary():
    truth = np.ones((6, 6), np.uint16)
    truth[:, 3:] = 65535
    guess = np.ones((6, 6), np.uint16)
    guess[:, 4:] = 2
    assert boundary_f(truth, guess) == 1


def test_bootstrap_is_seeded_and_holds_the_figure():
    rng = np.random.default_rng(2)
    truth = rng.integers(1, 4, (20, 16, 16)).astype(np.uint16)
    wrong = rng.random(truth.shape) < rng.random((20, 1, 1)) * 0.6
    guess = np.where(wrong, 1, truth).astype(np.uint16)
    better = np.where(wrong & (rng.random(truth.shape) < 0.5), 1, truth).astype(np.uint16)
    a = np.stack([confusion(t, g, 3) for t, g in zip(truth, guess, strict=True)])
    b = np.stack([confusion(t, g, 3) for t, g in zip(truth, better, strict=True)])
    low, high = bootstrap(a, seed=3)
    assert (low, high) == bootstrap(a, seed=3)
    assert low < miou(a.sum(0)) < high
    low, high = bootstrap(b, other=a)
    assert 0 < low < miou(b.sum(0)) - miou(a.sum(0)) < high
    assert bootstrap(a, other=a) == (0, 0)
    wide, narrow = bootstrap(a, level=0.99), bootstrap(a, level=0.5)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    one = float(pixel_accuracy(a[0]))
    assert bootstrap(a[:1], pixel_accuracy) == pytest.approx((one, one))


def test_a_draw_without_a_class_leaves_it_out_whatever_is_predicted():
    first, second = np.full((4, 4), 1, np.uint16), np.full((4, 4), 2, np.uint16)
    halves = first.copy()
    halves[2:] = 2
    right = np.stack([confusion(t, t, 2) for t in (first, second)])
    # Predicts class 2 in an image without it: in draws of that image alone no 0 may be averaged.
    wrong = np.stack([confusion(first, halves, 2), confusion(second, second, 2)])
    draws = [miou(wrong[[a, b]].sum(0)) for a in range(2) for b in range(2)]
    assert draws == pytest.approx([0.5, (0.5 + 2 / 3) / 2, (0.5 + 2 / 3) / 2, 1])
    assert bootstrap(wrong) == pytest.approx((0.5, 1))
    assert bootstrap(right, other=wrong) == pytest.approx((0, 0.5))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ImageError, match="cannot be compared"):
        confusion(TRUTH, GUESS[:1], 3)
    with pytest.raises(ImageError, match="cannot be compared"):
        pixels_to_fix(TRUTH, GUESS[:1])
    with pytest.raises(ImageError, match="cannot be compared"):
        boundary_f(TRUTH, GUESS[:1])
    with pytest.raises(ImageError, match="holds id 3, but there are 2 classes"):
        confusion(TRUTH, GUESS, 2)
    with pytest.raises(ImageError, match="at least one image"):
        bootstrap(np.zeros((0, 3, 3)))
    with pytest.raises(ImageError, match="the same images"):
        bootstrap(np.zeros((2, 3, 3)), other=np.zeros((1, 3, 3)))
