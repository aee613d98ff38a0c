"""Learn to tell drawn scenes from photographs, for the demo models' honest notice.

    python -m benchmarks.synthetic.likeness

writes `likeness.safetensors` beside the demo model. The other side are crops of photographs that
scikit-image ships; each was recognised when it was left out (`--leave-out NAME` shows it). No
model takes part, so it need not be run again after a training, only when the scenes change.
"""

import argparse
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import skimage.data
import torch

from napari_prelabel.engine.likeness import FILE, Likeness, expand, statistics
from napari_prelabel.images.rgb import to_rgb
from napari_prelabel.models.catalog import bundle_of, model_dir

from .scenes import scene, split_seeds

Image = npt.NDArray[np.uint8]

PHOTOGRAPHS = (
    "astronaut", "camera", "chelsea", "coffee", "coins", "grass", "hubble_deep_field",
    "immunohistochemistry", "moon", "page", "retina", "rocket",
)  # fmt: skip
TRAINING, VALIDATION, CROPS = 400, 100, 24
# Penalty of the squared weights, and how far the limit lies above all validation scenes.
_PENALTY = 1e-3
_ROOM = 0.5


def scenes(split: str, count: int) -> Iterator[Image]:
    """The first images of a split."""
    for seed in itertools.islice(split_seeds(split), count):
        yield scene(seed, split).image


def photographs(leave_out: str = "") -> Iterator[Image]:
    """The photographs that come with scikit-image."""
    for name in PHOTOGRAPHS:
        if name != leave_out:
            yield to_rgb(getattr(skimage.data, name)())


def crops(image: Image, count: int, rng: np.random.Generator) -> Iterator[Image]:
    """The whole image, then random rectangles of it."""
    yield image
    height, width = image.shape[:2]
    for _ in range(count - 1):
        h = max(1, int(height * (share := rng.uniform(0.3, 1))))
        w = max(1, int(width * share * rng.uniform(0.7, 1)))
        y, x = rng.integers(height - h + 1), rng.integers(width - w + 1)
        yield image[y : y + h, x : x + w]


def fit(
    training: Iterator[Image], validation: Iterator[Image], others: Iterator[Image]
) -> Likeness:
    """Logistic regression, both sides weighing the same; validation scenes set the limit."""
    drawn, held, strange = (
        np.array([statistics(image) for image in images])
        for images in (training, validation, others)
    )
    mean, deviation = drawn.mean(0), drawn.std(0) + 1e-6
    sides = [torch.from_numpy(expand(values, mean, deviation)) for values in (drawn, strange)]
    weights = _logistic(torch.cat(sides), len(drawn))
    scores = expand(held, mean, deviation) @ weights
    return Likeness(mean, deviation, weights, float(scores.max() + _ROOM))


def _logistic(rows: torch.Tensor, first: int) -> npt.NDArray[np.float64]:
    """Weights that give the `first` rows low scores and the rest high ones."""
    target = (torch.arange(len(rows)) >= first).double()
    share = torch.where(target > 0, 0.5 / (len(rows) - first), 0.5 / first)
    w = torch.zeros(rows.shape[1], dtype=torch.double, requires_grad=True)
    b = torch.zeros(1, dtype=torch.double, requires_grad=True)
    optimiser = torch.optim.LBFGS([w, b], max_iter=200)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        value = torch.nn.functional.binary_cross_entropy_with_logits(
            rows @ w + b, target, weight=share, reduction="sum"
        )
        value = value + _PENALTY * w.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    return np.asarray(w.detach().numpy())


def main() -> None:
    """Command line: where to write, and which photograph to leave out as a check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--leave-out", choices=PHOTOGRAPHS, default="")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    others = (crop for image in photographs(options.leave_out) for crop in crops(image, CROPS, rng))
    found = fit(scenes("train", TRAINING), scenes("val", VALIDATION), others)
    print(f"limit {found.limit:.2f}")
    if options.leave_out:
        image = to_rgb(getattr(skimage.data, options.leave_out)())
        print(f"{options.leave_out} left out: {found.score(image):.2f}")
        return
    path = options.out or model_dir(bundle_of("demo").clip) / FILE
    found.save(path)
    print(path)


if __name__ == "__main__":
    main()
