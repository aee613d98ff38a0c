"""Scenes cut into segments by their pixels alone, once, beside the cache of scenes.

Three cuts of every scene: fine parts, coarse parts with their holes filled, and what stands out
from large parts, in which whole things occur.
"""

import json
import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.segmentation import felzenszwalb

SIDE = 128
"""Scenes are cut shrunk to this side in pixels."""

CUTS = 3
LEAST = 40
"""Pixels of SIDE x SIDE that a segment has at least."""

_LARGE, _FILLED = 0.05, 0.08
Labels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Proposals:
    """Segments of all scenes.

    Attributes
    ----------
    labels : (N, CUTS, SIDE, SIDE) uint8; 0 is no segment
    rows : (R, 7) int32 of scene, cut, id, y0, x0, y1, x1 in pixels of ``labels``
    """

    labels: Labels
    rows: NDArray[np.int32]


def propose(image: NDArray[np.uint8]) -> Labels:
    """All cuts (CUTS, SIDE, SIDE) uint8 of a scene (H, W, 3) uint8; the largest segments first."""
    small = np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX))
    fine = felzenszwalb(small, scale=200, sigma=0.8, min_size=LEAST)
    coarse = felzenszwalb(small, scale=400, sigma=1.2, min_size=LEAST)
    parts = felzenszwalb(small, scale=400, sigma=0.8, min_size=LEAST)
    little = np.bincount(parts.ravel())[parts] < _LARGE * parts.size
    standing, _ = ndimage.label(ndimage.binary_opening(little, iterations=2))
    return np.stack([_ranked(fine + 1), _ranked(_filled(coarse + 1)), _ranked(standing)])


def _filled(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Small segments take what they enclose."""
    out = labels.copy()
    sizes = np.bincount(labels.ravel())
    for number in np.argsort(sizes):
        if 0 < sizes[number] < _FILLED * labels.size:
            out[ndimage.binary_fill_holes(labels == number)] = number
    return out


def _ranked(labels: NDArray[np.int64]) -> Labels:
    """Ids from 1 by falling size; what is smaller than LEAST, the background or over 255 is 0."""
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    order = np.argsort(-sizes, kind="stable")[: min(255, int((sizes >= LEAST).sum()))]
    lookup = np.zeros(len(sizes), np.uint8)
    lookup[order] = np.arange(1, len(order) + 1)
    return lookup[labels]


def _rows(scene: int, labels: Labels) -> list[list[int]]:
    return [
        [scene, cut, number, y.start, x.start, y.stop, x.stop]
        for cut, found in enumerate(labels)
        for number, (y, x) in enumerate(ndimage.find_objects(found), 1)
    ]


def open_proposals(
    folder: Path, images: NDArray[np.uint8], processes: int | None = None
) -> Proposals:
    """Open the segments of a folder; first cut all scenes (N, H, W, 3) uint8 where there are none.

    processes : that cut; None takes as many as there are processors.
    """
    stamp, wanted = folder / "proposals.json", {"count": len(images)}
    if not stamp.is_file() or json.loads(stamp.read_text()) != wanted:
        folder.mkdir(parents=True, exist_ok=True)
        shape = (len(images), CUTS, SIDE, SIDE)
        labels = np.lib.format.open_memmap(folder / "proposals.npy", "w+", np.uint8, shape)
        rows: list[list[int]] = []
        processes = processes or os.cpu_count() or 1
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            for i, cut in enumerate(pool.imap(propose, images, chunksize=16)):
                labels[i] = cut
                rows += _rows(i, cut)
        labels.flush()
        np.save(folder / "rows.npy", np.asarray(rows, np.int32).reshape(-1, 7))
        stamp.write_text(json.dumps(wanted))
    return Proposals(np.load(folder / "proposals.npy", mmap_mode="r"), np.load(folder / "rows.npy"))
