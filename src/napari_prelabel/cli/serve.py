"""`prelabel serve`: lend this machine's worker to clients in other processes and machines."""

from pathlib import Path
from typing import Annotated

import typer

from . import screen

app = typer.Typer()


@app.command(epilog="Example: prelabel serve --tls certificates --address 0.0.0.0:8786")
def serve(
    tls: Annotated[
        Path,
        typer.Option(help="Folder of the certificate, made where it holds none; clients need it."),
    ],
    address: Annotated[
        str, typer.Option(help="Where to listen; 0.0.0.0:8786 is every network of this machine.")
    ] = "127.0.0.1:8786",
    workers: Annotated[
        int | None, typer.Option(min=1, help="How many; one on each graphics card, or one.")
    ] = None,
    device: screen.Device = "auto",
) -> None:
    """Compute for the dock and the commands of others, until Ctrl+C."""
    from ..worker.serve import serve as until_ended

    def told(taken: str) -> None:
        screen.out.print(
            f"Serving at {screen.plain(taken)} with the certificate in {screen.plain(str(tls))}, "
            "whose holders may run programs here. Ctrl+C ends it."
        )

    until_ended(tls, address, workers, {"device": device}, told=told)
