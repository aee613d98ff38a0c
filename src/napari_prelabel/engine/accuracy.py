"""How good the methods are: every image once per method, one row of figures per method."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from ..values.errors import JobError
from ..values.job import Base, FreeCP, Job, Method, Progress
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
from .samples import DataSet, Sample

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

    method: Method
    freecp: FreeCP = field(default_factory=FreeCP)
    known: bool = False
    against: str = "base"


METHODS: dict[str, Variant] = {
    "base": Variant("base"),
    "freecp": Variant("freecp"),
    "nerve": Variant("nerve"),
    "freecp, diffusion": Variant("freecp", FreeCP(source="diffusion")),
    "reme": Variant("reme"),
}
# Methods that ask no base: one row, whatever the bases.
_ALONE = ("reme",)
NO_BASE = "-"


@dataclass(slots=True, eq=False)
class MethodTally:
    """What one method did on the images so far; one entry per image in each list.

    against : the method whose row its gain is measured against.
    """

    method: str
    base: str
    against: str = "base"
    confusions: list[npt.NDArray[np.int64]] = field(default_factory=list)
    boundaries: list[float] = field(default_factory=list)

    def add(self, sample: Sample, ids: Ids, n_classes: int) -> None:
        self.confusions.append(confusion(sample.truth, ids, n_classes))
        self.boundaries.append(boundary_f(sample.truth, ids, TOLERANCE))

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


def measure(
    runner: ImageRunner,
    data: DataSet,
    job: Job,
    chosen: Mapping[str, Variant],
    bases: Sequence[str],
    freecp: FreeCP | None = None,
) -> Generator[tuple[Sample, str, str], None, list[MethodTally]]:
    """Run every method on every base over all images; an image's encodings serve all of them.

    job : models, windows and precision; its vocabulary is replaced by the data set's.
    freecp : thresholds in place of the defaults; which steps run is the variants' affair.

    Yields (sample, method, base) before each run; returns one tally per method and base.
    """
    tallies = {
        (m, b): MethodTally(m, b, v.against)
        for b in bases
        for m, v in chosen.items()
        if m not in _ALONE
    }
    tallies |= {(m, NO_BASE): MethodTally(m, NO_BASE) for m in chosen if m in _ALONE}
    count = len(data.vocabulary.classes)
    for sample in data.samples:
        for (method, base), tally in tallies.items():
            yield sample, method, base
            variant = _with(chosen[method], freecp)
            asked = job if base == NO_BASE else replace(job, base=cast(Base, base))
            ids = _labels(runner, asked, variant, data.vocabulary, sample)
            tally.add(sample, ids, count)
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


def _labels(
    runner: ImageRunner, job: Job, variant: Variant, vocabulary: Vocabulary, sample: Sample
) -> Ids:
    """Ids of the whole vocabulary, also where only the true classes were asked for."""
    job = replace(job, method=variant.method, freecp=variant.freecp, vocabulary=vocabulary)
    if not variant.known:
        return finish(runner.run(job, sample.image)).ids
    true = [vocabulary.classes[i - 1] for i in np.unique(sample.truth) if 0 < i < 65535]
    few = Vocabulary(tuple(replace(c, id=i) for i, c in enumerate(true, start=1)))
    ids = finish(runner.run(replace(job, vocabulary=few), sample.image)).ids
    return relabel(ids, {i: c.id for i, c in enumerate(true, start=1)})


def report(
    tallies: Sequence[MethodTally], data: DataSet, absent: Absent = "skip"
) -> dict[str, Any]:
    """The figures as plain JSON values, in percent; rows in the order of the tallies.

    Each row has method, base, miou, miou_stuff, miou_things, pixel_accuracy, boundary_f,
    pixels_to_fix and interval (95%, of miou, images drawn with replacement); beside them the IoU
    of every class and the same figures per image. Rows of FreeCP have the gain in mIoU over their
    base and gain_interval, of the difference on the same draws; where the true classes were
    given, over the base that they were given to. docs/benchmarks.md defines the figures.

    absent : what becomes of classes without a true pixel, see `metrics.miou`; the figures name it.
        With "mmseg" every class of the vocabulary may count, distractors too.
    """
    found = {(t.method, t.base): t for t in tallies}
    return {
        "rows": [_row(t, data, found.get((t.against, t.base)), absent) for t in tallies],
        "absent_classes": absent,
        "absent_classes_rule": ABSENT[absent],
        "data": data.name,
        "split": data.split,
        "images": len(data.samples),
        "classes": len(data.classes),
        "distractors": data.distractors,
    }


def _row(
    tally: MethodTally, data: DataSet, base: MethodTally | None, absent: Absent
) -> dict[str, Any]:
    classes = data.classes if absent == "skip" else range(1, len(data.vocabulary.classes) + 1)
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
        "miou_stuff": over(data.stuff),
        "miou_things": over(data.things),
        "pixel_accuracy": _percent(pixel_accuracy(total)),
        "boundary_f": _percent(np.nanmean(tally.boundaries)),
        "pixels_to_fix": _percent(wrong.sum() / pixels.sum()),
        "interval": _interval(bootstrap(matrices, statistic, rounds=ROUNDS, seed=SEED)),
        "class_iou": {data.vocabulary.classes[i - 1].name: _percent(shares[i]) for i in classes},
        "image_miou": {
            s.name: over(classes, m) for s, m in zip(data.samples, matrices, strict=True)
        },
        "image_pixels_to_fix": {s.name: int(n) for s, n in zip(data.samples, wrong, strict=True)},
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


HEAD = (
    "method", "base", "mIoU", "stuff", "things", "pixels", "boundary F", "to fix", "95% interval",
    "gain",
)  # fmt: skip


def rows_of(figures: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Rows of a table for people: method, base and the figures."""
    for row in figures["rows"]:
        low, high = row["interval"]
        gain = ""
        if "gain" in row:
            a, b = row["gain_interval"]
            gain = f"{row['gain']:+.1f} [{a:+.1f}, {b:+.1f}]"
        numbers = ("miou", "miou_stuff", "miou_things", "pixel_accuracy", "boundary_f")
        yield (
            row["method"],
            row["base"],
            *("" if row[n] is None else f"{row[n]:.1f}" for n in numbers),
            f"{row['pixels_to_fix']:.1f}",
            f"{low:.1f} to {high:.1f}",
            gain,
        )
