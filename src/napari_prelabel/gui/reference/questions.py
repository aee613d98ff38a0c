"""What is asked of the worker, made from what the dock knows."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...values.errors import ImageError, JobError
from ...values.job import Job, Reference
from ..layers.images import LayerSource
from ..layers.result import ResultLayer
from .learn_box import Target
from .pairs import Pair, Taken, in_words_of, joined, reviewed, source_of
from .shelf import Overview
from .why import image_named

if TYPE_CHECKING:
    from ...engine.tasks import Evaluate, Explain, Learn, LearnCaptions
    from ...values.retrieval import Cleaning
Plane = tuple[int, ...]


class LearnQuestion:
    """What makes the task of learning from corrected images; reads them when it is called.

    faults : a sentence for each image that was left out, those that cannot be read included once
    the task is made; each begins with the image's name. notices : what masks are taken for.
    """

    def __init__(
        self,
        taken: Sequence[Taken],
        faults: Sequence[str],
        target: Target,
        cleaning: "Cleaning | None",
    ) -> None:
        self._taken, self._target, self._cleaning = taken, target, cleaning
        self.faults = list(faults)
        self.notices = [t.notice for t in taken if t.notice]

    def __call__(self) -> "Learn":
        from ...engine.tasks import Learn

        target = self._target
        pairs = tuple(reviewed(self._taken, self.faults))
        if not pairs and self.faults:
            raise ImageError(self.faults[0])
        return Learn(
            target.folder,
            target.encoder,
            pairs,
            target.name,
            target.text,
            target.author,
            target.licence,
            self._cleaning,
            target.position,
        )


class CaptionsQuestion:
    """What makes the task of learning from captions; reads their file when it is called.

    images : how many the file names; faults : a sentence for each line left out. Both are known
    once the task is made.
    """

    def __init__(self, file: Path, folder: Path, bundle: str, target: Target) -> None:
        self._file, self._folder, self._bundle, self._target = file, folder, bundle, target
        self.images = 0
        self.faults: tuple[str, ...] = ()

    def __call__(self) -> "LearnCaptions":
        from ...engine.tasks import LearnCaptions
        from ...reference.captions import read_captions

        sidecar, target = read_captions(self._file, self._folder), self._target
        self.images, self.faults = len(sidecar.images), sidecar.faults
        images = tuple(
            replace(one, author=one.author or target.author, licence=one.licence or target.licence)
            for one in sidecar.images
        )
        return LearnCaptions(
            target.folder,
            target.encoder,
            images,
            self._bundle,
            name=target.name,
            text=target.text,
            position=target.position,
        )


def evaluate_task(
    overview: Overview, taken: Sequence[Taken], base: Job | None, faults: list[str]
) -> "Evaluate":
    """Evaluate the open set on these images; reads them, so call it off the GUI thread.

    faults : takes a sentence for each image that cannot be read.
    base : a job whose settings are taken over, None for the standard ones.
    """
    from ...engine.tasks import Evaluate

    vocabulary = joined(t.vocabulary for t in taken)
    reference = Reference(str(overview.folder), overview.digest)
    job = Job(vocabulary, method="reme", reference=reference)
    if base is not None:
        job = replace(base, vocabulary=vocabulary, method="reme", reference=reference, region=None)
    pairs = tuple(in_words_of(item, vocabulary) for item in reviewed(taken, faults))
    if not pairs and faults:
        raise ImageError(faults[0])
    return Evaluate(str(overview.folder), pairs, job)


def explain_task(
    result: ResultLayer, plane: Plane, point: tuple[int, int], overview: Overview | None
) -> "tuple[Callable[[], Explain], Job]":
    """What makes the question about one place of a result, and the job that it is about.

    Raises JobError when the labels are not ReME's, ImageError when their image is closed.
    """
    job = _job_of(result)
    source = _source_of(result)
    if job.reference is not None:
        # What was switched since the run counts at once.
        known = overview is not None and str(overview.folder) == job.reference.folder
        digest = overview.digest if overview is not None and known else ""
        job = replace(job, reference=Reference(job.reference.folder, digest))
    asked = job

    def make() -> "Explain":
        from ...engine.tasks import Explain

        return Explain(asked, source.plane(plane), point)

    return make, job


def _job_of(result: ResultLayer) -> Job:
    told = result.annotation.facts.get("job")
    if not told or told.get("method") != "reme":
        raise JobError(
            "method",
            "These labels were not made with a reference set: choose ReME in the Pre-label dock, "
            "press Run, and ask again.",
        )
    return Job.from_json(json.dumps(told), "the run")


def _source_of(result: ResultLayer) -> LayerSource:
    pair = Pair(image_named(result), result.layer, result)
    source = source_of(pair)
    if source.layer is not pair.image:
        raise ImageError("The image of these labels is closed: open it and run once more.")
    return source
