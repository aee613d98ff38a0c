"""Windows, crops and words through CLIP, each once: batches, cache, memory, progress.

Batches are always made up the same way, whether or not the cache has a part of them. A product
of matrices may round differently in another shape, so only then a run that finds encodings
equals, bit by bit, one that computes them.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from .. import __version__
from ..methods import freecp
from ..methods.dense import Trunk
from ..models.clip import Clip, Need
from ..models.denoising import is_out_of_memory
from ..models.text import IMAGENET_TEMPLATES
from ..models.vision import Resize
from ..models.windows import Layout
from ..values.errors import Cancelled, OutOfMemory
from ..values.job import Progress
from ..values.vocabulary import Vocabulary
from .cache import Encodings, Entry, cache_key
from .timing import Stopwatch

# Tokens of one batch: on a processor large enough to be fast, small enough to cancel soon.
_TOKENS = {"cpu": 1024, "cuda": 16384}
# FreeCP looks at crops at this side (docs/methods/freecp.md#ambiguity), whatever the patch.
CROP_SIDE = 112

# In place of the templates themselves, of which each word's key would be made anew.
_TEMPLATES = cache_key(IMAGENET_TEMPLATES)

# ReME's templates (docs/methods/reme.md#templates).
REME_TEMPLATES = (
    "A photo of {}",
    "This is a photo of {}",
    "There is {} in the scene",
    "A photo of {} in the scene",
)

# Rows on disk outlive an update of what made them, and a change of device.
_VERSIONS = (__version__, version("torch"), version("open_clip_torch"))

Cancel = Callable[[], bool]
Box = tuple[int, int, int, int]
_Item = TypeVar("_Item")


class Affinity(NamedTuple):
    """Which affinity FreeCP takes: of the mean of heads or of head 0, in which wording."""

    heads: Literal["mean", "head0"]
    wording: Literal["code", "paper"]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Encoded windows: rows (b, N, E) of the base; affinity (b, N, N) for FreeCP, or None."""

    rows: Tensor
    affinity: Tensor | None


@dataclass(frozen=True, slots=True, eq=False)
class Queries:
    """What the patches are compared with.

    rows : (Q, E) unit rows: the names of all classes in their order, then background words.
    owner : (Q,) int64, the class of each query, n_classes and above for background words.
    """

    rows: Tensor
    owner: Tensor
    n_classes: int

    @property
    def background(self) -> bool:
        return bool(self.owner[-1] >= self.n_classes)


def stop_if(cancelled: Cancel) -> None:
    """Raise Cancelled where the person has stopped the run."""
    if cancelled():
        raise Cancelled()


class CachedClip:
    """One CLIP with the caches around it, for the length of a run.

    cache : of windows and crops. words : of text rows.
    cancelled : asked between batches; Cancelled is raised when it says so.
    """

    def __init__(
        self, clip: Clip, cache: Encodings, words: Encodings, watch: Stopwatch, cancelled: Cancel
    ) -> None:
        self._clip = clip
        self._cache = cache
        self._words = words
        self._watch = watch
        self._cancelled = cancelled
        self.smallest_batch: int | None = None

    @property
    def has_fast_crops(self) -> bool:
        """Whether crops can be encoded faster than in the model's own arithmetic."""
        return self._clip.crop_dtype("auto") != self._clip.dtype

    def queries(self, vocabulary: Vocabulary) -> Generator[Progress, None, Queries]:
        """Text rows of all names, synonyms and background words."""
        names = [word for c in vocabulary.classes for word in c.queries]
        rows = yield from self._text([(word,) for word in (*names, *vocabulary.background)], True)
        owner = [i for i, c in enumerate(vocabulary.classes) for _ in c.queries]
        count = len(vocabulary.classes)
        owner += range(count, count + len(vocabulary.background))
        return Queries(rows, torch.tensor(owner, device=rows.device), count)

    def descriptions(
        self, vocabulary: Vocabulary, queries: Queries
    ) -> Generator[Progress, None, Tensor]:
        """(C, E) unit rows: of a class's sentences, or of its names where it has none."""
        out = torch.stack(
            [queries.rows[queries.owner == i].mean(0) for i in range(queries.n_classes)]
        )
        told = [c for c in vocabulary.classes if c.descriptions]
        rows = yield from self._text([c.descriptions for c in told], False)
        if told:
            out[[c.id - 1 for c in told]] = rows
        return F.normalize(out, dim=-1)

    def windows(
        self, image: npt.NDArray[np.uint8], layout: Layout, base: str, affinity: Affinity | None
    ) -> Iterator[Batch]:
        """Encode the windows in the order of `Layout.origins`, batch by batch.

        image : from `layout.cut`. affinity : what FreeCP needs, or None.
        """
        height, width = layout.window
        pixels = [image[y : y + height, x : x + width] for y, x in layout.origins]
        for part in _chunks(pixels, self.windows_at_once(layout)):
            self._check()
            yield self._batch(np.stack(part), base, affinity)

    def windows_at_once(self, layout: Layout) -> int:
        """How many windows make a batch."""
        h, w = layout.grid
        return self._at_once(1 + h * w)

    def crops(
        self, image: npt.NDArray[np.uint8], boxes: Sequence[Box], base: str, fast: bool
    ) -> Generator[Progress, None, Tensor]:
        """(len(boxes), E) image vectors of (y0, x0, y1, x1) pixel boxes of the cut image.

        fast : in bfloat16 where the processor multiplies it natively.
        """
        resize: Resize = "antialias" if base == "gem" else "scale"
        precision = "auto" if fast else None
        with self._watch.time("cache"):
            whole = cache_key(
                image.shape, image.tobytes(), self._clip.digest, resize, f"crop {precision}"
            )
            keys = {box: cache_key(whole, box) for box in boxes}
            found = {box: self._cache.find(key) for box, key in keys.items()}
        rows = {box: entry["row"] for box, entry in found.items() if entry is not None}
        missing = [box for box in keys if box not in rows]
        count = max(1, self._at_once(1 + (CROP_SIDE // self._clip.patch) ** 2) // 2)
        for done, part in enumerate(_chunks(missing, count)):
            self._check()
            yield Progress("purify", done * count, len(missing))
            # A batch of one fixed size, see above; the last one repeats its first crop.
            full = [*part, *[part[0]] * (count - len(part))]
            with self._watch.time("crops", forward=True):
                pixels = torch.cat([self._crop(image, box) for box in full])
                out = self._fit(
                    lambda p: {"row": self._clip.encode_cls(p, precision=precision, resize=resize)},
                    pixels,
                )["row"]
            for box, row in zip(part, out, strict=False):
                rows[box] = row.clone()
                self._cache.put(keys[box], {"row": rows[box]})
        if not boxes:
            return torch.empty(0, self._clip.embed_dim)
        return torch.stack([rows[box].to(self._clip.device) for box in boxes])

    def _crop(self, image: npt.NDArray[np.uint8], box: Box) -> Tensor:
        y0, x0, y1, x1 = box
        part = self._tensor(image[None, y0:y1, x0:x1])
        return F.interpolate(part, size=(CROP_SIDE, CROP_SIDE), mode="bilinear")

    def _text(
        self, items: Sequence[tuple[str, ...]], templates: bool
    ) -> Generator[Progress, None, Tensor]:
        """(n, E) rows of words in templates, or of groups of sentences."""
        out: list[Tensor] = []
        for done, words in enumerate(items):
            key = cache_key(
                "text",
                self._clip.digest,
                self._clip.device.type,
                _VERSIONS,
                templates and _TEMPLATES,
                words,
            )
            entry = self._words.find(key)
            if entry is None:
                self._check()
                yield Progress("text", done, len(items))
                with self._watch.time("text", forward=True):
                    # Alone, so that its row does not depend on the words beside it.
                    if templates:
                        row = self._clip.encode_classes(words)[0]
                    else:
                        row = self._clip.encode_descriptions([words])[0]
                entry = {"row": row.clone()}
                self._words.put(key, entry)
            out.append(entry["row"].to(self._clip.device))
        return torch.stack(out) if out else torch.empty(0, self._clip.embed_dim)

    def _batch(self, pixels: npt.NDArray[np.uint8], base: str, affinity: Affinity | None) -> Batch:
        clip, gem = self._clip, base == "gem"
        with self._watch.time("cache"):
            key = cache_key(pixels.shape, pixels.tobytes(), clip.digest, gem)
        trunks: list[Entry] = []

        def trunk() -> Entry:
            if not trunks:
                trunks.append(self._cache.get(f"{key}", lambda: self._trunk(pixels, gem)))
            return trunks[0]

        def dense() -> Entry:
            entry = trunk()
            with self._watch.time("dense", forward=True):
                unpacked = _unpack(entry, self._grid(pixels), clip.device)
                rows = clip.dense(unpacked, base)
            return {"rows": rows}

        def spread() -> Entry:
            assert affinity is not None
            attention = trunk()["attention" if affinity.heads == "mean" else "head0"]
            with self._watch.time("affinity"):
                attention = attention.to(clip.device)
                return {"affinity": freecp.affinity(attention, wording=affinity.wording)}

        rows = self._cache.get(f"{key}-{base}", dense)["rows"]
        near = None
        if affinity is not None:
            name = f"{key}-{affinity.heads}-{affinity.wording}"
            near = self._cache.get(name, spread)["affinity"]
        return Batch(rows, near)

    def _trunk(self, pixels: npt.NDArray[np.uint8], gem: bool) -> Entry:
        """Always with all that any method asks for, so that another method costs no new pass."""
        need: frozenset[Need] = frozenset()
        if not self._clip.is_resnet:
            need = frozenset(("attention", "gem", "head0")) if gem else frozenset(("attention",))
        with self._watch.time("trunk", forward=True):
            return self._fit(
                lambda p: _pack(self._clip.encode_trunk(p, need=need)), self._tensor(pixels)
            )

    def _grid(self, pixels: npt.NDArray[np.uint8]) -> tuple[int, int]:
        return self._clip.grid(*pixels.shape[1:3])

    def _tensor(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 in [0, 1] on the device."""
        owned = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
        return owned.to(self._clip.device).permute(0, 3, 1, 2).float().div_(255)

    def _at_once(self, tokens: int) -> int:
        return max(1, _TOKENS.get(self._clip.device.type, _TOKENS["cpu"]) // tokens)

    def _check(self) -> None:
        stop_if(self._cancelled)

    def _fit(self, forward: Callable[[Tensor], Entry], pixels: Tensor) -> Entry:
        """Encode a batch; in halves, then quarters, where the memory does not suffice."""
        size = min(len(pixels), self.smallest_batch or len(pixels))
        while True:
            try:
                parts = [forward(part) for part in torch.split(pixels, size)]
                return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if size == 1:
                    raise OutOfMemory(str(self._clip.device), "one window at a time") from error
            size = self.smallest_batch = size // 2
            if self._clip.device.type == "cuda":
                torch.cuda.empty_cache()


def phrase_row(clip: Clip, word: str, words: Encodings) -> Tensor:
    """(E,) unit row of a word in ReME's four templates; kept in `words`."""
    key = cache_key("phrase", clip.digest, clip.device.type, _VERSIONS, REME_TEMPLATES, word)
    return words.get(key, lambda: {"row": clip.encode_classes([word], REME_TEMPLATES)[0].clone()})[
        "row"
    ].to(clip.device)


def _pack(trunk: Trunk) -> Entry:
    entry = {"tokens": trunk.tokens, "attention": trunk.attention, "head0": trunk.attention_head0}
    entry |= {f"block{i}": x for i, x in enumerate(trunk.block_inputs)}
    return {name: tensor for name, tensor in entry.items() if tensor is not None}


def _unpack(entry: Entry, grid: tuple[int, int], device: torch.device) -> Trunk:
    blocks = sum(name.startswith("block") for name in entry)
    return Trunk(
        entry["tokens"].to(device),
        grid,
        block_inputs=tuple(entry[f"block{i}"].to(device) for i in range(blocks)),
    )


def _chunks(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
