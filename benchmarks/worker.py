"""The way to the worker and back, and what it costs the thread that a window would live in.

A worker with an engine that computes nothing takes 3 MiB of pixels and gives 1 MiB of labels. The
heart beats every 5 ms in the main thread meanwhile, as a window's timer would.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from napari_prelabel.values.job import Job, Progress
from napari_prelabel.values.labels import LabelMap
from napari_prelabel.values.vocabulary import Vocabulary
from napari_prelabel.worker.pool import Pool

ROOT = Path(__file__).parents[1]
BEAT = 0.005
PIXELS = (1024, 1024, 3)
# Six bytes a pixel: ids, score, second best.
LABELS = (512, 342)


class Echo:
    """An engine that answers at once with labels of a fixed size, after as many steps as asked."""

    device = "none"

    def run(
        self, job: Job, image: npt.NDArray[np.uint8], cancelled: Callable[[], bool]
    ) -> Generator[Progress, None, LabelMap]:
        """The first word is the number of steps of 10 ms that a run takes."""
        steps = int(job.vocabulary.names[0])
        for step in range(steps):
            yield Progress("encode", step, steps)
            time.sleep(0.01)
            if cancelled():
                break
        ids = np.full(LABELS, int(image[-1, -1, 0]) % 2, np.uint16)
        return LabelMap(ids, ids.astype(np.float16), ids.copy(), job.vocabulary)


class Heart:
    """Beats in the calling thread while something is awaited."""

    def __init__(self) -> None:
        self.gaps: list[float] = []

    def wait(self, done: Callable[[], bool], seconds: float = 120.0) -> None:
        """Beat until `done`; raises TimeoutError."""
        last = time.perf_counter()
        end = last + seconds
        while not done():
            if last > end:
                raise TimeoutError("the worker did not answer")
            time.sleep(BEAT)
            now = time.perf_counter()
            self.gaps.append(now - last)
            last = now

    def figures(self) -> dict[str, float]:
        """Milliseconds between two beats: the longest, and the 99th percentile."""
        gaps = np.array(self.gaps) * 1000
        return {"longest": float(gaps.max()), "p99": float(np.percentile(gaps, 99))}


def measure(
    repeats: int, address: str | None = None, credentials: Path | None = None
) -> dict[str, Any]:
    """Milliseconds of a round trip, and the beats during the start, the trips and longer runs."""
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    image = np.random.default_rng(0).integers(0, 256, PIXELS, np.uint8)
    trip, run = (Job(Vocabulary.parse(word)) for word in ("0", "100"))
    start, trips, runs = Heart(), Heart(), Heart()
    took = []
    with Pool(address, credentials, engine="benchmarks.worker:Echo") as pool:
        began = time.perf_counter()
        first = pool.submit(trip, image)
        start.wait(first.done)
        first.result()
        started = time.perf_counter() - began
        for _ in range(repeats):
            began = time.perf_counter()
            pool.submit(trip, image).result(60)
            took.append(time.perf_counter() - began)
        for _ in range(repeats):
            trips.wait(pool.submit(trip, image).done)
        for _ in range(3):
            runs.wait(pool.submit(run, image, lambda _: None).done)
        threads = threading.active_count()
    middle, low, high = np.percentile(np.array(took) * 1000, [50, 10, 90])
    return {
        "round_trip_ms": float(middle),
        "round_trip_ms_10_to_90": [float(low), float(high)],
        "first_answer_seconds": started,
        "gaps_ms_at_the_start": start.figures(),
        "gaps_ms_in_round_trips": trips.figures(),
        "gaps_ms_in_runs": runs.figures(),
        "threads": threads,
    }
