"""What runs and tasks share: loaded models, and what they saw, kept between them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import platformdirs
import psutil
import torch
from torch import Tensor

from ..models.catalog import BUNDLES, Bundle
from ..models.clip import Clip, load_clip
from ..models.opened import pick_device
from ..models.shelf import ModelShelf
from ..reference.values import EncoderId
from ..values.encoder import Encoder
from ..values.errors import JobError
from ..values.job import Job
from .affinities import Affinities
from .cache import Encodings
from .embed import Looker
from .encode import CachedClip, Cancel, phrase_row
from .likeness import Likeness
from .retriever import Retriever, TextRows, open_set
from .timing import Stopwatch

if TYPE_CHECKING:
    from ..models.denoising import Diffusion
    from ..models.segmenter import Segmenter
    from ..models.visual import VisualEncoder


class Models:
    """Loads models and keeps them, encoded windows and words. Not for several threads.

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
        self.shelf = ModelShelf(self._device, left=self._forget)
        self._likeness: dict[str, Likeness | None] = {}
        self._retriever: tuple[tuple[str, str, str], Retriever] | None = None

    @property
    def device(self) -> str:
        """Where the models compute."""
        return str(self._device)

    @property
    def cache(self) -> Encodings:
        """What was seen, by what it was seen in."""
        return self._cache

    def clip(self, name: str, precision: str) -> Clip:
        """A CLIP of the catalogue."""
        return self.shelf.take(
            (name, precision), name, lambda: self._load(name, self.device, precision)
        )

    def _forget(self) -> None:
        """Models left the shelf: so does what holds one."""
        self._retriever = None

    def cached(self, clip: Clip, watch: Stopwatch, cancelled: Cancel) -> CachedClip:
        """A CLIP with the caches around it, for the length of a run."""
        return CachedClip(clip, self._cache, self._words, watch, cancelled)

    def likeness(self, model: str) -> Likeness | None:
        """What tells images unlike a demo CLIP's scenes; None for a CLIP of the world."""
        if model not in self._likeness:
            self._likeness[model] = Likeness.beside(model)
        return self._likeness[model]

    def affinities(self, bundle: Bundle, precision: str, watch: Stopwatch) -> Affinities:
        """The diffusion model of a bundle; raises JobError where it has none."""
        if not bundle.diffusion:
            able = [b.title for b in BUNDLES.values() if b.diffusion]
            raise JobError(
                "models",
                f"{bundle.title} has no diffusion model: choose {' or '.join(able)}.",
            )
        name = bundle.diffusion

        def load() -> "Diffusion":
            from ..models.diffusion import load_diffusion

            return load_diffusion(name, self.device, precision)

        with watch.time("load"):
            model = self.shelf.take((name, precision), name, load)
        return Affinities(model, self._cache, watch)

    def retriever(self, job: Job, watch: Stopwatch) -> Retriever:
        """What answers from the job's reference set; kept until the set changes."""
        references = open_set(job)
        key = (str(references.folder), references.digest, job.precision)
        if self._retriever is None or self._retriever[0] != key:
            with watch.time("load"):
                looker = self.looker(Encoder.parse(references.encoder.name), watch)
            text = self.text_rows(references.text.name, job.precision) if references.text else None
            made = Retriever(references, looker, watch, text, self._device)
            self._retriever = key, made
        return self._retriever[1].timed(watch)

    def looker(self, encoder: Encoder, watch: Stopwatch) -> Looker:
        """A visual encoder, in float32: rows of another arithmetic are another encoder's."""

        def load() -> "VisualEncoder":
            # Late: transformers takes seconds, which a run of CLIP alone need not wait for.
            from ..models.encoders import load_encoder

            return load_encoder(encoder, self.device, "float32")

        model = self.shelf.take(encoder, str(encoder), load)
        return Looker(model, self._cache, watch, self._segmenter)

    def text_rows(self, model: str, precision: str) -> TextRows:
        """Rows of words by a CLIP of the catalogue, in ReME's templates, kept between runs."""

        def rows(words: Sequence[str]) -> Tensor:
            clip = self.clip(model, precision)
            return torch.stack([phrase_row(clip, word, self._words) for word in words])

        return rows

    def text_id(self, model: str, precision: str) -> EncoderId:
        """What a reference set keeps of a CLIP of the catalogue that makes words comparable."""
        clip = self.clip(model, precision)
        return EncoderId(model, clip.digest, clip.embed_dim)

    def _segmenter(self, name: str) -> "Segmenter":
        def load() -> "Segmenter":
            from ..models.segmenter import load_segmenter

            return load_segmenter(name, self.device)

        return self.shelf.take(name, name, load)


def _cache_size() -> int:
    """An eighth of the machine's memory, 0.5 to 4 GiB.

    A window of ViT-B/16 takes 6 MB. When one image's windows do not all fit, the next run on it
    finds none of them, so less would be saved in vain.
    """
    return int(min(max(psutil.virtual_memory().total / 8, 512 << 20), 4 << 30))


def _word_cache() -> Encodings:
    folder = platformdirs.user_cache_path("napari-prelabel") / "words"
    return Encodings(64 << 20, folder, 64 << 20)
