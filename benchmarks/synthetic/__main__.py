"""``python -m benchmarks.synthetic``: measure the scenes, draw some, write the samples."""

from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from .colour_auc import colour_auc as measured_auc
from .scenes import scene, split_seeds

app = typer.Typer(add_completion=False, help="Seeded synthetic scenes with exact truth.")


@app.command("colour-auc")
def colour_auc(
    split: Annotated[str, typer.Option(help="samples, train, val or test")] = "samples",
    count: Annotated[int, typer.Option(help="scenes of a split", min=1)] = 24,
) -> None:
    """Print the AUC of "same label" from plain colour distance (0.5: colour says nothing)."""
    from .sample_set import sample_seeds

    chosen = split == "samples"
    seeds = sample_seeds() if chosen else split_seeds(split)[:count]
    print(f"{measured_auc(scene(s, 'test' if chosen else split) for s in seeds):.3f}")


@app.command()
def draw(
    folder: Path,
    split: str = "train",
    count: Annotated[int, typer.Option(help="scenes", min=1)] = 8,
) -> None:
    """Draw scenes of a split as PNG files and print their captions."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed in split_seeds(split)[:count]:
        shown = scene(seed, split)
        Image.fromarray(shown.image).save(folder / f"{split}-{seed}.png")
        print(f"{split}-{seed}.png: {shown.captions[0]}")


@app.command()
def samples(folder: Path) -> None:
    """Write the shipped sample scenes, and vocabularies below a folder."""
    from .sample_set import write_samples

    write_samples(folder)


if __name__ == "__main__":
    app()
