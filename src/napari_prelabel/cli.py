"""The command `prelabel`: parse, one call, print. Nothing heavy is imported before it is needed."""

import json
import os
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from typer.core import TyperGroup

from . import __version__
from .errors import FileFormatError, PrelabelError

out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)

SENTENCE, SOME_FAILED, STOPPED = 2, 1, 130


class Sentences(TyperGroup):
    """Errors of ours end in one sentence and exit code 2, never in a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except PrelabelError as error:
            err.print(f"[red]error:[/red] {_plain(str(error))}")
            raise typer.Exit(SENTENCE) from error
        except KeyboardInterrupt:
            err.print("Stopped. What was finished is written; run the same command to go on.")
            raise typer.Exit(STOPPED) from None


app = typer.Typer(
    cls=Sentences,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Pre-label images from typed words; annotators only correct.",
)
bench = typer.Typer(no_args_is_help=True, help="Measure accuracy and speed; JSON for machines.")
models = typer.Typer(no_args_is_help=True, help="See which models there are, and fetch them.")
app.add_typer(bench, name="bench")
app.add_typer(models, name="models")

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[
    str | None, typer.Option(help="float32 (the reference), bfloat16 or float16.")
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Also write the figures to this file.")
]
Bundle = Annotated[str, typer.Option("--models", help="Bundle of models: see 'prelabel models'.")]


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"prelabel {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print and end.")
    ] = False,
) -> None:
    """Pre-label images from typed words; annotators only correct."""


@app.command()
def run(
    images: Annotated[list[str], typer.Argument(help="Files, folders, patterns ('photos/*.jpg').")],
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the label files.")],
    classes: Annotated[
        str | None,
        typer.Option(
            help="A class file (txt, csv, json, yaml), a preset (voc21, ade20k, ...) or the words "
            "themselves: 'tree, sky, grass' or 'tree: oak; sky; - reflection'."
        ),
    ] = None,
    job: Annotated[
        Path | None, typer.Option(help="A job that the dock or --save-job wrote.")
    ] = None,
    method: Annotated[str | None, typer.Option(help="freecp or base.")] = None,
    base: Annotated[
        str | None, typer.Option(help="vanilla, maskclip, sclip, clearclip, gem or naclip.")
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="Bundle of models: see 'prelabel models'.")
    ] = None,
    format_name: Annotated[str, typer.Option("--format", help="png, tiff or coco.")] = "png",
    segmentation: Annotated[str, typer.Option(help="COCO only: auto, rle or polygons.")] = "auto",
    annotation: Annotated[
        str, typer.Option(help="COCO only: one annotation per region or per class.")
    ] = "region",
    descriptions: Annotated[
        Path | None, typer.Option(help='JSON {"class": ["a sentence", ...]} for FreeCP.')
    ] = None,
    save_job: Annotated[Path | None, typer.Option(help="Write the job to this file.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Write again what is written already.")] = False,
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """Label images and write the label files; run it again to go on where it stopped."""
    from .batch import run_batch
    from .formats import Options, target
    from .formats.atomic import write_atomic
    from .images import find_images
    from .jobs import choose, description_note, job_of

    target(out_folder, format_name, "x")
    wanted = job_of(
        classes,
        job,
        descriptions,
        {"method": method, "base": base, "models": models, "precision": precision},
    )
    options = Options(
        overwrite,
        choose("segmentation", segmentation, ("auto", "rle", "polygons")),
        choose("annotation", annotation, ("region", "class")),
    )
    if descriptions is not None:
        out.print(_plain(description_note(wanted.vocabulary, descriptions)))
    pictures = find_images(images, leave_out=out_folder)
    _check_models(wanted.models)
    if save_job is not None:
        write_atomic(save_job, wanted.to_json().encode(), overwrite=overwrite)
    runner = _engine(device)
    steps = run_batch(runner, wanted, pictures, out_folder, format_name, options)
    failed = _follow(steps, len(pictures), out_folder)
    if failed:
        raise typer.Exit(SOME_FAILED)


def _follow(steps: Generator[Any, None, Any], count: int, folder: Path) -> int:
    """Show a batch as it goes and sum it up; returns how many images failed."""
    from .batch import Outcome

    outcomes: list[Outcome] = []
    notices: dict[str, None] = {}
    with _bar() as bar:
        task = bar.add_task("", total=count)
        while True:
            try:
                step = next(steps)
            except StopIteration as end:
                receipt = end.value
                break
            if isinstance(step, Outcome):
                outcomes.append(step)
                notices |= dict.fromkeys(step.notices)
                bar.advance(task)
                if step.state == "failed":
                    bar.console.print(
                        f"[red]{_plain(step.picture.path.name)}:[/red] {_plain(step.sentence)}"
                    )
            else:
                bar.update(task, description=_where(step))
    _summary(outcomes, receipt, folder)
    for notice in notices:
        out.print(f"[yellow]note:[/yellow] {_plain(notice)}")
    return sum(o.state == "failed" for o in outcomes)


def _where(step: Any) -> str:
    plane = f" {step.plane + 1}/{step.planes}" if step.planes > 1 else ""
    stage = f" [{step.progress.stage}]" if step.progress else ""
    return _plain(f"{step.picture.name}{plane}{stage}")


def _summary(outcomes: list[Any], receipt: Any, folder: Path) -> None:
    table = Table(title=f"{len(outcomes)} images", title_justify="left")
    for column in ("written", "already there", "failed", "seconds an image"):
        table.add_column(column, justify="right")
    written = [o.seconds for o in outcomes if o.state == "written"]
    table.add_row(
        str(len(written)),
        str(sum(o.state == "skipped" for o in outcomes)),
        str(sum(o.state == "failed" for o in outcomes)),
        f"{sum(written) / len(written):.2f}" if written else "",
    )
    out.print(table)
    if receipt.classes:
        counts = Table(title=_plain(f"Classes in {folder}"), title_justify="left")
        counts.add_column("class")
        counts.add_column("pixels", justify="right")
        counts.add_column("share", justify="right")
        pixels = sum(c.read for c in receipt.classes)
        for row in sorted(receipt.classes, key=lambda c: -c.read)[:20]:
            counts.add_row(
                _plain(row.name), f"{row.read:,}", f"{100 * row.read / max(1, pixels):.1f}%"
            )
        out.print(counts)
    if receipt.images:
        for line in receipt.lines():
            out.print(_plain(line))
    if len(written) < len(outcomes) and any(o.state == "skipped" for o in outcomes):
        out.print("Images that were written before are kept; --overwrite writes them again.")


@app.command()
def demo(
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the report.")] = Path(
        "demo-output"
    ),
    window: Annotated[
        bool, typer.Option("--window/--no-window", help="Open napari when there is a display.")
    ] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first scenes.")] = None,
    models: Bundle = "demo",
    device: Device = "auto",
) -> None:
    """Segment the sample scenes with every method and write a report with figures."""
    from . import report

    _check_models(models)
    runner = _engine(device)
    scenes = report.sample_scenes(limit)
    with _bar() as bar:
        task = bar.add_task("", total=len(scenes.samples) * len(report.columns(models)))
        steps = report.run_demo(runner, scenes, out_folder, models)
        while True:
            try:
                name, method = next(steps)
            except StopIteration as end:
                results = end.value
                break
            bar.update(task, description=f"{name} {method}")
            bar.advance(task)
    _print_table("Mean over the sample scenes", report.HEAD, report.table(results))
    out.print(f"Report: {_plain(str((out_folder / report.PAGE).resolve()))}")
    if window and has_display():
        from .gui.launch import launch

        launch(**report.for_napari(results))


def has_display() -> bool:
    """Whether a window can be opened here and somebody may look at it."""
    if os.environ.get("CI"):
        return False
    shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(shown) or sys.platform in ("darwin", "win32")


@bench.command()
def accuracy(
    data: Annotated[str, typer.Option(help="synthetic: the drawn scenes.")] = "synthetic",
    split: Annotated[str, typer.Option(help="val (to choose thresholds on) or test.")] = "test",
    methods: Annotated[str, typer.Option(help="Names with commas: base, freecp.")] = "base,freecp",
    bases: Annotated[str | None, typer.Option(help="Names with commas; all of the bundle.")] = None,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Also refinement alone, RP, AP, true classes given.")
    ] = False,
    models: Bundle = "demo",
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first images.")] = None,
    rp: Annotated[float | None, typer.Option(help="Threshold of redundancy purification.")] = None,
    ap: Annotated[float | None, typer.Option(help="Threshold of ambiguity purification.")] = None,
    logit_scale: Annotated[float | None, typer.Option(help="In place of the model's.")] = None,
    json_file: JsonFile = None,
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """mIoU, pixel accuracy, boundary F and pixels to fix, all in percent, with intervals."""
    from .bench import accuracy as measure
    from .bench.data import load_synthetic
    from .jobs import choose, job_with
    from .models.catalog import bundle_of

    choose("data", data, ("synthetic",))
    bundle = bundle_of(models)
    chosen = measure.variants(_names(methods), ablation=ablation)
    wanted = _names(bases) if bases else list(bundle.bases)
    for name in wanted:
        choose("base", name, bundle.bases)
    scenes = load_synthetic(split, limit)
    _check_models(models)
    job = job_with(scenes.vocabulary, {"models": models, "precision": precision})
    freecp = replace(
        job.freecp,
        rp_threshold=job.freecp.rp_threshold if rp is None else rp,
        ap_threshold=job.freecp.ap_threshold if ap is None else ap,
    )
    job = replace(job, freecp=freecp, logit_scale=logit_scale)
    runner = _engine(device)
    with _bar() as bar:
        task = bar.add_task("", total=len(scenes.samples) * len(chosen) * len(wanted))
        steps = measure.measure(runner, scenes, job, chosen, wanted, job.freecp)
        while True:
            try:
                sample, method, base = next(steps)
            except StopIteration as end:
                figures = measure.report(end.value, scenes)
                break
            bar.update(task, description=f"{sample.name} {method} {base}")
            bar.advance(task)
    figures |= {"models": models, "precision": job.precision, "device": runner.device}
    title = f"{scenes.name} {split}: {len(scenes.samples)} images, percent"
    _print_table(title, measure.HEAD, measure.rows_of(figures))
    _write_json(json_file, figures)


@bench.command()
def speed(
    method: Annotated[str, typer.Option(help="freecp or base.")] = "freecp",
    base: Annotated[str, typer.Option(help="maskclip, sclip, ...")] = "sclip",
    models: Bundle = "vitb16-shape",
    classes: Annotated[int, typer.Option(min=1, help="Words of COCO-Stuff, then made-up.")] = 171,
    size: Annotated[str, typer.Option(help="Height x width in pixels.")] = "448x600",
    repeats: Annotated[int, typer.Option(min=1, help="Images per figure; the middle counts.")] = 3,
    rp: Annotated[
        float | None,
        typer.Option(help="Threshold of redundancy purification; 0 on random weights: all stay."),
    ] = None,
    json_file: JsonFile = None,
    device: Device = "auto",
    precision: Precision = None,
) -> None:
    """Seconds of every stage, the cost beside CLIP's passes, peak memory, a changed word."""
    from . import presets
    from .jobs import job_with, read_size
    from .models.catalog import bundle_of, entry_of

    height, width = read_size(size)
    _check_models(models)
    from .bench import speed as measure

    words = presets.load("coco_stuff").names
    job = job_with(
        measure.vocabulary_of(words, classes),
        {"method": method, "base": base, "models": models, "precision": precision},
    )
    if rp is None and entry_of(bundle_of(models).clip).source == "random":
        rp = 0.0
    if rp is not None:
        job = replace(job, freecp=replace(job.freecp, rp_threshold=rp))
    with err.status("running"):
        runner = measure.fresh_engine(device)
        figures = measure.measure(runner, job, (height, width), repeats=repeats)
    rows = (
        (s["name"], f"{s['seconds']:.3f}", "CLIP" if s["forward"] else "")
        for s in figures["stages"]
    )
    _print_table("Stages of a run", ("stage", "seconds", "pass"), rows)
    for name, value in figures.items():
        if name != "stages":
            out.print(f"{name}: {value}")
    _write_json(json_file, figures)


@bench.command()
def affinity(
    split: Annotated[str, typer.Option(help="val or test.")] = "val",
    models: Bundle = "demo",
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first images.")] = None,
    json_file: JsonFile = None,
    device: Device = "auto",
) -> None:
    """AUC of "same label" from the attention of every layer, from FreeCP's choice, from colour."""
    from .bench.affinity import affinity_auc
    from .bench.data import load_synthetic
    from .models.catalog import bundle_of

    scenes = load_synthetic(split, limit)
    bundle = bundle_of(models)
    _check_models(models)
    from .models.clip import load_clip, pick_device

    with err.status("running"):
        clip = load_clip(bundle.clip, str(pick_device(device)))
        rows = affinity_auc(clip, bundle.windows, scenes.samples)
    _print_table(
        "AUC of 'same label'",
        ("affinity", "AUC"),
        ((r["affinity"], f"{r['auc']:.3f}") for r in rows),
    )
    _write_json(json_file, {"rows": rows, "split": split, "images": len(scenes.samples)})


@models.command("list")
def list_models() -> None:
    """Which bundles there are, their size, licence and whether they are installed."""
    from .models.catalog import BUNDLES, entry_of, installed, model_dir

    table = Table(box=None)
    for column in ("name", "what", "recommended", "state", "licence"):
        table.add_column(column)
    for name, bundle in BUNDLES.items():
        entry = entry_of(bundle.clip)
        here = "installed" if installed(bundle.clip) else f"{entry.size / 1e6:,.0f} MB to fetch"
        licence = entry.licence.partition(";")[0]
        table.add_row(name, bundle.title, f"{bundle.method} {bundle.base}", here, licence)
    out.print(table)
    out.print(f"Fetched models lie in {_plain(str(model_dir('openai-vitb16').parent))}")


@models.command("fetch")
def fetch_model(
    name: Annotated[str, typer.Argument(help="A bundle, or one of its models.")],
    yes: Annotated[bool, typer.Option("--yes", help="Agree without being asked.")] = False,
) -> None:
    """Download a bundle's models; a fetch that was stopped goes on where it was."""
    from .models.catalog import BUNDLES, download_text, entry_of, installed, model_dir
    from .models.fetch import fetch

    model = BUNDLES[name].clip if name in BUNDLES else name
    entry = entry_of(model)
    if installed(model) or entry.source in ("sample", "random"):
        out.print(f"{model} is here: nothing to fetch.")
        return
    out.print(f"{download_text(model)}\nto {_plain(str(model_dir(model)))}")
    if not yes:
        typer.confirm("Fetch it?", abort=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(model, total=entry.size)
        fetch(model, lambda done, total: bar.update(task, completed=done, total=total))
    out.print(f"{model} is installed.")


def _engine(device: str) -> Any:
    with err.status("loading"):
        from .engine.run import Engine

        return Engine(device)


def _check_models(name: str) -> None:
    """Fail before anything heavy is loaded when the models are not installed."""
    from .errors import ModelError
    from .models.catalog import bundle_of, installed

    clip = bundle_of(name).clip
    if not installed(clip):
        raise ModelError(
            clip, f"The models of {name!r} are not installed: run 'prelabel models fetch {name}'."
        )


def _bar() -> Progress:
    return Progress(
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        console=err,
        transient=True,
    )


def _print_table(title: str, head: Any, rows: Any) -> None:
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(head):
        table.add_column(column, justify="left" if number < 2 else "right")
    for row in rows:
        table.add_row(*row)
    out.print(table)


def _write_json(path: Path | None, figures: dict[str, Any]) -> None:
    if path is not None:
        from .formats.atomic import write_atomic

        text = json.dumps(figures, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomic(path, text.encode(), overwrite=True)
        out.print(f"Figures: {_plain(str(path))}")


def _names(text: str) -> list[str]:
    names = [word.strip() for word in text.split(",") if word.strip()]
    if not names:
        raise FileFormatError(text, "Name at least one method or base.")
    return names


def _plain(text: str) -> str:
    """Text of files and words, with rich's markup switched off."""
    return text.replace("[", r"\[")
