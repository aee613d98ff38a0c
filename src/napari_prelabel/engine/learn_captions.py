"""Learning from plain images: what their captions name becomes segments of a reference set."""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

import numpy as np

from ..images.read import read_image
from ..images.rgb import content_hash
from ..methods.segments import Segments
from ..models.catalog import bundle_of
from ..reference import pair as pairing
from ..reference.captions import Captioned
from ..reference.metric import fit_set
from ..reference.phrases import Extract, extractor
from ..reference.shards import MAX_ROWS
from ..reference.store import ReferenceSet
from ..reference.values import Addition, Rows, Source
from ..values.encoder import Encoder
from ..values.errors import Cancelled, JobError, PrelabelError
from ..values.faults import ends_all, of_the_image, one_line, sentence_of
from ..values.job import Progress
from ..values.retrieval import Proposals
from .embed import Looker, Rgb, embed
from .learn import PRECISION, learning, storable
from .run import ImageEngine
from .tasks import LearnCaptions, Learned
from .timing import Stopwatch


def learn_captions(
    engine: ImageEngine, task: LearnCaptions, cancelled: Callable[[], bool], watch: Stopwatch
) -> Generator[Progress, None, Learned]:
    """Add captioned images to a set, as one step of its undo; a task that ends early changes
    nothing. Images that are in the set as an annotator corrected them are left alone, those that
    cannot be read are left out. Of a file of several planes the first is taken: a caption does not
    tell which plane shows what.

    Raises JobError when no caption named anything or no image can be read; EncoderMismatch,
    ModelError.
    """
    started = time.perf_counter()
    extract = extractor(task.extractor)
    yield Progress("models", 0, 1)
    model = bundle_of(task.bundle).clip
    with watch.time("load"):
        looker = engine.looker(task.encoder, watch)
        placer = engine.looker(Encoder("crops" if task.crops else "clip", model), watch)
    texts = engine.text_rows(model, PRECISION)

    def words(phrases: Sequence[str]) -> Rows:
        return np.asarray(texts(phrases).cpu().numpy(), np.float32)

    with learning(engine, task, looker) as held:
        namer = _Namer(held, _Models(looker, placer, extract, words))
        for done, captioned in enumerate(task.images):
            if cancelled():
                raise Cancelled
            yield Progress("learn", done, len(task.images), message=captioned.name)
            yield from namer.take(captioned, task.proposals)
        namer.finish()
    yield Progress("learn", len(task.images), len(task.images))
    return Learned(
        str(held.folder),
        held.digest,
        held.n_segments,
        held.n_images,
        namer.added,
        namer.skipped,
        time.perf_counter() - started,
        namer.kept,
        namer.stacks,
        tuple(namer.unread),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Models:
    """looker : the set's encoder; placer : CLIP's of segments; words : its rows of phrases."""

    looker: Looker
    placer: Looker
    extract: Extract
    words: Callable[[Sequence[str]], Rows]


class _Namer:
    """Turns captioned images into additions of one set; counts what `Learned` tells."""

    def __init__(self, held: ReferenceSet, models: _Models) -> None:
        self.added = self.skipped = self.kept = self.stacks = 0
        self.unread: list[str] = []
        self._held, self._models = held, models
        self._corrected = {s.hash for s in held.sources() if s.reviewed}
        self._waiting: list[Addition] = []

    def take(self, captioned: Captioned, proposals: Proposals) -> Generator[Progress, None, None]:
        """Name the segments of an image and keep them for the next commit."""
        try:
            paired = yield from self._named(captioned, proposals)
        except BaseException as error:
            if ends_all(error):
                raise
            told = f"{storable(captioned.name)}: {sentence_of(error, 'learnt from')}"
            self.unread.append(one_line(told))
            return
        if paired is None:
            self.kept += 1
            return
        self.skipped += paired.discarded
        self.added += len(paired.addition.segments)
        if paired.addition.segments:
            self._waiting.append(paired.addition)
        if sum(len(a.segments) for a in self._waiting) >= MAX_ROWS:
            self._commit()

    def _named(
        self, captioned: Captioned, proposals: Proposals
    ) -> Generator[Progress, None, pairing.Paired | None]:
        """An image's segments with their words; None where an annotator corrected the image."""
        try:
            pixels = read_image(captioned.path)
            image = pixels.plane(0)
        except PrelabelError as error:
            raise of_the_image(error) from error
        name = content_hash(image)
        if name in self._corrected:
            return None
        look = yield from self._models.looker.look(image, name, proposals)
        found = _Found(image, name, look.segments, captioned)
        paired = _paired(self._held, found, self._models)
        self.stacks += len(pixels.planes) > 1
        return paired

    def finish(self) -> None:
        """Commit the rest; raises JobError when nothing was named."""
        if not self.added and not self.kept and self.unread:
            raise JobError("captions", f"No image can be read; {self.unread[0]}")
        if not self.added and not self.kept:
            raise JobError("captions", "No caption names anything: write what the images show.")
        self._commit()

    def _commit(self) -> None:
        self._held.add(self._waiting)
        self._waiting = []
        self._held.put_metric(fit_set(self._held))


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    image: Rgb
    name: str
    segments: Segments
    captioned: Captioned


def _paired(held: ReferenceSet, found: _Found, models: _Models) -> pairing.Paired:
    image, name, captioned = found.image, found.name, found.captioned

    def rows_by(by: Looker) -> Callable[[Segments], Rows]:
        return lambda segments: embed(by.encoder, by.features(image, name), segments)

    size = (image.shape[0], image.shape[1])
    shown, licence = storable(captioned.name), captioned.licence
    return pairing.addition(
        image,
        captioned.captions,
        found.segments,
        Source(name, shown, size, captioned.author, "", licence),
        extract=models.extract,
        words=models.words,
        place=rows_by(models.placer),
        pool=rows_by(models.looker),
        position=held.position,
    )
