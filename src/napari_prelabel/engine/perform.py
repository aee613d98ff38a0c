"""TASKS: what the worker does for each kind of task; every function yields Progress."""

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..images.rgb import content_hash
from ..values.errors import ImageError
from ..values.job import Progress
from .evaluation import evaluate
from .learn import clean, learn
from .learn_captions import learn_captions
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
)
from .timing import Stopwatch

if TYPE_CHECKING:
    from .run import Engine

Cancelled = Callable[[], bool]
Doing = Generator[Progress, None, Any]


def explain(
    engine: "Engine", task: Explain, cancelled: Cancelled, watch: Stopwatch
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
    found = yield from engine.retriever(task.job, watch).explain(
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


TASKS: dict[type, Callable[["Engine", Any, Cancelled, Stopwatch], Doing]] = {
    Learn: learn,
    LearnCaptions: learn_captions,
    Clean: clean,
    Evaluate: evaluate,
    Explain: explain,
    ReadImage: read_image,
    Scribble: scribble,
}
