"""Learning through the engine: corrections and captions become a set, which is then measured."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_prelabel.engine.cache import Encodings
from napari_prelabel.engine.engine import Engine
from napari_prelabel.engine.evaluation import _row, _tally
from napari_prelabel.engine.tasks import (
    Clean,
    Evaluate,
    Learn,
    LearnCaptions,
    Reviewed,
)
from napari_prelabel.images.rgb import content_hash
from napari_prelabel.models.catalog import synonym_cosine
from napari_prelabel.reference.captions import read_captions
from napari_prelabel.reference.metric import fit_set
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.reference.values import EncoderId
from napari_prelabel.values.encoder import TEXTURE, Encoder
from napari_prelabel.values.errors import (
    Cancelled,
    EncoderMismatch,
    ImageError,
    JobError,
    ReferenceSetError,
)
from napari_prelabel.values.job import Job
from napari_prelabel.values.metrics import bootstrap, confusion, miou, pixel_accuracy
from napari_prelabel.values.retrieval import Cleaning, Reference
from napari_prelabel.values.vocabulary import IGNORE, Vocabulary

WORDS = Vocabulary.parse("grass: lawn\nwater")
RED, BLUE = (60, 170, 60), (40, 70, 190)


@pytest.fixture(scope="module")
def engine():
    return Engine("cpu", Encodings(), Encodings())


def reviewed(seed, words=WORDS):
    """Grass above, water below, of one shade with noise; the border is somewhere else each time."""
    rng = np.random.default_rng(seed)
    border = int(rng.integers(15, 30))
    image = np.empty((44, 61, 3), np.uint8)
    image[:border], image[border:] = RED, BLUE
    noise = rng.integers(-20, 20, image.shape)
    ids = np.ones(image.shape[:2], np.uint16)
    ids[border:] = 2
    return Reviewed(f"{seed}.png", (image + noise).clip(0, 255).astype(np.uint8), ids, words)


def done(steps):
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return end.value, seen


def learn(engine, folder, *seeds, **options):
    pairs = tuple(reviewed(seed) for seed in seeds)
    return done(engine.do(Learn(str(folder), TEXTURE, pairs, **options)))


@pytest.fixture(scope="module")
def taught(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("taught") / "set"
    learn(engine, folder, 1, 2, 3, 4, 5)
    return folder


def test_corrections_make_a_set(engine, tmp_path):
    facts = {"name": "lake", "author": "Ada", "licence": "CC0"}
    learned, steps = learn(engine, tmp_path / "set", 1, 2, **facts)
    held = ReferenceSet.open(learned.folder)
    assert (learned.images, learned.segments) == (2, held.n_segments)
    assert learned.added == held.n_segments > 20
    assert learned.digest == held.digest
    assert (held.name, held.encoder.name, held.text) == ("lake", "texture", None)
    assert held.sources()[0].author == "Ada"
    assert held.counts.licences == {"CC0": 2}
    assert [(e.phrase, e.synonyms) for e in held.labels()] == [("grass", ("lawn",)), ("water", ())]
    assert held.metric.mean.shape == (held.width,)
    stages = [s for s in steps if s.stage == "learn"]
    assert [(s.done, s.total) for s in stages] == [(0, 2), (1, 2), (2, 2)]


def test_one_more_image_is_added_and_an_old_one_replaced(engine, tmp_path):
    learn(engine, tmp_path / "set", 1)
    learned, _ = learn(engine, tmp_path / "set", 1, 2)
    held = ReferenceSet.open(learned.folder)
    assert learned.images == 2
    assert len(held.image_rows(content_hash(reviewed(1).image))) == held.n_segments - len(
        held.image_rows(content_hash(reviewed(2).image))
    )


def test_learning_is_one_step_back(engine, tmp_path):
    first, _ = learn(engine, tmp_path / "set", 1)
    learn(engine, tmp_path / "set", 2, cleaning=Cleaning())
    held = ReferenceSet.open(tmp_path / "set")
    assert held.cleaned.dropped_outliers > 0
    held.undo()
    assert (held.digest, held.n_images, held.cleaned) == (first.digest, 1, None)


def test_a_cancelled_task_changes_nothing(engine, tmp_path, monkeypatch):
    first, _ = learn(engine, tmp_path / "set", 1)
    monkeypatch.setattr("napari_prelabel.engine.learn.MAX_ROWS", 1)  # commits after every image
    asked = iter([False, False, True])
    task = Learn(str(tmp_path / "set"), TEXTURE, (reviewed(2), reviewed(3), reviewed(4)))
    with pytest.raises(Cancelled):
        done(engine.do(task, lambda: next(asked)))
    assert ReferenceSet.open(tmp_path / "set").digest == first.digest


def test_what_was_committed_before_a_kill_is_a_set_of_its_own(engine, tmp_path, monkeypatch):
    """Between two commits of a long task lies a set with synonyms, and a metric of its rows."""
    monkeypatch.setattr("napari_prelabel.engine.learn.MAX_ROWS", 1)
    pairs = tuple(reviewed(seed) for seed in (1, 2, 3))
    steps = engine.do(Learn(str(tmp_path / "set"), TEXTURE, pairs))
    for step in steps:
        if (step.stage, step.done) == ("learn", 2):
            break
    held = ReferenceSet.open(tmp_path / "set")
    assert (held.n_images, held.labels()[0].synonyms) == (2, ("lawn",))
    np.testing.assert_array_equal(held.metric.matrix, fit_set(held).matrix)
    steps.close()
    assert not (tmp_path / "set").exists()


def test_a_task_that_cannot_be_taken_back_tells_why_it_ended(engine, tmp_path, monkeypatch):
    learn(engine, tmp_path / "set", 1)
    monkeypatch.setattr("napari_prelabel.engine.learn.MAX_ROWS", 1)

    def full(*_):
        raise ReferenceSetError(tmp_path, "the disk is full")

    monkeypatch.setattr(ReferenceSet, "undo", full)
    asked = iter([False, True])
    task = Learn(str(tmp_path / "set"), TEXTURE, (reviewed(2), reviewed(3)))
    with pytest.raises(Cancelled):
        done(engine.do(task, lambda: next(asked)))


def test_of_an_image_that_comes_twice_the_later_labels_are_kept_and_told(engine, tmp_path):
    pair = reviewed(1)
    ids = np.full_like(pair.ids, 2)
    ids[:, :8] = 1
    other = Reviewed("1.png", pair.image, ids, Vocabulary.parse("moss\nwater"))
    learned, _ = done(engine.do(Learn(str(tmp_path / "set"), TEXTURE, (pair, other))))
    held = ReferenceSet.open(tmp_path / "set")
    assert (learned.doubled, learned.images, learned.added) == (1, 1, held.n_segments)
    assert {e.phrase for e in held.labels()} == {"moss", "water"}
    assert learn(engine, tmp_path / "set", 1)[0].doubled == 0


def test_a_set_of_another_encoder_is_refused(engine, tmp_path):
    ReferenceSet.create(tmp_path / "set", EncoderId("dinov2b", "0" * 64, 768))
    with pytest.raises(EncoderMismatch, match="made with dinov2b"):
        learn(engine, tmp_path / "set", 1)


def test_labels_that_do_not_fit_are_told_and_the_others_are_learnt(engine, tmp_path):
    pair = reviewed(1)
    wrong = Reviewed("wrong.png", pair.image, pair.ids[:-1], WORDS)
    with pytest.raises(ImageError, match=r"wrong\.png"):
        done(engine.do(Learn(str(tmp_path / "set"), TEXTURE, (wrong,))))
    assert not (tmp_path / "set").exists()
    learned, _ = done(engine.do(Learn(str(tmp_path / "set"), TEXTURE, (wrong, pair))))
    assert learned.images == 1
    (told,) = learned.unread
    assert "wrong.png" in told


def test_a_task_that_fails_late_changes_nothing(engine, tmp_path, monkeypatch):
    first, _ = learn(engine, tmp_path / "set", 1)
    monkeypatch.setattr("napari_prelabel.engine.learn.MAX_ROWS", 1)  # commits after every image
    steps = engine.do(Learn(str(tmp_path / "set"), TEXTURE, (reviewed(2), reviewed(3))))
    while (step := next(steps)) and (step.stage, step.done) != ("learn", 1):
        pass
    with pytest.raises(KeyboardInterrupt):
        steps.throw(KeyboardInterrupt)
    assert ReferenceSet.open(tmp_path / "set").digest == first.digest
    steps = engine.do(Learn(str(tmp_path / "new"), TEXTURE, (reviewed(2), reviewed(3))))
    for step in steps:
        if (step.stage, step.done) == ("learn", 1):
            steps.close()  # as when the command is interrupted
    assert not (tmp_path / "new").exists()


def test_a_name_that_is_not_unicode_is_kept_as_far_as_it_goes(engine, tmp_path):
    pair = reviewed(1)
    odd = Reviewed("caf\udce9 \u00e9\u4e2d.png", pair.image, pair.ids, WORDS)
    learned, _ = done(engine.do(Learn(str(tmp_path / "set"), TEXTURE, (odd,))))
    assert ReferenceSet.open(learned.folder).sources()[0].name == "caf? \u00e9\u4e2d.png"


def test_an_image_without_labels_gives_no_segment(engine, tmp_path):
    pair = reviewed(1)
    empty = Reviewed("empty.png", pair.image // 2, np.full_like(pair.ids, IGNORE), WORDS)
    task = Learn(str(tmp_path / "set"), TEXTURE, (empty,))
    with pytest.raises(ImageError, match="Nothing can be learnt for set"):
        done(engine.do(task))
    assert not (tmp_path / "set").exists()
    before, _ = learn(engine, tmp_path / "set", 1)
    learned, _ = done(engine.do(task))
    assert (learned.segments, learned.images, learned.added) == (before.segments, 2, 0)


def test_a_set_of_one_word_is_refused_and_leaves_nothing(engine, tmp_path):
    with pytest.raises(ImageError, match="would know 'grass' alone and give it every pixel"):
        done(engine.do(Learn(str(tmp_path / "set"), TEXTURE, (only_class(1, 1),))))
    assert not (tmp_path / "set").exists()


def test_places_count_when_asked_for(engine, tmp_path):
    learned, _ = learn(engine, tmp_path / "set", 1, position=True)
    held = ReferenceSet.open(learned.folder)
    assert held.width == held.encoder.width + 2


def test_a_set_is_cleaned_by_a_task(engine, tmp_path):
    learned, _ = learn(engine, tmp_path / "set", 1, 2)
    cleaned, steps = done(engine.do(Clean(learned.folder, Cleaning(drop=0.4))))
    after = ReferenceSet.open(learned.folder)
    assert cleaned == after.cleaned
    assert cleaned.dropped_outliers > 0
    assert [(s.done, s.total) for s in steps] == [(1, 2), (2, 2)]
    after.undo()
    assert after.digest == learned.digest
    with pytest.raises(Cancelled):
        done(engine.do(Clean(learned.folder, Cleaning(drop=0.4)), lambda: True))
    assert ReferenceSet.open(learned.folder).digest == learned.digest


def test_synonyms_need_a_text_model(engine, tmp_path):
    learned, _ = learn(engine, tmp_path / "set", 1)
    wanted = Cleaning(outliers="off", synonyms="global", k=1)
    cleaned, _ = done(engine.do(Clean(learned.folder, wanted)))
    assert cleaned.synonyms == ()
    cleaned, _ = done(engine.do(Clean(learned.folder, wanted, "demo")))
    assert cleaned.synonyms == (("grass", "water"),)
    strict, _ = done(engine.do(Clean(learned.folder, Cleaning(outliers="off"), "demo")))
    assert strict.settings.similarity == synonym_cosine("demo-clip")
    assert strict.synonyms == ()


def evaluation(engine, folder, *pairs):
    job = Job(WORDS, "reme", reference=Reference(str(folder)))
    return done(engine.do(Evaluate(str(folder), pairs, job)))


def test_every_image_is_labelled_from_the_others(engine, taught):
    found, steps = evaluation(engine, taught, reviewed(1), reviewed(2))
    nothing, held = found.rows
    assert (nothing.name, held.name) == ("nothing", "set")
    assert (nothing.miou, nothing.pixels_to_fix) == (0.0, 100.0)
    assert held.miou > 90
    assert held.pixels_to_fix == pytest.approx(100 - held.pixel_accuracy)
    assert held.interval[0] <= held.miou <= held.interval[1]
    assert set(found.per_image) == {"1.png", "2.png"}
    assert found.per_image["1.png"]["nothing"] == 100.0
    assert [s.done for s in steps if s.stage == "evaluate"] == [0, 1, 2]


def test_an_image_never_answers_for_itself(engine, tmp_path):
    pair = reviewed(1)
    swapped = Reviewed("1.png", pair.image, np.uint16(3) - pair.ids, WORDS)
    other = reviewed(2)
    done(engine.do(Learn(str(tmp_path / "set"), TEXTURE, (swapped, other))))
    found, _ = evaluation(engine, tmp_path / "set", pair)
    assert found.rows[1].pixel_accuracy > 90  # its own, wrong references would give 0
    assert found.rows[1].interval is None


def test_cleaning_steps_are_left_away_one_by_one(engine, tmp_path):
    learn(engine, tmp_path / "set", 1, 2, 3, cleaning=Cleaning(abstract=True, drop=0.4))
    found, _ = evaluation(engine, tmp_path / "set", reviewed(1))
    assert [row.name for row in found.rows] == ["nothing", "set", "set, outliers kept"]


def test_pixels_left_unlabelled_are_not_judged(engine, taught):
    pair = reviewed(1)
    ids = pair.ids.copy()
    ids[:, 20:] = 0
    found, _ = evaluation(engine, taught, Reviewed("1.png", pair.image, ids, WORDS))
    assert found.rows[0].pixels_to_fix == 100.0
    told = Vocabulary.parse("grass\nwater\n- stone")
    found, _ = evaluation(engine, taught, Reviewed("1.png", pair.image, ids, told))
    assert found.rows[0].pixels_to_fix == pytest.approx(100 * 20 / 61)


def test_what_cannot_be_measured_is_refused(engine, taught):
    with pytest.raises(JobError, match="Tick at least one"):
        evaluation(engine, taught)
    learn(engine, taught.parent / "one", 1)
    with pytest.raises(JobError, match=r"was made from 1\.png alone"):
        evaluation(engine, taught.parent / "one", reviewed(1))
    with pytest.raises(JobError, match="other classes"):
        evaluation(engine, taught, reviewed(1), reviewed(2, Vocabulary.parse("water\ngrass")))


def test_an_image_of_another_contrast_never_answers_for_itself(engine, tmp_path):
    pair = reviewed(1)
    faded = Reviewed("1.png", pair.image // 2 + 60, np.uint16(3) - pair.ids, WORDS)
    others = tuple(reviewed(seed) for seed in (2, 3, 4))
    done(engine.do(Learn(str(tmp_path / "set"), TEXTURE, (faded, *others))))
    before, _ = evaluation(engine, tmp_path / "set", pair)
    held = ReferenceSet.open(tmp_path / "set")
    held.remove([content_hash(faded.image)])
    held.put_metric(fit_set(held))
    assert evaluation(engine, tmp_path / "set", pair)[0].rows == before.rows


def test_images_without_labels_are_not_measured(engine, taught):
    pair = reviewed(1)
    blank = Reviewed("blank.png", pair.image, np.full_like(pair.ids, IGNORE), WORDS)
    found, _ = evaluation(engine, taught, blank, reviewed(2))
    assert set(found.per_image) == {"2.png"}
    with pytest.raises(JobError, match="No image has a labelled pixel"):
        evaluation(engine, taught, blank)


def blank_of(pair, value):
    return Reviewed("blank.png", pair.image, np.full_like(pair.ids, value), WORDS)


@pytest.mark.parametrize("value", [0, IGNORE])
def test_images_that_are_left_out_are_told(engine, taught, value):
    found, _ = evaluation(engine, taught, blank_of(reviewed(9), value), reviewed(2))
    assert found.notes == ("Left out, for nothing is labelled in them: blank.png.",)
    assert len(found.rows) == 2


def test_an_image_that_is_all_of_the_set_is_left_out_beside_others(engine, tmp_path):
    learn(engine, tmp_path / "set", 1)
    found, _ = evaluation(engine, tmp_path / "set", reviewed(1), reviewed(2))
    assert set(found.per_image) == {"2.png"}
    assert found.rows[1].miou > 90
    assert found.notes == ("Left out, for the set knows no other image: 1.png.",)


def only_class(seed, number):
    pair = reviewed(seed)
    return Reviewed(pair.name, pair.image, np.full_like(pair.ids, number), WORDS)


def test_a_class_of_one_image_is_missing_there_and_told(engine, tmp_path):
    pairs = (reviewed(1), only_class(2, 1), only_class(3, 1))
    done(engine.do(Learn(str(tmp_path / "set"), TEXTURE, pairs)))
    found, _ = evaluation(engine, tmp_path / "set", *pairs)
    assert found.per_image["1.png"]["set"] == pytest.approx(100 * (pairs[0].ids == 2).mean())
    assert found.per_image["2.png"]["set"] < 60
    assert found.notes == (
        "No other image of the set shows water: such pixels are not found. Correct one more image "
        "that shows them.",
    )


def test_images_of_which_the_others_know_no_word_are_all_to_fix(engine, tmp_path):
    """Others that know nothing but what is not asked for find nothing, and are no fault."""
    moss = Vocabulary.parse("moss")
    other = reviewed(2)
    other = Reviewed("2.png", other.image, np.ones_like(other.ids), moss)
    done(engine.do(Learn(str(tmp_path / "set"), TEXTURE, (reviewed(1), other))))
    found, _ = evaluation(engine, tmp_path / "set", reviewed(1))
    assert [(r.miou, r.pixels_to_fix) for r in found.rows] == [(0.0, 100.0)] * 2
    assert found.notes == ("The other images know no word of 1.png: nothing is found there.",)


def test_words_that_the_set_does_not_know_are_one_sentence(engine, taught):
    pair = reviewed(1)
    strange = Reviewed("1.png", pair.image, pair.ids, Vocabulary.parse("moss\nstone"))
    with pytest.raises(JobError, match=r"None of the words is in .* which knows grass, water"):
        evaluation(engine, taught, strange)


def test_an_empty_set_and_labels_of_no_class_are_one_sentence(engine, taught, tmp_path):
    pair = reviewed(1)
    learn(engine, tmp_path / "set", 1)
    held = ReferenceSet.open(tmp_path / "set")
    held.remove([s.hash for s in held.sources()])
    with pytest.raises(JobError, match="is empty: add a corrected image first"):
        evaluation(engine, tmp_path / "set", pair)
    with pytest.raises(ImageError, match=r"labels of 1\.png hold id 4, but there are 2 classes"):
        evaluation(engine, taught, Reviewed("1.png", pair.image, pair.ids + np.uint16(2), WORDS))


def test_background_words_make_unlabelled_pixels_count_for_every_image(engine, taught):
    told = Vocabulary.parse("grass\nwater\n- stone")
    half = reviewed(2)
    half.ids[:, 20:] = 0
    pairs = (Reviewed("1.png", reviewed(1).image, reviewed(1).ids, told), half)
    found, _ = evaluation(engine, taught, *pairs)
    assert found.per_image["2.png"]["nothing"] == pytest.approx(100 * 20 / 61)


def test_figures_are_those_of_the_confusion_matrices():
    rng = np.random.default_rng(0)
    pairs = [rng.integers(0, 9, (2, 17, 23)).astype(np.uint16) for _ in range(5)]
    for truth, _ in pairs:
        truth[truth == 3] = IGNORE  # a class that is predicted, and nowhere true
    counts = np.stack([_tally(truth, ids, 12) for truth, ids in pairs])
    matrices = np.stack([confusion(truth, ids, 12) for truth, ids in pairs])
    row = _row("set", counts)
    assert row.miou == pytest.approx(100 * miou(matrices.sum(0)))
    assert row.pixel_accuracy == pytest.approx(100 * pixel_accuracy(matrices.sum(0)))
    assert row.interval == pytest.approx([100 * x for x in bootstrap(matrices)])


def test_very_many_classes_fit(engine, taught):
    """A confusion matrix of these would have 144 million numbers for every image and row."""
    many = Vocabulary.parse("grass\nwater\n" + "\n".join(f"word {i}" for i in range(12_000)))
    pairs = [Reviewed(p.name, p.image, p.ids, many) for p in (reviewed(1), reviewed(2))]
    found, _ = evaluation(engine, taught, *pairs)
    assert found.rows[1].miou > 90


def test_images_of_one_name_are_told_apart(engine, taught):
    found, _ = evaluation(engine, taught, reviewed(1), reviewed(1))
    assert set(found.per_image) == {"1.png", "1.png (2)"}


@pytest.fixture
def captioned(tmp_path):
    folder = tmp_path / "plain"
    folder.mkdir()
    for seed in (1, 2):
        Image.fromarray(reviewed(seed).image).save(folder / f"{seed}.png")

    def tell(*captions):
        lines = [
            json.dumps({"image": f"{n}.png", "caption": told, "licence": "CC0"})
            for n, told in enumerate(captions, start=1)
        ]
        (tmp_path / "told.jsonl").write_text("\n".join(lines))
        return read_captions(tmp_path / "told.jsonl", folder).images

    return tell


def test_captions_make_a_set(engine, tmp_path, captioned):
    images = captioned("Green grass beside the blue water.", "A lawn and a lake.")
    task = LearnCaptions(str(tmp_path / "set"), TEXTURE, images, text="demo", extractor="rules")
    learned, steps = done(engine.do(task))
    held = ReferenceSet.open(learned.folder)
    assert {e.phrase for e in held.labels()} >= {"green grass", "blue water", "lawn", "lake"}
    assert {e.root for e in held.labels()} >= {"grass", "water"}
    assert held.text.width > 0
    assert held.records([0])[0].segment.origin == "caption"
    assert held.counts.licences == {"CC0": 2}
    assert [s.done for s in steps if s.stage == "learn"] == [0, 1, 2]
    with pytest.raises(Cancelled):
        done(engine.do(task, lambda: True))


def test_segments_are_seen_cut_out_where_that_is_asked(engine, tmp_path, captioned, monkeypatch):
    images, asked, looker = captioned("Green grass beside the blue water."), [], engine.looker
    with Image.open(images[0].path) as picture:  # one CLIP pass for each segment: few of them
        picture.crop((0, 10, 20, 34)).save(images[0].path)
    monkeypatch.setattr(engine, "looker", lambda name, *r: asked.append(name) or looker(name, *r))
    for crops in (False, True):
        task = LearnCaptions(
            str(tmp_path / f"set-{crops}"), TEXTURE, images, extractor="rules", crops=crops
        )
        learned, _ = done(engine.do(task))
        assert learned.images == 1
    clip, crops = (Encoder(how, "demo-clip") for how in ("clip", "crops"))
    assert asked == [TEXTURE, clip, TEXTURE, crops]


def test_of_a_stack_the_first_plane_is_learnt_and_told(engine, tmp_path, captioned):
    images = captioned("Green grass beside the blue water.", "A lawn and a lake.")
    planes = np.stack([reviewed(1).image, reviewed(2).image])
    tifffile.imwrite(images[0].path.with_suffix(".tif"), planes, photometric="rgb")
    stack = replace(images[0], path=images[0].path.with_suffix(".tif"), name="1.tif")
    task = LearnCaptions(str(tmp_path / "set"), TEXTURE, (stack, images[1]), extractor="rules")
    learned, _ = done(engine.do(task))
    assert (learned.stacks, learned.images) == (1, 2)
    names = {s.hash: s.name for s in ReferenceSet.open(learned.folder).sources()}
    assert names[content_hash(reviewed(1).image)] == "1.tif"


def test_captioned_images_that_cannot_be_read_are_left_out(engine, tmp_path, captioned):
    images = captioned("Green grass beside the blue water.", "A lawn and a lake.")
    images[0].path.write_bytes(b"no picture")
    task = LearnCaptions(str(tmp_path / "set"), TEXTURE, images, extractor="rules")
    learned, _ = done(engine.do(task))
    assert learned.images == 1
    (told,) = learned.unread
    assert told.startswith("1.png: ")
    assert "is damaged or no image" in told
    with pytest.raises(JobError, match=r"No image can be read; 1\.png: "):
        done(engine.do(replace(task, folder=str(tmp_path / "other"), images=images[:1])))
    assert not (tmp_path / "other").exists()


def test_captions_that_name_nothing_are_told(engine, tmp_path, captioned):
    task = LearnCaptions(str(tmp_path / "set"), TEXTURE, captioned("!"), extractor="rules")
    with pytest.raises(JobError, match="No caption names anything"):
        done(engine.do(task))
    assert not (tmp_path / "set").exists()


def test_captions_replace_no_correction(engine, tmp_path, captioned):
    learned, _ = learn(engine, tmp_path / "set", 1)
    images = captioned("Green grass beside the blue water.", "A lawn and a lake.")
    task = LearnCaptions(learned.folder, TEXTURE, images, extractor="rules")
    after, _ = done(engine.do(task))
    held = ReferenceSet.open(learned.folder)
    mine = held.records(held.image_rows(content_hash(reviewed(1).image)))
    assert (after.kept, after.images, len(mine)) == (1, 2, learned.segments)
    assert {r.segment.origin for r in mine} == {"correction"}
    assert after.digest == held.digest
