"""``python -m benchmarks.synthetic.train clip``: train the demo models."""

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
    times: Annotated[int, typer.Option(help="batches so many times as large", min=1)] = 1,
    workers: Annotated[int, typer.Option(help="processes that make batches", min=0)] = 0,
) -> None:
    """Train the demo CLIP from image-caption pairs."""
    from .clip import Plan, train

    plan = Plan(
        out, minutes, steps, seed, device, scenes, validate_minutes, times=times, workers=workers
    )
    train(plan, resume)


@app.command("blend-clip")
def blend_clip(
    early: Annotated[Path, typer.Argument(help="checkpoint of a run", exists=True)],
    late: Annotated[Path, typer.Argument(help="later checkpoint of the same run", exists=True)],
    share: Annotated[float, typer.Option(help="of the later one", min=0, max=1)] = 0.7,
    out: Annotated[Path, typer.Option(help="where the weights go")] = Path("demo-clip/export"),
) -> None:
    """Export the weighted mean of two checkpoints of the demo CLIP."""
    from .clip import blend

    typer.echo(f"Weights: {blend(early, late, share, out)}")


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


@app.command()
def visual(
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    minutes: Annotated[float, typer.Option(help="wall-clock budget", min=0.01)] = 18.0,
    steps: Annotated[int | None, typer.Option(help="budget in steps instead of minutes")] = None,
    seed: int = 0,
    out: Annotated[Path, typer.Option(help="checkpoints, cache, log, export")] = Path(
        "demo-visual"
    ),
    scenes: Annotated[int, typer.Option(help="training scenes to draw")] = 5_000,
    validate_minutes: Annotated[float, typer.Option(help="time between validations")] = 5.0,
    begin: Annotated[
        Path | None, typer.Option(help="folder of an encoder to go on from", exists=True)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on from the checkpoint")] = False,
) -> None:
    """Train the demo visual encoder from segments seen twice, without labels or captions."""
    from .visual import Plan, train

    plan = Plan(out, minutes, steps, seed, device, scenes, validate_minutes, begin=begin)
    train(plan, resume)


@app.command("diffusion-heads")
def diffusion_heads(
    folder: Annotated[Path, typer.Argument(help="pipeline folder of a demo diffusion model")],
    sides: Annotated[list[int] | None, typer.Option("--side", help="pixels; repeatable")] = None,
    timesteps: Annotated[list[int] | None, typer.Option("--timestep", help="repeatable")] = None,
    count: Annotated[int, typer.Option(help="validation scenes", min=1)] = 24,
    to: Annotated[Path | None, typer.Option(help="JSON file for all rows")] = None,
) -> None:
    """Tell which attention heads separate the regions of validation scenes."""
    import json
    from dataclasses import asdict

    from napari_prelabel.models.catalog import row_of
    from napari_prelabel.models.diffusion import load_folder
    from napari_prelabel.models.entries import DiffusionEntry

    from .heads import head_table, validation_scenes

    entry = row_of(DiffusionEntry, "demo-diffusion")
    model = load_folder(folder, "demo-diffusion", entry)
    scenes, rows = validation_scenes(count), []
    for side in sides or [entry.side]:
        for timestep in timesteps or [entry.timestep]:
            rows += head_table(model, scenes, side, timestep)
    print("side timestep layer head grid AUC mAP entropy")
    for row in sorted(rows, key=lambda r: -r.auc):
        print(*asdict(row).values())
    if to is not None:
        to.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", "utf-8")


@app.command("diffusion-card")
def diffusion_card(
    out: Annotated[Path, typer.Argument(help="folder of a diffusion training")],
    folder: Annotated[Path, typer.Argument(help="pipeline folder that the card describes")],
    heads: Annotated[Path, typer.Argument(help="JSON of diffusion-heads")],
    notes: Annotated[str, typer.Option(help="what a reader must know of this training")],
    scenes: int = 12_000,
    count: Annotated[int, typer.Option(help="validation scenes of the JSON")] = 24,
) -> None:
    """Write the demo diffusion model's card, loss curve and pictures beside its weights."""
    import json

    from PIL import Image

    from napari_prelabel.models.catalog import row_of
    from napari_prelabel.models.diffusion import load_folder
    from napari_prelabel.models.entries import DiffusionEntry

    from .diffusion_card import attention_picture, card, loss_curve, samples
    from .heads import validation_scenes

    entry = row_of(DiffusionEntry, "demo-diffusion")
    log, steps = (
        [json.loads(line) for line in (out / file).read_text().splitlines()]
        for file in ("log.jsonl", "steps.jsonl")
    )
    rows = json.loads(heads.read_text())
    text = card(log, rows, entry.layers, entry.side, entry.timestep, count, scenes, notes)
    (folder / "README.md").write_text(text, encoding="utf-8")
    (folder / "loss.svg").write_text(loss_curve(steps), encoding="utf-8")
    Image.fromarray(samples(folder)).save(folder / "samples.png", optimize=True)
    model = load_folder(folder, "demo-diffusion", entry)
    picture = attention_picture(model, validation_scenes(3))
    Image.fromarray(picture).save(folder / "attention.png", optimize=True)


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
