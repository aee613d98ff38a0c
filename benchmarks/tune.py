"""Thresholds and windows for a bundle, chosen on validation scenes.

Run ``python -m benchmarks.tune --limit 32 --json tune.json``. An image's encodings serve
all thresholds, and so do its refined maps: only purification, blending and deciding are repeated.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, cast

import numpy as np
import numpy.typing as npt
import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from napari_prelabel.engine.cache import Encodings
from napari_prelabel.engine.encode import CachedClip, Queries
from napari_prelabel.engine.labellers import base as alone
from napari_prelabel.engine.labellers import freecp
from napari_prelabel.engine.reading import cosines
from napari_prelabel.engine.samples import DataSet, Sample
from napari_prelabel.engine.timing import Stopwatch
from napari_prelabel.methods.freecp import find
from napari_prelabel.models.catalog import bundle_of
from napari_prelabel.models.clip import Clip, load_clip
from napari_prelabel.models.opened import pick_device
from napari_prelabel.models.windows import Layout, cut, plan_layout
from napari_prelabel.values.job import Base, FreeCP, Job, Windows
from napari_prelabel.values.labels import LabelMap
from napari_prelabel.values.metrics import confusion, miou, pixel_accuracy
from napari_prelabel.values.steps import finish

from .data import load_synthetic

RP = (0.02, 0.05, 0.10, 0.15, 0.20, 0.25, 0.30)
AP = (0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
WINDOWS = (
    Windows(256, 128, 64),
    Windows(256, 192, 64),
    Windows(384, 128, 64),
    Windows(0, 128, 64),
)
_REFINE = FreeCP(redundancy=False, ambiguity=False)

Matrix = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Grid:
    """What is tried: every base with every windows, and there every rp with every ap and none."""

    windows: Sequence[Windows] = WINDOWS
    bases: Sequence[str] = ("sclip", "clearclip")
    rp: Sequence[float] = RP
    ap: Sequence[float] = AP

    def steps(self) -> list[FreeCP]:
        """Refinement alone, then every rp without and with every ap."""
        steps = [_REFINE]
        for rp in self.rp:
            steps.append(FreeCP(ambiguity=False, rp_threshold=rp))
            steps += [FreeCP(rp_threshold=rp, ap_threshold=ap) for ap in self.ap]
        return steps


@dataclass(slots=True)
class Tuner:
    """The summed confusions of every setting; FreeCP None stands for the base alone."""

    clip: Clip
    data: DataSet
    grid: Grid
    logit_scale: float | None = None
    found: dict[tuple[str, Windows, FreeCP | None], Matrix] = field(default_factory=dict)
    _words: Encodings = field(default_factory=Encodings)

    def add(self, sample: Sample) -> None:
        """Try every setting on an image."""
        watch = Stopwatch(self.clip.device)
        # Encodings of one image are dropped with it: no later one can use them.
        encoder = CachedClip(self.clip, Encodings(), self._words, watch, lambda: False)
        queries = finish(encoder.queries(self.data.vocabulary))
        told = finish(freecp.descriptions(encoder, self.data.vocabulary, queries))
        size = (sample.truth.shape[0], sample.truth.shape[1])
        for windows in self.grid.windows:
            layout = plan_layout(size, windows, self.clip.patch)
            pixels = cut(sample.image, layout)
            for base in self.grid.bases:
                job = Job(
                    self.data.vocabulary,
                    base=cast(Base, base),
                    windows=windows,
                    logit_scale=self.logit_scale,
                )
                for steps, labels in self._labels(job, encoder, queries, told, layout, pixels):
                    matrix = confusion(sample.truth, labels.ids, queries.n_classes)
                    key = (base, windows, steps)
                    self.found[key] = self.found.get(key, 0) + matrix

    def _labels(
        self,
        job: Job,
        encoder: CachedClip,
        queries: Queries,
        told: torch.Tensor,
        layout: Layout,
        pixels: npt.NDArray[np.uint8],
    ) -> Iterator[tuple[FreeCP | None, LabelMap]]:
        """The base's labels, then those of all steps on it."""
        scale = job.logit_scale or self.clip.logit_scale
        batches = list(encoder.windows(pixels, layout, job.base))
        plain = [cosines(batch, queries, layout) for batch in batches]
        whole = torch.cat(plain)
        yield None, finish(alone.decide_tiles(whole, queries, layout, job, scale))
        near = [freecp.attention(batch, encoder, job) for batch in batches]
        pairs = [freecp.maps(*both, queries, job, scale) for both in zip(plain, near, strict=True)]
        refined, p = (torch.cat(parts) for parts in zip(*pairs, strict=True))
        for steps in self.grid.steps():
            plan = find(refined, p, steps)
            rows = None
            if plan.crops:
                boxes = freecp.crop_boxes(plan, layout)
                rows = finish(freecp.crops(encoder, pixels, boxes, job.base, False))
            maps = plan.finish(rows, told)
            yield steps, finish(freecp.decide_tiles(maps, queries, layout, job.vocabulary))

    def rows(self) -> list[dict[str, Any]]:
        """One row per setting, in percent.

        gain : over the base alone with the same windows. ap_gain : over the same redundancy
        purification without ambiguity purification.
        """
        return [
            self._row(base, windows, steps, matrix)
            for (base, windows, steps), matrix in self.found.items()
        ]

    def _row(
        self, base: str, windows: Windows, steps: FreeCP | None, matrix: Matrix
    ) -> dict[str, Any]:
        data = self.data
        alone = miou(self.found[base, windows, None], data.classes)
        value = miou(matrix, data.classes)
        without = None
        if steps is not None and steps.redundancy and steps.ambiguity:
            without = FreeCP(ambiguity=False, rp_threshold=steps.rp_threshold)
        return {
            "base": base,
            "windows": [windows.short_side, windows.crop, windows.stride],
            "method": "base" if steps is None else "freecp",
            "rp": steps.rp_threshold if steps and steps.redundancy else None,
            "ap": steps.ap_threshold if steps and steps.ambiguity else None,
            "miou": _percent(value),
            "miou_stuff": _percent(miou(matrix, data.stuff)),
            "miou_things": _percent(miou(matrix, data.things)),
            "pixel_accuracy": _percent(pixel_accuracy(matrix)),
            "gain": _percent(value - alone),
            "ap_gain": _percent(value - miou(self.found[base, windows, without], data.classes))
            if without
            else None,
        }


def best(rows: Sequence[dict[str, Any]], top: int = 6) -> list[dict[str, Any]]:
    """The settings with the highest mIoU averaged over the bases, the best first.

    ap_gain is the lowest of the bases: below zero where ambiguity purification costs one of them.
    """
    settings: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        settings[row["method"], *row["windows"], row["rp"], row["ap"]].append(row)
    means = [
        same[0]
        | {"base": "mean of bases"}
        | {n: _mean(same, n) for n in ("miou", "gain")}
        | {"ap_gain": None if same[0]["ap"] is None else min(row["ap_gain"] for row in same)}
        for same in settings.values()
    ]
    return sorted(means, key=lambda row: -row["miou"])[:top]


def _mean(rows: Sequence[dict[str, Any]], name: str) -> float:
    return round(float(np.mean([row[name] for row in rows])), 2)


def _percent(share: Any) -> float:
    return round(100 * float(share), 2)


def _table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    names = ("base", "windows", "method", "rp", "ap", "miou", "gain", "ap_gain")
    table = Table(*names, title=title, title_justify="left")
    for row in rows:
        table.add_row(*("" if row[n] is None else str(row[n]) for n in names))
    return table


def main(
    models: str = "demo",
    split: str = "val",
    limit: Annotated[int, typer.Option(min=1, help="Scenes.")] = 16,
    bases: Annotated[str, typer.Option(help="Names with commas.")] = "maskclip,sclip,gem,clearclip",
    logit_scale: float | None = None,
    windows: Annotated[bool, typer.Option(help="Try other windows than the bundle's.")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="All rows.")] = None,
    device: str = "auto",
) -> None:
    """Try windows and thresholds of FreeCP; print the rows of every base and the best of all."""
    import json

    data = load_synthetic(split, limit)
    clip = load_clip(bundle_of(models).clip, str(pick_device(device)))
    tried = WINDOWS if windows else (bundle_of(models).windows,)
    tuner = Tuner(clip, data, Grid(tried, bases.split(",")), logit_scale)
    console = Console(width=100, highlight=False)
    with torch.inference_mode():
        for sample in track(data.samples, "scenes", console=Console(stderr=True), transient=True):
            tuner.add(sample)
    rows = tuner.rows()
    for base in tuner.grid.bases:
        console.print(_table(f"{base}, {split}", [r for r in rows if r["base"] == base]))
    console.print(_table("Best over all bases", best(rows)))
    if json_file is not None:
        text = json.dumps({"models": models, "split": split, "rows": rows}, indent=1)
        json_file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
