"""Boxes of contours against OpenCV's, on maps of every kind."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from reference_freecp import boxes as reference_boxes
from scipy.ndimage import gaussian_filter

from napari_prelabel.methods.boxes import box_masks, bright, contour_boxes


def random_maps(seed):
    rng = np.random.default_rng(seed)
    h, w = rng.integers(1, 30, 2)
    maps = rng.random((4, h, w)) ** rng.uniform(0.3, 3)
    if seed % 2:
        maps = gaussian_filter(maps, (0, 1, 1))
    if seed % 7 == 0:
        maps[0] = 0
    return (maps / max(maps.max(), 1e-9) * 255).astype(np.uint8), rng.uniform(0.1, 0.9)


def found(maps, threshold):
    rows = contour_boxes(maps, threshold).tolist()
    return [[tuple(row[1:]) for row in rows if row[0] == m] for m in range(len(maps))]


def expected(grey, threshold):
    # (grey / 255) * 255 truncated can fall one short, so the reference gets half a level more.
    return sorted(set(reference_boxes((grey + 0.5) / 255 * (grey > 0), threshold)))


def test_boxes_are_those_of_opencv_on_hundreds_of_random_maps():
    for seed in range(120):
        maps, threshold = random_maps(seed)
        for grey, boxes in zip(maps, found(maps, threshold), strict=True):
            assert boxes == expected(grey, threshold), seed


@settings(max_examples=100, deadline=None)
@given(arrays(bool, st.tuples(st.just(2), st.integers(1, 7), st.integers(1, 7))))
def test_boxes_are_those_of_opencv_on_small_black_and_white_maps(mask):
    maps = mask.astype(np.uint8) * 255
    for grey, boxes in zip(maps, found(maps, 0.4), strict=True):
        assert boxes == expected(grey, 0.4)


def test_masks_are_the_unions_of_the_boxes():
    for seed in range(40):
        maps, threshold = random_maps(seed)
        masks = box_masks(maps, threshold)
        for mask, boxes in zip(masks, found(maps, threshold), strict=True):
            plain = np.zeros_like(mask)
            for y0, x0, y1, x1 in boxes:
                plain[y0:y1, x0:x1] = True
            np.testing.assert_array_equal(mask, plain)


RING = np.zeros((7, 8), np.uint8)
RING[1:6, 1:7] = 200
RING[3, 3] = 0


@pytest.mark.parametrize(
    ("grey", "boxes"),
    [
        (np.zeros((4, 5), np.uint8), [(0, 0, 0, 0)]),
        (RING, [(1, 1, 6, 7), (2, 2, 5, 5)]),
        (np.full((3, 4), 9, np.uint8), [(0, 0, 2, 3)]),
        (np.eye(5, dtype=np.uint8), [(0, 0, 4, 4)]),
        (np.array([[0, 0], [0, 9]], np.uint8), [(1, 1, 1, 1)]),
        (np.array([[9]], np.uint8), [(0, 0, 0, 0)]),
    ],
    ids=["nothing", "hole", "everything", "diagonal is one", "last pixel", "one pixel"],
)
def test_known_boxes(grey, boxes):
    assert found(grey[None], 0.4) == [boxes]


def test_the_cut_is_a_whole_grey_level_and_strict():
    row = np.array([[[0, 6, 7, 8, 17]]], np.uint8)  # int(0.4 * 17) = 6
    assert bright(row, 0.4).tolist() == [[[False, False, True, True, True]]]
    assert not bright(np.zeros((1, 2, 2), np.uint8), 0.4).any()


def test_maps_of_a_stack_do_not_touch():
    maps = np.zeros((3, 4, 5), np.uint8)
    maps[0, 3, 1:3] = maps[1, 0, 1:3] = 255
    assert found(maps, 0.4) == [[(3, 1, 3, 3)], [(0, 1, 1, 3)], [(0, 0, 0, 0)]]


def test_many_overlapping_boxes_are_counted_without_overflow():
    rng = np.random.default_rng(0)
    maps = (rng.random((1, 150, 150)) < 0.2).astype(np.uint8) * 255
    plain = np.zeros((150, 150), bool)
    for y0, x0, y1, x1 in found(maps, 0.4)[0]:
        plain[y0:y1, x0:x1] = True
    np.testing.assert_array_equal(box_masks(maps, 0.4)[0], plain)
