"""Methods compared on a person's own labelled images."""

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..images.rgb import content_hash
from ..reference.store import ReferenceSet
from ..values.errors import ImageError, JobError
from ..values.faults import ends_all, sentence_of
from ..values.job import Job
from ..values.metrics import Absent
from ..values.vocabulary import IGNORE, UNLABELLED
from .accuracy import ImageRunner, Variant, figures_of, measure
from .evaluation import own_images, truth_of
from .retriever import some
from .samples import Sample
from .tasks import Reviewed


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """figures : plain JSON values in percent, see `accuracy.figures_of`.

    failed : why images are left out, by their names. notes : sentences on what was measured.
    """

    figures: dict[str, Any]
    failed: dict[str, str]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Told:
    """Images that are left out, and those that the reference set was made from."""

    failed: dict[str, str] = field(default_factory=dict)
    blank: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    shown: set[int] = field(default_factory=set)


def compare(
    runner: ImageRunner,
    pairs: Sequence[Reviewed],
    job: Job,
    chosen: Mapping[str, Variant],
    bases: Sequence[str],
    absent: Absent = "skip",
) -> Generator[tuple[str, str, str], None, Comparison]:
    """Label every image with every method on every base, and compare with the person's labels.

    pairs : read one after another, so that folders of any size fit into memory.
    job : vocabulary, models and the settings of all methods. Pixels that are left unlabelled say
        nothing unless the vocabulary has background words.
    absent : what becomes of classes without a true pixel, see `metrics.miou`.

    An image for which something is raised is told, and left out of every row. Yields the names
    (image, method, base) before each run. Raises JobError when there is nothing to measure on.
    """
    told = _Told()
    samples = _samples(pairs, job, any(v.needs.reference for v in chosen.values()), told)
    tallies = yield from measure(runner, samples, job, chosen, bases, job.freecp, told.failed)
    count = len(tallies[0].names)
    if not count:
        raise JobError("pairs", _nothing(told))
    figures = figures_of(tallies, job.vocabulary, sorted(told.shown), absent)
    if count == 1:
        for row in figures["rows"]:
            row |= {name: None for name in row if name.endswith("interval")}
    figures |= {"images": count, "classes": len(told.shown)}
    return Comparison(figures, told.failed, tuple(_notes(told, job, count)))


def _samples(pairs: Sequence[Reviewed], job: Job, retrieves: bool, told: _Told) -> Iterator[Sample]:
    """The images that can be measured on, under names that tell them apart."""
    held = ReferenceSet.open(job.reference.folder) if retrieves and job.reference else None
    names: Counter[str] = Counter()
    for number in range(len(pairs)):
        try:
            pair = pairs[number]
            sample = _sample(pair, job, names)
        except BaseException as error:
            if ends_all(error):
                raise
            told.failed[f"image {number + 1}"] = sentence_of(error, "measured")
            continue
        shown = set(np.unique(sample.truth).tolist()) - {UNLABELLED, IGNORE}
        if not shown:
            told.blank.append(sample.name)
            continue
        if held is not None and own_images(held, content_hash(pair.image), pair):
            told.known.append(sample.name)
        yield sample
        if sample.name not in told.failed:
            told.shown |= shown


def _sample(pair: Reviewed, job: Job, names: Counter[str]) -> Sample:
    if pair.vocabulary.names != job.vocabulary.names:
        raise ImageError(
            f"{pair.name} has other classes than the images before it: name the classes of all of "
            "them with --classes."
        )
    names[pair.name] += 1
    name = pair.name if names[pair.name] == 1 else f"{pair.name} ({names[pair.name]})"
    return Sample(name, pair.image, truth_of(pair, job.vocabulary))


def _nothing(told: _Told) -> str:
    if told.failed:
        return next(iter(told.failed.values()))
    return "No image has a labelled pixel: label one to compare the methods on."


def _notes(told: _Told, job: Job, count: int) -> Iterator[str]:
    if told.blank:
        yield f"Left out, for nothing is labelled in them: {some(told.blank)}."
    if told.known:
        yield (
            f"The reference set was made from {some(told.known)}, too, so that ReME's figures "
            "flatter it: 'prelabel reference evaluate' labels each image from the others."
        )
    if len(job.vocabulary.classes) == 1 and not job.vocabulary.background:
        yield (
            f"{job.vocabulary.names[0]!r} is the only class and takes every pixel, so nothing can "
            "be wrong: name what surrounds it, too ('- background' in the list of classes)."
        )
    if count == 1:
        yield "One image tells nothing of others: there are no intervals."
