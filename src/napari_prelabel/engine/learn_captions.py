"""Learning from plain images: what their captions name becomes segments of a reference set."""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
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
from ..reference.metric import fit_set
from ..reference.phrases import Extract, extractor
from ..reference.shards import MAX_ROWS
from ..reference.store import ReferenceSet
from ..reference.values import Addition, Rows, Source
from .embed import Looker, Rgb, embed
from .learn import PRECISION, learning, storable
from .tasks import LearnCaptions, Learned
from .timing import Stopwatch

if TYPE_CHECKING:
    from .run import Engine


def learn_captions(
    engine: "Engine", task: LearnCaptions, cancelled: Callable[[], bool], watch: Stopwatch
) -> Generator[Progress, None, Learned]:
    """Add captioned images to a set, as one step of its undo; a task that ends early changes
    nothing. Images that are in the set as an annotator corrected them are left alone. Of a file of
    several planes the first is taken: a caption does not tell which plane shows what.

    Raises JobError when no caption named anything; EncoderMismatch, ImageError, ModelError.
    """
    started = time.perf_counter()
    extract = extractor(task.extractor)
    yield Progress("models", 0, 1)
    model = bundle_of(task.bundle).clip
    with watch.time("load"):
        looker = engine.looker(task.encoder, None, watch)
        placer = engine.looker(CLIP_PREFIX + model, None, watch)
    texts = engine.text_rows(model, PRECISION)

    def words(phrases: Sequence[str]) -> Rows:
        return np.asarray(texts(phrases).cpu().numpy(), np.float32)

    added = skipped = kept = stacks = 0
    waiting: list[Addition] = []
    with learning(engine, task, looker) as held:
        corrected = {s.hash for s in held.sources() if s.reviewed}
        for done, captioned in enumerate(task.images):
            if cancelled():
                raise Cancelled
            yield Progress("learn", done, len(task.images), message=captioned.name)
            pixels = read_image(captioned.path)
            stacks += len(pixels.planes) > 1
            image = pixels.plane(0)
            name = content_hash(image)
            if name in corrected:
                kept += 1
                continue
            look = yield from looker.look(image, name, task.proposals)
            found = _Found(image, name, look.segments, captioned)
            paired = _paired(held, found, extract, looker, placer, words)
            skipped += paired.discarded
            added += len(paired.addition.segments)
            if paired.addition.segments:
                waiting.append(paired.addition)
            if sum(len(a.segments) for a in waiting) >= MAX_ROWS:
                held.add(waiting)
                waiting = []
        if not added and not kept:
            raise JobError("captions", "No caption names anything: write what the images show.")
        held.add(waiting)
        held.put_metric(fit_set(held))
    yield Progress("learn", len(task.images), len(task.images))
    return Learned(
        str(held.folder),
        held.digest,
        held.n_segments,
        held.n_images,
        added,
        skipped,
        time.perf_counter() - started,
        kept,
        stacks,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    image: Rgb
    name: str
    segments: Segments
    captioned: Captioned


def _paired(
    held: ReferenceSet,
    found: _Found,
    extract: Extract,
    looker: Looker,
    placer: Looker,
    words: Callable[[Sequence[str]], Rows],
) -> pairing.Paired:
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
        extract=extract,
        words=words,
        place=rows_by(placer),
        pool=rows_by(looker),
        position=held.position,
    )
