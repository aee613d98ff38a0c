"""Learning from plain images: what their captions name becomes segments of a reference set."""

import time
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import Cancelled, JobError
from ..images import read_image
from ..job import Progress
from ..methods.segments import Segments
from ..models.catalog import bundle_of
from ..models.visual import CLIP_PREFIX
from ..pixels import content_hash
from ..reference import pair as pairing
from ..reference.captions import Captioned
from ..reference.phrases import Extract, extractor
from ..reference.shards import MAX_ROWS
from ..reference.store import ReferenceSet
from ..reference.values import Addition, Rows, Source
from .embed import Looker, embed
from .learn import PRECISION, open_or_create
from .tasks import LearnCaptions, Learned
from .timing import Stopwatch

if TYPE_CHECKING:
    from .run import Engine


def learn_captions(
    engine: "Engine", task: LearnCaptions, cancelled: Callable[[], bool], watch: Stopwatch
) -> Generator[Progress, None, Learned]:
    """Add captioned images to a set, as one step of its undo; a cancelled task changes nothing.

    Raises JobError when no caption named anything; EncoderMismatch, ImageError, ModelError.
    """
    started = time.perf_counter()
    extract = extractor(task.extractor)
    yield Progress("models", 0, 1)
    model = bundle_of(task.bundle).clip
    with watch.time("load"):
        looker = engine.looker(task.encoder, None, watch)
        placer = engine.looker(CLIP_PREFIX + model, None, watch)
    held = open_or_create(engine, task, looker)
    texts = engine.text_rows(model, PRECISION)

    def words(phrases: Sequence[str]) -> Rows:
        return np.asarray(texts(phrases).cpu().numpy(), np.float32)

    added = skipped = 0
    waiting: list[Addition] = []
    committed = False
    with held.one_step():
        for done, captioned in enumerate(task.images):
            if cancelled():
                if committed:
                    held.undo()
                raise Cancelled
            yield Progress("learn", done, len(task.images), message=captioned.name)
            paired = yield from _paired(held, task, captioned, extract, looker, placer, words)
            skipped += paired.discarded
            added += len(paired.addition.segments)
            if paired.addition.segments:
                waiting.append(paired.addition)
            if sum(len(a.segments) for a in waiting) >= MAX_ROWS:
                held.add(waiting)
                waiting, committed = [], True
        held.add(waiting)
    if not added:
        raise JobError("captions", "No caption names anything: write what the images show.")
    yield Progress("learn", len(task.images), len(task.images))
    return Learned(
        str(held.folder),
        held.digest,
        held.n_segments,
        held.n_images,
        added,
        skipped,
        time.perf_counter() - started,
    )


def _paired(
    held: ReferenceSet,
    task: LearnCaptions,
    captioned: Captioned,
    extract: Extract,
    looker: Looker,
    placer: Looker,
    words: Callable[[Sequence[str]], Rows],
) -> Generator[Progress, None, pairing.Paired]:
    image = read_image(captioned.path).plane(0)
    name = content_hash(image)
    look = yield from looker.look(image, name, task.proposals)

    def rows_by(by: Looker) -> Callable[[Segments], Rows]:
        return lambda segments: embed(by.encoder, by.features(image, name), segments)

    size = (image.shape[0], image.shape[1])
    source = Source(name, captioned.name, size, captioned.author, "", captioned.licence)
    return pairing.addition(
        image,
        captioned.captions,
        look.segments,
        source,
        extract=extract,
        words=words,
        place=rows_by(placer),
        pool=rows_by(looker),
        position=held.position,
    )
