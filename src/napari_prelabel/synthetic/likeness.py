"""Measure what drawn scenes look like to the demo CLIP, so that other images are noticed.

    python -m napari_prelabel.synthetic.likeness

writes `likeness.safetensors` beside the model's weights. Run it after every training.
"""

import argparse
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..engine.cache import Encodings
from ..engine.encode import Encoder
from ..engine.layout import cut, plan_layout
from ..engine.notices import LIKENESS, Likeness
from ..engine.timing import Stopwatch
from ..models.catalog import bundle_of, model_dir
from ..models.clip import Clip, load_clip
from .scenes import scene, split_seeds

BUNDLE = "demo"
TRAINING, VALIDATION = 600, 200


def summary(clip: Clip, image: npt.NDArray[np.uint8]) -> Tensor:
    """(D,) mean of an image's patches, windows as the demo bundle cuts them.

    image : (H, W, 3) uint8.
    """
    nothing = Encodings(0)
    encoder = Encoder(clip, nothing, nothing, Stopwatch(clip.device), lambda: False)
    layout = plan_layout((image.shape[0], image.shape[1]), bundle_of(BUNDLE).windows, clip.patch)
    batches = encoder.windows(cut(image, layout), layout, "maskclip", None)
    return torch.cat([batch.summary.cpu() for batch in batches]).mean(0)


def scenes(split: str, count: int) -> Iterator[npt.NDArray[np.uint8]]:
    """The first images of a split."""
    for seed in itertools.islice(split_seeds(split), count):
        yield scene(seed, split).image


def measure(
    clip: Clip,
    training: Iterable[npt.NDArray[np.uint8]],
    validation: Iterable[npt.NDArray[np.uint8]],
) -> Likeness:
    """Mean and spread of training scenes; validation scenes set the limit."""
    fitted, others = (
        torch.stack([summary(clip, image) for image in images]) for images in (training, validation)
    )
    return Likeness.fit(clip.digest, fitted, others)


def main() -> None:
    """Command line: where to write and how many scenes to look at."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--training", type=int, default=TRAINING)
    parser.add_argument("--validation", type=int, default=VALIDATION)
    options = parser.parse_args()
    model = bundle_of(BUNDLE).clip
    found = measure(
        load_clip(model), scenes("train", options.training), scenes("val", options.validation)
    )
    path = options.out or model_dir(model) / LIKENESS
    found.save(path)
    print(f"{path}: limit {found.limit:.2f}")


if __name__ == "__main__":
    main()
