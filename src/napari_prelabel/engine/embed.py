"""Segments of an image and their rows: proposed, encoded and pooled once, then kept."""

from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from ..methods import segments as cutting
from ..methods.segments import Segments
from ..values.job import Progress
from ..values.retrieval import Proposals
from .cache import Encodings, Entry, cache_key
from .timing import Stopwatch

if TYPE_CHECKING:
    from ..models.segmenter import Segmenter
    from ..models.visual import Features, VisualEncoder

Rgb = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.float32]
# Taken for a kind of proposals when none is named.
SMALLEST = {"sam": "sam-vitb", "sam2": "sam2-tiny"}


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What is known of an image before words are asked.

    rows : (count, E) float32 unit rows of the segments, in the order of their ids.
    """

    segments: Segments
    rows: Rows


class Looker:
    """One visual encoder with its cache.

    segmenter : loads a model of the catalogue, and keeps it.
    """

    def __init__(
        self,
        encoder: "VisualEncoder",
        cache: Encodings,
        watch: Stopwatch,
        segmenter: Callable[[str], "Segmenter"],
    ) -> None:
        self.encoder = encoder
        self._cache = cache
        self._watch = watch
        self._load_segmenter = segmenter

    def timed(self, watch: Stopwatch) -> None:
        """Count seconds by another watch from now on."""
        self._watch = watch

    def features(self, image: Rgb, name: str) -> "Features":
        """Patch features of an image (H, W, 3) uint8; name : its content hash."""

        def make() -> Entry:
            with self._watch.time("visual", forward=True):
                found = self.encoder.encode(image)
            return {"tokens": found.tokens, "grid": torch.tensor(found.grid)}

        entry = self._cache.get(cache_key("visual", self.encoder.digest, name), make)
        from ..models.visual import Features

        height, width = entry["grid"].tolist()
        return Features(entry["tokens"], (height, width))

    def look(self, image: Rgb, name: str, proposals: Proposals) -> Generator[Progress, None, Look]:
        """Segments of an image and their rows; name : the image's content hash."""
        settings = asdict(proposals)
        segmenter = self._segmenter(proposals)
        settings["segmenter"] = segmenter.digest if segmenter else ""
        key = cache_key("segments", name, sorted(settings.items()))

        def cut() -> Entry:
            with self._watch.time("segments"):
                found = _cut(image, proposals, segmenter)
            return {"layers": torch.from_numpy(found.layers), "count": torch.tensor(found.count)}

        yield Progress("segment", 0, 1)
        entry = self._cache.get(key, cut)
        segments = Segments(entry["layers"].numpy(), int(entry["count"]))

        def pool() -> Entry:
            features = self.features(image, name)
            with self._watch.time("pool"):
                return {"rows": torch.from_numpy(embed(self.encoder, features, segments))}

        yield Progress("encode", 0, 1)
        rows = self._cache.get(cache_key("rows", self.encoder.digest, key), pool)["rows"]
        return Look(segments, rows.numpy())

    def _segmenter(self, proposals: Proposals) -> "Segmenter | None":
        name = proposals.segmenter or SMALLEST.get(proposals.kind, "")
        return self._load_segmenter(name) if proposals.kind in SMALLEST else None


def _cut(image: Rgb, proposals: Proposals, segmenter: "Segmenter | None") -> Segments:
    if segmenter is not None:
        return cutting.stack_masks(segmenter.segment(image).masks)
    return cutting.propose(image, proposals)


def embed(encoder: "VisualEncoder", features: "Features", segments: Segments) -> Rows:
    """(count, E) float32 unit rows of segments, whatever layer they lie in."""
    rows = np.zeros((segments.count, encoder.width), np.float32)
    for layer in segments.layers:
        present = np.unique(layer)
        present = present[present > 0]
        numbers = np.full(segments.count + 1, -1, np.int64)
        numbers[present] = np.arange(len(present))
        pooled: Any = encoder.pool(features, numbers[layer], len(present))
        rows[present - 1] = np.asarray(pooled, np.float32)
    return rows


def boxes(segments: Segments) -> list[tuple[int, int, int, int]]:
    """(y0, x0, y1, x1) of every segment, in the order of the ids."""
    from scipy.ndimage import find_objects

    out = [(0, 0, 0, 0)] * segments.count
    for layer in segments.layers:
        for number, found in enumerate(find_objects(layer)):
            if found is not None:
                y, x = found
                out[number] = (y.start, x.start, y.stop, x.stop)
    return out
