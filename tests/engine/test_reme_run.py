"""ReME through Engine.run and Engine.do: sets, words, own images, explanations."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from colours import BLUE, GREEN, RED, Colours, colour_set, halves
from engine_steps import finish as steps_and_result

from napari_prelabel.engine.cache import Encodings
from napari_prelabel.engine.engine import Engine
from napari_prelabel.engine.retriever import _answered
from napari_prelabel.engine.tasks import Explain
from napari_prelabel.methods import reme
from napari_prelabel.methods.segments import Segments
from napari_prelabel.models import encoders
from napari_prelabel.reference.values import Metric
from napari_prelabel.values.encoder import Encoder
from napari_prelabel.values.errors import EncoderMismatch, ImageError, JobError, ReferenceSetError
from napari_prelabel.values.job import Job, Proposals, Reference, ReME
from napari_prelabel.values.vocabulary import Vocabulary

COARSE = ReME(proposals=Proposals(kind="slic", finest=50))


def finish(steps):
    return steps_and_result(steps)[0]


@pytest.fixture
def encoder(monkeypatch):
    made = Colours()
    monkeypatch.setattr(encoders, "load_encoder", lambda *_: made)
    return made


@pytest.fixture
def engine(encoder):
    assert not encoder.encoded
    return Engine("cpu", Encodings(), Encodings())


def job(folder, words="rose\nleaf", **changes):
    return Job(
        Vocabulary.parse(words), method="reme", reme=COARSE, reference=Reference(str(folder)),
        **changes,
    )  # fmt: skip


def test_segments_take_the_word_of_the_references_they_look_like(engine, tmp_path):
    made = colour_set(tmp_path / "set", [("rose", RED), ("leaf", GREEN), ("leaf", GREEN)])
    result = finish(engine.run(job(made.folder), halves(RED, GREEN)))
    assert (result.ids[:, :14] == 1).all()
    assert (result.ids[:, 16:] == 2).all()
    assert result.runner_up[5, 2] == 2
    assert result.score[5, 2] > 0.9
    assert result.record["reference_digest"] == made.digest
    assert result.notices == ()


def test_another_word_encodes_nothing_again(engine, encoder, tmp_path):
    made = colour_set(tmp_path / "set", [("rose", RED), ("leaf", GREEN)])
    image = halves(RED, GREEN)
    finish(engine.run(job(made.folder), image))
    result = finish(engine.run(job(made.folder, "leaf\nrose"), image))
    assert encoder.encoded == 1
    assert (result.ids[:, :14] == 2).all()


def test_what_looks_like_none_of_the_words_is_left_unlabelled(engine, tmp_path):
    made = colour_set(tmp_path / "set", [("rose", RED), ("leaf", GREEN), ("sky", BLUE)])
    result = finish(engine.run(job(made.folder, "rose"), halves(RED, BLUE)))
    assert (result.ids[:, :14] == 1).all()
    assert (result.ids[:, 16:] == 0).all()


def test_a_class_without_references_is_told(engine, tmp_path):
    made = colour_set(tmp_path / "set", [("rose", RED)])
    result = finish(engine.run(job(made.folder, "rose\nsea"), halves(RED, RED)))
    assert "nothing to say about sea" in result.notices[0]


def test_words_the_set_does_not_know_are_refused_with_those_it_knows(engine, tmp_path):
    made = colour_set(tmp_path / "set", [("rose", RED), ("leaf", GREEN)])
    with pytest.raises(JobError, match="knows rose, leaf"):
        finish(engine.run(job(made.folder, "car"), halves(RED, RED)))


def test_an_image_never_answers_for_itself(engine, tmp_path):
    image = halves(RED, RED)
    other = halves(GREEN, GREEN)
    made = colour_set(tmp_path / "set", [("rose", RED), ("leaf", GREEN)], [image, other])
    assert (finish(engine.run(job(made.folder), image)).ids == 2).all()
    assert (finish(engine.run(job(made.folder), halves(RED, RED, noise=9))).ids == 1).all()
    part = replace(job(made.folder), region=(0, 0, 10, 10))
    assert (finish(engine.run(part, image)).ids == 2).all()


def test_a_switch_takes_effect_at_the_next_run(engine, tmp_path):
    made = colour_set(tmp_path / "set", [("rose", RED), ("leaf", GREEN), ("rose", GREEN)])
    image = halves(RED, GREEN, noise=3)
    made.switch([1], False)
    assert (finish(engine.run(job(made.folder), image)).ids == 1).all()
    made.switch([1], True)
    made.switch([2], False)
    assert (finish(engine.run(job(made.folder), image)).ids[:, 16:] == 2).all()


def test_a_metric_moves_what_is_near(engine, tmp_path):
    made = colour_set(tmp_path / "set", [("rose", RED), ("leaf", GREEN)])
    only_blue = np.zeros((3, 3), np.float32)
    only_blue[2, 2] = 1
    made.put_metric(Metric(np.zeros(3, np.float32), only_blue))
    result = finish(engine.run(job(made.folder), halves(RED, GREEN)))
    assert result.score[5, 2] == pytest.approx(0.5, abs=0.01)


def test_an_explanation_names_the_references_of_a_segment(engine, tmp_path):
    made = colour_set(tmp_path / "set", [("rose", RED), ("leaf", GREEN), ("leaf", (60, 190, 70))])
    image = halves(RED, GREEN)
    told = finish(engine.do(Explain(job(made.folder), image, (5, 25), 2)))
    assert told.class_id == 2
    assert [c.row for c in told.causes] == [1, 2]
    assert told.causes[0].words == ("leaf",)
    assert sum(c.weight for c in told.causes) == pytest.approx(1, abs=1e-3)
    assert told.mask[5, 25]
    assert not told.mask[5, 2]
    with pytest.raises(ImageError, match="outside"):
        finish(engine.do(Explain(job(made.folder), image, (5, 30))))


def test_sets_that_cannot_answer_are_refused(engine, encoder, tmp_path):
    made = colour_set(tmp_path / "set", [("rose", RED)])
    stale = replace(job(made.folder), reference=Reference(str(made.folder), "0" * 64))
    with pytest.raises(JobError, match="has changed"):
        finish(engine.run(stale, halves(RED, RED)))
    wanted = replace(job(made.folder), reme=replace(COARSE, words="text"))
    with pytest.raises(JobError, match="has no text model"):
        finish(engine.run(wanted, halves(RED, RED)))
    empty = colour_set(tmp_path / "empty", [])
    with pytest.raises(JobError, match="is empty"):
        finish(engine.run(job(empty.folder), halves(RED, RED)))
    with pytest.raises(ReferenceSetError):
        finish(engine.run(job(tmp_path / "nowhere"), halves(RED, RED)))
    encoder.digest = "1" * 64
    with pytest.raises(EncoderMismatch, match="make the set again"):
        finish(Engine("cpu", Encodings(), Encodings()).run(job(made.folder), halves(RED, RED)))


def test_a_set_that_cannot_speak_or_says_one_thing_is_told(engine, tmp_path):
    made = colour_set(tmp_path / "set", [("rose", RED), ("rose", GREEN)], [halves(RED, RED)] * 2)
    with pytest.raises(JobError, match="switched off, or come from this image"):
        finish(engine.run(job(made.folder, "rose"), halves(RED, RED)))
    result = finish(engine.run(job(made.folder, "rose"), halves(RED, GREEN)))
    assert "nothing but rose, so every pixel gets it" in result.notices[0]
    made.switch(range(made.n_segments), False)
    with pytest.raises(JobError, match="No segment of set may answer"):
        finish(engine.run(job(made.folder, "rose"), halves(RED, GREEN)))


def test_a_set_answers_whatever_the_arithmetic_of_the_words(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(encoders, "load_encoder", lambda *given: asked.append(given) or Colours())
    made = colour_set(tmp_path / "set", [("rose", RED), ("leaf", GREEN)])
    engine = Engine("cpu", Encodings(), Encodings())
    finish(engine.run(job(made.folder, precision="bfloat16"), halves(RED, GREEN)))
    assert asked == [(Encoder("patches", "colours"), "cpu", "float32")]


def test_every_run_counts_its_own_seconds(engine, tmp_path):
    made = colour_set(tmp_path / "set", [("rose", RED), ("leaf", GREEN)])
    finish(engine.run(job(made.folder), halves(RED, GREEN)))
    finish(engine.run(job(made.folder), halves(RED, GREEN, noise=9)))
    assert {"visual", "segments", "retrieve", "decide"} <= {t.name for t in engine.timings}


def test_segments_are_compared_where_the_models_run(engine, tmp_path, monkeypatch):
    made = colour_set(tmp_path / "set", [("rose", RED), ("leaf", GREEN)])
    real, asked, shares = reme.retrieve, [], []

    def retrieve(queries, *args, **more):
        asked.append(queries)
        if not torch.is_tensor(queries):
            shares.append(real(queries, *args, **more))
        return shares[-1]

    monkeypatch.setattr(reme, "retrieve", retrieve)
    here = finish(engine.run(job(made.folder), halves(RED, GREEN)))
    # A device whose tensors have no values stands for a GPU.
    engine._retriever[1]._device = torch.device("meta")
    there = finish(engine.run(job(made.folder), halves(RED, GREEN)))
    assert isinstance(asked[0], np.ndarray)
    assert asked[1].device.type == "meta"
    assert tuple(asked[1].shape) == asked[0].shape
    np.testing.assert_array_equal(here.ids, there.ids)


def test_many_answers_are_not_kept(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_prelabel.engine.retriever._KEPT_BYTES", 0)
    made = colour_set(tmp_path / "set", [("rose", RED), ("leaf", GREEN)])
    for words in ("rose", "leaf", "leaf\nrose"):
        finish(engine.run(job(made.folder, words), halves(RED, GREEN)))
    assert len(engine._retriever[1]._answers) == 1


def test_an_explanation_of_a_region_is_of_what_was_run(engine, tmp_path):
    image = halves(RED, GREEN)
    made = colour_set(
        tmp_path / "set", [("rose", RED), ("leaf", GREEN)], [image, halves(BLUE, BLUE)]
    )
    asked = replace(job(made.folder), region=(4, 2, 16, 12))
    told = finish(engine.do(Explain(asked, image, (5, 4), 2)))
    assert finish(engine.run(asked, image)).ids[1, 2] == told.class_id == 2  # its own rose is out
    assert told.mask.shape == (20, 30)
    assert told.mask[5, 4]
    assert not told.mask[:4].any()
    assert not told.mask[:, 12:].any()
    with pytest.raises(ImageError, match="click inside the region"):
        finish(engine.do(Explain(asked, image, (5, 20))))


def test_places_are_those_of_the_whole_image(engine, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "napari_prelabel.engine.retriever.with_position",
        lambda rows, boxes, size: seen.append((boxes, size)) or rows,
    )
    made = colour_set(tmp_path / "set", [("rose", RED), ("leaf", GREEN)])
    monkeypatch.setattr(type(made), "position", True)
    finish(engine.run(replace(job(made.folder), region=(4, 2, 16, 12)), halves(RED, GREEN)))
    ((boxes, size),) = seen
    assert size == (20, 30)
    assert min(b[:2] for b in boxes) == (4, 2)
    assert max(b[2] for b in boxes) == 16
    assert max(b[3] for b in boxes) == 12


def test_a_pixel_without_segment_is_explained_by_its_nearest():
    layers = np.zeros((2, 4, 5), np.int32)
    layers[1, 1, 1] = 1
    assert _answered(Segments(layers, 1), (3, 4)) == (1, 1)
    assert _answered(Segments(layers, 1), (1, 1)) == (1, 1)
    assert _answered(Segments(layers * 0, 0), (3, 4)) == (3, 4)
