"""`prelabel models`: which models there are, and fetching them."""

from typing import Annotated, Any

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
    """Which bundles and models there are, their size, licence and whether they are installed."""
    from ..models.catalog import BUNDLES, MODELS, installed
    from ..models.places import fetch_home

    table = _table("bundle", "CLIP", "diffusion", "recommended", "what")
    for name, bundle in BUNDLES.items():
        recommended = f"{bundle.method} {bundle.base}"
        table.add_row(name, bundle.clip, bundle.diffusion, recommended, bundle.title)
    screen.out.print(table)
    screen.out.print()
    table = _table("model", "kind", "state", "licence")
    for name, entry in MODELS.items():
        licence = entry.licence.partition(";")[0].partition(",")[0]
        table.add_row(name, entry.kind, _state(entry, installed(name)), licence)
    screen.out.print(table)
    screen.out.print(f"Models are fetched to {screen.plain(str(fetch_home()))}")


def _table(*columns: str) -> Table:
    table = Table(box=None)
    for column in columns:
        table.add_column(column, no_wrap=column in ("bundle", "model", "CLIP"), overflow="fold")
    return table


def _state(entry: Any, here: bool) -> str:
    if entry.random:
        return "random weights"
    return "installed" if here else f"{entry.size / 1e6:,.0f} MB to fetch"


@app.command("fetch")
def fetch_model(
    name: Annotated[str, typer.Argument(help="A model, or a bundle for its CLIP.")],
    yes: Annotated[bool, typer.Option("--yes", help="Agree without being asked.")] = False,
) -> None:
    """Download a model; a fetch that was stopped goes on where it was."""
    from ..models.catalog import BUNDLES, installed, model_dir, row_of
    from ..models.entries import ModelEntry
    from ..models.fetch import fetch

    name = BUNDLES[name].clip if name in BUNDLES else name
    entry = row_of(ModelEntry, name)
    if installed(name) or not entry.fetchable:
        screen.out.print(f"{name} is here: nothing to fetch.")
        return
    screen.out.print(
        f"{name}: {entry.size / 1e6:,.0f} MB to download from {entry.source}\n"
        f"licence: {screen.plain(entry.licence)}\nto {screen.plain(str(model_dir(name)))}"
    )
    if not yes:
        typer.confirm("Fetch it?", abort=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen.err, transient=True) as bar:
        task = bar.add_task(name, total=entry.size)
        fetch(name, lambda done, total: bar.update(task, completed=done, total=total))
    screen.out.print(f"{name} is installed.")
