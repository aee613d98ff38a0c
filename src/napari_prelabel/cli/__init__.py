"""The command `prelabel`: parse, one call, print. Nothing heavy is imported before it is needed."""

from typing import Annotated

import typer

from .. import __version__
from . import caption, evaluate, models, reference, run, screen, serve

__all__ = ["app"]

app = typer.Typer(
    cls=screen.Sentences,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Pre-label images from typed words; annotators only correct.",
)
app.add_typer(run.app)
app.add_typer(evaluate.app)
app.add_typer(serve.app)
app.add_typer(models.app, name="models")
reference.app.add_typer(caption.app)
app.add_typer(reference.app, name="reference")


def _version(wanted: bool) -> None:
    if wanted:
        screen.out.print(f"prelabel {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print and end.")
    ] = False,
) -> None:
    """Pre-label images from typed words; annotators only correct."""
