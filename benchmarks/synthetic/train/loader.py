"""Batches of the demo CLIP's training, made by other processes ahead of the steps they are for."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from .cache import open_cache
from .crops import BATCH, CropSource, crop_side, vocabulary_words
from .model import tokenize


@dataclass(frozen=True, slots=True)
class Step:
    """What a step learns from.

    Attributes
    ----------
    images : (B, S, S, 3) uint8
    named : (B, classes) bool, the classes that the captions name
    tokens : (B + phrases, L) int64, captions, then phrases
    """

    images: NDArray[np.uint8]
    named: NDArray[np.bool_]
    tokens: NDArray[np.int64]

    @property
    def side(self) -> int:
        return int(self.images.shape[1])


@dataclass(frozen=True, slots=True)
class Order:
    """Which batch to make: of a seed and a step, `times` as large as usual or of `count` crops."""

    seed: int
    step: int
    done: float
    times: int = 1
    count: int | None = None


def open_source(folder: Path, scenes: int) -> CropSource:
    """The crops of a cache of scenes, which is drawn where it is not there."""
    return CropSource(open_cache(folder, scenes), vocabulary_words())


def make(source: CropSource, order: Order) -> Step:
    """The batch of an order; it depends on nothing else."""
    rng = np.random.default_rng([order.seed, order.step])
    side = crop_side(rng, order.done)
    batch = source.batch(rng, side, order.count or order.times * BATCH[side])
    tokens = tokenize([*batch.captions, *batch.phrases])
    return Step(batch.images, batch.named, tokens.numpy())


def orders_ahead(
    order: Callable[[int], Order], first: int, folder: Path, scenes: int, workers: int
) -> Iterator[Step]:
    """Batches of the steps from `first` on, for ever; made by `workers` processes.

    order : of a step, asked when its batch is begun.
    """
    waiting: deque[Future[Step]] = deque()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _open, (folder, scenes)) as pool:
        step = first
        try:
            while True:
                while len(waiting) < 3 * workers:
                    waiting.append(pool.submit(_make, order(step)))
                    step += 1
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


_held: list[CropSource] = []


def _open(folder: Path, scenes: int) -> None:
    torch.set_num_threads(1)
    _held.append(open_source(folder, scenes))


def _make(order: Order) -> Step:
    return make(_held[0], order)
