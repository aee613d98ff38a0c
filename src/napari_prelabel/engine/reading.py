"""An image read by CLIP, window by window: what the labellers that start from a base share."""

import math
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..methods.dense import class_logits
from ..models.catalog import Bundle, bundle_of
from ..models.clip import Clip
from ..models.windows import Layout, cut, plan_layout
from ..values.errors import JobError
from ..values.job import Job, Progress
from ..values.labels import LabelMap
from .encode import Batch, CachedClip, Queries
from .notices import memory_notice, model_notices
from .workbench import Workbench

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """An image cut into windows, and the CLIP that reads them whenever they are asked for.

    Windows are read a batch at a time and kept by their pixels: an image's rows never need to lie
    in memory together.

    pixels : (H, W, 3) uint8, the resized image that windows are cut from.
    """

    bundle: Bundle
    clip: Clip
    encoder: CachedClip
    layout: Layout
    pixels: npt.NDArray[np.uint8]

    def scale(self, job: Job) -> float:
        """What cosines are multiplied with before the softmax."""
        return job.logit_scale or self.clip.logit_scale

    def each(
        self, base: str, make: Callable[[Batch, int], _T]
    ) -> Generator[Progress, None, list[_T]]:
        """What `make` gives for every batch of windows and the number of windows before it."""
        total = math.ceil(len(self.layout.origins) / self.encoder.windows_at_once(self.layout))
        found: list[_T] = []
        before, started = 0, time.monotonic()
        yield Progress("encode", 0, total)
        for done, batch in enumerate(self.encoder.windows(self.pixels, self.layout, base), start=1):
            found.append(make(batch, before))
            before += len(batch.rows)
            left = (time.monotonic() - started) / done * (total - done)
            yield Progress("encode", done, total, left)
        return found

    def cosines(self, queries: Queries, base: str) -> Generator[Progress, None, Tensor]:
        """(windows, Q, h, w) cosines of patches and queries."""

        def score(batch: Batch, _before: int) -> Tensor:
            with self.encoder.watch.time("score"):
                return cosines(batch, queries, self.layout)

        return torch.cat((yield from self.each(base, score)))

    def told(self, labels: LabelMap, job: Job, bench: Workbench, **record: Any) -> LabelMap:
        """Labels with what a person must read beside them and how they were made."""
        model, device = self.bundle.clip, bench.models.device
        with bench.watch.time("notices"):
            likeness = bench.models.likeness(model)
            notices = model_notices(self.bundle, job.vocabulary, likeness, bench.image)
        notices += memory_notice(device, self.encoder.smallest_batch)
        made = {
            "base": job.base,
            "models": job.models,
            "clip": model,
            "clip_digest": self.clip.digest,
            "logit_scale": self.scale(job),
            "resized": list(self.layout.resized),
            "window": list(self.layout.window),
            "windows": len(self.layout.origins),
            "crops": 0,
        }
        return replace(labels, notices=notices, record=made | record)


def read(job: Job, bench: Workbench) -> Generator[Progress, None, Reading]:
    """Load the job's CLIP and cut the image into windows; raises JobError and ModelError."""
    yield Progress("models", 0, 1)
    bundle = _bundle(job)
    with bench.watch.time("load"):
        clip = bench.models.clip(bundle.clip, job.precision)
    with bench.watch.time("resize"):
        windows = job.windows or bundle.windows
        layout = plan_layout(bench.size, windows, clip.patch)
        pixels = cut(bench.image, layout, antialias=windows.antialias)
    bench.stop()
    encoder = bench.models.cached(clip, bench.watch, bench.cancelled)
    return Reading(bundle, clip, encoder, layout, pixels)


def cosines(batch: Batch, queries: Queries, layout: Layout) -> Tensor:
    """(b, Q, h, w) cosines of a batch's patches and queries."""
    found = class_logits(batch.rows, queries.rows, 1.0)
    return found.reshape(*found.shape[:2], *layout.grid)


def _bundle(job: Job) -> Bundle:
    bundle = bundle_of(job.models)
    for name, wanted, known in (
        ("method", job.method, bundle.methods),
        ("base", job.base, bundle.bases),
    ):
        if wanted not in known:
            raise JobError(
                name,
                f"{bundle.title} cannot do {wanted}: choose {' or '.join(known)}, or other models.",
            )
    return bundle
