import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask
from scipy import ndimage

from napari_prelabel.formats import outlines as outlines_module
from napari_prelabel.formats.outlines import outlines, packed, pixels, rasterise, run_lengths

# pycocotools' own decode() is not yet written for NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
MASKS = arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))


def drawn(text, shape):
    flat = np.zeros(shape[0] * shape[1], bool)
    (where,) = pixels([text], shape)
    flat[where] = True
    return flat.reshape(shape[::-1]).T


@settings(max_examples=150, deadline=None)
@given(MASKS, st.tuples(*[st.integers(0, 3)] * 4))
def test_run_lengths_are_those_of_pycocotools(mask, margins):
    top, left, foot, right = margins
    full = np.pad(mask, ((top, foot), (left, right)))
    ours = run_lengths(mask, (top, left), full.shape)
    theirs = coco_mask.encode(np.asfortranarray(full.astype(np.uint8)))
    assert ours["counts"] == theirs["counts"].decode()
    assert np.array_equal(drawn(ours["counts"], full.shape), full)


@settings(max_examples=150, deadline=None)
@given(MASKS)
def test_outlines_draw_the_mask_with_its_holes_filled(mask):
    pieces, count = ndimage.label(mask)
    filled = np.zeros_like(mask)
    for piece in range(1, count + 1):
        filled |= ndimage.binary_fill_holes(pieces == piece, np.ones((3, 3)))
    polygons = outlines(mask)
    if not mask.any():
        assert polygons == []
        return
    back = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, *mask.shape))).astype(
        bool
    )
    assert np.array_equal(back, filled)
    assert np.array_equal(drawn(rasterise(polygons, mask.shape), mask.shape), filled)


def test_outlines_of_a_rectangle_have_four_corners():
    assert len(outlines(np.ones((5, 7), bool))[0]) == 8
    (shifted,) = outlines(np.ones((1, 1), bool), origin=(2, 3))
    assert {tuple(p) for p in np.reshape(shifted, (-1, 2)).tolist()} == {
        (3, 2),
        (4, 2),
        (4, 3),
        (3, 3),
    }


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        ([1, 2], "cover 3 of 4"),
        ([5], "cover 5 of 4"),
        ([-1, 5], "no whole length"),
        ([1.5, 2.5], "no whole length"),
        ([True, 3], "no whole length"),
        ("é", "text form"),
        ("04\n", "text form"),
        ("o" * 40, "text form"),
        ("0o", "cut off"),
        ("N", "no whole length"),
        ("", "cut off"),
        ("o" * 11 + "0", "longer than the image"),
    ],
)
def test_run_lengths_that_lie_are_refused(counts, sentence):
    with pytest.raises(ValueError, match=sentence):
        list(pixels([counts if isinstance(counts, str) else packed(counts, (2, 2))], (2, 2)))


def test_plain_lists_of_runs_are_read():
    texts = [packed(runs, (2, 2)) for runs in ([1, 2, 1], [0, 4], [4])]
    assert [found.tolist() for found in pixels(texts, (2, 2))] == [[1, 2], [0, 1, 2, 3], []]


@settings(max_examples=100, deadline=None)
@given(st.lists(arrays(bool, (9, 7)), max_size=12), st.integers(1, 30))
def test_many_are_read_as_each_of_them_is(masks, at_once):
    texts = [run_lengths(mask, (0, 0), mask.shape)["counts"] for mask in masks]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outlines_module, "_AT_ONCE", at_once)
        found = list(pixels(texts, (9, 7)))
    assert [f.tolist() for f in found] == [np.flatnonzero(m.T).tolist() for m in masks]
