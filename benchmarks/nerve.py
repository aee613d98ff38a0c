"""NERVE's parameters, chosen on validation scenes, and what every part of it is worth.

Run ``python -m benchmarks.nerve sweep`` to choose, on validation scenes, and
``... nerve ablation --split test`` with the parameters of the bundle. CLIP and the diffusion
model see an image once for all settings.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
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

from napari_prelabel.engine.affinities import Affinities
from napari_prelabel.engine.cache import Encodings
from napari_prelabel.engine.encode import CachedClip
from napari_prelabel.engine.labellers import base as alone
from napari_prelabel.engine.labellers.nerve import evidence, walk
from napari_prelabel.engine.reading import cosines
from napari_prelabel.engine.samples import DataSet, Sample
from napari_prelabel.engine.timing import Stopwatch
from napari_prelabel.images.rgb import content_hash
from napari_prelabel.methods.nerve import gaussian
from napari_prelabel.methods.walk import Graph
from napari_prelabel.models.catalog import bundle_of
from napari_prelabel.models.clip import Clip, load_clip
from napari_prelabel.models.diffusion import load_diffusion
from napari_prelabel.models.opened import pick_device
from napari_prelabel.models.windows import cut, plan_layout
from napari_prelabel.values.job import Base, Job, Nerve
from napari_prelabel.values.metrics import bootstrap, confusion, miou, pixel_accuracy
from napari_prelabel.values.steps import finish

from .data import load_synthetic

ALPHA = (0.5, 0.7, 0.8, 0.9, 0.95)
BETA = (0.0, 0.3, 0.5, 0.7, 1.0)
STEPS = (5, 10, 20, 40)
WEIGHTING: tuple[Any, ...] = ("exp", "linear", "inverse", "lowest", "row", "equal")
RADIUS = (1, 2, 3)
# Tokens that the isotropic rival's neighbours lie away, NACLIP's on a grid of its own.
SIGMA = 5.0
BASE_ALONE, ISOTROPIC = "base alone", f"Gaussian window, sigma {SIGMA:g}"

Matrix = npt.NDArray[np.int64]


def sweep(start: Nerve) -> dict[str, Nerve]:
    """Every alpha with every beta and number of steps; every weighting with every radius."""
    walks = {
        f"alpha {a:g}, beta {b:g}, L {n}": replace(start, alpha=a, beta=b, steps=n)
        for a, b, n in product(ALPHA, BETA, STEPS)
    }
    graphs = {
        f"{w}, r {r}": replace(start, weighting=w, radius=r) for w, r in product(WEIGHTING, RADIUS)
    }
    return walks | graphs


def ablation(start: Nerve) -> dict[str, Nerve]:
    """The rows that say what every part is worth; `start` is the complete method."""
    return {
        "equal head weights": replace(start, weighting="equal"),
        "entropy weights": start,
        "global only": replace(start, beta=1.0),
        "local only": replace(start, beta=0.0),
        "both": start,
        "one multiplication": replace(start, alpha=1.0, beta=1.0, steps=1),
    }


@dataclass(slots=True)
class Trial:
    """The confusions of every setting, one per image."""

    clip: Clip
    diffusion: Any
    data: DataSet
    base: Base
    settings: dict[str, Nerve]
    isotropic: bool = False
    logit_scale: float | None = None
    found: dict[str, list[Matrix]] = field(default_factory=dict)
    _words: Encodings = field(default_factory=Encodings)

    def add(self, sample: Sample, models: str) -> None:
        """Try every setting on an image."""
        watch = Stopwatch(self.clip.device)
        encoder = CachedClip(self.clip, Encodings(), self._words, watch, lambda: False)
        queries = finish(encoder.queries(self.data.vocabulary))
        size = (sample.truth.shape[0], sample.truth.shape[1])
        windows = bundle_of(models).windows
        layout = plan_layout(size, windows, self.clip.patch)
        pixels = cut(sample.image, layout, antialias=windows.antialias)
        batches = encoder.windows(pixels, layout, self.base)
        maps = torch.cat([cosines(b, queries, layout) for b in batches])
        job = Job(self.data.vocabulary, "base", self.base, models)
        scale = self.logit_scale or self.clip.logit_scale
        labels = finish(alone.decide_tiles(maps, queries, layout, job, scale))
        self._keep(BASE_ALONE, sample, labels.ids)
        for name, settings, graph in self._graphs(
            sample, Affinities(self.diffusion, Encodings(), watch)
        ):
            given = evidence(maps, queries, layout, scale, graph.grid)
            one = replace(job, nerve=settings)
            self._keep(name, sample, finish(walk(given, graph, one, queries, size, watch)).ids)

    def _graphs(self, sample: Sample, affinities: Affinities) -> Iterator[tuple[str, Nerve, Graph]]:
        name = content_hash(sample.image)
        graph = None
        for told, settings in self.settings.items():
            graph = affinities.graph(sample.image, name, settings)
            yield told, settings, graph
        if self.isotropic and graph is not None:
            start = self.settings["both"]
            rival = gaussian(graph.grid, SIGMA, radius=start.radius, like=graph.stencil)
            yield ISOTROPIC, start, rival

    def _keep(self, name: str, sample: Sample, ids: npt.NDArray[np.uint16]) -> None:
        count = len(self.data.vocabulary.classes)
        self.found.setdefault(name, []).append(confusion(sample.truth, ids, count))

    def rows(self) -> list[dict[str, Any]]:
        """One row per setting, in percent; gain and its interval are over the base alone."""
        alone = np.stack(self.found[BASE_ALONE])
        return [_row(self.data, name, np.stack(found), alone) for name, found in self.found.items()]


def _row(data: DataSet, name: str, found: Matrix, alone: Matrix) -> dict[str, Any]:
    def statistic(m: Matrix) -> npt.NDArray[np.float64]:
        return miou(m, data.classes)

    total = found.sum(0)
    row = {
        "setting": name,
        "miou": _percent(statistic(total)),
        "miou_stuff": _percent(miou(total, data.stuff)),
        "miou_things": _percent(miou(total, data.things)),
        "pixel_accuracy": _percent(pixel_accuracy(total)),
        "gain": _percent(statistic(total) - statistic(alone.sum(0))),
    }
    if name != BASE_ALONE and len(found) > 1:
        row["gain_interval"] = [_percent(end) for end in bootstrap(found, statistic, alone)]
    return row


def _percent(share: Any) -> float:
    return round(100 * float(share), 2)


def _table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    names = ("setting", "miou", "miou_stuff", "miou_things", "pixel_accuracy", "gain")
    table = Table(*names, "95% interval", title=title, title_justify="left")
    for row in rows:
        interval = row.get("gain_interval", "")
        table.add_row(*(str(row[n]) for n in names), str(interval))
    return table


def main(
    what: Annotated[
        str, typer.Argument(help="sweep (on validation scenes) or ablation.")
    ] = "sweep",
    models: str = "demo",
    base: Annotated[str | None, typer.Option(help="The bundle's, if none is named.")] = None,
    split: str = "val",
    limit: Annotated[int | None, typer.Option(min=1, help="Scenes.")] = 12,
    json_file: Annotated[Path | None, typer.Option("--json", help="All rows.")] = None,
    device: str = "auto",
) -> None:
    """Try NERVE's parameters, or leave its parts away one by one."""
    import json

    bundle = bundle_of(models)
    if what not in ("sweep", "ablation"):
        raise typer.BadParameter(f"Choose sweep or ablation, not {what!r}.")
    settings = sweep(bundle.nerve) if what == "sweep" else ablation(bundle.nerve)
    data = load_synthetic(split, limit)
    place = str(pick_device(device))
    trial = Trial(
        load_clip(bundle.clip, place),
        load_diffusion(bundle.diffusion, place),
        data,
        base or bundle.base,  # type: ignore[arg-type]
        settings,
        isotropic=what == "ablation",
    )
    for sample in track(data.samples, description=what):
        trial.add(sample, models)
    rows = trial.rows()
    shown = rows if what == "ablation" else sorted(rows, key=lambda row: -row["miou"])[:25]
    Console().print(_table(f"NERVE, {what}, {split}, {len(data.samples)} scenes, percent", shown))
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
