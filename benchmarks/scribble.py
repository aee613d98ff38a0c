"""What one stroke of the scribble tool is worth: its defaults chosen, and its rivals.

Run ``python -m benchmarks.scribble sweep`` to choose, on validation scenes, and
``... compare --split test`` for the chosen defaults beside other ways to carry a stroke. An
annotator is simulated: a true region that the labels get wrong, a stroke along its middle. A scene
is read once for all settings.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import ndimage

from napari_prelabel.engine.engine import Engine
from napari_prelabel.engine.samples import DataSet, Sample
from napari_prelabel.engine.tasks import REACH, reach_of
from napari_prelabel.engine.timing import Stopwatch
from napari_prelabel.images.rgb import Rgb, content_hash
from napari_prelabel.methods.scribble import DEFAULTS, FLOOR, carry
from napari_prelabel.methods.walk import Graph
from napari_prelabel.models.catalog import bundle_of
from napari_prelabel.values.job import Job, Nerve
from napari_prelabel.values.labels import Ids, Mask
from napari_prelabel.values.metrics import bootstrap
from napari_prelabel.values.steps import finish

from .data import load_synthetic

ALPHA = (0.5, 0.8, 0.9, 0.95, 0.99)
BETA = (0.0, 0.3, 0.5, 0.8, 1.0)
STEPS = (1, 2, 5, 10, 50)
# Radius over length of the stroke, with the floor of the level.
TIMES = (0.5, 1.0, 1.5, 2.0, 3.0)
FLOORS = (0.0, 0.1, 0.2, 0.3)
LENGTHS = ((0.05, 0.2), (0.3, 0.7), (0.7, 1.0))
STARTS = ("empty", "nerve")
# As in the tool: a stroke is a 150th of the shorter side wide.
_WIDTHS, _LEAST = 150, 3
# Wrong parts smaller than this share of an image are left to the brush.
_SMALL = 0.003
Sums = npt.NDArray[np.float64]
OURS, BRUSH = "scribble", "brush: the stroke itself"


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One correction.

    image : (H, W, 3) uint8. truth, before : (H, W) ids, right and present.
    region : (H, W), the true region under the stroke, all of one piece. stroke : (H, W).
    """

    image: Rgb
    truth: Ids
    before: Ids
    region: Mask
    stroke: Mask

    @property
    def label(self) -> int:
        return int(self.truth[self.region][0])

    def reach(self, times: float = REACH) -> float:
        """The radius that the tool suggests for the stroke."""
        y, x = np.nonzero(self.stroke)
        extent = float(np.hypot(np.ptp(y) + 1, np.ptp(x) + 1))
        return reach_of(extent * times / REACH, self.truth.shape)

    def near(self, times: float = REACH) -> Mask:
        """Pixels within the radius of the stroke."""
        near: Mask = ndimage.distance_transform_edt(~self.stroke) <= self.reach(times)
        return near


def cases(
    image: Rgb,
    truth: Ids,
    before: Ids,
    count: int,
    rng: np.random.Generator,
    length: tuple[float, float] = (0.3, 0.7),
) -> list[Case]:
    """Strokes for the `count` largest wrong parts, no two in one region.

    A wrong part is of one true class and hangs together; the stroke lies inside it.
    length : least and greatest share of the longest way through it.
    """
    wrong = (truth != before) & (truth > 0)
    parts = []
    for label in np.unique(truth[wrong]):
        pieces, _ = ndimage.label(wrong & (truth == label))
        sizes = np.bincount(pieces.ravel())[1:]
        large = np.flatnonzero(sizes >= _SMALL * truth.size)
        parts += [(int(sizes[i]), int(label), pieces == i + 1) for i in large]
    made: list[Case] = []
    for _, label, part in sorted(parts, key=lambda p: -p[0]):
        if len(made) == count:
            break
        found, _ = ndimage.label(truth == label)
        region = found == found[part][0]
        if any((region & other.region).any() for other in made):
            continue
        made.append(Case(image, truth, before, region, stroke(part, rng, length)))
    return made


def stroke(part: Mask, rng: np.random.Generator, length: tuple[float, float]) -> Mask:
    """A stroke along the middle of a part: a share of the longest way through its skeleton."""
    from skimage.morphology import skeletonize

    padded = np.pad(part, 1)
    bones = skeletonize(padded)[1:-1, 1:-1]
    if not bones.any():
        bones = part
    way = _longest(bones)
    count = max(1, round(len(way) * rng.uniform(*length)))
    first = int(rng.integers(0, len(way) - count + 1))
    drawn = np.ones(part.shape, bool)
    drawn[tuple(np.transpose(way[first : first + count]))] = False
    width = max(_LEAST, min(part.shape) // _WIDTHS)
    out: Mask = ndimage.distance_transform_edt(drawn) <= width / 2
    return out


def _longest(bones: Mask) -> list[tuple[int, ...]]:
    """Pixels of the longest of the shortest ways between two points of one piece."""
    from skimage.graph import MCP_Geometric

    cost = np.where(bones, 1.0, np.inf)
    at = tuple(int(i) for i in np.argwhere(bones)[0])
    walker = MCP_Geometric(cost)
    for _ in range(2):
        away, _ = walker.find_costs([at])
        away = np.where(np.isfinite(away), away, -1)
        at = tuple(int(i) for i in np.unravel_index(away.argmax(), away.shape))
    return [tuple(int(i) for i in point) for point in walker.traceback(at)]


# Ways to carry a stroke: each gives the pixels (H, W) that it takes.

Way = Callable[[Case, Graph], Mask]


def scribbled(
    case: Case,
    graph: Graph,
    settings: Nerve = DEFAULTS,
    floor: float = FLOOR,
    times: float = REACH,
) -> Mask:
    """What the tool takes, asked as engine.scribble asks; the radius is `times` the stroke."""
    ids = carry(
        case.stroke.astype(np.uint16),
        graph,
        radius=case.reach(times),
        image=case.image,
        settings=settings,
        floor=floor,
    )
    taken: Mask = ids > 0
    return taken


def fixed(case: Case, graph: Graph) -> Mask:
    """The tool without what this benchmark gave it: a fifth of the shorter side, no floor."""
    side = min(case.truth.shape) // 5
    ids = carry(case.stroke.astype(np.uint16), graph, radius=side, image=case.image, floor=0.0)
    taken: Mask = ids > 0
    return taken


def brush(case: Case, graph: Graph) -> Mask:
    """The stroke and nothing more."""
    del graph
    return case.stroke


def superpixels(case: Case, graph: Graph, count: int = 400, tolerance: float = 5.0) -> Mask:
    """Flood: superpixels coloured like one under the stroke (CIELAB), together with it."""
    from skimage.color import rgb2lab
    from skimage.segmentation import slic

    del graph
    lab = rgb2lab(case.image)
    cells = slic(case.image, count, start_label=0)
    index = np.arange(cells.max() + 1)
    colour = np.stack([ndimage.mean(lab[..., i], cells, index) for i in range(3)], -1)
    under = colour[np.unique(cells[case.stroke])]
    like = np.linalg.norm(colour[:, None] - under, axis=-1).min(1) <= tolerance
    return _touching(like[cells] & case.near(), case.stroke)


def random_walker(case: Case, graph: Graph, beta: float = 1000.0, times: float = 1.0) -> Mask:
    """Grady's walker on colours, from the stroke and from all that lies beyond a radius."""
    from skimage.segmentation import random_walker as walk

    del graph
    near = case.near(times)
    box = _box(near)
    markers = np.where(near[box], 0, 2)
    markers[case.stroke[box]] = 1
    if not (markers == 2).any():
        return near
    found = np.zeros_like(case.stroke)
    image = case.image[box] / 255
    # A tolerance of 1 keeps it from warning of probabilities that are a little out of range.
    likely = walk(image, markers, beta=beta, mode="cg_j", tol=1e-3, prob_tol=1.0, channel_axis=-1)
    found[box] = likely == 1
    return _touching(found, case.stroke)


def watershed(case: Case, graph: Graph, times: float = 0.5) -> Mask:
    """Watershed of the colour gradient, from the same markers."""
    from skimage.filters import sobel
    from skimage.segmentation import watershed as flood

    del graph
    markers = np.where(case.near(times), 0, 2)
    markers[case.stroke] = 1
    slope = np.max([sobel(case.image[..., i]) for i in range(3)], axis=0)
    return _touching(flood(slope, markers) == 1, case.stroke)


def _box(near: Mask) -> tuple[slice, slice]:
    """Around a mask, one pixel wider where the image goes on."""
    rows, columns = (np.flatnonzero(near.any(axis)) for axis in (1, 0))
    return (
        slice(max(0, int(rows[0]) - 1), int(rows[-1]) + 2),
        slice(max(0, int(columns[0]) - 1), int(columns[-1]) + 2),
    )


def _touching(found: Mask, drawn: Mask) -> Mask:
    """The pieces of `found` that the stroke lies on, and the stroke."""
    pieces, count = ndimage.label(found | drawn)
    keep = np.zeros(count + 1, bool)
    keep[pieces[drawn]] = True
    out: Mask = keep[pieces]
    return out


def sweep() -> dict[str, Way]:
    """Every radius with every floor; then every alpha, beta and length of walk by itself."""
    given: dict[str, Way] = {OURS: scribbled}
    for times, floor in product(TIMES, FLOORS):
        given[f"floor {floor:g}, radius x {times:g}"] = partial(scribbled, times=times, floor=floor)
    for name, values in {"alpha": ALPHA, "beta": BETA, "steps": STEPS}.items():
        for value in values:
            change: dict[str, Any] = {name: value}
            given[f"{name} {value:g}"] = partial(scribbled, settings=replace(DEFAULTS, **change))
    return given


def rivals_sweep() -> dict[str, Way]:
    """The rivals' own parameters, so that they are not worse than they need to be."""
    given: dict[str, Way] = {OURS: scribbled}
    for tolerance in (5, 10, 15, 20):
        given[f"superpixels, {tolerance}"] = partial(superpixels, tolerance=tolerance)
    for times in (0.5, 1.0, 1.5):
        given[f"watershed, radius x {times:g}"] = partial(watershed, times=times)
    for beta, times in ((130, 1.0), (1000, 1.0), (10000, 1.0), (1000, 0.5)):
        given[f"random walker, {beta}, radius x {times:g}"] = partial(
            random_walker, beta=beta, times=times
        )
    return given


def compare() -> dict[str, Way]:
    """The tool beside its rivals; theirs are the best parameters of `rivals`."""
    return {
        OURS: scribbled,
        "scribble, fixed radius, no floor": fixed,
        "scribble, one step": partial(scribbled, settings=replace(DEFAULTS, steps=1)),
        "superpixel flood": superpixels,
        "random walker on colour": random_walker,
        "watershed on colour": watershed,
        BRUSH: brush,
    }


TABLES: Mapping[str, Callable[[], dict[str, Way]]] = {
    "sweep": sweep,
    "rivals": rivals_sweep,
    "compare": compare,
}


@dataclass(slots=True)
class Trial:
    """Every way on the same strokes, on empty labels and on those of NERVE.

    found : per way, for each scene what `judged` says, summed over its strokes: (start, 2, 2).
    seconds : per way, of each stroke.
    """

    engine: Engine
    data: DataSet
    models: str
    ways: Mapping[str, Way]
    strokes: int = 3
    length: tuple[float, float] = LENGTHS[1]
    found: dict[str, list[Sums]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)

    def add(self, sample: Sample, seed: int) -> None:
        """Try every way on the strokes of a scene; equal seeds give equal strokes."""
        rng = np.random.default_rng(seed)
        labels = self._labels(sample)
        graph = self._graph(sample)
        chosen = [
            cases(sample.image, sample.truth, before, self.strokes, rng, self.length)
            for before in (np.zeros_like(sample.truth), labels)
        ]
        for name, way in self.ways.items():
            total: Sums = np.zeros((len(STARTS), 2, 2))
            for start, same in enumerate(chosen):
                for case in same:
                    began = time.perf_counter()
                    taken = way(case, graph)
                    self.seconds.setdefault(name, []).append(time.perf_counter() - began)
                    total[start] += judged(case, taken)
            self.found.setdefault(name, []).append(total)

    def _labels(self, sample: Sample) -> Ids:
        bundle = bundle_of(self.models)
        job = Job(
            self.data.vocabulary,
            method="nerve",
            base=bundle.base,  # type: ignore[arg-type]
            models=self.models,
            nerve=bundle.nerve,
        )
        labels: Ids = finish(self.engine.run(job, sample.image)).ids
        return labels

    def _graph(self, sample: Sample) -> Graph:
        bundle = bundle_of(self.models)
        watch = Stopwatch(torch.device(self.engine.device))
        affinities = self.engine.affinities(bundle, "float32", watch)
        return affinities.graph(sample.image, content_hash(sample.image), bundle.nerve)

    def rows(self) -> list[dict[str, Any]]:
        """A row per way, percent: `net` and `iou`, means over both starts, with intervals.

        net_gain, iou_gain : intervals of the difference to the first way, on the same draws.
        """
        first = next(iter(self.ways))
        return [self._row(name, first) for name in self.ways]

    def _row(self, name: str, first: str) -> dict[str, Any]:
        sums, than = (np.stack(self.found[n]) for n in (name, first))
        row: dict[str, Any] = {"way": name}
        for at, measure in enumerate(("net", "iou")):
            m, other = sums[:, :, at], than[:, :, at]
            row[measure] = _percent(_mean(m.sum(0)))
            row |= {
                f"{measure}_{start}": _percent(share)
                for start, share in zip(STARTS, _shares(m.sum(0)), strict=True)
            }
            row[f"{measure}_interval"] = [_percent(end) for end in bootstrap(m, _mean)]
            if name != first:
                row[f"{measure}_gain"] = [_percent(end) for end in bootstrap(m, _mean, other)]
        row["milliseconds"] = round(1000 * float(np.median(self.seconds[name])), 1)
        return row


def judged(case: Case, taken: Mask) -> Sums:
    """((pixels fixed less pixels broken, pixels wrong in the region), (IoU, 1)).

    A pixel is fixed when it was wrong and is right now, broken when it was right. The IoU is that
    of what was taken and the region.
    """
    right = case.truth == case.label
    wrong = case.before != case.truth
    net = (taken & wrong & right).sum() - (taken & ~wrong & ~right).sum(dtype=np.int64)
    both, either = (taken & case.region).sum(), (taken | case.region).sum()
    return np.array([[net, (wrong & case.region).sum()], [both / either, 1]], float)


def _shares(m: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        share: npt.NDArray[np.float64] = m[..., 0] / m[..., 1]
    return share


def _mean(m: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Mean over the starts of the share that two sums make, (..., start, 2) -> (...)."""
    mean: npt.NDArray[np.float64] = _shares(m).mean(-1)
    return mean


def _percent(share: Any) -> float:
    return round(100 * float(share), 1)


_COLUMNS = {
    "way": "way",
    "net": "net fixed",
    "net_interval": "95%",
    "net_gain": "difference",
    "net_empty": "on empty",
    "net_nerve": "on NERVE's",
    "iou": "IoU",
    "iou_gain": "difference",
    "milliseconds": "ms",
}


def _table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(*_COLUMNS.values(), title=title, title_justify="left")
    for row in rows:
        table.add_row(*(_cell(row.get(name, "")) for name in _COLUMNS))
    return table


def _cell(value: Any) -> str:
    return f"{value[0]:g} to {value[1]:g}" if isinstance(value, list) else str(value)


def main(
    what: Annotated[str, typer.Argument(help="sweep, rivals or compare.")] = "compare",
    models: str = "demo",
    split: str = "val",
    limit: Annotated[int, typer.Option(min=1, help="Scenes.")] = 12,
    strokes: Annotated[int, typer.Option(min=1, help="A scene and a start, at most.")] = 3,
    length: Annotated[int, typer.Option(min=0, max=2, help="0 short, 1 usual, 2 long.")] = 1,
    json_file: Annotated[Path | None, typer.Option("--json", help="All rows.")] = None,
    device: str = "auto",
) -> None:
    """Carry the same strokes in many ways; print what each fixes and breaks."""
    import json

    if what not in TABLES:
        raise typer.BadParameter(f"Choose {', '.join(TABLES)}, not {what!r}.")
    data = load_synthetic(split, limit)
    trial = Trial(Engine(device), data, models, TABLES[what](), strokes, LENGTHS[length])
    console = Console(width=120, highlight=False)
    for seed, sample in enumerate(
        track(data.samples, "scenes", console=Console(stderr=True), transient=True)
    ):
        trial.add(sample, seed)
    rows = trial.rows()
    order = rows if what == "compare" else sorted(rows, key=lambda row: -row["net"])
    count = len(trial.seconds[OURS])
    title = f"Scribble, {what}, {split}, {len(data.samples)} scenes, {count} strokes, percent"
    console.print(_table(title, order))
    if json_file is not None:
        text = json.dumps({"models": models, "split": split, "rows": rows}, indent=1)
        json_file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
