"""Where the seconds and the memory of a run go, on models of the true shape."""

import gc
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, count
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import torch

from napari_prelabel.engine.cache import Encodings
from napari_prelabel.engine.engine import Engine
from napari_prelabel.engine.timing import StageTime
from napari_prelabel.values import presets
from napari_prelabel.values.errors import JobError
from napari_prelabel.values.job import Job
from napari_prelabel.values.steps import finish
from napari_prelabel.values.vocabulary import Class, Vocabulary

from .synthetic.scenes import scene, split_seeds

Image = npt.NDArray[np.uint8]
_EVERY = 0.004
_OTHER = "other"
# Passes through the models that every run needs, and those that depend on the words.
_WINDOWS = ("trunk", "dense", "diffusion")
_BESIDE = ("load", "text", "crops")


@dataclass(frozen=True, slots=True)
class Timed:
    """One run: wall seconds, the stages they went to, and how much there was to look at."""

    seconds: float
    stages: tuple[StageTime, ...]
    crops: int
    windows: int

    def took(self, *names: str) -> float:
        """Seconds of the stages of these names."""
        return sum(s.seconds for s in self.stages if s.name in names)


@dataclass(slots=True)
class Peak:
    """The most memory in use beyond what was in use at the start, in bytes."""

    device: str
    bytes: int = 0
    _start: int = 0
    _done: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats(self.device)
            self._start = torch.cuda.memory_allocated(self.device)
        else:
            self._start = psutil.Process().memory_info().rss

    def watch(self) -> None:
        """Sample resident memory until done; on CUDA the allocator itself keeps the record."""
        if self.device.startswith("cuda"):
            self._done.wait()
            self.bytes = torch.cuda.max_memory_allocated(self.device) - self._start
            return
        process = psutil.Process()
        while not self._done.wait(_EVERY):
            self.bytes = max(self.bytes, process.memory_info().rss - self._start)

    def stop(self) -> None:
        self._done.set()


def fresh_engine(device: str = "auto") -> Engine:
    """An engine that has seen nothing: its words are kept in memory only, so a new one is new."""
    return Engine(device, words=Encodings(64 << 20))


def measure(
    engine: Engine, job: Job, size: tuple[int, int], *, repeats: int = 1, seed: int = 0
) -> dict[str, Any]:
    """Time runs on fresh images with the text encoded before, then with one word changed.

    engine : see `fresh_engine`; a word that it kept on disk would cost nothing.
    job : with FreeCP, it is run with ambiguity purification and without.
    size : (height, width) of the drawn images.
    repeats : images per figure; the middle one counts.

    The first run is not timed: it warms up, encodes the text and measures the memory. Returns
    plain JSON values: the stages of a complete run (`forward` marks passes through CLIP), which
    with "other" sum to its wall time `seconds`; overhead_ratio (what is neither a pass, text nor
    loading, over the passes of the windows), changed_word_ratio (a run with one word changed,
    its text included, over the run before it, without ambiguity purification),
    changed_word_ratio_ambiguity (with it), peak_mb over the loaded model, the number and seconds
    of the crops, and for NERVE added_peak_mb, the memory of all but the models' passes.
    docs/benchmarks.md defines the figures.

    Raises JobError when the engine knew a changed word.
    """
    images = (scene(s, "test", size).image for s in iter(split_seeds("test")[seed:]))
    plain = replace(job, freecp=replace(job.freecp, ambiguity=False))
    words = new_words(job.vocabulary.names)
    if job.method == "nerve":  # its diffusion model is loaded in mid-run
        run_once(engine, job, next(images))
    image = next(images)
    peak = memory_run(engine, job, image)
    added = _added_memory(engine, job, image) if job.method == "nerve" else None
    first, changed = _pairs(engine, plain, images, repeats, words)
    full, full_changed = first, changed
    if job.method == "freecp" and job.freecp.ambiguity:
        full, full_changed = _pairs(engine, job, images, repeats, words)
    run = _middle(full)
    rest = run.seconds - run.took(*_WINDOWS, *_BESIDE)
    figures: dict[str, Any] = {
        "stages": [
            {"name": s.name, "seconds": round(s.seconds, 4), "forward": s.forward}
            for s in run.stages
        ],
        "overhead_ratio": round(rest / run.took(*_WINDOWS), 4),
        "changed_word_ratio": _ratio(changed, first),
        "peak_mb": round(peak / 1e6, 1),
        "seconds": round(run.seconds, 4),
        "windows": run.windows,
    }
    if added is not None:
        figures["added_peak_mb"] = round(added / 1e6, 1)
    if full is not first:
        figures |= {
            "changed_word_ratio_ambiguity": _ratio(full_changed, full),
            "crops": run.crops,
            "crops_seconds": round(run.took("crops"), 3),
        }
    return figures | _setting(engine, job, size, repeats)


def _added_memory(engine: Engine, job: Job, image: Image) -> int:
    """Bytes that NERVE's graph, walk and decision need at their peak, the passes being known."""
    other = replace(job, nerve=replace(job.nerve, temperature=2 * job.nerve.temperature))
    with peak_memory(engine.device) as peak:
        run_once(engine, other, image)
    return peak.bytes


def _setting(engine: Engine, job: Job, size: tuple[int, int], repeats: int) -> dict[str, Any]:
    return {
        "method": job.method,
        "base": job.base,
        "models": job.models,
        "classes": len(job.vocabulary.classes),
        "size": list(size),
        "device": engine.device,
        "threads": torch.get_num_threads(),
        "precision": job.precision,
        "repeats": repeats,
    }


def _pairs(
    engine: Engine, job: Job, images: Iterator[Image], repeats: int, words: Iterator[str]
) -> tuple[list[Timed], list[Timed]]:
    """Runs on fresh images, and the runs after them with one word changed."""
    first, changed = [], []
    for _ in range(repeats):
        image, word = next(images), next(words)
        first.append(run_once(engine, job, image))
        changed.append(run_once(engine, _with_word(job, word), image))
        if not changed[-1].took("text"):
            raise JobError(
                "vocabulary",
                f"The engine knew the new word {word!r}: measure with speed.fresh_engine().",
            )
    return first, changed


def _with_word(job: Job, word: str) -> Job:
    """The job with another name for its middle class."""
    classes = list(job.vocabulary.classes)
    middle = len(classes) // 2
    classes[middle] = replace(classes[middle], name=word, descriptions=())
    return replace(job, vocabulary=Vocabulary(tuple(classes), job.vocabulary.background))


def run_once(engine: Engine, job: Job, image: Image) -> Timed:
    """Run a job to its end and time it; what no stage took is the stage "other"."""
    start = time.perf_counter()
    labels = finish(engine.run(job, image))
    seconds = time.perf_counter() - start
    stages = list(engine.timings)
    stages.append(StageTime(_OTHER, seconds - sum(s.seconds for s in stages), False))
    told = labels.record
    return Timed(seconds, tuple(stages), int(told.get("crops", 0)), int(told["windows"]))


def memory_run(engine: Engine, job: Job, image: Image) -> int:
    """Bytes that a run needs at its peak over the loaded model; text and windows count."""
    steps = engine.run(job, image)
    # The first step after "models" comes when the model is loaded and nothing is encoded.
    while next(steps).stage == "models":
        pass
    with peak_memory(engine.device) as peak:
        for _ in steps:
            pass
    return peak.bytes


@contextmanager
def peak_memory(device: str) -> Iterator[Peak]:
    """Watch memory while the block runs, over what is in use as it begins."""
    gc.collect()  # what earlier runs left must not go away while this one grows
    peak = Peak(device)
    watcher = threading.Thread(target=peak.watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        peak.stop()
        watcher.join()


def vocabulary_of(words: Sequence[str], size: int) -> Vocabulary:
    """`size` classes: the words, then made-up ones; JobError for a size below 1."""
    if size < 1:
        raise JobError("vocabulary", f"At least one class is needed, not {size}.")
    names = [*words[:size], *(f"word {n}" for n in range(len(words) + 1, size + 1))]
    return Vocabulary(tuple(Class(i, name) for i, name in enumerate(names, start=1)))


def new_words(known: Sequence[str]) -> Iterator[str]:
    """Class names of ADE20K that are not known, then made-up ones: what a person might type."""
    names = (word for word in presets.load("ade20k").names if word not in known)
    return chain(names, (f"new word {n}" for n in count(1)))


def _middle(runs: Sequence[Timed]) -> Timed:
    return sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]


def _ratio(after: Sequence[Timed], before: Sequence[Timed]) -> float:
    """Middle seconds of runs with a new word, text included, over those with all text known."""
    top = statistics.median(run.seconds - run.took("load") for run in after)
    bottom = statistics.median(run.seconds - run.took("load", "text") for run in before)
    return round(top / bottom, 4)
