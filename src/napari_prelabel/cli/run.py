"""`prelabel run` and `prelabel demo`: label images, write the files, sum up."""

from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ..formats import FORMATS, Options, Receipt, all_options, own_options
from ..values.steps import Followed
from . import screen
from .settings import option_of, with_format_options, with_settings

app = typer.Typer()

# Notices that are told one by one.
_NOTICES = 20

Channels = Annotated[
    str | None,
    typer.Option(
        help="Channels of the images shown as red, green, blue, counted from 0: 3,2,1; one: grey."
    ),
]


@app.command(
    epilog="Example: prelabel run photos/ --classes 'tree, sky, grass' --models vitb16 --out labels"
)
@with_settings
@with_format_options
def run(
    images: Annotated[list[str], typer.Argument(help="Files, folders, patterns ('photos/*.jpg').")],
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the label files.")],
    classes: Annotated[
        str | None,
        typer.Option(
            help="A class file (txt, csv, json, yaml, xml), a preset (voc21, ade20k, ...) or "
            "the words themselves: 'tree, sky, grass' or 'tree: oak; sky; - reflection'."
        ),
    ] = None,
    job: Annotated[
        Path | None, typer.Option(help="A job that the dock or --save-job wrote.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Reference set to answer from, with --method reme.")
    ] = None,
    format_name: Annotated[
        str, typer.Option("--format", help=f"Of the label files: {', '.join(FORMATS)}.")
    ] = next(iter(FORMATS)),
    descriptions: Annotated[
        Path | None, typer.Option(help='JSON {"class": ["a sentence", ...]} for FreeCP.')
    ] = None,
    channels: Channels = None,
    save_job: Annotated[Path | None, typer.Option(help="Write the job to this file.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Write again what is written already.")] = False,
    device: screen.Device = "auto",
    worker: screen.Worker = None,
    tls: screen.Tls = None,
    *,
    settings: dict[str, str],
    own: dict[str, str],
) -> None:
    """Label images and write the label files; run it again to go on where it stopped."""
    from ..batch import run_batch, without_labels
    from ..formats.atomic import write_atomic
    from ..images.find import find_images
    from ..jobs import description_note, job_of, with_channels

    options = Options(overwrite, own=_own_options(format_name, own))
    wanted = job_of(classes, job, descriptions, settings, reference)
    wanted = with_channels(wanted, channels)
    if descriptions is not None:
        screen.out.print(screen.plain(description_note(wanted.vocabulary, descriptions)))
    pictures = without_labels(find_images(images, out_folder, screen.note))
    if worker is None:
        screen.check_job(wanted)
    if save_job is not None:
        write_atomic(save_job, wanted.to_json().encode(), overwrite=overwrite)
    with screen.engine_of(device, worker, tls) as runner:
        steps = run_batch(runner, wanted, pictures, out_folder, format_name, options)
        failed = _follow(steps, len(pictures), out_folder)
    screen.end(failed)


def _own_options(format_name: str, given: dict[str, str]) -> Any:
    """What was given for the format, as its options; what is of other formats alone is told."""
    for name in given:
        formats = [f.name for f in all_options()[name][1]]
        if format_name in FORMATS and format_name not in formats:
            screen.note(f"{option_of(name)} is of {', '.join(formats)}: {format_name} has no such.")
    return own_options(format_name, given)


def _follow(steps: Generator[Any, None, Any], count: int, folder: Path) -> int:
    """Show a batch as it goes and sum it up; returns how many images failed."""
    from ..batch import Outcome

    outcomes: list[Outcome] = []
    receipt = Receipt()
    try:
        with screen.bar() as bar:
            task = bar.add_task("", total=count)
            batch = Followed(steps)
            for step in batch:
                if isinstance(step, Outcome):
                    outcomes.append(step)
                    bar.advance(task)
                    _tell_failed(step, bar.console)
                else:
                    bar.update(task, description=_where(step))
            receipt = batch.result
    finally:  # what ended the batch early is told below what was done
        if outcomes:
            _summary(outcomes, receipt, folder)
    _tell_notices(outcomes)
    return sum(o.state == "failed" for o in outcomes)


def _tell_failed(outcome: Any, console: Any) -> None:
    if outcome.state == "failed":
        name, sentence = _one_line(outcome.picture.source), outcome.sentence
        console.print(f"[red]{screen.plain(name)}:[/red] {screen.plain(sentence)}")


def _tell_notices(outcomes: list[Any]) -> None:
    notices = list(dict.fromkeys(notice for o in outcomes for notice in o.notices))
    for notice in notices[:_NOTICES]:
        screen.note(_one_line(notice))
    if len(notices) > _NOTICES:
        screen.note(f"{len(notices) - _NOTICES:,} more of this kind.")


def _one_line(text: str) -> str:
    return text.replace("\n", "\\n").replace("\t", "\\t")


def _where(step: Any) -> str:
    plane = f" {step.plane + 1}/{step.planes}" if step.planes > 1 else ""
    stage = f" [{step.progress.stage}]" if step.progress else ""
    return screen.plain(_one_line(f"{step.picture.source}{plane}{stage}"))


def _summary(outcomes: list[Any], receipt: Any, folder: Path) -> None:
    many = "1 image" if len(outcomes) == 1 else f"{len(outcomes)} images"
    table = Table(title=many, title_justify="left")
    for column in ("written", "already there", "failed", "seconds an image"):
        table.add_column(column, justify="right")
    written = [o.seconds for o in outcomes if o.state == "written"]
    table.add_row(
        str(len(written)),
        str(sum(o.state == "skipped" for o in outcomes)),
        str(sum(o.state == "failed" for o in outcomes)),
        f"{sum(written) / len(written):.2f}" if written else "",
    )
    screen.out.print(table)
    if receipt.classes:
        counts = Table(title=screen.plain(f"Classes in {folder}"), title_justify="left")
        counts.add_column("class")
        counts.add_column("pixels", justify="right")
        counts.add_column("share", justify="right")
        pixels = sum(c.read for c in receipt.classes)
        for row in sorted(receipt.classes, key=lambda c: -c.read)[:20]:
            counts.add_row(
                screen.plain(row.name), f"{row.read:,}", f"{100 * row.read / max(1, pixels):.1f}%"
            )
        screen.out.print(counts)
    if receipt.images and not any(c.read for c in receipt.classes):
        screen.out.print(
            "[yellow]note:[/yellow] Nothing was found: no pixel took any of the words. Try other "
            "words, fewer background words, or a preset to see what the images look like: "
            "--classes coco_stuff --method base."
        )
    if receipt.images:
        for line in receipt.lines():
            screen.out.print(screen.plain(line))
    if len(written) < len(outcomes) and any(o.state == "skipped" for o in outcomes):
        screen.out.print("Images that were written before are kept; --overwrite writes them again.")


@app.command()
def demo(
    out_folder: Annotated[Path, typer.Option("--out", help="Folder for the report.")] = Path(
        "demo-output"
    ),
    window: Annotated[
        bool, typer.Option("--window/--no-window", help="Open napari when there is a display.")
    ] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first scenes.")] = None,
    models: screen.Bundle = "demo",
    device: screen.Device = "auto",
) -> None:
    """Segment the sample scenes with every method and write a report with figures."""
    from .. import report

    screen.check_models(models)
    runner = screen.engine(device)
    scenes = report.sample_scenes(limit)
    steps = report.run_demo(runner, scenes, out_folder, models)
    results = screen.follow(steps, report.count(models, len(scenes.samples)))
    for name, sentence in results.failed.items():
        screen.err.print(f"[red]{screen.plain(name)}:[/red] {screen.plain(sentence)}")
    screen.print_table("Mean over the sample scenes", report.HEAD, report.table(results))
    screen.out.print(f"Report: {screen.plain(str((out_folder / report.PAGE).resolve()))}")
    if window and screen.has_display():
        _show(results)
    screen.end(len(results.failed))


def _show(results: Any) -> None:
    """Open napari with the results, where there is one that can show a window."""
    from .. import report

    try:
        from ..gui.launch import launch
    except (ImportError, RuntimeError):  # qtpy without a binding raises a RuntimeError
        screen.note(
            "No window was opened: napari or its Qt is not installed. "
            'pip install "napari-prelabel[gui]" brings both.'
        )
        return
    launch(**report.for_napari(results))
