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
    from ..models.catalog import BUNDLES, fetch_home
    from ..models.shelf import names, part

    table = _table("bundle", "CLIP", "diffusion", "recommended", "what")
    for name, bundle in BUNDLES.items():
        recommended = f"{bundle.method} {bundle.base}"
        table.add_row(name, bundle.clip, bundle.diffusion, recommended, bundle.title)
    screen.out.print(table)
    screen.out.print()
    table = _table("model", "kind", "state", "licence")
    for model in map(part, names()):
        licence = model.licence.partition(";")[0].partition(",")[0]
        table.add_row(model.name, model.kind, _state(model), licence)
    screen.out.print(table)
    screen.out.print(f"Models are fetched to {screen.plain(str(fetch_home()))}")


def _table(*columns: str) -> Table:
    table = Table(box=None)
    for column in columns:
        table.add_column(column, no_wrap=column in ("bundle", "model", "CLIP"), overflow="fold")
    return table


def _state(model: Any) -> str:
    if model.random:
        return "random weights"
    return "installed" if model.ready else f"{model.size / 1e6:,.0f} MB to fetch"


@app.command("fetch")
def fetch_model(
    name: Annotated[str, typer.Argument(help="A model, or a bundle for its CLIP.")],
    yes: Annotated[bool, typer.Option("--yes", help="Agree without being asked.")] = False,
) -> None:
    """Download a model; a fetch that was stopped goes on where it was."""
    from ..models.fetch import fetch
    from ..models.shelf import part

    model = part(name)
    if model.ready or not model.fetchable:
        screen.out.print(f"{model.name} is here: nothing to fetch.")
        return
    screen.out.print(
        f"{model.name}: {model.size / 1e6:,.0f} MB to download from {model.source}\n"
        f"licence: {screen.plain(model.licence)}\nto {screen.plain(str(model.folder))}"
    )
    if not yes:
        typer.confirm("Fetch it?", abort=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen.err, transient=True) as bar:
        task = bar.add_task(model.name, total=model.size)
        fetch(model.name, lambda done, total: bar.update(task, completed=done, total=total))
    screen.out.print(f"{model.name} is installed.")
