"""ReME: segments of the image answered by a reference set of corrected images.

docs/methods/reme.md#retrieval
"""

from collections.abc import Generator
from dataclasses import dataclass, replace

from ...images.rgb import content_hash
from ...values.job import Job, Progress
from ...values.labels import LabelMap
from ..desk import Desk
from ..embed import Look
from ..retriever import Retriever


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The segments of an image, and what answers for them; name : the image's content hash."""

    look: Look
    name: str
    retriever: Retriever


def see(job: Job, desk: Desk) -> Generator[Progress, None, Pieces]:
    """The image in segments, each a row of the set's encoder."""
    yield Progress("models", 0, 1)
    retriever = desk.models.retriever(job, desk.watch)
    name = content_hash(desk.image)
    look = yield from retriever.look(desk.image, name, job.reme)
    return Pieces(look, name, retriever)


def label(job: Job, seen: Pieces, desk: Desk) -> Generator[Progress, None, LabelMap]:
    """What the set answers to the words, for every segment."""
    own = (seen.name, content_hash(desk.whole))
    frame = desk.corner, (desk.whole.shape[0], desk.whole.shape[1])
    labels = yield from seen.retriever.decide(seen.look, job.vocabulary, job.reme, own, frame)
    references = seen.retriever.references
    told = {
        "reference": references.name,
        "reference_digest": references.digest,
        "encoder": references.encoder.name,
        "encoder_digest": references.encoder.digest,
        "segments": references.n_segments,
    }
    return replace(labels, record=told)
