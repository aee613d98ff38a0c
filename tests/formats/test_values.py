import numpy as np
import pytest

from napari_prelabel.formats import ClassReceipt, LabelImage, Receipt, total
from napari_prelabel.formats.receipt import compare
from napari_prelabel.values.errors import ImageError
from napari_prelabel.values.labels import LabelMap


def result(ids, vocabulary, origin=(0, 0)):
    score = np.ones(ids.shape, np.float16)
    return LabelMap(ids, score, np.zeros_like(ids), vocabulary, origin, record={"m": 1})


def test_any_integer_type_is_taken(vocabulary):
    image = LabelImage(np.array([[0, 3], [1, 65535]], np.int64), vocabulary, "a")
    assert image.ids.dtype == np.uint16
    assert image.source == "a.png"


@pytest.mark.parametrize(
    ("ids", "sentence"),
    [
        (np.zeros((0, 3), np.uint16), "at least one row"),
        (np.zeros(3, np.uint16), "at least one row"),
        (np.zeros((2, 2)), "whole numbers, not float64"),
        (np.full((2, 2), 4), "holds id 4, but its table has 3 classes"),
        (np.full((2, 2), -1), "holds id -1"),
    ],
)
def test_what_is_no_map_of_the_vocabulary_is_refused(ids, sentence, vocabulary):
    with pytest.raises(ImageError, match=sentence):
        LabelImage(ids, vocabulary, "a")


def test_the_result_of_a_region_goes_to_its_place(vocabulary):
    small = np.array([[1, 2]], np.uint16)
    image = LabelImage.of(result(small, vocabulary, (1, 2)), "a", "a.jpg", (3, 4))
    assert image.ids.tolist() == [[0, 0, 0, 0], [0, 0, 1, 2], [0, 0, 0, 0]]
    assert image.record == {"m": 1}
    assert LabelImage.of(result(small, vocabulary, (1, 2)), "a").ids.shape == (1, 2)


def test_a_result_that_does_not_fit_is_refused(vocabulary):
    with pytest.raises(ImageError, match="does not fit into an image of 3 x 3"):
        LabelImage.of(result(np.ones((2, 2), np.uint16), vocabulary, (2, 2)), "a", shape=(3, 3))


def test_planes_are_numbered(vocabulary):
    stack = LabelImage(np.zeros((2, 3, 4, 5), np.uint16), vocabulary, "s", "s.tif")
    planes = list(stack.planes())
    assert [p.name for p in planes][:2] == ["s_t0000", "s_t0001"]
    assert planes[5].source == "s_t0005.tif"
    assert all(p.ids.shape == (4, 5) for p in planes)
    bare = LabelImage(np.zeros((1, 4, 5), np.uint16), vocabulary, "s", "s")
    assert next(bare.planes()).source == "s_t0000"


def test_compare_counts_what_was_lost(vocabulary):
    written = np.zeros((9, 9), np.uint16)
    written[1:6, 1:6] = 1
    written[3, 3] = 0
    written[8, 8] = 1
    written[8, 0] = 2
    read = written.copy()
    read[3, 3] = 1
    read[8, 8] = 0
    rows = compare(written, read, vocabulary)
    assert rows == (
        ClassReceipt(1, "tree", 25, 25, lost=1, gained=1, holes_lost=1, parts_lost=1),
        ClassReceipt(2, "sky", 1, 1),
    )


def test_compare_works_on_stacks(vocabulary):
    written = np.zeros((2, 3, 3), np.uint16)
    written[1, 1, 1] = 3
    (row,) = compare(written, np.zeros_like(written), vocabulary)
    assert (row.lost, row.parts_lost, row.holes_lost) == (1, 1, 0)


def test_receipts_add_up_and_speak(tmp_path):
    row = ClassReceipt(1, "tree", 10, 8, lost=3, gained=1, holes_lost=1, parts_lost=2)
    one = Receipt((tmp_path / "a",), 1, (row,), overlaps=4, notices=("grey",))
    both = total([one, one, Receipt((tmp_path / "b",), 1, (ClassReceipt(2, "sky", 1, 1),))])
    assert both.images == 3
    assert len(both.paths) == 2
    assert both.classes[0] == ClassReceipt(1, "tree", 20, 16, 6, 2, 2, 4)
    assert not both.exact
    assert both.lines() == [
        "3 images in 2 files, read back and compared: some pixels changed.",
        "tree: 20 pixels written, 16 read, 6 lost, 2 gained, 2 holes lost, 4 parts dropped.",
        "8 pixels were claimed twice; the smaller region has them.",
        "grey",
    ]
    assert Receipt((), 1).lines() == [
        "1 image in 0 files, read back and compared: every pixel is as on the screen."
    ]
