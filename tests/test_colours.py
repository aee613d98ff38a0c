"""Two classes never share a colour, whatever was asked for and in whatever order."""

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2lab

from napari_prelabel.annotation.annotation import Annotation
from napari_prelabel.formats import FORMATS, LabelImage, Options
from napari_prelabel.values.colours import BLACK, default_colour, distinct, rgb_of
from napari_prelabel.values.errors import VocabularyError
from napari_prelabel.values.labels import LabelMap
from napari_prelabel.values.vocabulary import Vocabulary

NAMES = "tree sky lake road hut sand rock moss".split()
SHAPE = (2, 8)
WHOLE = (slice(None), slice(None))
# The first of the series, one beside it, black, and what is ignored in a PNG.
WISHES = ["", "#e6194b", "#3cb44b", "#3cb44c", "#ffe119", BLACK, "#e0e0c0", "#87ceeb"]
wishes = st.lists(st.sampled_from(WISHES), min_size=3, max_size=12)
lists = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(WISHES)),
    min_size=1,
    max_size=8,
    unique_by=lambda entry: entry[0],
)


def vocabulary(entries) -> Vocabulary:
    return Vocabulary.from_dict({"classes": [{"name": n, "colour": c} for n, c in entries]})


def apart(vocabulary: Vocabulary) -> None:
    palette = vocabulary.palette()
    assert len(set(palette)) == len(palette)


def test_default_colours_are_stable_and_do_not_repeat():
    assert [default_colour(i) for i in (0, 1, 2)] == ["#000000", "#e6194b", "#3cb44b"]
    assert default_colour(65) == "#a00000"  # as in PASCAL VOC
    assert len({default_colour(i) for i in range(65536)}) == 65536
    assert Vocabulary.parse("a").palette() == [(0, 0, 0), (0xE6, 0x19, 0x4B)]


def nearest(colours) -> float:
    """The least distance in CIELAB between two of some colours."""
    lab = rgb2lab(np.array([rgb_of(c) for c in colours])[None] / 255)[0]
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2))


def test_the_first_sixty_are_easy_to_tell_apart():
    assert nearest([default_colour(i) for i in range(1, 65)]) > 16
    # Also beside the colours of a person: 40 classes, six of them with one of their own.
    own = [default_colour(i)[:-1] + "0" for i in (7, 9, 30)] + ["#87ceeb", "#404040", "#c0ffee"]
    assert nearest(distinct(own + [""] * 34)) > 10


@given(wishes, wishes)
def test_earlier_wishes_are_met_first(first, second):
    size = min(len(first), len(second))
    found = distinct(first[:size], second[:size])
    assert len({BLACK, *found}) == size + 1
    for at, wish in enumerate(first[:size]):
        if wish and wish != BLACK and wish not in first[:at]:
            assert found[at] == wish


def test_very_many_classes_have_a_colour_each():
    found = distinct(["", "#010203", *[""] * 59_998])
    assert len(set(found)) == 60_000
    assert found[1] == "#010203"


@given(lists)
def test_any_list_has_a_colour_for_each_class(entries):
    made = vocabulary(entries)
    apart(made)
    assert Vocabulary.parse(made.to_text()) == made
    assert Vocabulary.parse(made.to_text()).palette() == made.palette()
    assert Vocabulary.from_dict(made.to_dict()).palette() == made.palette()


@given(lists, st.dictionaries(st.sampled_from(NAMES), st.sampled_from(WISHES[1:4])))
def test_who_is_given_a_colour_has_it_and_others_give_way(entries, given_):
    made = vocabulary(entries)
    chosen = {n: c for n, c in given_.items() if made.find(n)}
    dressed = made.with_colours(chosen)
    apart(dressed)
    for name, colour in chosen.items():
        if list(chosen.values()).count(colour) == 1:
            found = dressed.find(name)
            assert found is not None
            assert found.rgb == rgb_of(colour)


def test_a_typed_colour_that_is_taken_is_told_with_its_line():
    with pytest.raises(VocabularyError, match="#3cb44b is the colour of tree: choose another"):
        Vocabulary.parse("tree [#3cb44b]\nsky [#3CB44B]")
    with pytest.raises(VocabularyError, match="#000000 is the colour of what has no label"):
        Vocabulary.parse("tree\nnight [#000000]")


ids = st.lists(st.integers(0, 7), min_size=16, max_size=16)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("run"), lists, ids),
        st.tuples(st.just("paint"), st.integers(0, 7), st.integers(1, 9)),
        st.tuples(st.just("undo"), st.none(), st.none()),
        st.tuples(st.just("open"), st.none(), st.none()),
    ),
    max_size=8,
)


def answer(words: Vocabulary, values) -> LabelMap:
    found = np.reshape(values, SHAPE).astype(np.uint16) % (len(words.classes) + 1)
    none = np.zeros(SHAPE, np.uint16)
    return LabelMap(found, np.ones(SHAPE, np.float16), none, words)


def write_and_open(notes: Annotation) -> Annotation:
    """Through a PNG, whose palette is looked at by Pillow, into a new annotation."""
    shown, words = notes.named()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.png"
        FORMATS["png"].write([LabelImage(shown, words, "x")], path, Options())
        with Image.open(path) as picture:
            colours = np.reshape(picture.getpalette(), (-1, 3))
        assert len({tuple(c) for c in colours.tolist()}) == 256
        (back,) = FORMATS["png"].read(path, None)
    assert back.vocabulary.palette() == words.palette()
    made = Annotation(SHAPE, back.vocabulary)
    made.painted(back.ids.copy(), WHOLE)
    return made


@settings(deadline=None, max_examples=150)
@given(steps)
def test_no_order_of_work_gives_two_classes_one_colour(work):
    notes = Annotation(SHAPE, Vocabulary.parse("\n".join(NAMES[:3])))
    for what, first, second in work:
        if what == "run":
            words = vocabulary(first)
            step = notes.begin()
            notes.put(step, answer(words, second))
            notes.finish(step, words, {})
        elif what == "paint":
            data = notes.shown.copy()
            data[0, first] = min(second, len(notes.vocabulary.classes))
            notes.painted(data, WHOLE)
        elif what == "undo":
            notes.undo_run()
        else:
            notes = write_and_open(notes)
        apart(notes.vocabulary)
        apart(notes.named()[1])
