"""``python -m napari_prelabel.synthetic.train clip``: train the demo models."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, help="Train the demo models on drawn scenes.")


@app.callback()
def main() -> None:
    """Train the demo models on drawn scenes."""


@app.command()
def clip(
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    minutes: Annotated[float, typer.Option(help="wall-clock budget", min=0.01)] = 60.0,
    steps: Annotated[int | None, typer.Option(help="budget in steps instead of minutes")] = None,
    seed: int = 0,
    out: Annotated[Path, typer.Option(help="checkpoints, cache, log, export")] = Path("demo-clip"),
    scenes: Annotated[int, typer.Option(help="training scenes to draw")] = 12_000,
    validate_minutes: Annotated[float, typer.Option(help="time between validations")] = 6.0,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the checkpoint")] = False,
) -> None:
    """Train the demo CLIP from image-caption pairs."""
    from .clip import Plan, train

    plan = Plan(out, minutes, steps, seed, device, scenes, validate_minutes)
    train(plan, resume)


@app.command()
def diffusion(
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    minutes: Annotated[float, typer.Option(help="wall-clock budget", min=0.01)] = 70.0,
    steps: Annotated[int | None, typer.Option(help="budget in steps of each stage instead")] = None,
    seed: int = 0,
    out: Annotated[Path, typer.Option(help="checkpoints, log, export")] = Path("demo-diffusion"),
    scenes: Annotated[int, typer.Option(help="training scenes to draw")] = 12_000,
    cache: Annotated[Path | None, typer.Option(help="folder of drawn scenes")] = None,
    validate_minutes: Annotated[float, typer.Option(help="time between validations")] = 5.0,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the checkpoints")] = False,
) -> None:
    """Train the demo diffusion model, autoencoder and UNet, from images alone."""
    from .diffusion import Plan, train

    train(Plan(out, minutes, steps, seed, device, scenes, cache, validate_minutes), resume)


@app.command("card")
def write_card(
    log: Annotated[Path, typer.Argument(help="log.jsonl of a training")],
    to: Annotated[Path, typer.Argument(help="README.md to write")],
    notes: Annotated[str, typer.Option(help="what a reader must know of this training")],
    scenes: int = 12_000,
    count: Annotated[int, typer.Option(help="scenes of the last validation")] = 24,
) -> None:
    """Write the demo CLIP's model card from a training's log."""
    from .card import card

    to.write_text(card(log, scenes, count, notes), encoding="utf-8")


if __name__ == "__main__":
    app()
