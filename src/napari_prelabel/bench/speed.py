"""Where the seconds and the memory of a run go, on models of the true shape."""

import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
import torch

from ..engine.run import Engine
from ..engine.timing import StageTime
from ..errors import JobError
from ..job import Job
from ..synthetic.scenes import scene, split_seeds
from ..vocabulary import Class, Vocabulary

Image = npt.NDArray[np.uint8]
_EVERY = 0.004
_LOAD = "load"
_CROPS = "crops"


@dataclass(frozen=True, slots=True)
class Timed:
    """One run: its seconds, stages and how many crops ambiguity purification looked at."""

    seconds: float
    stages: tuple[StageTime, ...]
    crops: int
    windows: int


@dataclass(slots=True)
class Peak:
    """The most memory in use beyond what was in use at the start, in bytes."""

    bytes: int = 0
    _done: threading.Event = field(default_factory=threading.Event)

    def watch(self, start: int) -> None:
        """Sample resident memory until done, `start` bytes being the beginning."""
        process = psutil.Process()
        while not self._done.wait(_EVERY):
            self.bytes = max(self.bytes, process.memory_info().rss - start)


def measure(
    engine: Engine, job: Job, size: tuple[int, int], *, repeats: int = 1, seed: int = 0
) -> dict[str, Any]:
    """Time runs on fresh images with the text encoded before, then with one word changed.

    job : with FreeCP, it is run with ambiguity purification and without.
    size : (height, width) of the drawn images.
    repeats : images per figure; the middle one counts.

    Returns plain JSON values: the stages of a complete run (`forward` marks passes through
    CLIP), overhead_ratio (everything but passes, over the passes of the windows alone),
    changed_word_ratio (a run with one word changed over the first one, without ambiguity
    purification), changed_word_ratio_ambiguity (with it), peak_mb over the loaded model, and
    the number and seconds of the crops.
    """
    seeds = iter(split_seeds("test")[seed:])
    images = (scene(s, "test", size).image for s in seeds)
    plain = replace(job, freecp=replace(job.freecp, ambiguity=False))
    run_once(engine, Job(Vocabulary((Class(1, "warm"),)), "base", "maskclip", job.models), _SMALL)
    with peak_memory(engine.device) as peak:
        run_once(engine, plain, next(images))
        first, changed = _pairs(engine, plain, images, repeats)
        full, full_changed = first, changed
        if job.method == "freecp" and job.freecp.ambiguity:
            full, full_changed = _pairs(engine, job, images, repeats)
    run = _middle(full)
    stages = [s for s in run.stages if s.name != _LOAD]
    passes = sum(s.seconds for s in stages if s.forward and s.name != _CROPS)
    rest = sum(s.seconds for s in stages if not s.forward)
    figures: dict[str, Any] = {
        "stages": [
            {"name": s.name, "seconds": round(s.seconds, 4), "forward": s.forward} for s in stages
        ],
        "overhead_ratio": round(rest / passes, 4),
        "changed_word_ratio": _ratio(changed, first),
        "peak_mb": round(peak.bytes / 1e6, 1),
        "seconds": round(run.seconds, 3),
        "windows": run.windows,
    }
    if full is not first:
        figures |= {
            "changed_word_ratio_ambiguity": _ratio(full_changed, full),
            "crops": run.crops,
            "crops_seconds": round(sum(s.seconds for s in stages if s.name == _CROPS), 3),
        }
    return figures | _setting(engine, job, size, repeats)


_SMALL = np.zeros((64, 64, 3), np.uint8)


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
    engine: Engine, job: Job, images: Iterator[Image], repeats: int
) -> tuple[list[Timed], list[Timed]]:
    """Runs on fresh images, and the runs after them with one word changed."""
    first, changed = [], []
    for number in range(repeats):
        image = next(images)
        first.append(run_once(engine, job, image))
        changed.append(run_once(engine, _with_new_word(job, number), image))
    return first, changed


def _with_new_word(job: Job, number: int) -> Job:
    """The job with another name for its middle class; no run before had that word."""
    classes = list(job.vocabulary.classes)
    middle = len(classes) // 2
    classes[middle] = replace(classes[middle], name=f"glacier number {number}", descriptions=())
    return replace(job, vocabulary=Vocabulary(tuple(classes), job.vocabulary.background))


def run_once(engine: Engine, job: Job, image: Image) -> Timed:
    """Run a job to its end and time it."""
    asked: list[int] = []
    start = time.perf_counter()
    steps = engine.run(job, image)
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            seconds = time.perf_counter() - start
            windows = int(end.value.provenance["windows"])
            # The first step of purification announces it, before its crops are known.
            return Timed(seconds, tuple(engine.timings), max(asked[1:], default=0), windows)
        if progress.stage == "purify":
            asked.append(progress.total)


@contextmanager
def peak_memory(device: str) -> Iterator[Peak]:
    """Watch memory while the block runs; on CUDA the allocator itself keeps the record."""
    peak = Peak()
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        peak.bytes = torch.cuda.max_memory_allocated(device) - before
        return
    start = psutil.Process().memory_info().rss
    watcher = threading.Thread(target=peak.watch, args=(start,), daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        peak._done.set()
        watcher.join()


def vocabulary_of(words: Sequence[str], count: int) -> Vocabulary:
    """`count` classes: the words, then made-up ones; JobError for a count below 1."""
    if count < 1:
        raise JobError("vocabulary", f"At least one class is needed, not {count}.")
    names = [*words[:count], *(f"word {n}" for n in range(len(words) + 1, count + 1))]
    return Vocabulary(tuple(Class(i, name) for i, name in enumerate(names, start=1)))


def _middle(runs: Sequence[Timed]) -> Timed:
    return sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]


def _ratio(after: Sequence[Timed], before: Sequence[Timed]) -> float:
    top, bottom = (statistics.median(r.seconds for r in runs) for runs in (after, before))
    return round(top / bottom, 4)
