"""Scribble-to-object in the worker: the image is read once, then every preview is one walk.

Pixels travel once. A preview names them by their content hash and brings only the box around its
strokes; a worker that was started anew says so, and is sent them again.
"""

from collections.abc import Callable, Generator

import numpy as np
from scipy import ndimage

from ..images.rgb import content_hash
from ..methods.scribble import carry
from ..models.catalog import bundle_of
from ..values.errors import Cancelled, ImageError
from ..values.job import Progress
from .run import ImageEngine
from .tasks import ImageRead, ReadImage, Scribble, Scribbled, Unread
from .timing import Stopwatch


def read_image(
    engine: ImageEngine, task: ReadImage, cancelled: Callable[[], bool], watch: Stopwatch
) -> Generator[Progress, None, ImageRead]:
    """Keep an image and its graph; a graph that a run of NERVE made is taken as it is.

    Raises JobError for models without diffusion, ModelError when it is not installed, Cancelled.
    """
    yield Progress("models", 0, 1)
    affinities = engine.affinities(bundle_of(task.models), task.precision, watch)
    if cancelled():
        raise Cancelled
    yield Progress("diffusion", 0, 1)
    name = content_hash(task.image)
    affinities.keep(task.image, name)
    affinities.graph(task.image, name, task.nerve)
    return ImageRead(name)


def scribble(
    engine: ImageEngine, task: Scribble, cancelled: Callable[[], bool], watch: Stopwatch
) -> Generator[Progress, None, Scribbled | Unread]:
    """The objects under the strokes, in the strokes' own box.

    Raises ImageError when the box does not lie in the image.
    """
    yield Progress("walk", 0, 1)
    if cancelled():
        raise Cancelled
    affinities = engine.affinities(bundle_of(task.models), task.precision, watch)
    image = affinities.kept(task.name)
    if image is None:
        return Unread(task.name)
    (y, x), (h, w) = task.corner, task.strokes.shape
    box = slice(y, y + h), slice(x, x + w)
    size = image.shape[:2]
    if min(y, x) < 0 or y + h > size[0] or x + w > size[1] or task.locked.shape != (h, w):
        raise ImageError(
            f"Strokes of {h} x {w} pixels at ({y}, {x}) do not lie in the image of {size[0]} x "
            f"{size[1]}: scribble on the image that was read."
        )
    graph = affinities.graph(image, task.name, task.nerve)
    ids = carry(
        task.strokes, graph, radius=task.radius, corner=task.corner, size=(size[0], size[1]),
        locked=task.locked, image=image[box],
    )  # fmt: skip
    reach = np.zeros((h, w), np.bool_)
    if task.strokes.any():
        reach = ndimage.distance_transform_edt(task.strokes == 0) <= task.radius
    return Scribbled(ids, reach)
