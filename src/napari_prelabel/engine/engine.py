"""The engine with its tasks. TASKS: what is done for each kind; every function yields Progress."""

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Any

import numpy as np

from ..images.rgb import content_hash
from ..models.memory import is_out_of_memory
from ..values.errors import ImageError, OutOfMemory
from ..values.job import Progress
from .evaluation import evaluate
from .learn import clean, learn
from .learn_captions import learn_captions
from .run import ImageEngine
from .scribble import read_image, scribble
from .tasks import (
    Clean,
    Evaluate,
    Explain,
    Explanation,
    Learn,
    LearnCaptions,
    ReadImage,
    Scribble,
    Task,
)
from .timing import Stopwatch

Cancelled = Callable[[], bool]
Doing = Generator[Progress, None, Any]


def explain(
    engine: ImageEngine, task: Explain, cancelled: Cancelled, watch: Stopwatch
) -> Generator[Progress, None, Explanation]:
    """Which references caused a label; on what the run before encoded."""
    del cancelled
    image, (y, x) = task.image, task.point
    size = (image.shape[0], image.shape[1])
    top, left, bottom, right = task.job.region or (0, 0, *size)
    if not (0 <= y < size[0] and 0 <= x < size[1]):
        raise ImageError(f"The point ({y}, {x}) lies outside the image: click on the image.")
    if not (top <= y < bottom and left <= x < right):
        raise ImageError(f"The point ({y}, {x}) was not labelled: click inside the region.")
    part = image[top:bottom, left:right]
    found: Explanation = yield from engine.retriever(task.job, watch).explain(
        part,
        content_hash(part),
        task.job.vocabulary,
        task.job.reme,
        (y - top, x - left),
        task.count,
        (content_hash(image),),
        ((top, left), size),
    )
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = found.mask
    return replace(found, mask=mask)


TASKS: dict[type, Callable[[ImageEngine, Any, Cancelled, Stopwatch], Doing]] = {
    Learn: learn,
    LearnCaptions: learn_captions,
    Clean: clean,
    Evaluate: evaluate,
    Explain: explain,
    ReadImage: read_image,
    Scribble: scribble,
}


class Engine(ImageEngine):
    """Labels images (`run`) and does the tasks of engine.tasks (`do`)."""

    def do(self, task: Task, cancelled: Cancelled = lambda: False) -> Doing:
        """Do a task; yields Progress, returns its answer.

        cancelled : asked between images, or parts of one.

        Raises what the task's function tells, OutOfMemory and Cancelled.
        """
        watch = Stopwatch(self._device)
        try:
            return (yield from TASKS[type(task)](self, task, cancelled, watch))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(self.device, "one image at a time") from error
