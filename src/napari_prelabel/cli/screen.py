"""What every command shares: the consoles, the options, bars, tables, one sentence for an error."""

import contextlib
import io
import json
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from typer.core import TyperGroup

from ..values.errors import FileFormatError, PrelabelError
from ..values.methods import left_out
from ..values.steps import Followed

out = Console(highlight=False, soft_wrap=True)
err = Console(highlight=False, soft_wrap=True, stderr=True)

SENTENCE, SOME_FAILED, STOPPED = 2, 1, 130
# Characters of a table that is written to a file.
_WIDEST = 300


class Sentences(TyperGroup):
    """Errors of ours end in one sentence and exit code 2, never in a traceback."""

    def invoke(self, ctx: Any) -> Any:
        _print_any_name()
        for sentence in left_out():
            err.print(f"[yellow]note:[/yellow] {plain(sentence)}")
        try:
            return super().invoke(ctx)
        except PrelabelError as error:
            err.print(f"[red]error:[/red] {plain(str(error))}")
            raise typer.Exit(SENTENCE) from error
        except KeyboardInterrupt:
            err.print("Stopped. What was finished is written; run the same command to go on.")
            raise typer.Exit(STOPPED) from None


def _print_any_name() -> None:
    """Names that the terminal's encoding lacks are printed with escapes; they end nothing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Precision = Annotated[
    str | None, typer.Option(help="float32 (the reference), bfloat16 or float16.")
]
Worker = Annotated[
    str | None,
    typer.Option(help="Compute at tls://host:port, where a 'prelabel serve' runs, not here."),
]
Tls = Annotated[
    Path | None, typer.Option(help="Folder that 'prelabel serve --tls' made, with --worker.")
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="Also write the figures to this file.")
]
Bundle = Annotated[str, typer.Option("--models", help="Bundle of models: see 'prelabel models'.")]


def has_display() -> bool:
    """Whether a window can be opened here and somebody may look at it."""
    if os.environ.get("CI"):
        return False
    shown = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(shown) or sys.platform in ("darwin", "win32")


def engine(device: str) -> Any:
    with err.status("loading"):
        from ..engine.engine import Engine

        return Engine(device)


@contextlib.contextmanager
def engine_of(device: str, worker: str | None, tls: Path | None) -> Iterator[Any]:
    """The engine here, or one at an address, which is left in the end."""
    if worker is None and tls is None:
        yield engine(device)
        return
    from ..values.errors import JobError
    from ..worker.away import Away
    from ..worker.pool import Pool

    if worker is None:
        raise JobError("tls", "--tls goes with --worker: name the address as tls://host:port.")
    if device != "auto":
        raise JobError("device", "--device is the server's: give it to 'prelabel serve'.")
    with Pool(worker, tls) as pool:
        yield Away(pool)


def check_models(name: str, diffusion: bool = False) -> None:
    """Fail before anything heavy is loaded when a bundle lacks its CLIP or its diffusion model."""
    from ..models.catalog import bundle_of, installed
    from ..values.errors import ModelError

    bundle = bundle_of(name)
    wanted = {bundle.clip: installed(bundle.clip)}
    if diffusion and bundle.diffusion:
        wanted[bundle.diffusion] = installed(bundle.diffusion)
    for model, here in wanted.items():
        if not here:
            raise ModelError(
                model,
                f"The models of {name!r} are not installed: run 'prelabel models fetch {model}'.",
            )


def check_set(folder: Path) -> None:
    """Fail before anything heavy is loaded when a reference set lacks its encoder."""
    from ..models.catalog import MODELS, installed
    from ..reference.store import ReferenceSet
    from ..values.encoder import Encoder
    from ..values.errors import ModelError

    name = Encoder.parse(ReferenceSet.open(folder).encoder.name).model
    if name in MODELS and not installed(name):
        raise ModelError(
            name,
            f"The encoder of {folder} is not installed: run 'prelabel models fetch {name}'.",
        )


def check_job(job: Any) -> None:
    """Fail before anything heavy is loaded when a job lacks a model; a set is read first."""
    if job.needs.clip:
        check_models(job.models, job.needs.diffusion)


def bar() -> Progress:
    return Progress(
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
        console=err,
        transient=True,
    )


def follow(steps: Generator[tuple[str, ...], None, Any], total: int) -> Any:
    """What steps return in the end. Each is said in a line, as it begins: where the output is a
    file, a bar that moves would show nothing for minutes."""
    followed = Followed(steps)
    with bar() as shown:
        task = shown.add_task("", total=total)
        for number, step in enumerate(followed):
            text = plain(", ".join(step))
            err.print(f"{number + 1} of {total}: {text}")
            shown.update(task, description=text, completed=number)
    return followed.result


def print_table(title: str, head: Any, rows: Any, words: int = 2) -> None:
    """A table whose first `words` columns are words, the others figures."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(head):
        table.add_column(column, justify="left" if number < words else "right")
    for row in rows:
        table.add_row(*row)
    if not out.is_terminal:  # a file has no edge: rich would cut the columns to 80 characters
        whole = out.options.update(max_width=_WIDEST)
        out.width = max(out.width, Measurement.get(out, whole, table).maximum)
    out.print(table)


def write_json(path: Path | None, figures: dict[str, Any]) -> None:
    if path is not None:
        from ..formats.atomic import write_atomic

        text = json.dumps(figures, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_atomic(path, text.encode(), overwrite=True)
        out.print(f"Figures: {plain(str(path))}")


def end(failed: int) -> None:
    """End a command; its status tells whether images failed."""
    if failed:
        raise typer.Exit(SOME_FAILED)


def names(text: str) -> list[str]:
    names = [word.strip() for word in text.split(",") if word.strip()]
    if not names:
        raise FileFormatError(text, "Name at least one method or base.")
    return names


def note(sentence: str) -> None:
    out.print(f"[yellow]note:[/yellow] {plain(sentence)}")


def plain(text: str) -> str:
    """Text of files and words, with rich's markup and the terminal's control codes switched off."""
    return text.translate(_CONTROLS).replace("[", r"\[")


# A line may end; any other control code is shown, not obeyed.
_CONTROLS = {n: f"\\x{n:02x}" for n in (*range(32), *range(127, 160)) if n not in (9, 10)}
