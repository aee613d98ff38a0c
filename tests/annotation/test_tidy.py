"""Label maps are cleaned as plain loops would clean them."""

import numpy as np
import pytest

from napari_prelabel.annotation.tidy import absorb_small, fill_holes, region_at, smooth


def plain_regions(ids):
    """Lists of pixels joined by edges and of one id, by flooding with a stack."""
    seen, out = np.zeros(ids.shape, bool), []
    for start in np.ndindex(ids.shape):
        if seen[start]:
            continue
        stack, found = [start], []
        seen[start] = True
        while stack:
            y, x = stack.pop()
            found.append((y, x))
            for at in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                inside = 0 <= at[0] < ids.shape[0] and 0 <= at[1] < ids.shape[1]
                if inside and not seen[at] and ids[at] == ids[y, x]:
                    seen[at] = True
                    stack.append(at)
        out.append(found)
    return out


def world(seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 3, (9, 14)).astype(np.uint16)


@pytest.mark.parametrize("seed", range(4))
def test_region_at_floods_one_region(seed):
    ids = world(seed)
    for region in plain_regions(ids)[:6]:
        mask = region_at(ids, *region[0])
        assert {tuple(p) for p in np.argwhere(mask)} == set(region)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("of", [None, 1])
def test_small_regions_take_an_id_that_is_nearest(seed, of):
    ids, least = world(seed), 6
    got = absorb_small(ids, least, of)
    small = np.zeros(ids.shape, bool)
    for region in plain_regions(ids):
        if len(region) < least and (of is None or ids[region[0]] == of):
            small[tuple(np.array(region).T)] = True
    assert small.any()
    np.testing.assert_array_equal(got[~small], ids[~small])
    outside = np.argwhere(~small)
    for y, x in np.argwhere(small):
        far = ((outside - (y, x)) ** 2).sum(1)
        nearest = outside[far == far.min()]
        assert got[y, x] in {ids[tuple(p)] for p in nearest}


@pytest.mark.parametrize("seed", range(6))
def test_small_holes_are_filled_and_bays_are_not(seed):
    ids = np.where(np.random.default_rng(seed).random((12, 17)) < 0.7, 2, world(seed)[0, 0] * 0)
    ids = ids.astype(np.uint16)
    want = ids.copy()
    for region in plain_regions((ids == 2).astype(np.uint16)):
        ys, xs = np.array(region).T
        edge = {0, 11} & set(ys.tolist()) or {0, 16} & set(xs.tolist())
        if ids[region[0]] != 2 and len(region) < 3 and not edge:
            want[ys, xs] = 2
    assert (want != ids).any()
    np.testing.assert_array_equal(fill_holes(ids, 2, 3), want)


def test_a_hole_of_several_classes_is_one_hole():
    ids = np.full((7, 8), 1, np.uint16)
    ids[2, 2:5] = 2, 3, 0
    assert (fill_holes(ids, 1, 4) == 1).all()
    np.testing.assert_array_equal(fill_holes(ids, 1, 3), ids)


def test_smooth_follows_the_blurred_mask():
    from scipy.ndimage import gaussian_filter

    ids = np.ones((20, 31), np.uint16)
    ids[:, 15:] = 2
    ids[9, 15:20] = 1  # a spike of 1 into 2
    ids[:3] = 3
    got = smooth(ids, 1)
    soft = gaussian_filter((ids == 1).astype(np.float64), 2.0, mode="nearest") > 0.5
    np.testing.assert_array_equal(got == 1, soft)
    assert got[9, 18] == 2
    other = (ids != 1) & ~soft
    np.testing.assert_array_equal(got[other], ids[other])


def test_nothing_to_keep_changes_nothing():
    ids = np.arange(6, dtype=np.uint16).reshape(2, 3)
    np.testing.assert_array_equal(absorb_small(ids, 5), ids)
    np.testing.assert_array_equal(smooth(np.ones((4, 5), np.uint16), 1), np.ones((4, 5)))
    got = absorb_small(ids, 1)
    np.testing.assert_array_equal(got, ids)
    assert got is not ids
