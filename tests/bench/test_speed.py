"""The benchmark itself, on an engine that sleeps."""

import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks import speed
from napari_prelabel.engine.timing import StageTime
from napari_prelabel.values.errors import JobError
from napari_prelabel.values.job import FreeCP, Job, Progress
from napari_prelabel.values.labels import LabelMap
from napari_prelabel.values.presets import load

# Above 32 MiB, so that memory which is freed is given back at once.
MODEL, WINDOWS = 140_000_000, 60_000_000


class Sleepy:
    """Takes 40 ms for an image it has not seen; 5 ms for a word, 10 ms for the rest, always."""

    device = "cpu"

    def __init__(self, knows_all=False):
        self.seen, self.words, self.jobs, self.timings = set(), set(), [], []
        self.knows_all = knows_all
        self.model = None

    def run(self, job, image):
        self.jobs.append(job)
        purify = job.method == "freecp" and job.freecp.ambiguity
        yield Progress("models", 0, 1)
        if self.model is None:
            self.model = np.ones(MODEL, np.uint8)
        new = set(job.vocabulary.names) - self.words
        if new:
            yield Progress("text", 0, len(new))
        self.words |= new
        stages = {"load": 0.002, "text": 0.0 if self.knows_all else 0.005 * bool(new)}
        yield Progress("encode", 0, 6)
        fresh = image.tobytes() not in self.seen
        self.seen.add(image.tobytes())
        buffer = np.ones(WINDOWS, np.uint8) if fresh else None
        stages |= {"trunk": 0.03 * fresh, "dense": 0.01 * fresh, "score": 0.004}
        if purify:
            # Once the announcement of the step; the crops' number is the plan's, not Progress'.
            yield Progress("purify", 0, 1)
            yield Progress("purify", 0, 7)
            stages["crops"] = 0.02 * fresh
        time.sleep(sum(stages.values()) + 0.006)
        del buffer
        forward = ("trunk", "dense", "text", "crops")
        self.timings = [StageTime(n, s, n in forward) for n, s in stages.items() if s]
        ids = np.ones(image.shape[:2], np.uint16)
        ones = np.ones(ids.shape, np.float16)
        told = {"windows": 6} | ({"crops": 12} if purify else {})
        return LabelMap(ids, ones, np.zeros_like(ids), job.vocabulary, record=told)


def test_figures_of_freecp():
    engine = Sleepy()
    job = Job(
        speed.vocabulary_of(load("voc20").names, 25), "freecp", "sclip", "vitb16-shape",
        precision="bfloat16",
    )  # fmt: skip
    figures = speed.measure(engine, job, (64, 96), repeats=3)
    assert {"stages", "overhead_ratio", "changed_word_ratio", "peak_mb"} <= set(figures)
    stages = {s["name"]: s["seconds"] for s in figures["stages"]}
    assert list(stages) == ["load", "trunk", "dense", "score", "crops", "other"]
    assert sum(stages.values()) == pytest.approx(figures["seconds"], abs=0.001)
    assert stages["other"] > 0.005
    assert [s["name"] for s in figures["stages"] if s["forward"]] == ["trunk", "dense", "crops"]
    # Score and what no stage measures over the windows' passes: neither loading, text nor crops.
    rest = stages["score"] + stages["other"]
    assert figures["overhead_ratio"] == pytest.approx(rest / 0.04, rel=0.01)
    # 17 ms with the word's text after 52 ms, or 72 ms with crops; a busy machine adds to both.
    assert 0 < figures["changed_word_ratio"] < 0.9
    assert 0 < figures["changed_word_ratio_ambiguity"] < 0.9
    assert (figures["crops"], figures["crops_seconds"], figures["windows"]) == (12, 0.02, 6)
    assert (figures["classes"], figures["size"]) == (25, [64, 96])


def test_every_changed_run_has_a_word_that_none_before_had():
    engine = Sleepy()
    job = Job(speed.vocabulary_of((), 5), "freecp", "sclip", "vitb16-shape", precision="bfloat16")
    speed.measure(engine, job, (64, 64), repeats=2)
    assert len(engine.jobs) == 1 + 2 * 2 * 2
    # The first run warms up, and it does so with the job itself: its models, its precision.
    assert engine.jobs[0] == job
    assert {(j.precision, j.models) for j in engine.jobs} == {("bfloat16", "vitb16-shape")}
    changed = [set(j.vocabulary.names) - set(job.vocabulary.names) for j in engine.jobs[2::2]]
    assert all(len(words) == 1 for words in changed)
    assert len(set.union(*changed)) == 4
    assert [j.freecp.ambiguity for j in engine.jobs] == [True, *[False] * 4, *[True] * 4]


def test_a_word_that_was_known_is_no_measurement():
    job = Job(speed.vocabulary_of((), 3), "base", "sclip", "vitb16-shape")
    with pytest.raises(JobError, match="knew the new word 'wall'"):
        speed.measure(Sleepy(knows_all=True), job, (64, 64))


def test_new_words_are_real_class_names_that_the_vocabulary_lacks():
    ours = load("coco_stuff").names
    words = [word for word, _ in zip(speed.new_words(ours), range(200), strict=False)]
    assert len(set(words)) == 200
    assert not set(words) & set(ours)
    theirs = load("ade20k").names
    assert words[0] in theirs
    assert words[-1] not in theirs


def test_the_bench_keeps_words_in_memory_only(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    engine = speed.fresh_engine("cpu")
    assert engine._words._folder is None
    assert engine._words is not speed.fresh_engine("cpu")._words


def test_the_ratio_counts_the_text_of_the_changed_run_only():
    def timed(seconds, **stages):
        return speed.Timed(seconds, tuple(StageTime(n, s, True) for n, s in stages.items()), 0, 1)

    first, changed = timed(5.0, load=1.0, text=2.0), timed(1.5, load=0.5, text=0.8)
    assert speed._ratio([changed], [first]) == pytest.approx(1.0 / 2.0)


def test_figures_of_a_base_know_no_crops():
    job = Job(speed.vocabulary_of((), 3), "base", "sclip", "vitb16-shape")
    figures = speed.measure(Sleepy(), job, (64, 64))
    assert "crops" not in figures
    assert "changed_word_ratio_ambiguity" not in figures
    plain = Job(job.vocabulary, "freecp", freecp=FreeCP(ambiguity=False))
    assert "crops" not in speed.measure(Sleepy(), plain, (64, 64))


@pytest.mark.parametrize("check", ["memory_of_a_run", "memory_of_a_block"])
def test_peak_memory(check):
    """In a process of its own: where others freed much before, what is taken is no growth."""
    code = f"import sys; sys.path[:0] = {sys.path!r}; import test_speed; test_speed.{check}()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def memory_of_a_run():
    """Over the loaded model, and with the windows."""
    job = Job(speed.vocabulary_of((), 3), "base", "sclip", "vitb16-shape")
    engine = Sleepy()
    peak = speed.memory_run(engine, job, np.zeros((64, 64, 3), np.uint8))
    assert engine.model is not None
    assert 0.8 * WINDOWS < peak < 0.7 * MODEL


def memory_of_a_block():
    """A short allocation is seen."""
    with speed.peak_memory("cpu") as peak:
        block = np.ones(40_000_000, np.uint8)
        time.sleep(0.05)
        del block
    assert peak.bytes > 30_000_000


def test_words_are_made_up_where_the_list_ends():
    assert speed.vocabulary_of(("a", "b"), 3).names == ("a", "b", "word 3")
    assert speed.vocabulary_of(("a", "b"), 1).names == ("a",)
    with pytest.raises(JobError, match="At least one class"):
        speed.vocabulary_of(("a",), 0)
