"""ImageEngine: one job on one image. engine.py gives it tasks; all callers come through there.

The walk of a run: load the models, encode the words, cut the image into windows, encode them
batch by batch, score each batch, purify (FreeCP), blend, decide.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import platformdirs
import psutil
import torch
from torch import Tensor

from .. import __version__
from ..images.rgb import content_hash
from ..methods.freecp import Plan
from ..methods.walk import Graph
from ..models.catalog import BUNDLES, Bundle, bundle_of
from ..models.clip import Clip, load_clip, pick_device
from ..models.denoising import is_out_of_memory
from ..models.windows import Layout, cut, plan_layout
from ..reference.values import EncoderId
from ..values.errors import ImageError, JobError, OutOfMemory
from ..values.job import Job, Progress
from ..values.labels import LabelMap
from . import nerve, score
from .cache import Encodings
from .embed import Looker
from .encode import Affinity, CachedClip, Queries, phrase_row, stop_if
from .labellers import needs
from .likeness import Likeness
from .notices import memory_notice, model_notices
from .reme import Retriever, TextRows, open_set
from .timing import StageTime, Stopwatch

if TYPE_CHECKING:
    from ..models.denoising import Diffusion
    from ..models.segmenter import Segmenter
    from ..models.visual import VisualEncoder

Steps = Generator[Progress, None, LabelMap]
# Twice what bfloat16 moved a unit row towards a rival at most, on 192 crops of the sample scenes
# with the demo model (0.0046; 0.0008 root mean square).
_FAST_ERROR = 0.01
# Loaded models that are kept; the least recently used leaves.
_MODELS = 2


class ImageEngine:
    """Runs jobs; keeps models, encoded windows and words between runs. Not for several threads.

    device : "auto", "cpu", "cuda", "mps"; never changed behind a person's back.
    cache : of encoded windows and crops, or the bytes it may hold; None keeps an eighth of the
        memory, 0.5 to 4 GiB.
    words : of text rows; None keeps them in the user's cache folder as well.
    load : gives a Clip for (model name, device, precision).
    """

    def __init__(
        self,
        device: str = "auto",
        cache: Encodings | int | None = None,
        words: Encodings | None = None,
        load: Callable[[str, str, str], Clip] = load_clip,
    ) -> None:
        self._device = pick_device(device)
        room = _cache_size() if cache is None else cache
        self._cache = Encodings(room) if isinstance(room, int) else room
        self._words = _word_cache() if words is None else words
        self._load = load
        self._clips: OrderedDict[tuple[str, str], Clip] = OrderedDict()
        self._likeness: dict[str, Likeness | None] = {}
        self._visuals: OrderedDict[tuple[str, str], VisualEncoder] = OrderedDict()
        self._masks: Segmenter | None = None
        self._diffusion: tuple[tuple[str, str], Diffusion] | None = None
        self._retriever: tuple[tuple[str, str, str], Retriever] | None = None
        self.timings: list[StageTime] = []

    @property
    def device(self) -> str:
        """Where the models compute."""
        return str(self._device)

    def run(
        self,
        job: Job,
        image: npt.NDArray[np.uint8],
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Steps:
        """Segment an image; yields Progress, returns the LabelMap.

        image : (H, W, 3) uint8 RGB, see `pixels.to_rgb`; only `job.region` of it is looked at.
        cancelled : asked between batches of windows.

        Afterwards `timings` holds the stages of the run.

        Raises ImageError, JobError, ModelError, OutOfMemory, Cancelled.
        """
        watch = Stopwatch(self._device)
        try:
            return (yield from self._run(job, image, cancelled, watch))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise OutOfMemory(self.device, "one batch of windows at a time") from error
        finally:
            self.timings = watch.stages

    def retriever(self, job: Job, watch: Stopwatch) -> Retriever:
        """What answers a ReME job; kept until its set changes."""
        references = open_set(job)
        key = (str(references.folder), references.digest, job.precision)
        if self._retriever is None or self._retriever[0] != key:
            with watch.time("load"):
                # Sets are made in float32, and rows of another arithmetic are another encoder's.
                looker = self.looker(references.encoder.name, None, watch)
            text = self.text_rows(references.text.name, job.precision) if references.text else None
            made = Retriever(references, looker, watch, text, self._device)
            self._retriever = key, made
        return self._retriever[1].timed(watch)

    def looker(self, name: str, job: Job | None, watch: Stopwatch) -> Looker:
        """A visual encoder with the engine's cache; kept like the other models."""
        precision = job.precision if job else "float32"
        key = (name, precision)
        if key not in self._visuals:
            while len(self._visuals) >= _MODELS:
                self._visuals.popitem(last=False)
            # Late: transformers takes seconds, which a run of CLIP alone need not wait for.
            from ..models.visual import load_visual

            self._visuals[key] = load_visual(name, self.device, precision)
        self._visuals.move_to_end(key)
        return Looker(self._visuals[key], self._cache, watch, self._segmenter)

    def _run(
        self,
        job: Job,
        image: npt.NDArray[np.uint8],
        cancelled: Callable[[], bool],
        watch: Stopwatch,
    ) -> Steps:
        part, origin = _region(image, job)
        yield Progress("models", 0, 1)
        if needs(job).reference:
            return (yield from self._run_reme(job, image, part, origin, watch))
        bundle = _bundle(job)
        with watch.time("load"):
            clip = self._clip(bundle.clip, job.precision)
        encoder = CachedClip(clip, self._cache, self._words, watch, cancelled)
        queries = yield from encoder.queries(job.vocabulary)
        with watch.time("resize"):
            windows = job.windows or bundle.windows
            layout = plan_layout(_size(part), windows, clip.patch)
            pixels = cut(part, layout, antialias=windows.antialias)
        with watch.time("notices"):
            told = model_notices(bundle, job.vocabulary, self._likeness_of(bundle.clip), part)
        stop_if(cancelled)
        graph = yield from self._graph(job, bundle, part, watch)
        maps = yield from _maps(encoder, job, queries, layout, pixels, clip, watch, graph)
        scale = job.logit_scale or clip.logit_scale
        if job.method == "nerve":
            assert graph is not None
            stop_if(cancelled)
            with watch.time("score"):
                evidence = nerve.evidence(maps, queries, layout, scale, graph.grid)
            labels = yield from nerve.label(
                evidence, graph, job, queries, _size(part), watch, cancelled
            )
        else:
            with watch.time("decide"):
                labels = yield from score.decide_tiles(maps, queries, layout, job, scale)
        told += memory_notice(self.device, encoder.smallest_batch)
        return LabelMap(
            labels.ids,
            labels.score,
            labels.runner_up,
            job.vocabulary,
            origin,
            told,
            self._record(job, clip, layout, bundle, graph) | {"crops": maps.crops},
        )

    def _graph(
        self, job: Job, bundle: Bundle, part: npt.NDArray[np.uint8], watch: Stopwatch
    ) -> Generator[Progress, None, Graph | None]:
        """The diffusion model's graph where the method needs it."""
        if not needs(job).diffusion:
            return None
        yield Progress("diffusion", 0, 1)
        return self.affinities(bundle, job.precision, watch).graph(
            part, content_hash(part), job.nerve
        )

    def affinities(self, bundle: Bundle, precision: str, watch: Stopwatch) -> nerve.Affinities:
        """The diffusion model of a bundle with the engine's cache."""
        if not bundle.diffusion:
            able = [b.title for b in BUNDLES.values() if b.diffusion]
            raise JobError(
                "models",
                f"{bundle.title} has no diffusion model: choose {' or '.join(able)}.",
            )
        key = (bundle.diffusion, precision)
        if self._diffusion is None or self._diffusion[0] != key:
            from ..models.diffusion import load_diffusion

            with watch.time("load"):
                self._diffusion = key, load_diffusion(bundle.diffusion, self.device, precision)
        return nerve.Affinities(self._diffusion[1], self._cache, watch)

    def _run_reme(
        self,
        job: Job,
        image: npt.NDArray[np.uint8],
        part: npt.NDArray[np.uint8],
        origin: tuple[int, int],
        watch: Stopwatch,
    ) -> Steps:
        retriever = self.retriever(job, watch)
        own = {content_hash(image)}
        frame = origin, _size(image)
        labels = yield from retriever.steps(
            part, content_hash(part), job.vocabulary, job.reme, own, frame
        )
        references = retriever.references
        told = {
            "method": "reme",
            "reference": references.name,
            "reference_digest": references.digest,
            "encoder": references.encoder.name,
            "encoder_digest": references.encoder.digest,
            "segments": references.n_segments,
            "job_digest": job.digest,
            "vocabulary_digest": job.vocabulary.digest,
            "device": self.device,
            "precision": job.precision,
            "region": list(job.region) if job.region else None,
            "versions": dict(_versions()),
        }
        return replace(labels, origin=origin, record=told)

    def _segmenter(self, name: str) -> "Segmenter":
        from ..models.segmenter import load_segmenter

        if self._masks is None or self._masks.name != name:
            self._masks = load_segmenter(name, self.device)
        return self._masks

    def text_rows(self, model: str, precision: str) -> TextRows:
        """Rows of words by a CLIP of the catalogue, in ReME's templates, kept between runs."""

        def rows(words: Sequence[str]) -> Tensor:
            clip = self._clip(model, precision)
            return torch.stack([phrase_row(clip, word, self._words) for word in words])

        return rows

    def text_id(self, model: str, precision: str) -> EncoderId:
        """What a reference set keeps of a CLIP of the catalogue that makes words comparable."""
        clip = self._clip(model, precision)
        return EncoderId(model, clip.digest, clip.embed_dim)

    def _clip(self, name: str, precision: str) -> Clip:
        key = (name, precision)
        if key not in self._clips:
            while len(self._clips) >= _MODELS:
                self._clips.popitem(last=False)
            self._clips[key] = self._load(name, self.device, precision)
        self._clips.move_to_end(key)
        return self._clips[key]

    def _likeness_of(self, model: str) -> Likeness | None:
        if model not in self._likeness:
            self._likeness[model] = Likeness.beside(model)
        return self._likeness[model]

    def _record(
        self, job: Job, clip: Clip, layout: Layout, bundle: Bundle, graph: Graph | None
    ) -> dict[str, Any]:
        used = self._diffusion[1] if graph is not None and self._diffusion else None
        return {
            "method": job.method,
            "base": job.base,
            "models": job.models,
            "clip": bundle.clip,
            "clip_digest": clip.digest,
            **({"diffusion": bundle.diffusion, "diffusion_digest": used.digest} if used else {}),
            "job_digest": job.digest,
            "vocabulary_digest": job.vocabulary.digest,
            "device": self.device,
            "precision": job.precision,
            "logit_scale": job.logit_scale or clip.logit_scale,
            "resized": list(layout.resized),
            "window": list(layout.window),
            "windows": len(layout.origins),
            "region": list(job.region) if job.region else None,
            "versions": dict(_versions()),
        }


def _maps(
    encoder: CachedClip,
    job: Job,
    queries: Queries,
    layout: Layout,
    pixels: npt.NDArray[np.uint8],
    clip: Clip,
    watch: Stopwatch,
    graph: Graph | None,
) -> Generator[Progress, None, score.Maps]:
    """Maps of all windows, purified if the method is FreeCP.

    graph : whose affinity FreeCP takes in place of CLIP's, or None.
    """
    freecp = job.method == "freecp"
    scale = job.logit_scale or clip.logit_scale
    head0 = job.base == "gem" and job.freecp.gem_affinity == "head0"
    own = freecp and graph is None
    affinity = Affinity("head0" if head0 else "mean", job.freecp.refinement) if own else None
    total = math.ceil(len(layout.origins) / encoder.windows_at_once(layout))
    scores: list[Tensor] = []
    probability: list[Tensor] = []
    started = time.monotonic()
    yield Progress("encode", 0, total)
    for done, batch in enumerate(encoder.windows(pixels, layout, job.base, affinity), start=1):
        with watch.time("score"):
            if freecp:
                if graph is not None:
                    seen, count = sum(len(s) for s in scores), len(batch.rows)
                    near = nerve.window_affinity(graph, layout, seen, count, job.freecp.refinement)
                    batch = replace(batch, affinity=near)
                refined, p = score.freecp_maps(batch, queries, layout, job, scale)
                scores.append(refined)
                probability.append(p)
            else:
                scores.append(score.base_maps(batch, queries, layout))
        left = (time.monotonic() - started) / done * (total - done)
        yield Progress("encode", done, total, left)
    if not freecp:
        return score.Maps(torch.cat(scores))
    return (
        yield from _purify(
            encoder, job, queries, layout, pixels, torch.cat(scores), torch.cat(probability), watch
        )
    )


def _purify(
    encoder: CachedClip,
    job: Job,
    queries: Queries,
    layout: Layout,
    pixels: npt.NDArray[np.uint8],
    refined: Tensor,
    probability: Tensor,
    watch: Stopwatch,
) -> Generator[Progress, None, score.Maps]:
    yield Progress("purify", 0, 1)
    with watch.time("purify"):
        plan = score.plan_purification(refined, probability, job)
    rows = described = None
    if plan.crops:
        described = yield from encoder.descriptions(job.vocabulary, queries)
        rows = yield from _look(
            encoder, job, plan, score.crop_boxes(plan, layout), pixels, described
        )
    with watch.time("purify"):
        purified = plan.finish(rows, described)
    fallback = job.freecp.empty_pixel == "base" and not queries.background
    return score.Maps(purified, probability if fallback else None, len(plan.crops))


def _look(
    encoder: CachedClip,
    job: Job,
    plan: Plan,
    boxes: score.Crops,
    pixels: npt.NDArray[np.uint8],
    described: Tensor,
) -> Generator[Progress, None, Tensor]:
    """Image vectors of the crops: fast ones, then exact ones where the difference could count."""
    fast = job.precision == "float32" and encoder.has_fast_crops
    rows = yield from encoder.crops(pixels, boxes, job.base, fast)
    close = plan.close_calls(rows, described, _FAST_ERROR) if fast else []
    if close:
        exact = yield from encoder.crops(pixels, [boxes[k] for k in close], job.base, False)
        rows[close] = exact
    return rows


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


def _region(
    image: npt.NDArray[np.uint8], job: Job
) -> tuple[npt.NDArray[np.uint8], tuple[int, int]]:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ImageError(
            f"The engine takes (H, W, 3) uint8 pixels, not {image.shape} {image.dtype}: "
            "convert them with pixels.to_rgb."
        )
    if image.size == 0:
        raise ImageError(f"The image is empty ({image.shape[0]} x {image.shape[1]}).")
    if job.region is None:
        return image, (0, 0)
    y0, x0, y1, x1 = job.region
    part = image[y0:y1, x0:x1]
    if part.size == 0:
        raise ImageError(
            f"The region {job.region} lies outside the image of {image.shape[0]} x "
            f"{image.shape[1]} pixels: draw it anew."
        )
    return part, (y0, x0)


@lru_cache(maxsize=1)
def _versions() -> Mapping[str, str]:
    return {
        "napari-prelabel": __version__,
        "torch": version("torch"),
        "open_clip_torch": version("open_clip_torch"),
    }


def _size(part: npt.NDArray[np.uint8]) -> tuple[int, int]:
    return part.shape[0], part.shape[1]


def _cache_size() -> int:
    """An eighth of the machine's memory, 0.5 to 4 GiB.

    A window of ViT-B/16 takes 6 MB. When one image's windows do not all fit, the next run on it
    finds none of them, so less would be saved in vain.
    """
    return int(min(max(psutil.virtual_memory().total / 8, 512 << 20), 4 << 30))


def _word_cache() -> Encodings:
    folder = platformdirs.user_cache_path("napari-prelabel") / "words"
    return Encodings(64 << 20, folder, 64 << 20)
