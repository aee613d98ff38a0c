"""ReME: segments of the image answered by a reference set of corrected images.

docs/methods/reme.md#retrieval
"""

from collections.abc import Generator
from dataclasses import dataclass, replace

from ...images.rgb import content_hash
from ...values.job import Job, Progress
from ...values.labels import LabelMap
from ..embed import Look
from ..retriever import Retriever
from ..workbench import Workbench


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The segments of an image, and what answers for them; name : the image's content hash."""

    look: Look
    name: str
    retriever: Retriever


def see(job: Job, bench: Workbench) -> Generator[Progress, None, Pieces]:
    """The image in segments, each a row of the set's encoder."""
    yield Progress("models", 0, 1)
    retriever = bench.models.retriever(job, bench.watch)
    name = content_hash(bench.image)
    look = yield from retriever.look(bench.image, name, job.reme)
    return Pieces(look, name, retriever)


def label(job: Job, seen: Pieces, bench: Workbench) -> Generator[Progress, None, LabelMap]:
    """What the set answers to the words, for every segment."""
    own = (seen.name, content_hash(bench.whole))
    frame = bench.corner, (bench.whole.shape[0], bench.whole.shape[1])
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
