"""Labels that a file brought are taken up with each pixel whose it is."""

import numpy as np

from napari_prelabel.annotation.annotation import Annotation
from napari_prelabel.annotation.owned import Owned
from napari_prelabel.values.labels import HUMAN, IMPORTED, MODEL, LabelMap
from napari_prelabel.values.vocabulary import Vocabulary

AB = Vocabulary.parse("a\nb")
IDS = np.array([[1, 2, 0], [1, 2, 0]], np.uint16)
WHOSE = np.array([[MODEL, HUMAN, IMPORTED], [MODEL, MODEL, MODEL]], np.uint8)


def test_what_was_painted_meanwhile_is_the_persons():
    data = IDS.astype(np.int32)
    data[1, 0] = 2
    found = Owned(IDS, WHOSE).now(data)
    assert found.tolist() == [[MODEL, HUMAN, IMPORTED], [HUMAN, MODEL, MODEL]]
    assert Owned(IDS, WHOSE).now(data[:1]) is None


def test_model_pixels_follow_a_run_and_the_others_stay():
    notes = Annotation((2, 3), AB)
    notes.adopt_owned(IDS, WHOSE)
    np.testing.assert_array_equal(notes.shown, IDS)
    np.testing.assert_array_equal(notes.provenance, WHOSE)
    assert notes.counts() == {"": 2, "a": 2, "b": 2}
    assert (notes.human_pixels(), notes.model_pixels()) == (2, 3)
    notes.blank_below(1.0)
    np.testing.assert_array_equal(notes.shown, IDS)
    notes.blank_below(0.0)
    ids = np.array([[2, 1, 1], [2, 1, 1]], np.uint16)
    step = notes.begin()
    notes.put(step, LabelMap(ids, np.ones((2, 3), np.float16), ids, AB))
    assert notes.shown.tolist() == [[2, 2, 0], [2, 1, 1]]
    notes.undo_run()
    np.testing.assert_array_equal(notes.shown, IDS)


def test_ids_without_a_name_become_classes():
    notes = Annotation((2, 3), AB)
    data = IDS.copy()
    data[0, 1] = 7
    notes.adopt_owned(data, WHOSE)
    assert notes.vocabulary.names == ("a", "b", "label 7")
    assert notes.shown[0, 1] == 3
