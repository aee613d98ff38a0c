"""How good the methods are: every image once per method, one row of figures per method."""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from ..values import methods
from ..values.errors import JobError
from ..values.faults import ends_all, sentence_of
from ..values.job import Base, FreeCP, Job, Progress
from ..values.labels import Ids, LabelMap, relabel
from ..values.metrics import (
    ABSENT,
    Absent,
    bootstrap,
    boundary_f,
    class_iou,
    confusion,
    miou,
    pixel_accuracy,
)
from ..values.steps import finish
from ..values.vocabulary import Vocabulary
from .samples import Sample

ROUNDS = 1000
SEED = 0
TOLERANCE = 2.0

Image = npt.NDArray[np.uint8]


class ImageRunner(Protocol):
    """What runs a job on pixels (H, W, 3) uint8; an Engine does."""

    def run(self, job: Job, image: Image) -> Generator[Progress, None, LabelMap]: ...


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to run a method.

    known : the classes that are true in an image are given, all others left out.
    against : the method whose row the gain is measured against.
    """

    method: str
    freecp: FreeCP = field(default_factory=FreeCP)
    known: bool = False
    against: str = "base"

    @property
    def needs(self) -> methods.Needs:
        """What must be there before it can run."""
        row = methods.METHODS[self.method]
        return row.needs(self.freecp if row.field == "freecp" else row.settings)

    @property
    def alone(self) -> bool:
        """Whether it asks no base: one row, whatever the bases."""
        return "base" not in methods.METHODS[self.method].applies


METHODS: dict[str, Variant] = {
    **{name: Variant(name) for name in sorted(methods.METHODS)},
    "freecp, diffusion": Variant("freecp", FreeCP(source="diffusion")),
}
NO_BASE = "-"


@dataclass(slots=True, eq=False)
class MethodTally:
    """What one method did on the images so far; one entry per image in each list.

    against : the method whose row its gain is measured against.
    """

    method: str
    base: str
    against: str = "base"
    names: list[str] = field(default_factory=list)
    confusions: list[npt.NDArray[np.int64]] = field(default_factory=list)
    boundaries: list[float] = field(default_factory=list)

    def add(self, sample: Sample, ids: Ids, n_classes: int) -> None:
        matrix = confusion(sample.truth, ids, n_classes)
        boundary = boundary_f(sample.truth, ids, TOLERANCE)
        self.names.append(sample.name)
        self.confusions.append(matrix)
        self.boundaries.append(boundary)

    @property
    def matrices(self) -> npt.NDArray[np.int64]:
        return np.stack(self.confusions)


def variants(
    names: Sequence[str], known: Mapping[str, Variant] | None = None
) -> dict[str, Variant]:
    """The ways of these names among METHODS or others; JobError for an unknown name."""
    known = known or METHODS
    unknown = [name for name in names if name not in known]
    if unknown:
        raise JobError("method", f"{unknown[0]!r} is no method: choose among {', '.join(known)}.")
    return {name: known[name] for name in dict.fromkeys(names)}


def rows_asked(
    chosen: Mapping[str, Variant], bases: Sequence[str]
) -> dict[tuple[str, str], MethodTally]:
    """An empty tally for every row: each method on each base, those that ask no base once."""
    with_base = {(m, b): v for b in bases for m, v in chosen.items() if not v.alone}
    alone = {(m, NO_BASE): v for m, v in chosen.items() if v.alone}
    return {key: MethodTally(*key, v.against) for key, v in (with_base | alone).items()}


def measure(
    runner: ImageRunner,
    samples: Iterable[Sample],
    job: Job,
    chosen: Mapping[str, Variant],
    bases: Sequence[str],
    freecp: FreeCP | None = None,
    failed: dict[str, str] | None = None,
) -> Generator[tuple[str, str, str], None, list[MethodTally]]:
    """Run every method on every base over all images; an image's encodings serve all of them.

    job : vocabulary, models, windows and precision.
    freecp : thresholds in place of the defaults; which steps run is the variants' affair.
    failed : takes why images are left out of every row, by their names; without it what is raised
        for one ends all.

    Yields the names (sample, method, base) before each run; returns one tally per method and base.
    """
    tallies = rows_asked(chosen, bases)
    asked = {
        (method, base): (
            job if base == NO_BASE else replace(job, base=cast(Base, base)),
            _with(chosen[method], freecp),
        )
        for method, base in tallies
    }
    count = len(job.vocabulary.classes)
    for sample in samples:
        try:
            found = {}
            for (method, base), (one, variant) in asked.items():
                yield sample.name, method, base
                found[method, base] = _labels(runner, one, variant, sample)
            for key, ids in found.items():
                tallies[key].add(sample, ids, count)
        except BaseException as error:
            if failed is None or ends_all(error):
                raise
            failed[sample.name] = sentence_of(error)
    return list(tallies.values())


def _with(variant: Variant, freecp: FreeCP | None) -> Variant:
    if freecp is None:
        return variant
    steps = variant.freecp
    return replace(
        variant,
        freecp=replace(
            freecp,
            redundancy=steps.redundancy,
            ambiguity=steps.ambiguity,
            source=steps.source,
        ),
    )


def _labels(runner: ImageRunner, job: Job, variant: Variant, sample: Sample) -> Ids:
    """Ids of the whole vocabulary, also where only the true classes were asked for."""
    vocabulary = job.vocabulary
    job = replace(job, method=variant.method, freecp=variant.freecp)
    if not variant.known:
        return finish(runner.run(job, sample.image)).ids
    true = [vocabulary.classes[i - 1] for i in np.unique(sample.truth) if 0 < i < 65535]
    few = Vocabulary(tuple(replace(c, id=i) for i, c in enumerate(true, start=1)))
    ids = finish(runner.run(replace(job, vocabulary=few), sample.image)).ids
    return relabel(ids, {i: c.id for i, c in enumerate(true, start=1)})


def figures_of(
    tallies: Sequence[MethodTally],
    vocabulary: Vocabulary,
    true: Sequence[int],
    absent: Absent = "skip",
    kinds: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Any]:
    """The figures as plain JSON values, in percent; rows in the order of the tallies.

    true : ids that the truth of some image has.
    absent : what becomes of classes without a true pixel, see `metrics.miou`; the figures name it.
        With "mmseg" every class of the vocabulary may count.
    kinds : ids of classes of a kind, whose mean stands beside the others as `miou_KIND`.

    Each row has method, base, miou, pixel_accuracy, boundary_f, pixels_to_fix and interval (95%,
    of miou, images drawn with replacement); beside them the IoU of every class and the same
    figures per image. Rows of FreeCP have the gain in mIoU over their base and gain_interval, of
    the difference on the same draws; where the true classes were given, over the base that they
    were given to. docs/evaluate.md defines the figures.
    """
    names = {c.id: c.name for c in vocabulary.classes}
    counted = {i: names[i] for i in (true if absent == "skip" else names)}
    found = {(t.method, t.base): t for t in tallies}
    return {
        "rows": [
            _row(t, found.get((t.against, t.base)), counted, absent, kinds or {}) for t in tallies
        ],
        "absent_classes": absent,
        "absent_classes_rule": ABSENT[absent],
    }


def _row(
    tally: MethodTally,
    base: MethodTally | None,
    names: Mapping[int, str],
    absent: Absent,
    kinds: Mapping[str, Sequence[int]],
) -> dict[str, Any]:
    classes = list(names)
    matrices = tally.matrices
    total = matrices.sum(0)
    shares = class_iou(total)

    def over(chosen: Sequence[int], matrix: npt.NDArray[Any] = total) -> float | None:
        return _percent(miou(matrix, chosen, absent)) if chosen else None

    def statistic(m: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return miou(m, classes, absent)

    pixels = matrices.sum((1, 2))
    wrong = pixels - np.trace(matrices, axis1=1, axis2=2)
    row: dict[str, Any] = {
        "method": tally.method,
        "base": tally.base,
        "miou": over(classes),
        **{f"miou_{kind}": over(ids) for kind, ids in kinds.items()},
        "pixel_accuracy": _percent(pixel_accuracy(total)),
        "boundary_f": _percent(np.nanmean(tally.boundaries)),
        "pixels_to_fix": _percent(wrong.sum() / pixels.sum()),
        "interval": _interval(bootstrap(matrices, statistic, rounds=ROUNDS, seed=SEED)),
        "class_iou": {name: _percent(shares[i]) for i, name in names.items()},
        "image_miou": {n: over(classes, m) for n, m in zip(tally.names, matrices, strict=True)},
        "image_pixels_to_fix": {n: int(w) for n, w in zip(tally.names, wrong, strict=True)},
    }
    if base is not None and base is not tally:
        row["gain"] = _percent(statistic(total) - statistic(base.matrices.sum(0)))
        row["gain_interval"] = _interval(
            bootstrap(matrices, statistic, base.matrices, rounds=ROUNDS, seed=SEED)
        )
    return row


def _percent(share: Any) -> float | None:
    value = 100 * float(share)
    return round(value, 2) if np.isfinite(value) else None


def _interval(ends: tuple[float, float]) -> list[float | None]:
    return [_percent(end) for end in ends]


def head(kinds: Sequence[str] = ()) -> tuple[str, ...]:
    """What stands above `lines`."""
    return ("method", "base", "mIoU", *kinds, "pixels", "boundary F", "to fix", "95% interval",
            "gain")  # fmt: skip


def lines(
    rows: Sequence[Mapping[str, Any]], kinds: Sequence[str] = ()
) -> Iterator[tuple[str, ...]]:
    """Lines of a table for people: method, base and the figures."""
    means = ("miou", *(f"miou_{kind}" for kind in kinds), "pixel_accuracy", "boundary_f")
    for row in rows:
        interval, gain = row["interval"], ""
        if "gain" in row:
            gain = f"{row['gain']:+.1f}"
            if row["gain_interval"]:
                a, b = row["gain_interval"]
                gain += f" [{a:+.1f}, {b:+.1f}]"
        yield (
            row["method"],
            row["base"],
            *(number(row[mean]) for mean in means),
            number(row["pixels_to_fix"]),
            " to ".join(map(number, interval)) if interval else "",
            gain,
        )


def number(percent: float | None) -> str:
    """A figure as it stands in tables; "" for none."""
    return "" if percent is None else f"{percent:.1f}"
