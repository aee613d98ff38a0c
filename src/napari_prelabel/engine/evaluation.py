"""Leave-one-image-out: what a set is worth on the images it was made from, or on others."""

import copy
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import Cancelled, JobError
from ..job import Job, Progress
from ..labels import Ids
from ..metrics import bootstrap, confusion, miou, pixel_accuracy
from ..pixels import content_hash
from ..reference.metric import fit_set
from ..reference.store import ReferenceSet
from ..settings import Reference
from ..vocabulary import IGNORE, UNLABELLED, Vocabulary
from .learn import storable
from .reme import Retriever
from .tasks import Evaluate, Evaluation, EvaluationRow, Reviewed
from .timing import Stopwatch

if TYPE_CHECKING:
    from .run import Engine

Stop = Callable[[], bool]
Matrices = npt.NDArray[np.int64]

NOTHING, SET = "nothing", "set"
# Cleaning steps that are left away one by one, and what their rows are called.
STEPS = {
    "abstract": "set, general words kept",
    "outliers": "set, outliers kept",
    "synonyms": "set, no synonyms added",
}
UNCLEANED = "set, not cleaned"


def evaluate(
    engine: "Engine", task: Evaluate, cancelled: Stop, watch: Stopwatch
) -> Generator[Progress, None, Evaluation]:
    """Label every reviewed image without its own references and compare with the annotator.

    Rows: "nothing" (all pixels still to do), "set", then the set without each cleaning step that
    took or gave anything, and without all of them where there were several.

    An image's own references are those of its pixels, and those of its name and size, which come
    from it under another contrast. Images without a label to compare with are left out.

    Raises JobError without such images, when their vocabularies differ, and when a set holds
    nothing but the image it is measured on.
    """
    vocabulary = _vocabulary(task.pairs)
    job = replace(
        task.job,
        method="reme",
        vocabulary=vocabulary,
        reference=Reference(task.folder),
        region=None,
    )
    retriever = engine.retriever(job, watch)
    variants = dict(_variants(retriever.references, job))
    count = len(vocabulary.classes)
    found: dict[str, list[Matrices]] = {name: [] for name in (NOTHING, *variants)}
    total = len(task.pairs) * len(variants)
    shown: list[str] = []
    for number, pair in enumerate(task.pairs):
        name, truth = content_hash(pair.image), _truth(pair)
        if np.isin(truth, (UNLABELLED, IGNORE)).all():
            continue
        shown.append(pair.name)
        found[NOTHING].append(confusion(truth, np.zeros_like(truth), count))
        own = _own(retriever.references, name, pair)
        stranger = _stranger(retriever, own, pair.name)
        for step, (row, variant) in enumerate(variants.items()):
            if cancelled():
                raise Cancelled
            yield Progress("evaluate", number * len(variants) + step, total, message=pair.name)
            ids = stranger.label(pair.image, name, vocabulary, variant.reme, own).ids
            found[row].append(confusion(truth, ids, count))
    yield Progress("evaluate", total, total)
    if not shown:
        raise JobError("pairs", "No image has a labelled pixel: correct one to measure the set on.")
    tables = {row: np.stack(matrices) for row, matrices in found.items()}
    names = _unique(shown)
    return Evaluation(
        tuple(_row(row, matrices) for row, matrices in tables.items()),
        {
            name: {row: _to_fix(matrices[i]) for row, matrices in tables.items()}
            for i, name in enumerate(names)
        },
    )


def _vocabulary(pairs: Sequence[Reviewed]) -> Vocabulary:
    if not pairs:
        raise JobError("pairs", "Tick at least one corrected image to measure the set on.")
    first = pairs[0].vocabulary
    for pair in pairs[1:]:
        if pair.vocabulary.names != first.names:
            raise JobError(
                "pairs",
                f"{pair.name} has other classes than {pairs[0].name}: measure images of one list "
                "of classes together.",
            )
    return first


def _own(held: ReferenceSet, name: str, pair: Reviewed) -> frozenset[str]:
    """Hashes of the set's images that are this one: by pixels, or by name and size."""
    same = (storable(pair.name), pair.image.shape[:2])
    return frozenset(s.hash for s in held.sources() if s.hash == name or (s.name, s.size) == same)


def _stranger(retriever: Retriever, own: frozenset[str], shown: str) -> Retriever:
    """The retriever as if it had never seen an image: its metric too is fitted to the others."""
    held = retriever.references
    if not any(len(held.image_rows(name)) for name in own):
        return retriever
    if held.n_images == len(own):
        raise JobError(
            "pairs",
            f"The reference set {held.name} was made from {shown} alone: correct another image to "
            "measure the set on this one.",
        )
    if held.metric is None:
        return retriever
    other = copy.copy(retriever)
    other.metric = fit_set(held, without=own)
    return other


def _truth(pair: Reviewed) -> Ids:
    """The annotator's labels; pixels left unlabelled say nothing unless background words do."""
    if pair.vocabulary.background:
        return pair.ids
    return np.where(pair.ids == UNLABELLED, np.uint16(IGNORE), pair.ids)


def _variants(held: ReferenceSet, job: Job) -> Iterator[tuple[str, Job]]:
    """The job as it is, then without each cleaning step that did something."""
    yield SET, job
    told = held.cleaned
    did = {
        "abstract": told.dropped_abstract if told else 0,
        "outliers": told.dropped_outliers if told else 0,
        "synonyms": told.added if told else 0,
    }
    steps = [step for step in STEPS if did[step] and getattr(job.reme, step)]
    for step in steps:
        settings: dict[str, Any] = {step: False}
        yield STEPS[step], replace(job, reme=replace(job.reme, **settings))
    if len(steps) > 1:
        settings = dict.fromkeys(steps, False)
        yield UNCLEANED, replace(job, reme=replace(job.reme, **settings))


def _row(name: str, matrices: Matrices) -> EvaluationRow:
    """Figures of one row in percent, over the pixels of all images together."""
    total = matrices.sum(0)
    interval = None
    if len(matrices) > 1:
        low, high = bootstrap(matrices, miou)
        interval = (100 * low, 100 * high)
    return EvaluationRow(
        name,
        100 * float(miou(total)),
        100 * float(pixel_accuracy(total)),
        _to_fix(total),
        interval,
    )


def _to_fix(matrix: Matrices) -> float:
    """Percent of the pixels that an annotator must still change."""
    return 100 * (1 - float(pixel_accuracy(matrix)))


def _unique(names: Sequence[str]) -> list[str]:
    """Names that tell the images apart."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out
