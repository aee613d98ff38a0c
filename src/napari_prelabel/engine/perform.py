"""TASKS: what the worker does for each kind of task; every function yields Progress."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from ..errors import ImageError
from ..job import Progress
from ..pixels import content_hash
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
    y, x = task.point
    if not (0 <= y < task.image.shape[0] and 0 <= x < task.image.shape[1]):
        raise ImageError(f"The point ({y}, {x}) lies outside the image: click on the image.")
    retriever = engine.retriever(task.job, watch)
    return (
        yield from retriever.explain(
            task.image,
            content_hash(task.image),
            task.job.vocabulary,
            task.job.reme,
            task.point,
            task.count,
        )
    )


TASKS: dict[type, Callable[["Engine", Any, Cancelled, Stopwatch], Doing]] = {
    Learn: learn,
    LearnCaptions: learn_captions,
    Clean: clean,
    Evaluate: evaluate,
    Explain: explain,
    ReadImage: read_image,
    Scribble: scribble,
}
