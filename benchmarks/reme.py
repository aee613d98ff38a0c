"""ReME on the drawn scenes: learning curve from corrections, and the paper's ablation of cleaning.

The ablation builds one set from captions of training scenes. A share of their phrases is of other
scenes, as a captioner's is that guesses; CLIP places them like all others, where they fit best.
Copies of the set are cleaned in the ways that the paper compares (docs/methods/reme.md#cleaning),
and label the same images, once by all references and once by the five nearest alone.
"""

import tempfile
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_prelabel.engine import accuracy
from napari_prelabel.engine.accuracy import NO_BASE, ImageRunner, MethodTally
from napari_prelabel.engine.accuracy import variants as variants_of
from napari_prelabel.engine.cache import Encodings
from napari_prelabel.engine.embed import Looker, embed
from napari_prelabel.engine.encode import REME_TEMPLATES
from napari_prelabel.engine.retriever import Retriever
from napari_prelabel.engine.samples import DataSet
from napari_prelabel.engine.timing import Stopwatch
from napari_prelabel.images.rgb import content_hash
from napari_prelabel.methods.pairs import abstract_roots, lowest
from napari_prelabel.methods.segments import Segments, propose
from napari_prelabel.models.catalog import synonym_cosine
from napari_prelabel.models.clip import Clip, load_clip
from napari_prelabel.models.encoders import load_encoder
from napari_prelabel.models.segmenter import load_segmenter
from napari_prelabel.models.visual import ClipPatches, VisualEncoder
from napari_prelabel.reference import correct
from napari_prelabel.reference import pair as pairing
from napari_prelabel.reference.clean import clean
from napari_prelabel.reference.metric import fit_set
from napari_prelabel.reference.phrases import Extract, Phrase, extractor
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.reference.values import Addition, EncoderId, Rows, Segment, Source
from napari_prelabel.values.encoder import Encoder
from napari_prelabel.values.errors import JobError
from napari_prelabel.values.job import Job, ReME
from napari_prelabel.values.retrieval import Cleaning, Proposals
from napari_prelabel.values.steps import Followed
from napari_prelabel.values.vocabulary import Vocabulary

from .synthetic.captions import in_detail
from .synthetic.classes import CLASSES
from .synthetic.scenes import scene, split_seeds

# The scenes lie far from the split's start, where the demo models' training began.
FIRST = 900_000
PAPER_CUT = Proposals("felzenszwalb")
_OFF = Cleaning(abstract=False, outliers="off", synonyms="off")
_NAMES = tuple(word for c in CLASSES for word in (c.name, *c.synonyms))
_BASE_SET = "base set"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured.

    corrected : numbers of corrected images of the learning curve.
    captioned : scenes with captions of the ablation. wrong : share of phrases made wrong.
    drop : delta of all filters. most : segments kept of a corrected image.
    """

    corrected: tuple[int, ...] = (10, 30, 100)
    captioned: int = 200
    wrong: float = 0.3
    drop: float = 0.3
    most: int = 400
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("wrong", "drop"):
            if not 0 <= getattr(self, name) <= 1:
                raise JobError(name, f"{name} is a share between 0 and 1.")


CLEANINGS: dict[str, Cleaning] = {
    _BASE_SET: _OFF,
    "enrichment": replace(_OFF, synonyms="neighbours"),
    "enrichment, cosine 0.9": replace(_OFF, synonyms="neighbours", similarity=0.9),
    "enrichment, 30 pairs": replace(_OFF, synonyms="global"),
    "abstract": replace(_OFF, abstract=True),
    "abstract, classes kept": replace(_OFF, abstract=True, keep=_NAMES),
    "outliers": replace(_OFF, outliers="fixed"),
}
"""Variants of the ablation by the set's own cleaning."""
FILTERS: dict[str, Cleaning] = {
    "filtering": replace(_OFF, outliers="fixed"),
    "filtering, adaptive": replace(_OFF, outliers="adaptive"),
    "both": replace(_OFF, outliers="fixed", synonyms="neighbours"),
}
"""Variants of which general words went before, as the paper filters."""
CLIP_FILTERS = {"CLIP score, global": False, "CLIP score, per group": True}
"""The paper's rejected filters (a) and (b), in place of that of outliers: whether each root's pairs
are ranked by themselves."""
RETRIEVALS: dict[str, dict[str, Any]] = {
    "literal, T = 1": {"temperature": 1.0, "text_temperature": 1.0},
    "T1 = 0.02": {"temperature": 0.02},
    "T1 = 0.01": {"temperature": 0.01},
    "row": {"normalise": "row"},
    "column": {"normalise": "column"},
}
"""Ways to ask the set that was filtered and enriched, beside the default."""
FEW: dict[str, Any] = {"top_k": 5}
"""How every set is asked a second time: few enough that a wrong reference is not outvoted."""


@dataclass(frozen=True, slots=True, eq=False)
class Corpus:
    """Captioned scenes as additions.

    placed : per addition, CLIP's unit rows of its segments. wrong : by the image's hash, the
    phrases of its segments that are another scene's.
    """

    additions: tuple[Addition, ...]
    placed: tuple[Rows, ...]
    wrong: dict[str, frozenset[str]] = field(default_factory=dict)


@dataclass(eq=False)
class Bench:
    """Models and caches shared by all variants."""

    clip: Clip
    encoder: VisualEncoder
    proposals: Proposals = PAPER_CUT
    extract: Extract = field(default_factory=lambda: extractor("rules"))

    def __post_init__(self) -> None:
        self.place = ClipPatches(self.clip)
        self.watch = Stopwatch(torch.device("cpu"))
        # One cache: where both are the same encoder, an image passes it once.
        cache = Encodings(1 << 30)
        self.looker = Looker(self.encoder, cache, self.watch, load_segmenter)
        self.placer = Looker(self.place, cache, self.watch, load_segmenter)

    @classmethod
    def load(cls, clip: str = "demo-clip", encoder: str = "clip:demo-clip") -> "Bench":
        """With the models of these names, on the processor."""
        return cls(load_clip(clip), load_encoder(Encoder.parse(encoder)))

    def words(self, texts: Sequence[str]) -> Rows:
        """Unit rows (n, e) of phrases over the four templates."""
        return np.asarray(self.clip.encode_classes(texts, REME_TEMPLATES).cpu(), np.float32)

    def new_set(self, folder: Path) -> ReferenceSet:
        of = EncoderId(self.encoder.name, self.encoder.digest, self.encoder.width)
        text = EncoderId(self.clip.name, self.clip.digest, self.clip.embed_dim)
        return ReferenceSet.create(folder, of, text)

    def label(
        self, held: ReferenceSet, data: DataSet, name: str, settings: ReME, against: str = ""
    ) -> Generator[str, None, MethodTally]:
        """Label all images of a data set; yields before each."""
        retriever = Retriever(
            held, self.looker, self.watch, lambda texts: torch.from_numpy(self.words(texts))
        )
        tally = MethodTally(name, NO_BASE, against)
        count = len(data.vocabulary.classes)
        for sample in data.samples:
            yield f"{sample.name} {name}"
            own = content_hash(sample.image)
            found = retriever.label(sample.image, own, data.vocabulary, settings)
            tally.add(sample, found.ids, count)
        return tally


def counts_of(text: str) -> tuple[int, ...]:
    """Numbers of corrected images from text such as "10,30"; JobError for anything else."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) for word in words):
        raise JobError("corrections", f"Write numbers of images like 10,30,100, not {text!r}.")
    return tuple(int(word) for word in words)


def compare(
    runner: ImageRunner, bench: Bench, data: DataSet, job: Job, plan: Plan
) -> Generator[str, None, tuple[list[MethodTally], dict[str, Any]]]:
    """`measure`, with the job's base, FreeCP and NERVE before it."""
    chosen = variants_of(("base", "freecp", "nerve"))
    steps = Followed(accuracy.measure(runner, data.samples, job, chosen, (job.base,), job.freecp))
    for sample, method, _ in steps:
        yield f"{sample} {method}"
    found, facts = yield from measure(bench, data, plan)
    return [*steps.result, *found], facts


def measure(
    bench: Bench, data: DataSet, plan: Plan = Plan()
) -> Generator[str, None, tuple[list[MethodTally], dict[str, Any]]]:
    """Run the learning curve and the ablation.

    Yields what is done; returns one tally per row, and facts about the caption set.
    """
    tallies = []
    with tempfile.TemporaryDirectory() as folder:
        for count in plan.corrected:
            yield f"{count} corrections"
            held = from_corrections(bench, Path(folder) / f"corrected-{count}", count, plan, data)
            name = f"reme, {count} corrections"
            settings = ReME(words="names", proposals=bench.proposals)
            tallies.append((yield from bench.label(held, data, name, settings)))
        yield f"{plan.captioned} captions"
        corpus = from_captions(bench, plan)
        facts: dict[str, Any] = {"captioned": plan.captioned}
        for number, (name, cleaning, additions) in enumerate(variants(bench, corpus, plan)):
            held = bench.new_set(Path(folder) / f"captions-{number}")
            held.add(additions)
            done = clean(held, cleaning, bench.words)
            facts[name] = {
                "pairs": int(held.links().nnz), "wrong": wrong_left(held, corpus),
                "dropped": done.dropped, "added": done.added, "abstract": list(done.abstract),
            }  # fmt: skip
            settings = ReME(words="text", proposals=bench.proposals)
            for way, changes in ways(name).items():
                asked = replace(settings, **changes)
                against = _BASE_SET + way.removeprefix(name) * (changes == FEW)
                row = yield from bench.label(
                    held, data, f"reme captions, {way}", asked, f"reme captions, {against}"
                )
                tallies.append(row)
    return tallies, facts


def ways(name: str) -> dict[str, dict[str, Any]]:
    """How the set of a variant is asked: row of the table -> changed settings."""
    found: dict[str, dict[str, Any]] = {name: {}, f"{name}, nearest 5": FEW}
    if name == "both":
        found |= {f"{name}, {way}": changes for way, changes in RETRIEVALS.items()}
    return found


def variants(
    bench: Bench, corpus: Corpus, plan: Plan
) -> Iterator[tuple[str, Cleaning, Sequence[Addition]]]:
    """Name, cleaning and additions of every row of the ablation."""

    def settled(cleaning: Cleaning) -> Cleaning:
        least = cleaning.similarity or synonym_cosine(bench.clip.name)
        return replace(cleaning, drop=plan.drop, similarity=least)

    for name, cleaning in CLEANINGS.items():
        yield name, settled(cleaning), corpus.additions
    # A set's own veto spares words from every step; here the classes' words must face filters.
    plain = without_general(corpus)
    for name, cleaning in FILTERS.items():
        yield name, settled(cleaning), plain.additions
    for name, per_group in CLIP_FILTERS.items():
        yield name, _OFF, by_clip_score(bench, plain, plan.drop, per_group=per_group)


def from_corrections(
    bench: Bench, folder: Path, count: int, plan: Plan, data: DataSet
) -> ReferenceSet:
    """A set of training scenes with their truth as corrections, and its metric."""
    held = bench.new_set(folder)
    classes = data.vocabulary.classes[: len(data.vocabulary.classes) - data.distractors]
    known = Vocabulary(classes)
    additions = []
    for seed in split_seeds("train")[FIRST : FIRST + count]:
        shown = scene(seed, "train")
        source, rows = _look(bench, shown.image, f"train-{seed}")
        made = correct.addition(shown.image, shown.labels, known, rows, source, most=plan.most)
        additions.append(made.addition)
    held.add(additions)
    held.put_metric(fit_set(held))
    return held


def from_captions(bench: Bench, plan: Plan) -> Corpus:
    """Training scenes named by their captions, of whose phrases a share is wrong."""
    rng = np.random.default_rng(plan.seed)
    seeds = split_seeds("train")[FIRST : FIRST + plan.captioned]
    scenes = [scene(seed, "train") for seed in seeds]
    told = [bench.extract(in_detail(rng, s.regions, s.labels.size)) for s in scenes]
    heard = misled(told, plan.wrong, rng)
    additions, placed, wrong = [], [], {}
    for seed, shown, right, phrases in zip(seeds, scenes, told, heard, strict=True):
        made, rows = _paired(bench, shown.image, phrases, f"train-{seed}")
        if made.segments:
            additions.append(made)
            placed.append(rows)
            wrong[made.source.hash] = frozenset(p.text for p in phrases if p not in right)
    return Corpus(tuple(additions), tuple(placed), wrong)


def misled(
    told: Sequence[tuple[Phrase, ...]], share: float, rng: np.random.Generator
) -> list[tuple[Phrase, ...]]:
    """Phrases of images, a share of all replaced by phrases of other images.

    Those are of roots that the image's own caption has not.
    """
    every = [phrase for phrases in told for phrase in phrases]
    wrong = iter(rng.permutation(len(every)) < int(share * len(every)))
    found = []
    for phrases in told:
        own = {phrase.root for phrase in phrases}
        strange = [phrase for phrase in every if phrase.root not in own]
        heard = [
            strange[int(rng.integers(len(strange)))] if spoilt and strange else phrase
            for phrase, spoilt in zip(phrases, wrong, strict=False)
        ]
        found.append(tuple(dict.fromkeys(heard)))
    return found


def wrong_left(held: ReferenceSet, corpus: Corpus) -> int:
    """How many pairs that count in a set have a phrase of another scene."""
    records = held.records(np.arange(held.n_segments))
    return sum(w in corpus.wrong[r.source.hash] for r in records for w in r.words)


def without_general(corpus: Corpus) -> Corpus:
    """The pairs that filters judge: those whose root is not general (3.3, before 3.4)."""
    sizes = Counter(r for a in corpus.additions for s in a.segments for r in set(s.roots))
    general = set(abstract_roots(sizes, _NAMES))
    additions, placed = [], []
    for addition, rows in zip(corpus.additions, corpus.placed, strict=True):
        told = [[t for t in _told(s) if t[1] not in general] for s in addition.segments]
        if any(told):
            additions.append(_with_words(addition, told))
            placed.append(rows[[bool(words) for words in told]])
    return replace(corpus, additions=tuple(additions), placed=tuple(placed))


def by_clip_score(
    bench: Bench, corpus: Corpus, drop: float, *, per_group: bool
) -> tuple[Addition, ...]:
    """Additions without the share of pairs of the lowest CLIP score, of all or of each root."""
    scores: list[float] = []
    roots: list[str] = []
    for addition, rows in zip(corpus.additions, corpus.placed, strict=True):
        for segment, row in zip(addition.segments, rows, strict=True):
            scores += (bench.words(segment.words) @ row).tolist()
            roots += segment.roots if per_group else [""] * len(segment.words)
    values, group = np.asarray(scores), np.asarray(roots)
    gone = np.zeros(len(values), bool)
    for root in np.unique(group):
        members = np.flatnonzero(group == root)
        gone[members[lowest(values[members], drop)]] = True
    left = iter((~gone).tolist())
    kept = []
    for addition in corpus.additions:
        told = [[t for t in _told(segment) if next(left)] for segment in addition.segments]
        if any(told):
            kept.append(_with_words(addition, told))
    return tuple(kept)


def _look(bench: Bench, image: npt.NDArray[np.uint8], name: str) -> tuple[Source, correct.Pool]:
    """An image's source, and what pools its visual features."""
    own = content_hash(image)
    features = bench.looker.features(image, own)
    source = Source(own, name, (image.shape[0], image.shape[1]))
    return source, lambda segments: embed(bench.encoder, features, segments)


def _paired(
    bench: Bench, image: npt.NDArray[np.uint8], phrases: tuple[Phrase, ...], name: str
) -> tuple[Addition, Rows]:
    """An image's segments, named by phrases, and CLIP's rows of them."""
    source, pool = _look(bench, image, name)
    seen = bench.placer.features(image, source.hash)
    placed = np.empty((0, bench.place.width), np.float32)

    def both(segments: Segments) -> Rows:
        nonlocal placed
        placed = embed(bench.place, seen, segments)
        return pool(segments)

    made = pairing.addition(
        image,
        ("",),
        propose(image, bench.proposals),
        source,
        extract=lambda _: phrases,
        words=bench.words,
        place=lambda segments: embed(bench.place, seen, segments),
        pool=both,
    )
    return made.addition, placed


def _told(segment: Segment) -> list[tuple[str, str]]:
    """(phrase, root) of a segment."""
    return list(zip(segment.words, segment.roots, strict=True))


def _named(segment: Segment, told: Sequence[tuple[str, str]]) -> Segment:
    words, roots = tuple(w for w, _ in told), tuple(r for _, r in told)
    return replace(segment, words=words, roots=roots)


def _with_words(addition: Addition, told: Sequence[Sequence[tuple[str, str]]]) -> Addition:
    """An addition with only these phrases of each segment, and segments that have any."""
    kept = [number for number, words in enumerate(told) if words]
    return Addition(
        addition.source,
        addition.embeddings[kept],
        tuple(_named(addition.segments[number], told[number]) for number in kept),
        tuple(addition.thumbnails[number] for number in kept),
    )
