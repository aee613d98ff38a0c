import pytest

from napari_prelabel.values.errors import VocabularyError
from napari_prelabel.values.presets import PRESETS, load, text

SIZES = {
    "voc21": (20, 26),
    "voc20": (20, 0),
    "coco_object": (80, 26),
    "coco_stuff": (171, 0),
    "ade20k": (150, 0),
    "cityscapes": (19, 0),
    "pascal_context59": (59, 0),
    "pascal_context60": (59, 1),
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_its_classes_and_background_words(name):
    vocabulary = load(name)
    assert (len(vocabulary.classes), len(vocabulary.background)) == SIZES[name]
    assert text(name).startswith("# ")
    assert load(name).to_text() in text(name)


def test_orders_are_the_published_ones():
    assert load("voc21").names[::5] == ("aeroplane", "bus", "diningtable", "pottedplant")
    assert load("ade20k").names[148:] == ("clock", "flag")
    assert load("coco_stuff").names[79:81] == ("toothbrush", "banner")
    assert load("pascal_context60").names == load("pascal_context59").names
    assert load("cityscapes").classes[10].rgb == (70, 130, 180)
    assert load("coco_object").names == load("coco_stuff").names[:80]


def test_an_unknown_preset_names_the_others():
    with pytest.raises(VocabularyError, match="choose one of voc21, voc20"):
        load("imagenet")
