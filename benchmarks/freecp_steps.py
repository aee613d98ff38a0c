"""What FreeCP costs beside CLIP: 6 windows of 24 x 24 patches, 171 classes, step by step.

Run ``python -m benchmarks.freecp_steps [threads]``. Times are the least of several runs. The
last line compares the two products with the published form: the affinity squared, then masked
once per class.
"""

import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from napari_prelabel.methods import freecp
from napari_prelabel.methods.boxes import box_masks
from napari_prelabel.values.settings import FreeCP

WINDOWS, SIDE, CLASSES, WIDTH = 6, 24, 171, 512
RUNS = 10


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(int(sys.argv[1]) if sys.argv[1:] else 2)
    n = SIDE * SIDE
    smooth = avg_pool2d(torch.randn(WINDOWS, CLASSES, SIDE + 6, SIDE + 6), 7, 1)
    logits = 12 * smooth
    attention = torch.randn(WINDOWS, n + 1, n + 1).softmax(2)
    owner = torch.arange(CLASSES)
    parameters = FreeCP(rp_threshold=0.005, ap_threshold=0.5)
    p = freecp.class_probability(logits, owner, CLASSES)
    s = freecp.affinity(attention)
    grey = (p / p.amax() * 255).to(torch.uint8).view(-1, SIDE, SIDE).numpy()
    r = freecp.refine(p, s, CLASSES)
    plan = freecp.find(r, p, parameters)
    cls = torch.randn(len(plan.crops), WIDTH)
    words = torch.randn(CLASSES, WIDTH)
    steps: dict[str, Callable[[], object]] = {
        "probability": lambda: freecp.class_probability(logits, owner, CLASSES),
        "affinity (kept between words)": lambda: freecp.affinity(attention),
        "refine": lambda: freecp.refine(p, s, CLASSES),
        "  of it boxes": lambda: box_masks(grey, 0.4),
        "purify": lambda: freecp.find(r, p, parameters),
        "finish": lambda: plan.finish(cls, words),
    }
    took = {name: least(step) for name, step in steps.items()}
    total = sum(t for name, t in took.items() if not name.startswith(" "))
    for name, t in took.items():
        print(f"{name:32}{t * 1e3:8.1f} ms{t / total:8.0%}")
    print(f"{'all':32}{total * 1e3:8.1f} ms")
    print(f"kept {int(plan.kept.sum())}, groups {len(plan.groups)}, crops {len(plan.crops)}")
    plain = least(lambda: [spread_plainly(m, t) for m, t in zip(p, s, strict=True)], runs=1)
    products = least(lambda: p.flatten(2) @ s @ s)
    print(
        f"{'products, one class at a time':32}{plain * 1e3:8.1f} ms {plain / products:.0f} x ours"
    )


def spread_plainly(maps: Tensor, s: Tensor) -> Tensor:
    """The published form: square the affinity, mask a copy of it for every class."""
    squared = s @ s
    flat = maps.flatten(1)
    return ((flat > flat.mean()).float()[:, None] * squared @ flat[:, :, None])[:, :, 0]


def least(step: Callable[[], object], runs: int = RUNS) -> float:
    step()
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        step()
        best = min(best, time.perf_counter() - start)
    return best


if __name__ == "__main__":
    main()
