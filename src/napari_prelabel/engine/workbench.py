"""Workbench: what lies before a labeller during one run."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..images.rgb import content_hash
from ..methods.walk import Graph
from ..models.catalog import Bundle
from ..values.job import Job, Progress
from .cache import Entry, cache_key
from .encode import Cancel, stop_if
from .models import Models
from .timing import Stopwatch


@dataclass(frozen=True, slots=True, eq=False)
class Workbench:
    """The image of a run, and what is at hand to label it.

    image : (H, W, 3) uint8 RGB, the part that is to be labelled.
    corner : (y, x) of the part in the whole image. whole : (H, W, 3) uint8, all of it.
    models : loads models, and keeps them between runs. watch : counts the seconds of stages.
    """

    image: npt.NDArray[np.uint8]
    corner: tuple[int, int]
    whole: npt.NDArray[np.uint8]
    models: Models
    watch: Stopwatch
    cancelled: Cancel

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the part."""
        return self.image.shape[0], self.image.shape[1]

    def stop(self) -> None:
        """Raise Cancelled where the person has stopped the run; asked every second or so."""
        stop_if(self.cancelled)

    def seen(self, make: Callable[[], Entry], *of: object) -> Entry:
        """Tensors that `make` gives for this image, made once and kept between runs.

        of : the method's name, and all but the pixels that decides them.
        """
        return self.models.cache.get(cache_key("seen", content_hash(self.image), *of), make)

    def graph(
        self, bundle: Bundle, job: Job
    ) -> Generator[Progress, None, tuple[Graph, Mapping[str, str]]]:
        """What the diffusion model sees as one thing, and what a record says of that model.

        Raises JobError for a bundle without a diffusion model.
        """
        yield Progress("diffusion", 0, 1)
        affinities = self.models.affinities(bundle, job.precision, self.watch)
        graph = affinities.graph(self.image, content_hash(self.image), job.nerve)
        return graph, {"diffusion": bundle.diffusion, "diffusion_digest": affinities.model.digest}
