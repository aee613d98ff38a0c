"""Leave-one-image-out: what a set is worth on the images it was made from, or on others."""

import copy
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..images.rgb import content_hash
from ..reference.metric import fit_set
from ..reference.store import ReferenceSet
from ..values.errors import Cancelled, ImageError, JobError
from ..values.job import Job, Progress
from ..values.labels import Ids
from ..values.metrics import bootstrap
from ..values.retrieval import Reference
from ..values.vocabulary import IGNORE, UNLABELLED, Vocabulary
from .learn import storable
from .retriever import Retriever, some
from .run import ImageEngine
from .tasks import Evaluate, Evaluation, EvaluationRow, Reviewed
from .timing import Stopwatch

Stop = Callable[[], bool]
Counts = npt.NDArray[np.int64]

NOTHING, SET = "nothing", "set"
# Cleaning steps that are left away one by one, and what their rows are called.
STEPS = {
    "abstract": "set, general words kept",
    "outliers": "set, outliers kept",
    "synonyms": "set, no synonyms added",
}
UNCLEANED = "set, not cleaned"


def evaluate(
    engine: ImageEngine, task: Evaluate, cancelled: Stop, watch: Stopwatch
) -> Generator[Progress, None, Evaluation]:
    """Label every reviewed image without its own references and compare with the annotator.

    Rows: "nothing" (all pixels still to do), "set", then the set without each cleaning step that
    took or gave anything, and without all of them where there were several.

    An image's own references are those of its pixels, and those of its name and size, which come
    from it under another contrast. Images without a label to compare with are left out, and so is
    one that is all of the set; where the other images know none of the words, nothing is found.

    Raises JobError without images to measure, when their vocabularies differ, and when the set
    knows none of the words; ImageError for labels of other ids.
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
    retriever.answers(vocabulary, job.reme)
    variants = dict(_variants(retriever.references, job))
    measured = _Measured(vocabulary, variants)
    total = len(task.pairs) * len(variants)
    for number, pair in enumerate(task.pairs):
        name, truth = content_hash(pair.image), truth_of(pair, vocabulary)
        if np.isin(truth, (UNLABELLED, IGNORE)).all():
            measured.blank.append(pair.name)
            continue
        own = own_images(retriever.references, name, pair)
        stranger = _stranger(retriever, own)
        if stranger is None:
            measured.alone.append(pair.name)
            continue
        measured.begin(pair.name, truth)
        measured.miss(stranger, job, own, truth)
        for step, (row, variant) in enumerate(variants.items()):
            if cancelled():
                raise Cancelled
            yield Progress("evaluate", number * len(variants) + step, total, message=pair.name)
            measured.take(row, truth, _labels(stranger, pair, name, variant, own))
    yield Progress("evaluate", total, total)
    return measured.evaluation(retriever.references.name)


class _Measured:
    """Counts of every image and row, and what is told beside them.

    blank : images without a label; alone : images that are all of the set.
    """

    def __init__(self, vocabulary: Vocabulary, variants: Iterable[str]) -> None:
        self.blank: list[str] = []
        self.alone: list[str] = []
        self._vocabulary = vocabulary
        self._found: dict[str, list[Counts]] = {name: [] for name in (NOTHING, *variants)}
        self._shown: list[str] = []
        self._missing: dict[str, None] = {}
        self._strangers: list[str] = []

    def begin(self, name: str, truth: Ids) -> None:
        """Another image; raises ImageError for ids of no class."""
        highest = int(np.where(truth == IGNORE, 0, truth).max())
        if highest > len(self._vocabulary.classes):
            raise ImageError(
                f"The labels of {name} hold id {highest}, but there are "
                f"{len(self._vocabulary.classes)} classes: choose those that they were made with."
            )
        self._shown.append(name)
        self.take(NOTHING, truth, np.zeros_like(truth))

    def take(self, row: str, truth: Ids, ids: Ids) -> None:
        """What a row gives for the image."""
        self._found[row].append(_tally(truth, ids, len(self._vocabulary.classes)))

    def miss(self, stranger: Retriever, job: Job, own: frozenset[str], truth: Ids) -> None:
        """Note the words of the image that no other image of the set knows."""
        try:
            missing = stranger.answers(self._vocabulary, job.reme, own).missing
        except JobError as error:
            _pass_silent(error)
            self._strangers.append(self._shown[-1])
            return
        here = {int(i) for i in np.unique(truth)}
        ids = {c.name: c.id for c in self._vocabulary.classes}
        self._missing |= dict.fromkeys(word for word in missing if ids[word] in here)

    def evaluation(self, set_name: str) -> Evaluation:
        """All of it in percent; raises JobError when there was nothing to measure."""
        if not self._shown and self.alone:
            raise JobError(
                "pairs",
                f"The reference set {set_name} was made from {self.alone[0]} alone: correct "
                "another image to measure the set on this one.",
            )
        if not self._shown:
            raise JobError(
                "pairs", "No image has a labelled pixel: correct one to measure the set on."
            )
        tables = {row: np.stack(counts) for row, counts in self._found.items()}
        names = _unique(self._shown)
        return Evaluation(
            tuple(_row(row, counts) for row, counts in tables.items()),
            {
                name: {row: _to_fix(counts[i]) for row, counts in tables.items()}
                for i, name in enumerate(names)
            },
            tuple(self._notes()),
        )

    def _notes(self) -> Iterator[str]:
        if self.blank:
            yield f"Left out, for nothing is labelled in them: {some(self.blank)}."
        if self.alone:
            yield f"Left out, for the set knows no other image: {some(self.alone)}."
        if self._strangers:
            yield (
                f"The other images know no word of {some(self._strangers)}: nothing is found there."
            )
        if self._missing:
            yield (
                f"No other image of the set shows {some(list(self._missing))}: such pixels are not "
                "found. Correct one more image that shows them."
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


def own_images(held: ReferenceSet, name: str, pair: Reviewed) -> frozenset[str]:
    """Hashes of the set's images that are this one: by pixels, or by name and size."""
    same = (storable(pair.name), pair.image.shape[:2])
    return frozenset(s.hash for s in held.sources() if s.hash == name or (s.name, s.size) == same)


def _stranger(retriever: Retriever, own: frozenset[str]) -> Retriever | None:
    """The retriever as if it had never seen an image: its metric too is fitted to the others.

    None when there are no others.
    """
    held = retriever.references
    if not any(len(held.image_rows(name)) for name in own):
        return retriever
    if not any(len(held.image_rows(s.hash)) for s in held.sources() if s.hash not in own):
        return None
    if held.metric is None:
        return retriever
    other = copy.copy(retriever)
    other.metric = fit_set(held, without=own)
    return other


def _labels(
    stranger: Retriever, pair: Reviewed, name: str, variant: Job, own: frozenset[str]
) -> Ids:
    """The image's labels; 0 everywhere when none of the other images' references may answer."""
    try:
        return stranger.label(pair.image, name, variant.vocabulary, variant.reme, own).ids
    except JobError as error:
        _pass_silent(error)
        return np.zeros(pair.image.shape[:2], np.uint16)


def _pass_silent(error: JobError) -> None:
    """Raise an error unless it says that a set has nothing to say to these words."""
    if error.field not in ("reference", "vocabulary"):
        raise error


def truth_of(pair: Reviewed, vocabulary: Vocabulary) -> Ids:
    """The annotator's labels; pixels left unlabelled say nothing unless background words do."""
    if vocabulary.background:
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


def _tally(truth: Ids, ids: Ids, count: int) -> Counts:
    """(3, count + 1) int64: right, true and told pixels of every id, but for ignored ones.

    What mIoU and accuracy need of a confusion matrix, in far less room where classes are many.
    """
    valid = truth != IGNORE
    a, b = truth[valid], ids[valid]
    return np.stack([np.bincount(x, minlength=count + 1) for x in (a[a == b], a, b)])


def _miou(counts: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """`metrics.miou` from `_tally`, (..., 3, K) -> (...)."""
    right, true, told = (counts[..., i, 1:].astype(np.float64) for i in range(3))
    shown = true > 0
    share = np.divide(right, true + told - right, out=np.zeros_like(right), where=shown)
    total: npt.NDArray[np.float64] = share.sum(-1) / np.maximum(shown.sum(-1), 1)
    return total


def _row(name: str, counts: Counts) -> EvaluationRow:
    """Figures of one row in percent, over the pixels of all images together."""
    told = counts[:, :, counts[:, 1].any(0) | (np.arange(counts.shape[2]) == UNLABELLED)]
    total = told.sum(0)
    interval = None
    if len(told) > 1:
        low, high = bootstrap(told, _miou)
        interval = (100 * low, 100 * high)
    to_fix = _to_fix(total)
    return EvaluationRow(name, 100 * float(_miou(total)), 100 - to_fix, to_fix, interval)


def _to_fix(counts: Counts) -> float:
    """Percent of the pixels that an annotator must still change."""
    right, true, _ = counts.sum(-1)
    return 100 * (1 - float(right / true))


def _unique(names: Sequence[str]) -> list[str]:
    """Names that tell the images apart."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return out
