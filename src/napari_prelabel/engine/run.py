"""ImageEngine: one job on one image. engine.py gives it tasks; all callers come through there.

The walk of a run: take the part of the image, let the method's labeller see it and label it by the
job's words, and say how it was done.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import __version__
from ..models.memory import is_out_of_memory
from ..values.errors import ImageError, OutOfMemory
from ..values.job import Job, Progress
from ..values.labels import LabelMap
from ..values.methods import METHODS
from .labellers import labelled
from .models import Models
from .timing import StageTime, Stopwatch
from .workbench import Workbench

Steps = Generator[Progress, None, LabelMap]


class ImageEngine(Models):
    """Runs jobs; models and what they saw are kept between runs.

    timings : the stages of the last run.
    """

    timings: Sequence[StageTime] = ()

    def run(
        self,
        job: Job,
        image: npt.NDArray[np.uint8],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Steps:
        """Segment an image; yields Progress, returns the LabelMap.

        image : (H, W, 3) uint8 RGB, see `pixels.to_rgb`; only `job.region` of it is looked at.
        cancelled : asked between batches of windows.

        Where memory does not suffice, models that this run does not use leave, and it begins again.

        Raises ImageError, JobError, ModelError, OutOfMemory, Cancelled.
        """
        watch = Stopwatch(self._device)
        self.shelf.begin()
        try:
            try:
                return (yield from self._run(job, image, cancelled, watch))
            except Exception as error:
                if not is_out_of_memory(error) or not self.shelf.let_go_unused():
                    raise
            return (yield from self._run(job, image, cancelled, watch))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(self.device, "one batch of windows at a time") from error
        finally:
            self.timings = watch.stages

    def _run(
        self,
        job: Job,
        image: npt.NDArray[np.uint8],
        cancelled: Callable[[], bool],
        watch: Stopwatch,
    ) -> Steps:
        part, corner = _region(image, job)
        bench = Workbench(part, corner, image, self, watch, cancelled)
        labels = yield from labelled(job, bench)
        made: dict[str, Any] = {
            "method": job.method,
            "job_digest": job.digest,
            "vocabulary_digest": job.vocabulary.digest,
            "device": self.device,
            "precision": job.precision,
            "region": list(job.region) if job.region else None,
            "versions": dict(_versions()),
        }
        if package := METHODS[job.method].package:
            made["package"] = package
        return replace(labels, origin=corner, record={**made, **labels.record})


def _region(
    image: npt.NDArray[np.uint8], job: Job
) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ImageError(
            f"The engine takes (H, W, 3) uint8 pixels, not {image.shape} {image.dtype}: "
            "convert them with pixels.to_rgb."
        )
    if image.size == 0:
        raise ImageError(f"The image is empty ({image.shape[0]} x {image.shape[1]}).")
    if job.region is None:
        return image, (0, 0)
    y0, x0, y1, x1 = job.region
    part = image[y0:y1, x0:x1]
    if part.size == 0:
        raise ImageError(
            f"The region {job.region} lies outside the image of {image.shape[0]} x "
            f"{image.shape[1]} pixels: draw it anew."
        )
    return part, (y0, x0)


@lru_cache(maxsize=1)
def _versions() -> Mapping[str, str]:
    return {
        "napari-prelabel": __version__,
        "torch": version("torch"),
        "open_clip_torch": version("open_clip_torch"),
    }
