"""Scenes drawn once into memory-mapped arrays, so that drawing never slows the training."""

import json
import multiprocessing
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..classes import CLASS_IDS, COLOUR_NAMES
from ..scenes import scene, split_seeds

SIDE = 256
Drawn = tuple[NDArray[np.uint8], NDArray[np.uint8], list[list[int]]]


@dataclass(frozen=True, slots=True)
class SceneCache:
    """Drawn training scenes.

    Attributes
    ----------
    images : (N, 256, 256, 3) uint8
    labels : (N, 256, 256) uint8, class ids from 1; used to write captions of crops, never in a loss
    regions : (R, 8) int32 rows of scene, class id, colour index, y0, x0, y1, x1, visible pixels
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    regions: NDArray[np.int32]


def _draw(
    job: tuple[str, int, int],
) -> Drawn:
    split, index, side = job
    shown = scene(split_seeds(split)[index], split, (side, side))
    rows = [
        [index, CLASS_IDS[r.name], COLOUR_NAMES.index(r.colour), *r.box, r.pixels]
        for r in shown.regions
    ]
    return shown.image, shown.labels.astype(np.uint8), rows


def _filled(folder: Path, count: int, drawn: Iterable[Drawn]) -> None:
    images = np.lib.format.open_memmap(
        folder / "images.npy", "w+", np.uint8, (count, SIDE, SIDE, 3)
    )
    labels = np.lib.format.open_memmap(folder / "labels.npy", "w+", np.uint8, (count, SIDE, SIDE))
    regions: list[list[int]] = []
    for i, (image, label, rows) in enumerate(drawn):
        images[i], labels[i] = image, label
        regions += rows
    np.save(folder / "regions.npy", np.asarray(regions, np.int32))
    images.flush()
    labels.flush()


def open_cache(folder: Path, count: int, processes: int | None = None) -> SceneCache:
    """Open the cache of a folder; first draw ``count`` training scenes where it is not there.

    processes : that draw; None takes as many as there are processors.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "cache.json"
    wanted = {"count": count, "side": SIDE}
    if not stamp.is_file() or json.loads(stamp.read_text()) != wanted:
        jobs = (("train", i, SIDE) for i in range(count))
        processes = processes or os.cpu_count() or 1
        if processes > 1:
            with multiprocessing.get_context("spawn").Pool(processes) as pool:
                _filled(folder, count, pool.imap(_draw, jobs, chunksize=16))
        else:
            _filled(folder, count, map(_draw, jobs))
        stamp.write_text(json.dumps(wanted))
    return SceneCache(
        np.load(folder / "images.npy", mmap_mode="r"),
        np.load(folder / "labels.npy", mmap_mode="r"),
        np.load(folder / "regions.npy"),
    )
