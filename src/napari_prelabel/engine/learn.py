"""Learning: corrected images become segments of a reference set, and a set is cleaned."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from ..images.masks import check_told_apart
from ..images.rgb import content_hash
from ..methods.segments import Segments
from ..models.catalog import bundle_of, synonym_cosine
from ..reference import clean as cleaning
from ..reference import correct
from ..reference.manifest import MANIFEST
from ..reference.metric import fit_set
from ..reference.shards import MAX_ROWS
from ..reference.store import ReferenceSet
from ..reference.values import Addition, Cleaned, EncoderId, Rows, Source
from ..values.errors import Cancelled, ImageError, PrelabelError
from ..values.faults import ends_all, one_line, sentence_of
from ..values.job import Progress
from ..values.retrieval import Cleaning
from ..values.steps import Followed
from ..values.vocabulary import Vocabulary
from .embed import Looker, embed
from .run import ImageEngine
from .tasks import Clean, Learn, LearnCaptions, Learned, Reviewed
from .timing import Stopwatch

Stop = Callable[[], bool]
PRECISION = "float32"


def learn(
    engine: ImageEngine, task: Learn, cancelled: Stop, watch: Stopwatch
) -> Generator[Progress, None, Learned]:
    """Add the reviewed images of a task to its set, which is made where there is none.

    All of it is one step of the set's `undo`; a task that ends early changes nothing. Whatever is
    raised for one image is told of it, and the others are learnt.

    Raises the first of these errors when no image could be learnt; EncoderMismatch,
    ReferenceSetError, ImageError (a set that would know one word, too), ModelError, Cancelled.
    """
    started = time.perf_counter()
    yield Progress("models", 0, 1)
    with watch.time("load"):
        looker = engine.looker(task.encoder, watch)
    with learning(engine, task, looker) as held:
        learner = Learner(held, looker, task.author, task.licence)
        for done in range(len(task.pairs)):
            if cancelled():
                raise Cancelled
            yield from _taken(learner, task.pairs, done)
        learner.finish()
        check_told_apart((label.phrase for label in held.labels()), task.name or held.folder.name)
        yield Progress("learn", len(task.pairs), len(task.pairs))
        if task.cleaning is not None:
            yield from _cleaned(engine, held, task.cleaning, cancelled)
    return Learned(
        str(held.folder),
        held.digest,
        held.n_segments,
        held.n_images,
        learner.added,
        learner.skipped,
        time.perf_counter() - started,
        unread=tuple(learner.unread),
        doubled=learner.doubled,
    )


def _taken(
    learner: "Learner", pairs: Sequence[Reviewed], number: int
) -> Generator[Progress, None, None]:
    """Learn one image, or note why not."""
    name = ""
    try:
        pair = pairs[number]
        name = pair.name
        yield Progress("learn", number, len(pairs), message=name)
        corrected = learner.corrected(pair)
    except BaseException as error:
        if ends_all(error):
            raise
        learner.leave_out(name or f"image {number + 1}", error)
        return
    learner.take(corrected, pair.vocabulary)


def clean(
    engine: ImageEngine, task: Clean, cancelled: Stop, watch: Stopwatch
) -> Generator[Progress, None, Cleaned]:
    """Clean a set, as one step of its `undo`; a cancelled task changes nothing."""
    del watch
    held = ReferenceSet.open(task.folder)
    return (yield from _cleaned(engine, held, task.cleaning, cancelled, task.text))


class Learner:
    """Turns corrected images into additions of one set and commits them, many at a time.

    added : segments of all images so far; skipped : regions too small to learn from; doubled :
    images that came again, in place of what they had brought before; unread : a sentence for each
    image that could not be learnt.
    """

    def __init__(
        self, held: ReferenceSet, looker: Looker, author: str = "", licence: str = ""
    ) -> None:
        self.held = held
        self.added = 0
        self.skipped = 0
        self.doubled = 0
        self.unread: list[str] = []
        self._first: BaseException | None = None
        self._seen: dict[str, int] = {}
        self._looker = looker
        self._told = (author, licence)
        self._waiting: list[Addition] = []
        self._synonyms: dict[str, tuple[str, ...]] = {}

    def take(self, corrected: correct.Corrected, vocabulary: Vocabulary) -> None:
        """Keep the segments of an image for the next commit."""
        name, count = corrected.addition.source.hash, len(corrected.addition.segments)
        self.skipped += corrected.skipped
        self.added += count - self._seen.get(name, 0)
        self.doubled += name in self._seen
        self._seen[name] = count
        self._waiting.append(corrected.addition)
        for word, others in correct.declared(vocabulary).items():
            self._synonyms[word] = (*self._synonyms.get(word, ()), *others)
        if sum(len(a.segments) for a in self._waiting) >= MAX_ROWS:
            self.commit()

    def leave_out(self, name: str, error: BaseException) -> None:
        """Note an image that cannot be learnt."""
        self._first = self._first or error
        self.unread.append(one_line(f"{name}: {sentence_of(error, 'learnt from')}"))

    def finish(self) -> None:
        """Add the rest; raises what befell the first image where none could be learnt."""
        if self._first is not None and not self._seen:
            if isinstance(self._first, PrelabelError):
                raise self._first
            raise ImageError(self.unread[0]) from self._first
        self.commit()

    def commit(self) -> None:
        """Add what waits, with its synonyms and the metric of the set as it is then.

        So the images so far are a set of their own, should the process be killed after it.
        """
        if self._waiting:
            self.held.add(self._waiting)
            self._waiting = []
        self.held.declare(self._synonyms)
        self.held.put_metric(fit_set(self.held))

    def corrected(self, pair: Reviewed) -> correct.Corrected:
        """The segments of an image, encoded."""
        name = content_hash(pair.image)
        author, licence = self._told
        reviewed = datetime.now(UTC).isoformat(timespec="seconds")
        size = (pair.image.shape[0], pair.image.shape[1])
        features = self._looker.features(pair.image, name)

        def pool(segments: Segments) -> Rows:
            return embed(self._looker.encoder, features, segments)

        found = correct.addition(
            pair.image,
            pair.ids,
            pair.vocabulary,
            pool,
            Source(name, storable(pair.name), size, author, reviewed, licence),
            position=self.held.position,
        )
        if found.addition.segments:
            return found
        none = np.empty((0, self.held.width), np.float32)
        return replace(found, addition=replace(found.addition, embeddings=none))


def storable(name: str) -> str:
    """A file's name with question marks where it is not Unicode, as some systems allow."""
    return name.encode("utf-8", "replace").decode()


@contextlib.contextmanager
def learning(
    engine: ImageEngine, task: Learn | LearnCaptions, looker: Looker
) -> Iterator[ReferenceSet]:
    """The set of a task, made where there is none; what is done to it is one step of its `undo`.

    When the task ends early, for whatever reason, the set is as it was before, or gone.
    """
    new = not (Path(task.folder) / MANIFEST).exists()
    held = _open_or_create(engine, task, looker)
    before = held.generation
    try:
        with held.one_step():
            yield held
    except BaseException:
        if new:
            held.discard()
        elif held.generation != before:
            # Where that cannot be, on a full disk say, the first error is the one to tell.
            with contextlib.suppress(PrelabelError):
                held.undo()
        raise


def _open_or_create(
    engine: ImageEngine, task: Learn | LearnCaptions, looker: Looker
) -> ReferenceSet:
    """The set of a task, which must be of this encoder; a new one when its folder holds none."""
    folder = Path(task.folder)
    encoder = looker.encoder
    if (folder / MANIFEST).exists():
        held = ReferenceSet.open(folder)
        held.require(EncoderId(encoder.name, encoder.digest, encoder.width))
        return held
    return ReferenceSet.create(
        folder,
        EncoderId(encoder.name, encoder.digest, encoder.width),
        engine.text_id(bundle_of(task.text).clip, PRECISION) if task.text else None,
        task.name,
        position=task.position,
    )


def _cleaned(
    engine: ImageEngine, held: ReferenceSet, settings: Cleaning, cancelled: Stop, text: str = ""
) -> Generator[Progress, None, Cleaned]:
    """Run the cleaning and pass its progress on.

    text : bundle whose CLIP compares roots, "" for the set's own; without either, words are not
        enriched.
    """
    model = bundle_of(text).clip if text else held.text.name if held.text else ""
    rows = engine.text_rows(model, PRECISION) if model else None
    if settings.similarity is None and model:
        settings = replace(settings, similarity=synonym_cosine(model))

    def told(words: Sequence[str]) -> Rows:
        assert rows is not None
        return np.asarray(rows(words).cpu().numpy(), np.float32)

    steps = Followed(cleaning.steps(held, settings, told if rows is not None else None))
    for done, total in steps:
        if cancelled():
            raise Cancelled
        yield Progress("learn", done, total)
    return steps.result
