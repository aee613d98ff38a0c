"""Windows, crops and words through CLIP, each once: batches, cache, memory, progress.

Batches are always made up the same way, whether or not the cache has a part of them. A product
of matrices may round differently in another shape, so only then a run that finds encodings
equals, bit by bit, one that computes them.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from .. import __version__
from ..methods.dense import Trunk
from ..models.clip import Clip, Need
from ..models.memory import is_out_of_memory
from ..models.text import IMAGENET_TEMPLATES
from ..models.windows import Layout
from ..values.errors import Cancelled, OutOfMemory
from ..values.job import Progress
from ..values.vocabulary import Vocabulary
from .cache import Encodings, Entry, cache_key
from .timing import Stopwatch

# Tokens of one batch: on a processor large enough to be fast, small enough to cancel soon.
_TOKENS = {"cpu": 1024, "cuda": 16384}
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


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Encoded windows: rows (b, N, E) of the base.

    trunk : gives what CLIP's blocks before the last made of them.
    keep : keep(name, make) gives what `make` does, kept as long as the windows' rows.
    """

    rows: Tensor
    trunk: Callable[[], Entry]
    keep: Callable[[str, Callable[[], Entry]], Entry]


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
    """One CLIP with the caches around it, for the length of a run; what it costs goes to `watch`.

    cache : of windows and crops. words : of text rows.
    cancelled : asked between batches; Cancelled is raised when it says so.
    """

    def __init__(
        self, clip: Clip, cache: Encodings, words: Encodings, watch: Stopwatch, cancelled: Cancel
    ) -> None:
        self.clip = clip
        self.cache = cache
        self._words = words
        self.watch = watch
        self._cancelled = cancelled
        self.smallest_batch: int | None = None

    def queries(self, vocabulary: Vocabulary) -> Generator[Progress, None, Queries]:
        """Text rows of all names, synonyms and background words."""
        names = [word for c in vocabulary.classes for word in c.queries]
        rows = yield from self.text([(word,) for word in (*names, *vocabulary.background)], True)
        owner = [i for i, c in enumerate(vocabulary.classes) for _ in c.queries]
        count = len(vocabulary.classes)
        owner += range(count, count + len(vocabulary.background))
        return Queries(rows, torch.tensor(owner, device=rows.device), count)

    def windows(self, image: npt.NDArray[np.uint8], layout: Layout, base: str) -> Iterator[Batch]:
        """Encode the windows in the order of `Layout.origins`, batch by batch.

        image : from `layout.cut`.
        """
        height, width = layout.window
        pixels = [image[y : y + height, x : x + width] for y, x in layout.origins]
        for part in chunks(pixels, self.windows_at_once(layout)):
            self.stop()
            yield self._batch(np.stack(part), base)

    def windows_at_once(self, layout: Layout) -> int:
        """How many windows make a batch."""
        h, w = layout.grid
        return self.at_once(1 + h * w)

    def text(
        self, items: Sequence[tuple[str, ...]], templates: bool
    ) -> Generator[Progress, None, Tensor]:
        """(n, E) rows of words in templates, or of groups of sentences."""
        out: list[Tensor] = []
        for done, words in enumerate(items):
            key = cache_key(
                "text",
                self.clip.digest,
                self.clip.device.type,
                _VERSIONS,
                templates and _TEMPLATES,
                words,
            )
            entry = self._words.find(key)
            if entry is None:
                self.stop()
                yield Progress("text", done, len(items))
                with self.watch.time("text", forward=True):
                    # Alone, so that its row does not depend on the words beside it.
                    if templates:
                        row = self.clip.encode_classes(words)[0]
                    else:
                        row = self.clip.encode_descriptions([words])[0]
                entry = {"row": row.clone()}
                self._words.put(key, entry)
            out.append(entry["row"].to(self.clip.device))
        return torch.stack(out) if out else torch.empty(0, self.clip.embed_dim)

    def _batch(self, pixels: npt.NDArray[np.uint8], base: str) -> Batch:
        clip, gem = self.clip, base == "gem"
        with self.watch.time("cache"):
            key = cache_key(pixels.shape, pixels.tobytes(), clip.digest, gem)
        trunks: list[Entry] = []

        def trunk() -> Entry:
            if not trunks:
                trunks.append(self.cache.get(f"{key}", lambda: self._trunk(pixels, gem)))
            return trunks[0]

        def dense() -> Entry:
            entry = trunk()
            with self.watch.time("dense", forward=True):
                unpacked = _unpack(entry, self._grid(pixels), clip.device)
                rows = clip.dense(unpacked, base)
            return {"rows": rows}

        rows = self.cache.get(f"{key}-{base}", dense)["rows"]
        return Batch(rows, trunk, lambda name, make: self.cache.get(f"{key}-{name}", make))

    def _trunk(self, pixels: npt.NDArray[np.uint8], gem: bool) -> Entry:
        """Always with all that any method asks for, so that another method costs no new pass."""
        need: frozenset[Need] = frozenset()
        if not self.clip.is_resnet:
            need = frozenset(("attention", "gem", "head0")) if gem else frozenset(("attention",))
        with self.watch.time("trunk", forward=True):
            return self.fit(
                lambda p: _pack(self.clip.encode_trunk(p, need=need)), self.tensor(pixels)
            )

    def _grid(self, pixels: npt.NDArray[np.uint8]) -> tuple[int, int]:
        return self.clip.grid(*pixels.shape[1:3])

    def tensor(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 in [0, 1] on the device."""
        owned = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
        return owned.to(self.clip.device).permute(0, 3, 1, 2).float().div_(255)

    def at_once(self, tokens: int) -> int:
        """How many inputs of so many tokens make a batch."""
        return max(1, _TOKENS.get(self.clip.device.type, _TOKENS["cpu"]) // tokens)

    def stop(self) -> None:
        """Raise Cancelled where the person has stopped the run."""
        stop_if(self._cancelled)

    def fit(self, forward: Callable[[Tensor], Entry], pixels: Tensor) -> Entry:
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
                    raise OutOfMemory(str(self.clip.device), "one window at a time") from error
            size = self.smallest_batch = size // 2
            if self.clip.device.type == "cuda":
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


def chunks(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """The items, `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
