"""The benchmark itself, on an engine that sleeps."""

import time

import numpy as np
import pytest

from napari_prelabel.bench import speed
from napari_prelabel.engine.timing import StageTime
from napari_prelabel.errors import JobError
from napari_prelabel.job import FreeCP, Job, Progress
from napari_prelabel.labels import LabelMap
from napari_prelabel.presets import load


class Sleepy:
    """Takes 40 ms for an image it has not seen, 4 ms for one it has, more with ambiguity."""

    device = "cpu"

    def __init__(self):
        self.seen, self.words, self.timings = set(), [], []

    def run(self, job, image):
        key = image.tobytes()
        purify = job.method == "freecp" and job.freecp.ambiguity
        seconds = 0.004 if (key, purify) in self.seen else 0.04
        self.seen.add((key, purify))
        self.words.append(job.vocabulary.names)
        yield Progress("encode", 0, 6)
        if purify:
            yield Progress("purify", 0, 1)
            yield Progress("purify", 0, 12)
        time.sleep(seconds)
        self.timings = [
            StageTime("load", 3.0, False),
            StageTime("trunk", 0.03, True),
            StageTime("score", 0.002, False),
            StageTime("crops", 0.02 if purify else 0.0, True),
            StageTime("decide", 0.001, False),
        ]
        ids = np.ones(image.shape[:2], np.uint16)
        ones = np.ones(ids.shape, np.float16)
        return LabelMap(ids, ones, np.zeros_like(ids), job.vocabulary, provenance={"windows": 6})


def test_figures_of_freecp():
    engine = Sleepy()
    job = Job(speed.vocabulary_of(load("voc20").names, 25), "freecp", "sclip", "vitb16-shape")
    figures = speed.measure(engine, job, (64, 96), repeats=3)
    assert {"stages", "overhead_ratio", "changed_word_ratio", "peak_mb"} <= set(figures)
    assert figures["stages"] == [
        {"name": "trunk", "seconds": 0.03, "forward": True},
        {"name": "score", "seconds": 0.002, "forward": False},
        {"name": "crops", "seconds": 0.02, "forward": True},
        {"name": "decide", "seconds": 0.001, "forward": False},
    ]
    # Crops are passes through CLIP, but the windows' passes alone are the measure.
    assert figures["overhead_ratio"] == pytest.approx(0.1)
    assert 0.02 < figures["changed_word_ratio"] < 0.5
    assert 0.02 < figures["changed_word_ratio_ambiguity"] < 0.5
    assert (figures["crops"], figures["crops_seconds"], figures["windows"]) == (12, 0.02, 6)
    assert (figures["classes"], figures["size"]) == (25, [64, 96])
    assert len(engine.words) == 1 + 1 + 2 * 3 * 2
    new = [set(b) - set(a) for a, b in zip(engine.words[2::2], engine.words[3::2], strict=True)]
    assert all(len(words) == 1 for words in new)


def test_figures_of_a_base_know_no_crops():
    job = Job(speed.vocabulary_of((), 3), "base", "sclip", "vitb16-shape")
    figures = speed.measure(Sleepy(), job, (64, 64))
    assert "crops" not in figures
    assert "changed_word_ratio_ambiguity" not in figures
    plain = Job(job.vocabulary, "freecp", freecp=FreeCP(ambiguity=False))
    assert "crops" not in speed.measure(Sleepy(), plain, (64, 64))


def test_peak_memory_sees_a_short_allocation():
    with speed.peak_memory("cpu") as peak:
        block = np.ones(40_000_000, np.uint8)
        end = time.monotonic() + 30
        while peak.bytes < 30_000_000 and time.monotonic() < end:
            time.sleep(0.005)
        assert block.any()
    assert peak.bytes >= 30_000_000


def test_words_are_made_up_where_the_list_ends():
    assert speed.vocabulary_of(("a", "b"), 3).names == ("a", "b", "word 3")
    assert speed.vocabulary_of(("a", "b"), 1).names == ("a",)
    with pytest.raises(JobError, match="At least one class"):
        speed.vocabulary_of(("a",), 0)
