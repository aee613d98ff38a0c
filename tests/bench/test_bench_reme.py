"""The ablation's parts on hand-made sets, and one small run of all of it."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import torch

from benchmarks import figures, reme
from benchmarks.reme import (
    Bench,
    Corpus,
    Plan,
    by_clip_score,
    misled,
    without_general,
    wrong_left,
)
from benchmarks.synthetic.classes import CLASSES
from benchmarks.synthetic.scenes import scene
from napari_prelabel.engine.samples import DataSet, Sample
from napari_prelabel.models.clip import Clip
from napari_prelabel.models.visual import ClipPatches
from napari_prelabel.reference.phrases import Phrase
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.reference.values import Addition, EncoderId, Segment, Source
from napari_prelabel.values.errors import JobError
from napari_prelabel.values.vocabulary import Vocabulary

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 16},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
WORDS = {"cow": (1, 0), "oak": (0, 1), "red oak": (0, 1), "sea": (0.6, 0.8)}


def addition(number, *words):
    segments = tuple(
        Segment((0, 0, 2, 2), 4, told, "caption", tuple(w.split()[-1] for w in told))
        for told in words
    )
    rows = np.eye(len(words), 3, dtype=np.float32)
    source = Source(f"{number:064x}", f"{number}", (4, 4))
    return Addition(source, rows, segments, (b"",) * len(words))


@pytest.fixture
def corpus():
    return Corpus(
        (addition(1, ("cow", "oak"), ("sea",)), addition(2, ("red oak",), ("cow", "sea"))),
        (
            np.array([[1, 0], [0, 1]], np.float32),  # cow 1.0, oak 0.0; sea 0.8
            np.array([[0.8, 0.6], [0, 1]], np.float32),  # red oak 0.6; cow 0.0, sea 0.8
        ),
    )


@pytest.fixture
def bench():
    return SimpleNamespace(words=lambda texts: np.array([WORDS[t] for t in texts], np.float32))


def told(additions):
    return [[s.words for s in a.segments] for a in additions]


def test_the_global_filter_drops_the_lowest_scores_of_all(bench, corpus):
    kept = by_clip_score(bench, corpus, 0.5, per_group=False)
    assert told(kept) == [[("cow",), ("sea",)], [("sea",)]]
    np.testing.assert_array_equal(kept[1].embeddings, corpus.additions[1].embeddings[1:])
    assert len(kept[1].thumbnails) == 1


def test_the_grouped_filter_drops_the_lowest_of_each_root(bench, corpus):
    kept = by_clip_score(bench, corpus, 0.5, per_group=True)
    assert told(kept) == [[("cow",)], [("red oak",), ("sea",)]]
    assert by_clip_score(bench, corpus, 1.0, per_group=True) == ()


def test_filters_judge_what_is_not_general():
    pictures = [addition(n, ("view", "cow"), ("view",)) for n in range(4)]
    pictures.append(addition(4, ("sea",), ("oak",)))
    rows = tuple(np.arange(4, dtype=np.float32).reshape(2, 2) for _ in pictures)
    left = without_general(Corpus(tuple(pictures), rows, {"a": frozenset("b")}))
    assert told(left.additions) == [[("cow",)]] * 4 + [[("sea",), ("oak",)]]
    assert [r.tolist() for r in left.placed] == [[[0, 1]]] * 4 + [[[0, 1], [2, 3]]]
    assert left.wrong == {"a": frozenset("b")}


def phrases(*texts):
    return tuple(Phrase(text, text.split()[-1]) for text in texts)


def test_wrong_phrases_are_other_images_and_of_other_roots():
    told = [phrases("cow", "red oak"), phrases("oak", "sea"), phrases("kite", "cow", "lake")]
    heard = misled(told, 0.5, np.random.default_rng(0))
    strange = 0
    for before, after in zip(told, heard, strict=True):
        new = set(after) - set(before)
        strange += len(new)
        assert not {p.root for p in new} & {p.root for p in before}
    assert strange == 3
    assert misled(told, 0.0, np.random.default_rng(0)) == told


def test_an_image_that_says_everything_cannot_be_misled():
    told = [phrases("cow"), phrases("cow")]
    assert misled(told, 1.0, np.random.default_rng(0)) == told


def test_what_is_wrong_is_counted_after_cleaning(tmp_path, corpus):
    held = ReferenceSet.create(tmp_path / "set", EncoderId("e", "d" * 64, 3), None)
    held.add(corpus.additions)
    wrong = {a.source.hash: frozenset(("cow",)) for a in corpus.additions}
    known = replace(corpus, wrong=wrong)
    assert wrong_left(held, known) == 2
    assert wrong_left(held, replace(corpus, wrong=dict.fromkeys(wrong, frozenset()))) == 0


def test_shares_lie_between_none_and_all():
    with pytest.raises(JobError, match="wrong is a share"):
        Plan(wrong=1.2)


def test_counts_are_read_from_text():
    assert reme.counts_of("10, 30,100") == (10, 30, 100)
    for wrong in ("", "10,", "a", "0", "-3"):
        with pytest.raises(JobError, match="like 10,30,100"):
            reme.counts_of(wrong)


def test_one_small_run(monkeypatch):
    monkeypatch.setattr(reme, "scene", lambda seed, split: scene(seed, split, (64, 80)))
    torch.manual_seed(0)
    clip = Clip("small", open_clip.CLIP(**CONFIG), "digest")
    bench = Bench(clip, ClipPatches(clip))
    shown = scene(1_000_000, "val", (64, 64))
    names = "\n".join(c.name for c in CLASSES)
    words = Vocabulary.parse(f"{names}\npiano")
    true = tuple(int(i) for i in np.unique(shown.labels))
    data = DataSet("drawn", "val", words, true, (), 1, (Sample("s", shown.image, shown.labels),))
    steps = reme.measure(bench, data, Plan(corrected=(2,), captioned=3, most=40))
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            tallies, facts = end.value
            break
    names = [t.method for t in tallies]
    assert names[0] == "reme, 2 corrections"
    wanted = [
        way
        for name in (*reme.CLEANINGS, *reme.FILTERS, *reme.CLIP_FILTERS)
        for way in reme.ways(name)
    ]
    assert "both, row" in wanted
    assert "filtering, nearest 5" in wanted
    assert "both, literal, T = 1" in wanted
    assert names[1:] == [f"reme captions, {name}" for name in wanted]
    assert seen[:2] == ["2 corrections", "s reme, 2 corrections"]
    assert 0 < facts["base set"]["wrong"] < facts["base set"]["pairs"]
    against = {t.method: t.against for t in tallies}
    assert against["reme captions, both, nearest 5"] == "reme captions, base set, nearest 5"
    assert against["reme captions, both, row"] == "reme captions, base set"
    assert facts["filtering"]["pairs"] <= facts["base set"]["pairs"]
    assert facts["both"]["added"] >= 0
    rows = figures.report(tallies, data)["rows"]
    assert json.loads(json.dumps(rows)) == rows
    assert all(0 <= row["miou"] <= 100 for row in rows)
    miou = {row["method"]: row["miou"] for row in rows}
    for row in rows:
        if "gain" in row:
            gain = row["miou"] - miou[against[row["method"]]]
            assert row["gain"] == pytest.approx(gain, abs=0.011)
    assert sum("gain" in row for row in rows) == len(rows) - 3
