"""The drawn world: determinism, exact truth, splits, held-out combinations, captions."""

import itertools
import json

import numpy as np
import pytest
from PIL import Image

from benchmarks.synthetic import (
    CLASS_IDS,
    CLASSES,
    DISTRACTORS,
    STUFF,
    THINGS,
    held_out,
    scene,
    split_seeds,
)
from benchmarks.synthetic.captions import described, in_detail
from benchmarks.synthetic.classes import COLOUR_NAMES, STUFF_COLOURS
from benchmarks.synthetic.colour_auc import auc, colour_auc
from benchmarks.synthetic.sample_set import sample_seeds, vocabulary_text, write_samples
from benchmarks.synthetic.shapes import SHAPES, draw_thing
from benchmarks.synthetic.textures import TONES, texture
from napari_prelabel.values.errors import PrelabelError
from napari_prelabel.values.samples import sample_path


def first(split, count):
    return [scene(s, split, (96, 128)) for s in split_seeds(split)[:count]]


def test_the_world_is_as_rich_as_promised():
    assert len(STUFF) >= 12
    assert len(THINGS) >= 20
    assert set(TONES) == set(STUFF) == set(STUFF_COLOURS)
    assert set(SHAPES) == set(THINGS)
    words = [w for c in CLASSES for w in (c.name, *c.synonyms)]
    assert len(words) == len(set(words))
    assert len(DISTRACTORS) >= 12


def test_equal_seeds_draw_equal_bytes():
    one, two = scene(5, "train", (64, 80)), scene(5, "train", (64, 80))
    np.testing.assert_array_equal(one.image, two.image)
    np.testing.assert_array_equal(one.labels, two.labels)
    assert one.captions == two.captions
    assert one.regions == two.regions
    assert (scene(6, "train", (64, 80)).image != one.image).any()


@pytest.mark.parametrize("size", [(32, 32), (40, 130), (128, 64)])
def test_every_pixel_is_labelled_at_any_size(size):
    shown = scene(3, "train", size)
    assert shown.image.shape == (*size, 3)
    assert shown.image.dtype == np.uint8
    assert shown.labels.shape == size
    assert shown.labels.dtype == np.uint16
    assert shown.labels.min() >= 1
    assert shown.labels.max() <= len(CLASSES)


def test_sizes_drawn_from_the_seed_stay_in_range():
    from benchmarks.synthetic.scenes import scene_size

    sizes = np.asarray([scene_size(s, "train") for s in range(300)])
    assert sizes.min() == 128
    assert sizes.max() == 512
    assert (sizes[:, 0] != sizes[:, 1]).mean() > 0.5
    assert min(min(scene_size(s, "test")) for s in split_seeds("test")[:100]) >= 256


def test_regions_agree_with_the_label_map():
    for shown in first("val", 6):
        for name in {r.name for r in shown.regions}:
            total = sum(r.pixels for r in shown.regions if r.name == name)
            assert total == (shown.labels == CLASS_IDS[name]).sum()
        for region in shown.regions:
            y0, x0, y1, x1 = region.box
            inside = shown.labels[y0:y1, x0:x1] == CLASS_IDS[region.name]
            assert inside.sum() >= region.pixels
            assert inside[0].any()
            assert inside[-1].any()


def test_the_label_of_a_thing_is_its_painted_silhouette():
    for name in THINGS:
        thing = draw_thing(name, "red", 40, 60, np.random.default_rng(0))
        assert thing.mask.shape == (40, 60)
        assert 0.15 < thing.mask.mean() < 0.98
        assert thing.paint[thing.mask].std() > 0.02
        assert thing.paint.min() >= 0
        assert thing.paint.max() <= 1


def test_textures_stay_in_range_and_differ():
    tones = {n: texture(n, "grey", np.random.default_rng(1), 48, 64) for n in STUFF}
    for tone in tones.values():
        assert tone.shape == (48, 64, 3)
        assert tone.min() >= 0
        assert tone.max() <= 1
    for a, b in itertools.combinations(STUFF, 2):
        assert np.abs(tones[a] - tones[b]).mean() > 0.02


def test_splits_share_no_seed():
    seeds = [set(split_seeds(s)) for s in ("train", "val", "test")]
    assert len(set.union(*seeds)) == sum(len(s) for s in seeds)


def test_held_out_combinations_are_drawn_in_tests_only():
    def rare(split, count):
        things = [r for s in first(split, count) for r in s.regions if r.on]
        return [held_out(r.name, r.colour, r.on) for r in things]

    assert not any(rare("train", 40))
    assert np.mean(rare("test", 20)) > 0.25
    every = [held_out(*c) for c in itertools.product(THINGS, COLOUR_NAMES, STUFF)]
    assert 0.08 < np.mean(every) < 0.17


def test_wrong_requests_name_the_cure():
    with pytest.raises(PrelabelError, match="choose one of train, val, test"):
        split_seeds("all")
    with pytest.raises(PrelabelError, match="use 1010000 to"):
        scene(0, "test")
    with pytest.raises(PrelabelError, match="at least 32 x 32"):
        scene(0, "train", (16, 64))


def test_captions_name_what_is_there():
    named = 0
    for shown in first("train", 25):
        present = {c.name: c for c in CLASSES if (shown.labels == CLASS_IDS[c.name]).any()}
        allowed = {w for c in present.values() for w in (c.name, c.family, *c.synonyms)}
        every = {w for c in CLASSES for w in (c.name, *c.synonyms)}
        assert len(shown.captions) == 3
        for caption in shown.captions:
            words = set(caption.replace(",", "").split())
            assert not (words & every) - allowed
            assert not words & set(DISTRACTORS)
            named += len(words & allowed)
    assert named > 150


def test_a_detailed_caption_names_all_that_is_visible():
    for shown in first("train", 25):
        seen = {r.name for r in shown.regions if r.pixels >= shown.labels.size / 200}
        told = in_detail(np.random.default_rng(0), shown.regions, shown.labels.size)
        words = set(told.lower().replace(",", "").replace(".", "").split())
        for name in seen:
            one = CLASSES[CLASS_IDS[name] - 1]
            assert words & {one.name, one.family, *one.synonyms}, (name, told)
        assert {"background", "scene", "atmosphere"} <= words
        assert told == in_detail(np.random.default_rng(0), shown.regions, shown.labels.size)


def test_descriptions_say_how_a_class_looks():
    texts = {described(np.random.default_rng(i), "barn") for i in range(20)}
    looks = CLASSES[CLASS_IDS["barn"] - 1].looks
    assert all(any(look in t for look in looks) for t in texts)
    assert len(texts) > 4


def test_auc_counts_ties_half():
    scores = np.asarray([1.0, 2.0, 2.0, 3.0])
    assert auc(scores, np.asarray([False, False, True, True])) == pytest.approx(3.5 / 4)


def test_colour_alone_does_not_tell_regions_apart():
    shown = [scene(s, "test", (256, 256)) for s in sample_seeds()[::2]]
    assert 0.6 < colour_auc(shown, pairs=4000) <= 0.80


def test_shipped_scenes_are_the_generator_s():
    index = json.loads(sample_path("scenes", "index.json").read_text())
    assert [row["seed"] for row in index] == list(sample_seeds())
    row = index[0]
    shown = scene(row["seed"], "test")
    mask = np.asarray(Image.open(sample_path("scenes", row["mask"])))
    np.testing.assert_array_equal(mask, shown.labels)
    image = np.asarray(Image.open(sample_path("scenes", row["image"]))).astype(int)
    assert np.abs(image - shown.image).mean() < 1.0
    counts = {c.name: sum(c.name in r["classes"] for r in index) for c in CLASSES}
    assert min(counts.values()) >= 4


def test_shipped_vocabularies_and_descriptions_cover_all_classes():
    from napari_prelabel.values.vocabulary import Vocabulary

    text = sample_path("vocabularies", "scenes.txt").read_text()
    assert text.endswith(vocabulary_text(synonyms=False))
    parsed = Vocabulary.parse(sample_path("vocabularies", "scenes-synonyms.txt").read_text())
    assert [c.name for c in parsed.classes] == [c.name for c in CLASSES]
    both = Vocabulary.parse(sample_path("vocabularies", "scenes-and-distractors.txt").read_text())
    assert len(both.classes) == len(CLASSES) + len(DISTRACTORS)
    sentences = json.loads(sample_path("descriptions", "scenes.json").read_text())
    assert set(sentences) == {c.name for c in CLASSES} | set(DISTRACTORS)
    assert all(len(s) >= 5 for s in sentences.values())


def test_samples_are_written_as_shipped(tmp_path, monkeypatch):
    from benchmarks.synthetic import sample_set

    monkeypatch.setattr(sample_set, "SAMPLE_OFFSETS", (91,))
    write_samples(tmp_path)
    [row] = json.loads((tmp_path / "scenes" / "index.json").read_text())
    mask = Image.open(tmp_path / "scenes" / row["mask"])
    assert mask.mode == "P"
    assert {CLASSES[i - 1].name for i in np.unique(np.asarray(mask))} == set(row["classes"])
    for name in ("scenes.txt", "distractors.txt"):
        shipped = sample_path("vocabularies", name).read_text()
        assert (tmp_path / "vocabularies" / name).read_text() == shipped
