"""`prelabel models`: which models there are, and fetching them."""

from typing import Annotated

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from . import screen

app = typer.Typer(no_args_is_help=True, help="See which models there are, and fetch them.")


@app.command("list")
def list_models() -> None:
    """Which bundles there are, their size, licence and whether they are installed."""
    from ..models.catalog import BUNDLES, entry_of, installed, model_dir

    table = Table(box=None)
    for column in ("name", "what", "recommended", "state", "licence"):
        table.add_column(column)
    for name, bundle in BUNDLES.items():
        entry = entry_of(bundle.clip)
        here = "installed" if installed(bundle.clip) else f"{entry.size / 1e6:,.0f} MB to fetch"
        licence = entry.licence.partition(";")[0]
        table.add_row(name, bundle.title, f"{bundle.method} {bundle.base}", here, licence)
    screen.out.print(table)
    screen.out.print(
        f"Fetched models lie in {screen.plain(str(model_dir('openai-vitb16').parent))}"
    )


@app.command("fetch")
def fetch_model(
    name: Annotated[str, typer.Argument(help="A bundle, or one of its models.")],
    yes: Annotated[bool, typer.Option("--yes", help="Agree without being asked.")] = False,
) -> None:
    """Download a bundle's models; a fetch that was stopped goes on where it was."""
    from ..models.catalog import BUNDLES, download_text, entry_of, installed, model_dir
    from ..models.fetch import fetch

    model = BUNDLES[name].clip if name in BUNDLES else name
    entry = entry_of(model)
    if installed(model) or entry.source in ("sample", "random"):
        screen.out.print(f"{model} is here: nothing to fetch.")
        return
    screen.out.print(f"{download_text(model)}\nto {screen.plain(str(model_dir(model)))}")
    if not yes:
        typer.confirm("Fetch it?", abort=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen.err, transient=True) as bar:
        task = bar.add_task(model, total=entry.size)
        fetch(model, lambda done, total: bar.update(task, completed=done, total=total))
    screen.out.print(f"{model} is installed.")
