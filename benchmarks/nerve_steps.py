"""What NERVE costs beside the two models: 64 x 64 tokens, 10 heads of width 64, step by step.

Run ``python -m benchmarks.nerve_steps [threads]``. Times are the least of several runs, in
seconds of the clock and of all processors together; the last lines are a scribble's preview at
512 x 512 pixels and the peak memory that all steps have added to what the inputs take.
"""

import resource
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from napari_prelabel.methods import nerve
from napari_prelabel.methods.scribble import propose
from napari_prelabel.methods.walk import Graph
from napari_prelabel.values.settings import Nerve

SIDE, LAYERS, HEADS, WIDTH = 64, 2, 5, 64
RUNS = 5


def main() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(int(sys.argv[1]) if sys.argv[1:] else 2)
    n, grid = SIDE * SIDE, (SIDE, SIDE)
    queries, keys = ([torch.randn(HEADS, n, WIDTH) for _ in range(LAYERS)] for _ in range(2))
    given = (queries, keys, [grid] * LAYERS, [WIDTH**-0.5] * LAYERS)
    parameters = Nerve()
    before = peak()
    report("weights and graph", lambda: nerve.build(*given, parameters))
    graph = nerve.build(*given, parameters)
    for classes in (21, 171):
        p = torch.rand(classes, 36, 36).softmax(0)
        g = nerve.node_labels(p, grid)
        walked = nerve.nerve(g, graph, parameters)
        report(f"G, {classes} classes", partial(nerve.node_labels, p, grid))
        report(f"20 steps, {classes} classes", partial(nerve.nerve, g, graph, parameters))
        report(
            f"read-out, {classes} classes",
            partial(nerve.class_maps, walked, g, grid, parameters, background=True),
        )
    report("attention on 24 x 24 patches", lambda: nerve.attention_on(graph, (24, 24)))
    print(f"{'memory added at most':32}{(peak() - before) / 2**20:8.0f} MB")
    preview(graph)


def preview(graph: Graph) -> None:
    """A stroke of 100 x 6 pixels in the middle of an image of noise."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    strokes, labels = np.zeros((2, 512, 512), np.uint16)
    strokes[253:259, 206:306] = 1
    for radius in (48, 96, 1000):
        report(
            f"preview, radius {radius}",
            partial(propose, strokes, labels, graph, radius=radius, image=image),
        )


def report(name: str, step: Callable[[], object]) -> None:
    step()
    took = []
    for _ in range(RUNS):
        start, busy = time.perf_counter(), time.process_time()
        step()
        took.append((time.perf_counter() - start, time.process_time() - busy))
    clock, busy = (min(times) for times in zip(*took, strict=True))
    print(f"{name:32}{clock:8.3f} s{busy:8.3f} s of processor")


def peak() -> int:
    """The most bytes this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
