"""`python -m benchmarks NAME`: which benches there are, and their options."""

import json
from typing import Annotated

import typer

from napari_prelabel.cli import screen

from .commands import app


@app.command()
def stalls(
    megapixels: Annotated[float, typer.Option(min=0, help="Size of the image.")] = 24.0,
    repeats: Annotated[int, typer.Option(min=1, help="Times that every action is done.")] = 5,
    only: Annotated[
        list[str] | None, typer.Option(help="This action; may be given several times.")
    ] = None,
    settle: Annotated[
        float, typer.Option(min=0, help="Seconds that the window is left alone around an action.")
    ] = 2.0,
    json_file: screen.JsonFile = None,
) -> None:
    """Stalls of the window: what ours cost the GUI thread beyond napari's own of the kind."""
    from napari_prelabel.jobs import choose

    from . import stalls as window  # which brings Qt

    names = [choose("only", name, window.NAMES) for name in only or window.NAMES]
    rows = window.measure(megapixels, repeats, names, settle)
    print(window.table(rows, megapixels))
    if json_file is not None:
        json_file.write_text(json.dumps(window.as_json(rows, megapixels), indent=1) + "\n")


if __name__ == "__main__":
    app(prog_name="python -m benchmarks")
