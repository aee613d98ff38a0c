"""An engine without models, for the worker process: labels an image by its brightness."""

import os
import time
from collections.abc import Callable, Generator
from typing import Any

import numpy as np

from napari_prelabel.values.errors import Cancelled
from napari_prelabel.values.job import Job, Progress
from napari_prelabel.values.labels import LabelMap

WINDOWS = 8


class FakeEngine:
    """Takes PRELABEL_FAKE_SECONDS a run; a class named "die" kills the process in mid-run."""

    def __init__(self, device: str = "auto", cache: int | None = None) -> None:
        """What the Preferences say of the real one; there is nothing to compute or to keep here."""

    def run(
        self, job: Job, image: Any, cancelled: Callable[[], bool]
    ) -> Generator[Progress, None, LabelMap]:
        pause = float(os.environ.get("PRELABEL_FAKE_SECONDS", "0.2")) / WINDOWS
        for window in range(WINDOWS):
            if cancelled():
                raise Cancelled
            if window == WINDOWS // 2 and job.vocabulary.find("die"):
                os.kill(os.getpid(), 9)
            yield Progress("encode", window, WINDOWS, (WINDOWS - window) * pause)
            time.sleep(pause)
        return labels_of(job, np.asarray(image))


def labels_of(job: Job, image: Any) -> LabelMap:
    """Class i + 1 where the brightness lies in the i-th of equal bands; score 1 / (i + 1)."""
    y0, x0, y1, x1 = job.region or (0, 0, *image.shape[:2])
    grey = image[y0:y1, x0:x1].mean(2)
    n = len(job.vocabulary.classes)
    ids = np.minimum(grey * n / 256, n - 1).astype(np.uint16) + np.uint16(1)
    score = (1.0 / ids).astype(np.float16)
    runner_up = np.where(ids > 1, ids - 1, 0).astype(np.uint16)
    if job.vocabulary.find("nothing"):
        ids = np.zeros_like(ids)
    notices = ("A notice of the engine.",) if job.vocabulary.find("notice") else ()
    return LabelMap(
        ids, score, runner_up, job.vocabulary, (y0, x0), notices, {"method": job.method}
    )
