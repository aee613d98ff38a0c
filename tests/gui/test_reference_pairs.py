"""What the Reference dock finds to learn from, and what it takes of it."""

import dask.array as da
import numpy as np
import pandas as pd
import pytest
from napari.layers import Image, Labels

from napari_prelabel.gui.launch import _result
from napari_prelabel.gui.reference.pairs import find_pairs, joined, reviewed, source_of, take
from napari_prelabel.values.errors import ImageError, VocabularyError
from napari_prelabel.values.vocabulary import Vocabulary

WORDS = Vocabulary.parse("cell: nucleus\nglass")


def picture(shape=(20, 30, 3), name="slide"):
    pixels = np.random.default_rng(3).integers(0, 255, shape, np.uint8)
    return Image(pixels, name=name, rgb=shape[-1] == 3)


def ids_of(shape=(20, 30)):
    ids = np.zeros(shape, np.uint16)
    ids[..., 2:8, 3:9] = 1
    return ids


def test_labels_of_ours_know_their_image_their_words_and_whose_they_are():
    image, other = picture(), picture(name="other")
    result = _result(image, ids_of(), WORDS)
    (pair,) = find_pairs([image, other, result.layer])
    assert (pair.image, pair.names, pair.share, pair.problem) == (image, ("cell",), 0.0, "")
    assert not pair.touched()
    result.layer.brush_size = 3
    result.layer.paint((4, 5), 1)
    (pair,) = find_pairs([image, other, result.layer])
    assert pair.touched()
    assert 0 < pair.share < 1


def test_an_empty_result_says_what_to_do():
    image = picture()
    result = _result(image, np.zeros((20, 30), np.uint16), WORDS)
    (pair,) = find_pairs([image, result.layer])
    assert "paint" in pair.problem
    with pytest.raises(ImageError, match="paint"):
        take(pair)


def test_labels_of_others_take_their_names_from_their_table_or_from_the_typed_words():
    image = picture()
    layer = Labels(ids_of(), name="slide mask")
    (pair,) = find_pairs([image, layer])
    assert "no names" in pair.problem
    (pair,) = find_pairs([image, layer], WORDS)
    assert pair.names == ("cell", "glass")
    layer.features = pd.DataFrame({"index": [0, 1], "name": ["background", "nucleus"]})
    (pair,) = find_pairs([image, layer], WORDS)
    assert pair.names == ("nucleus",)
    assert pair.touched()
    assert take(pair).vocabulary.names == ("nucleus",)


def test_a_label_without_a_word_is_refused():
    image, layer = picture(), Labels(ids_of() * 7, name="m")
    (pair,) = find_pairs([image, layer], WORDS)
    with pytest.raises(VocabularyError, match="label 7, but only 2 words"):
        take(pair)


def test_labels_of_another_size_belong_to_no_image():
    assert find_pairs([picture(), Labels(ids_of((10, 10)))], WORDS) == []


def test_of_images_of_one_size_the_one_with_the_name_is_taken():
    first, second = picture(name="a"), picture(name="b")
    (pair,) = find_pairs([first, second, Labels(ids_of(), name="a labels")], WORDS)
    assert pair.image is first


def test_only_what_the_person_drew_when_asked():
    image = picture()
    result = _result(image, ids_of(), WORDS)
    result.layer.brush_size = 1
    result.layer.paint((15, 20), 2)
    (pair,) = find_pairs([image, result.layer])
    assert (take(pair).ids == 1).sum() == 36
    mine = take(pair, mine_only=True).ids
    assert (mine > 0).sum() == (mine == 2).sum() > 0


def test_planes_of_a_stack_with_labels_become_images_of_their_own():
    stack = Image(np.zeros((4, 20, 30), np.uint8), name="stack")
    ids = np.zeros((4, 20, 30), np.uint16)
    ids[1, :5], ids[3, 5:] = 1, 2
    (pair,) = find_pairs([stack, Labels(ids, name="stack labels")], WORDS)
    told = list(reviewed([take(pair)]))
    assert [r.name for r in told] == ["stack [1]", "stack [3]"]
    assert told[0].image.shape == (20, 30, 3)
    np.testing.assert_array_equal(told[1].ids, ids[3])


def test_labels_that_lie_on_the_disk_are_read_plane_by_plane_and_not_when_they_are_taken():
    read = []

    def plane(block_info=None):
        at = block_info[None]["array-location"][0][0]
        read.append(at)
        return np.full((1, 20, 30), (0, 1, 7)[at], np.uint16)

    ids = da.map_blocks(plane, chunks=((1, 1, 1), 20, 30), dtype=np.uint16, meta=np.empty(0))
    stack = Image(np.zeros((3, 20, 30), np.uint8), name="stack")
    (pair,) = find_pairs([stack, Labels(ids, name="stack labels")], WORDS)
    read.clear()
    taken = take(pair)
    assert read == []
    told = reviewed([taken])
    first = next(told)
    assert (first.name, first.ids.dtype, read) == ("stack [1]", np.uint16, [0, 1])
    with pytest.raises(VocabularyError, match="holds the label 7, but only 2 words"):
        next(told)


def test_labels_below_zero_are_refused():
    (pair,) = find_pairs([picture(), Labels(-ids_of().astype(np.int16), name="m")], WORDS)
    with pytest.raises(VocabularyError, match="holds the label -"):
        take(pair)


def test_what_was_run_is_what_is_learnt():
    image = picture()
    result = _result(image, ids_of(), WORDS)
    from napari_prelabel.gui.layers.images import LayerSource

    result.source = LayerSource(image, channels=(2, 1, 0))
    (pair,) = find_pairs([image, result.layer])
    assert source_of(pair) is result.source
    pair.labels = Labels(np.zeros((5, 5), np.uint8))
    with pytest.raises(ImageError, match="another size"):
        source_of(pair)


def test_vocabularies_are_joined_by_name_and_each_word_is_kept_once():
    both = joined([WORDS, Vocabulary.parse("Glass: cell, plate\nwater: nucleus")])
    assert both.names == ("cell", "glass", "water")
    assert both.classes[0].synonyms == ("nucleus",)
    assert both.classes[2].synonyms == ()
