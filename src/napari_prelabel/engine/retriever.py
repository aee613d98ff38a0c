"""Retriever: segments of an image answered by a reference set; ReME and the tasks on sets ask it.

docs/methods/reme.md#retrieval
"""

from collections import OrderedDict
from collections.abc import Callable, Container, Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from ..methods import reme
from ..methods.retrieval import Table
from ..methods.segments import Segments, spread
from ..reference.metric import compared
from ..reference.store import ReferenceSet
from ..reference.values import EncoderId, Label, with_position
from ..values.errors import JobError
from ..values.job import Job, Progress, ReME
from ..values.labels import LabelMap
from ..values.steps import finish
from ..values.vocabulary import Vocabulary
from .embed import Look, Looker, Rgb, Rows, boxes
from .tasks import Cause, Explanation
from .timing import Stopwatch

# Answers of a set that are kept, one per vocabulary and cleaning; their bytes beside the newest.
_KEPT, _KEPT_BYTES = 4, 128 << 20
# Words that a sentence lists before it only counts.
_NAMED = 8
_CPU = torch.device("cpu")

# Where an image lies in a larger one: (y, x) of its corner, (H, W) of the whole.
Frame = tuple[tuple[int, int], tuple[int, int]]
# Rows (n, e) of words in the set's text encoder, unit length.
TextRows = Callable[[Sequence[str]], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What the references of a set say to a vocabulary.

    table : (m, C + 1) float32, or what gives its rows; the last column is "none of the classes".
    live : (m,) bool, rows that take part.
    missing : classes that no reference speaks for.
    only : the word that all references hold where there is but one, "" otherwise.
    """

    table: Table
    live: npt.NDArray[np.bool_]
    missing: tuple[str, ...]
    only: str = ""


class Retriever:
    """Labels images from one open reference set.

    looker : with the set's own encoder; EncoderMismatch otherwise.
    text : rows of words, None where words meet by name.
    device : where segments are compared with the set's; faiss searches there too, where it can.
    """

    def __init__(
        self,
        references: ReferenceSet,
        looker: Looker,
        watch: Stopwatch,
        text: TextRows | None = None,
        device: torch.device = _CPU,
    ) -> None:
        encoder = looker.encoder
        references.require(EncoderId(encoder.name, encoder.digest, encoder.width))
        if not references.n_segments:
            raise JobError(
                "reference",
                f"The reference set {references.name} is empty: add a corrected image first.",
            )
        self.references = references
        self.metric = references.metric
        self._looker = looker
        self._watch = watch
        self._text = text
        self._device = device
        self._answers: OrderedDict[str, Answers] = OrderedDict()

    def timed(self, watch: Stopwatch) -> "Retriever":
        """This retriever, its seconds from now on counted by another watch."""
        self._watch = watch
        self._looker.timed(watch)
        return self

    def look(self, image: Rgb, name: str, settings: ReME) -> Generator[Progress, None, Look]:
        """Segments of an image (H, W, 3) uint8 and their rows; name : its content hash."""
        return (yield from self._looker.look(image, name, settings.proposals))

    def decide(
        self,
        look: Look,
        vocabulary: Vocabulary,
        settings: ReME,
        without: Container[str],
        frame: Frame,
    ) -> Generator[Progress, None, LabelMap]:
        """Label an image that was looked at.

        without : hashes of images whose references must not answer, as the image's own.
        frame : where it lies in a larger image, whose places the set compares.
        """
        answers = self.answers(vocabulary, settings, without)
        yield Progress("retrieve", 0, 1)
        with self._watch.time("retrieve"):
            shares = self.shares(look, frame, answers, settings)
        yield Progress("decide", 0, 1)
        with self._watch.time("decide"):
            return _decided(shares, look.segments, vocabulary, _notices(answers, self.references))

    def label(
        self,
        image: Rgb,
        name: str,
        vocabulary: Vocabulary,
        settings: ReME,
        without: Container[str] = (),
    ) -> LabelMap:
        """Label a whole image by itself; its own references never answer."""
        look = finish(self.look(image, name, settings))
        both = _Both(without, name)
        return finish(self.decide(look, vocabulary, settings, both, _whole(image)))

    def shares(self, look: Look, frame: Frame, answers: Answers, settings: ReME) -> Rows:
        """(count, C + 1) float32 shares of the classes and of none of them in every segment."""
        rows = self._queries(look, frame)
        there = self._device.type != "cpu"
        return reme.retrieve(
            torch.from_numpy(rows).to(self._device) if there else rows,
            self.references.blocks(),
            answers.table,
            settings,
            live=answers.live,
            comparable=self._comparable,
        )

    def answers(
        self, vocabulary: Vocabulary, settings: ReME, without: Container[str] = ()
    ) -> Answers:
        """O_ref A_2, made once per vocabulary and kept."""
        out = [s.hash for s in self.references.sources() if s.hash in without]
        key = repr((self.references.digest, vocabulary.digest, asdict(settings), out))
        if key not in self._answers:
            while len(self._answers) >= _KEPT or self._answer_bytes() > _KEPT_BYTES:
                self._answers.popitem(last=False)
            with self._watch.time("answers"):
                self._answers[key] = self._make_answers(vocabulary, settings, out)
        self._answers.move_to_end(key)
        return self._answers[key]

    def _answer_bytes(self) -> int:
        return sum(kept.table.nbytes for kept in self._answers.values())

    def explain(
        self,
        image: Rgb,
        name: str,
        vocabulary: Vocabulary,
        settings: ReME,
        point: tuple[int, int],
        count: int,
        without: Container[str] = (),
        frame: Frame | None = None,
    ) -> Generator[Progress, None, Explanation]:
        """Which references caused the label of the pixel at `point` (y, x); else as `decide`."""
        look = yield from self.look(image, name, settings)
        answers = self.answers(vocabulary, settings, _Both(without, name))
        yield Progress("retrieve", 0, 1)
        frame = frame or _whole(image)
        shares = self.shares(look, frame, answers, settings)
        y, x = _answered(look.segments, point)
        here = [int(i) - 1 for i in look.segments.layers[:, y, x] if i]
        if not here:
            return Explanation(0, 0.0, np.zeros(image.shape[:2], bool), ())
        total = shares[here].sum(0)
        best = int(total.argmax())
        weights: dict[int, float] = {}
        queries = self._queries(look, frame)
        for number in here:
            rows, parts = reme.influences(
                queries[number],
                self.references.blocks(),
                answers.table,
                best,
                settings,
                count,
                live=answers.live,
                comparable=self._comparable,
            )
            for row, part in zip(rows.tolist(), parts.tolist(), strict=True):
                weights[row] = weights.get(row, 0.0) + part
        strongest = max(here, key=lambda number: float(shares[number, best]))
        return Explanation(
            0 if best == len(vocabulary.classes) else best + 1,
            float(total[best] / total.sum()) if total.sum() else 0.0,
            (look.segments.layers == strongest + 1).any(0),
            self._causes(weights, float(total[best]), count),
        )

    def _causes(self, weights: dict[int, float], whole: float, count: int) -> tuple[Cause, ...]:
        rows = sorted(weights, key=lambda row: -weights[row])[:count]
        return tuple(
            Cause(r.row, weights[r.row] / whole, r.words, r.source.name, r.segment.box)
            for r in self.references.records(rows)
        )

    def _queries(self, look: Look, frame: Frame) -> Rows:
        rows = look.rows
        if self.references.position:
            (top, left), size = frame
            here = boxes(look.segments)
            moved = [(a + top, b + left, c + top, d + left) for a, b, c, d in here]
            rows = with_position(rows, moved, size)
        return self._comparable(rows)

    def _comparable(self, rows: Rows) -> Rows:
        """Rows as the set's metric compares them, unit length."""
        return compared(rows, self.metric)

    def _make_answers(
        self, vocabulary: Vocabulary, settings: ReME, without: Container[str]
    ) -> Answers:
        links = self.references.links(
            abstract=settings.abstract,
            outliers=settings.outliers,
            synonyms=settings.synonyms,
            without=without,
        )
        live = np.diff(links.indptr) > 0
        if not live.any():
            raise JobError(
                "reference",
                f"No segment of {self.references.name} may answer: all are switched off, or come "
                "from this image itself; switch some on, or add another corrected image.",
            )
        labels = self.references.labels()
        if settings.words == "text" and self._text is None:
            raise JobError(
                "words",
                f"The reference set {self.references.name} has no text model: let words meet by "
                "name, or make the set with one.",
            )
        if self._text is None or settings.words == "names":
            words = self._by_name(labels, vocabulary)
        else:
            words = self._by_text(self._text, labels, vocabulary, settings)
        table = reme.answers(links, words, settings)
        said = np.unique(links.indices)
        spoken = (words[said] > 0).any(0)
        missing = tuple(
            c.name for c, any_ in zip(vocabulary.classes, spoken, strict=False) if not any_
        )
        if not spoken[: len(vocabulary.classes)].any():
            raise JobError("vocabulary", _strangers(self.references, labels))
        return Answers(table, live, missing, labels[said[0]].phrase if len(said) == 1 else "")

    def _by_name(self, labels: Sequence[Label], vocabulary: Vocabulary) -> Rows:
        """0/1; a label that meets no class says "none of these"."""
        table = reme.name_classes(labels, vocabulary, background=True)
        table[~table.any(1), -1] = 1
        return table

    def _by_text(
        self, text: TextRows, labels: Sequence[Label], vocabulary: Vocabulary, settings: ReME
    ) -> Rows:
        """Softmax over the classes, and the background words where there are any."""
        words = [w for c in vocabulary.classes for w in c.queries]
        owner = [i for i, c in enumerate(vocabulary.classes) for _ in c.queries]
        count = len(vocabulary.classes) + bool(vocabulary.background)
        words += vocabulary.background
        owner += [len(vocabulary.classes)] * len(vocabulary.background)
        table = reme.label_classes(
            text([label.phrase for label in labels]).cpu().numpy(),
            text(words).cpu().numpy(),
            owner,
            count,
            settings,
        )
        if not vocabulary.background:
            table = np.concatenate([table, np.zeros((len(table), 1), np.float32)], axis=1)
        return table


def _whole(image: Rgb) -> Frame:
    return (0, 0), (image.shape[0], image.shape[1])


def _answered(segments: Segments, point: tuple[int, int]) -> tuple[int, int]:
    """The pixel whose segments answered for a point: itself, or the nearest with a segment."""
    covered = np.asarray(segments.layers.any(0))
    if covered[point] or not covered.any():
        return point
    y, x = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return int(y[point]), int(x[point])


class _Both:
    """Hashes in a container, and one more."""

    def __init__(self, others: Container[str], own: str) -> None:
        self._others = others
        self._own = own

    def __contains__(self, name: object) -> bool:
        return name == self._own or name in self._others


def open_set(job: Job) -> ReferenceSet:
    """The set of a job; raises ReferenceSetError, and JobError when it has changed since."""
    assert job.reference is not None
    found = ReferenceSet.open(job.reference.folder)
    if job.reference.digest not in ("", found.digest):
        raise JobError(
            "reference",
            f"The reference set {found.name} has changed since this job was made: choose it again.",
        )
    return found


def _decided(
    shares: Rows, segments: Segments, vocabulary: Vocabulary, notices: tuple[str, ...]
) -> LabelMap:
    best, share, second = spread(shares, segments)
    none = len(vocabulary.classes)
    ids: npt.NDArray[Any] = np.arange(1, none + 3, dtype=np.uint16)
    ids[none:] = 0  # "none of the classes", then "no second" as index -1
    return LabelMap(
        ids[best], np.clip(share, 0, 1).astype(np.float16), ids[second], vocabulary, notices=notices
    )


def _notices(answers: Answers, references: ReferenceSet) -> tuple[str, ...]:
    told = []
    if answers.missing:
        told.append(
            f"The reference set {references.name} has nothing to say about "
            f"{some(answers.missing)}: correct an image that shows it, and add that to the set."
        )
    if answers.only:
        told.append(
            f"The reference set {references.name} knows nothing but {answers.only}, so every pixel "
            "gets it: give what it is not a class of its own, and add that to the set."
        )
    return tuple(told)


def _strangers(references: ReferenceSet, labels: Sequence[Label]) -> str:
    known = sorted(labels, key=lambda label: -label.count)
    return (
        f"None of the words is in the reference set {references.name}, which knows "
        f"{some([label.phrase for label in known])}: use its words, or give them as synonyms."
    )


def some(words: Sequence[str]) -> str:
    """The first words of a list, and how many more there are."""
    rest = len(words) - _NAMED
    return ", ".join(words[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
