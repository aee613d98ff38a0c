"""The demo: every sample scene with every method, its label files, and a report to look at."""

import base64
import html
import io
import json
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Template
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from . import __version__
from .batch import JobRunner
from .engine.samples import DataSet, Sample, load_shipped
from .engine.tasks import Learn, Learned, Reviewed
from .formats import LabelImage, Options, export
from .formats.atomic import write_atomic
from .models.catalog import bundle_of
from .values.bases import ABOUT
from .values.encoder import Encoder
from .values.faults import ends_all, sentence_of
from .values.job import Job, Reference
from .values.labels import Ids, LabelMap
from .values.methods import METHODS
from .values.metrics import confusion, miou, pixel_accuracy
from .values.steps import finish
from .values.vocabulary import Vocabulary

PAGE = "report.html"
FIGURES = "report.json"
HEAD = ("method", "mIoU", "stuff", "things", "pixels right", "seconds an image")
_THUMB = 360
# Drawn scenes with their truth that ReME learns from before it labels the sample scenes.
LEARNT = 10
ENCODER = Encoder("clip", "demo-clip")
_TITLES = {
    "base": "{base} alone",
    "freecp": "{base} with FreeCP",
    "nerve": "{base} with NERVE",
    "reme": f"ReME, {LEARNT} corrected scenes",
}


class Doer(JobRunner, Protocol):
    """A runner that can also learn; an Engine does."""

    def do(self, task: Learn) -> Generator[Any, None, Any]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """One method on one scene."""

    sample: Sample
    method: str
    labels: LabelMap
    matrix: npt.NDArray[np.int64]
    seconds: float


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """The demo's outcome: per method one result a scene, in the scenes' order.

    failed : why scenes are left out, by their names.
    """

    data: DataSet
    base: str
    models: str
    methods: dict[str, tuple[Result, ...]]
    failed: dict[str, str] = field(default_factory=dict)

    def title(self, method: str) -> str:
        if method not in _TITLES:
            return METHODS[method].title
        return _TITLES[method].format(base=ABOUT[self.base].title)


def sample_scenes(limit: int | None = None) -> DataSet:
    """The sample scenes with the words that occur in them, and no others."""
    data = load_shipped("test", limit)
    classes = data.vocabulary.classes[: len(data.vocabulary.classes) - data.distractors]
    return replace(data, vocabulary=Vocabulary(classes), distractors=0)


def count(models: str, scenes: int) -> int:
    """How many steps `run_demo` yields for so many scenes: one a method, one to learn from."""
    methods = bundle_of(models).methods
    return scenes * len(methods) + ("reme" in methods)


def run_demo(
    runner: Doer, data: DataSet, folder: Path, models: str = "demo"
) -> Generator[tuple[str, str], None, Results]:
    """Segment every scene with every method and write labels, overlays and the report.

    Files of an earlier demo in the folder are replaced. Yields (scene, method) before each run. A
    scene for which something is raised is told in the results and left out of them, unless none is
    left.
    """
    bundle = bundle_of(models)
    found: dict[str, list[Result]] = {method: [] for method in bundle.methods}
    start = Job(
        data.vocabulary,
        "base",
        bundle.base,  # type: ignore[arg-type]
        models,
        freecp=bundle.freecp,
        nerve=bundle.nerve,
    )
    if "reme" in bundle.methods:
        yield f"{LEARNT} corrected scenes", "reme"
        start = replace(start, reference=_learn(runner, folder))
    failed: dict[str, str] = {}
    for sample in data.samples:
        try:
            done = yield from _every_method(runner, start, bundle.methods, sample, folder)
        except BaseException as error:
            if ends_all(error) or len(failed) + 1 == len(data.samples):
                raise
            failed[sample.name] = sentence_of(error)
            continue
        for result in done:
            found[result.method].append(result)
    data = replace(data, samples=tuple(s for s in data.samples if s.name not in failed))
    rows = {method: tuple(results) for method, results in found.items()}
    results = Results(data, bundle.base, models, rows, failed)
    figures = json.dumps(figures_of(results), indent=1) + "\n"
    write_atomic(folder / FIGURES, figures.encode(), overwrite=True)
    write_atomic(folder / PAGE, page(results).encode(), overwrite=True)
    return results


def _every_method(
    runner: JobRunner, start: Job, methods: Sequence[str], sample: Sample, folder: Path
) -> Generator[tuple[str, str], None, list[Result]]:
    """A scene with every method, its files written."""
    done = []
    for method in methods:
        yield sample.name, method
        job = replace(start, method=method)
        done.append(_run(runner, job, sample))
        _write(done[-1], folder)
    return done


def _learn(runner: Doer, folder: Path) -> Reference:
    """A reference set from drawn scenes that no sample scene repeats, as if corrected by hand."""
    scenes = load_shipped("train", LEARNT)
    pairs = tuple(Reviewed(s.name, s.image, s.truth, scenes.vocabulary) for s in scenes.samples)
    place = folder / "reference-set"
    learnt: Learned = finish(runner.do(Learn(str(place), ENCODER, pairs)))
    return Reference(str(place), learnt.digest)


def _run(runner: JobRunner, job: Job, sample: Sample) -> Result:
    start = time.perf_counter()
    labels: LabelMap = finish(runner.run(job, sample.image))
    seconds = time.perf_counter() - start
    matrix = confusion(sample.truth, labels.ids, len(job.vocabulary.classes))
    return Result(sample, job.method, labels, matrix, seconds)


def _write(result: Result, folder: Path) -> None:
    image = LabelImage.of(result.labels, result.sample.name)
    export([image], folder / "labels" / result.method, "png", Options(overwrite=True))
    shown = overlay(result.sample.image, result.labels.ids, result.labels.vocabulary)
    target = folder / "overlays" / f"{result.sample.name}-{result.method}.png"
    write_atomic(target, _encoded(Image.fromarray(shown), "PNG"), overwrite=True)


def overlay(
    image: npt.NDArray[np.uint8], ids: Ids, vocabulary: Vocabulary, strength: float = 0.6
) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8: the image under its classes' colours, with dark lines between them."""
    palette = np.zeros((65536, 3), np.float32)
    palette[: len(vocabulary.classes) + 1] = vocabulary.palette()
    labelled = (ids > 0) & (ids <= len(vocabulary.classes))
    cover = np.where(labelled, strength, 0.0)[..., None].astype(np.float32)
    mixed = image * (1 - cover) + palette[ids] * cover
    edge = np.zeros(ids.shape, bool)
    edge[:, 1:] |= ids[:, 1:] != ids[:, :-1]
    edge[1:] |= ids[1:] != ids[:-1]
    mixed[edge] *= 0.45
    shown: npt.NDArray[np.uint8] = mixed.round().clip(0, 255).astype(np.uint8)
    return shown


def figures_of(results: Results) -> dict[str, Any]:
    """The demo's figures as plain JSON values, in percent; `image_miou` in the scenes' order."""
    rows = []
    for method, per_image in results.methods.items():
        total = np.sum([r.matrix for r in per_image], axis=0)
        data = results.data
        rows.append(
            {
                "method": method,
                "base": results.base,
                "miou": _percent(miou(total, data.classes)),
                "miou_stuff": _percent(miou(total, data.stuff)),
                "miou_things": _percent(miou(total, data.things)),
                "pixel_accuracy": _percent(pixel_accuracy(total)),
                "seconds": round(float(np.mean([r.seconds for r in per_image])), 3),
                "image_miou": {r.sample.name: _percent(_image_miou(r)) for r in per_image},
            }
        )
    return {"models": results.models, "version": __version__, "rows": rows}


def table(results: Results) -> Iterator[tuple[str, ...]]:
    """Rows for people, under HEAD."""
    for row in figures_of(results)["rows"]:
        numbers = (row[k] for k in ("miou", "miou_stuff", "miou_things", "pixel_accuracy"))
        yield (
            results.title(row["method"]),
            *("" if n is None else f"{n:.1f}" for n in numbers),
            f"{row['seconds']:.2f}",
        )


def for_napari(results: Results) -> dict[str, Any]:
    """Arguments of gui.launch.launch: all scenes, the labels of the bundle's own method."""
    chosen = bundle_of(results.models).method
    shown = results.methods[chosen]
    return {
        "images": [r.sample.image for r in shown],
        "vocabulary": results.data.vocabulary,
        "labels": [r.labels.ids for r in shown],
        "names": [r.sample.name for r in shown],
    }


def _image_miou(result: Result) -> float:
    present = tuple(i for i in np.unique(result.sample.truth).tolist() if 0 < i < 65535)
    return float(miou(result.matrix, present))


def _percent(share: Any) -> float | None:
    value = 100 * float(share)
    return round(value, 1) if np.isfinite(value) else None


def page(results: Results) -> str:
    """The report: one HTML file that needs nothing else; links lead to the full-size files."""
    notices = dict.fromkeys(
        n for per_image in results.methods.values() for r in per_image for n in r.labels.notices
    )
    return Template(_PAGE).substitute(
        summary="".join(_summary_row(row) for row in table(results)),
        head="".join(f"<th>{html.escape(h)}</th>" for h in HEAD),
        scenes="".join(_scene(results, i) for i in range(len(results.data.samples))),
        count=len(results.data.samples),
        notices="".join(f"<p class='note'>{html.escape(n)}</p>" for n in notices),
        models=html.escape(bundle_of(results.models).title),
        version=html.escape(__version__),
    )


def _summary_row(row: Sequence[str]) -> str:
    cells = [f"<th scope='row'>{html.escape(row[0])}</th>"]
    for number, value in enumerate(row[1:]):
        bar = f"<i style='width:{0.8 * float(value):.0f}px'></i>" if number < 4 and value else ""
        cells.append(f"<td><b>{html.escape(value)}</b>{bar}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _scene(results: Results, index: int) -> str:
    sample = results.data.samples[index]
    truth = overlay(sample.image, sample.truth, results.data.vocabulary)
    figures = [
        _figure(sample.image, "image", ""),
        _figure(truth, "truth", ""),
    ]
    per_method = {m: results.methods[m][index] for m in results.methods}
    scores = {m: _image_miou(r) for m, r in per_method.items()}
    for method, result in per_method.items():
        shown = overlay(sample.image, result.labels.ids, results.data.vocabulary)
        best = scores[method] == max(scores.values())
        caption = f"{results.title(method)} <b class='{'best' if best else ''}'>"
        caption += f"{100 * scores[method]:.1f}</b>"
        figures.append(_figure(shown, caption, f"overlays/{sample.name}-{method}.png"))
    return (
        f"<section><h2>{html.escape(sample.name)}</h2><div class='row'>{''.join(figures)}</div>"
        f"<p class='legend'>{_legend(sample, per_method, results.data.vocabulary)}</p></section>"
    )


def _figure(pixels: npt.NDArray[np.uint8], caption: str, link: str) -> str:
    picture = Image.fromarray(pixels)
    picture.thumbnail((_THUMB, _THUMB), Image.Resampling.LANCZOS)
    data = base64.b64encode(_encoded(picture, "JPEG")).decode()
    alt = html.escape(caption.partition("<")[0].strip(), quote=True)
    tag = f"<img alt='{alt}' loading='lazy' src='data:image/jpeg;base64,{data}'>"
    if link:
        tag = f"<a href='{html.escape(link, quote=True)}'>{tag}</a>"
    return f"<figure>{tag}<figcaption>{caption}</figcaption></figure>"


def _legend(sample: Sample, results: dict[str, Result], vocabulary: Vocabulary) -> str:
    """Chips of the classes that are true in a scene; those only predicted come after, faint."""
    true = set(np.unique(sample.truth).tolist())
    found = {i for r in results.values() for i in np.unique(r.labels.ids).tolist()}
    chips = []
    for c in vocabulary.classes:
        if c.id in true | found:
            r, g, b = c.rgb
            kind = "" if c.id in true else " class='absent' title='not in the scene'"
            chip = f"<span{kind}><i style='background:rgb({r},{g},{b})'></i>"
            chips.append((c.id not in true, f"{chip}{html.escape(c.name)}</span>"))
    return "".join(chip for _, chip in sorted(chips, key=lambda pair: pair[0]))


def _encoded(picture: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **({"quality": 84} if kind == "JPEG" else {}))
    return file.getvalue()


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Prelabel demo</title>
<style>
:root { --ink: #1d2433; --soft: #667085; --line: #e4e7ec; --accent: #2f6fde; --paper: #f7f8fa; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 28px; margin: 0 0 4px; letter-spacing: -0.01em; }
h2 { font-size: 14px; margin: 0 0 10px; color: var(--soft); font-weight: 600; }
.lead { margin: 0 0 24px; color: var(--soft); max-width: 70ch; }
table { border-collapse: collapse; background: #fff; border: 1px solid var(--line);
  border-radius: 10px; overflow: hidden; width: 100%; margin-bottom: 16px; }
th, td { padding: 10px 14px; text-align: right; border-top: 1px solid var(--line);
  font-variant-numeric: tabular-nums; }
thead th { border-top: 0; color: var(--soft); font-weight: 600; font-size: 13px; }
th:first-child { text-align: left; font-weight: 600; }
td i { display: block; height: 4px; margin: 4px 0 0 auto; border-radius: 2px;
  background: var(--accent); }
.note { background: #fff8e6; border: 1px solid #f3dfa8; border-radius: 10px;
  padding: 10px 14px; margin: 0 0 12px; }
section { background: #fff; border: 1px solid var(--line); border-radius: 12px; padding: 16px;
  margin-top: 16px; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(180px, 1fr)); gap: 12px; }
figure { margin: 0; }
img { width: 100%; display: block; border-radius: 6px; }
figcaption { margin-top: 6px; font-size: 13px; color: var(--soft); display: flex;
  justify-content: space-between; }
figcaption b { color: var(--ink); font-variant-numeric: tabular-nums; }
figcaption b.best { color: var(--accent); }
.legend { margin: 10px 0 0; font-size: 13px; display: flex; flex-wrap: wrap; gap: 4px 14px; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px;
  margin-right: 6px; vertical-align: -1px; border: 1px solid rgba(0, 0, 0, 0.15); }
.absent { color: var(--soft); opacity: 0.75; text-decoration: line-through; }
footer { margin-top: 28px; color: var(--soft); font-size: 13px; }
</style></head><body><main>
<h1>Prelabel demo</h1>
<p class="lead">$count drawn scenes, labelled from typed words alone: nothing was trained on masks,
and no method saw the truth. Figures are percent; mIoU is the mean over the classes of
intersection over union. Below each picture stands the mIoU of that picture.
The first method's seconds include the passes through the encoder, which the others reuse.</p>
<table><thead><tr>$head</tr></thead><tbody>$summary</tbody></table>
$notices
<p class="note"><b>About the models.</b> $models is small enough to ship with the package. It knows
the words and the drawn world of these scenes, and nothing else: choose the full models, or a
reference set, for your own images. Words that are struck through were predicted but are not in
the scene.</p>
$scenes
<footer>napari-prelabel $version. Full-size overlays lie in <code>overlays</code>, label files with
their tables of classes in <code>labels</code>, the figures in <code>report.json</code>.</footer>
</main></body></html>
"""
