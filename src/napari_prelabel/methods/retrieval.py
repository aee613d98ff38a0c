"""The references of a set read once, block by block, for `reme.retrieve`.

On a processor every thread reads its own part of a block and multiplies with one BLAS thread:
converting, multiplying, exponentials and summing then all use every core, and nobody waits. States
of the threads are merged in their order, so an answer does not depend on which was faster.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from ..values.errors import JobError
from .threads import one_blas_thread

Float32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.floating[Any]]
Blocks = Iterable[tuple[int, Rows]]
Comparable = Callable[[Float32], Float32]
"""Rows (n, d) float32 of the set -> unit rows (n, d') that compare with the queries."""

# Few enough that the logits of a piece stay in a processor's cache.
_ROWS_AT_ONCE = 1024
# faiss keeps what it found of a piece, which is then merged with what was found before.
_SEARCHED_AT_ONCE = 8192
_QUERIES_AT_ONCE = 1024
_GATHERED = 1 << 22
# torch converts so many values with the thread that asks; more would wake its other threads.
_QUIET = 32_768


class Table(Protocol):
    """Rows over the classes, one a reference: an array, or `Told`, which makes them when read."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def nbytes(self) -> int: ...
    def __getitem__(self, rows: Any) -> Any: ...


class Told:
    """O_ref A2 as an array would give its rows, but only those that are read are ever made.

    A million references and 847 classes would be 3.4 GB.

    links : (m, n) scipy CSR array of float32. label_class : (n, C) float32.
    """

    def __init__(self, links: Any, label_class: Float32) -> None:
        self._links = links
        self._label_class = label_class
        self._labels = torch.from_numpy(links.indices.astype(np.int64))
        self._ends = torch.from_numpy(links.indptr.astype(np.int64))
        self._votes = torch.from_numpy(links.data)
        self._said = torch.from_numpy(label_class)
        self.shape = (links.shape[0], label_class.shape[1])

    @property
    def nbytes(self) -> int:
        """Bytes in use, not those that an array would take."""
        links = self._links
        parts = (links.data, links.indices, links.indptr, self._label_class)
        doubled = (self._labels, self._ends)
        return sum(int(part.nbytes) for part in (*parts, *doubled))

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> Float32:
        """(..., C) float32 of a slice, or of row numbers of any shape."""
        if not isinstance(rows, slice):
            wanted = np.asarray(rows)
            found: Float32 = self._links[wanted.ravel()] @ self._label_class
            return found.reshape(*wanted.shape, -1)
        start, stop, _ = rows.indices(self.shape[0])
        ends = self._ends[start : stop + 1]
        first, last = int(ends[0]), int(ends[-1])
        # SciPy's product of the same rows takes half as long again.
        summed = F.embedding_bag(
            self._labels[first:last],
            self._said,
            ends - first,
            mode="sum",
            per_sample_weights=self._votes[first:last],
            include_last_offset=True,
        )
        rows_told: Float32 = summed.numpy()
        return rows_told

    def column(self, number: int) -> Float32:
        """(m,) float32, what all references say to one class."""
        found: Float32 = self._links @ self._label_class[:, number]
        return found


class RetrievalState(Protocol):
    """What is known of every query after some of the references, `at_once` at a time."""

    at_once: int

    def add(self, start: int, rows: Float32, takes_part: Bools) -> None:
        """Take in references (n, d), the first of them row `start` of the answers."""

    def merge(self, other: Self) -> None:
        """Take in what another state has seen, of rows behind this one's."""

    def result(self) -> Float32:
        """(k, C), the answers."""


def stream(
    make: Callable[[], RetrievalState],
    blocks: Blocks,
    takes_part: Bools,
    comparable: Comparable | None,
    threads: int,
) -> Float32:
    """The answers of a state that has seen all references.

    make : gives a fresh state; each of `threads` has its own.
    takes_part : (m,), which references count. comparable : see `reme.retrieve`.
    Raises JobError unless the blocks follow each other and have m rows together.
    """
    states = [make() for _ in range(threads)]

    def read(state: RetrievalState, start: int, rows: Rows) -> None:
        for first, piece in pieces([(start, rows)], comparable, state.at_once):
            state.add(first, piece, takes_part[first : first + len(piece)])

    with one_blas_thread(), ThreadPoolExecutor(threads) as pool:
        for start, rows in in_order(blocks, len(takes_part)):
            cuts = np.linspace(0, len(rows), threads + 1).astype(int).tolist()
            parts = [rows[a:b] for a, b in pairwise(cuts)]
            list(pool.map(read, states, [start + cut for cut in cuts[:-1]], parts))
    for state in states[1:]:
        states[0].merge(state)
    return states[0].result()


def in_order(blocks: Blocks, count: int) -> Iterator[tuple[int, Rows]]:
    """The blocks, checked: JobError unless they follow each other and have `count` rows."""
    seen = 0
    for start, rows in blocks:
        if start != seen:
            raise JobError("reference", f"Row {seen} of the set is missing: open the set again.")
        yield start, rows
        seen = start + len(rows)
    if seen != count:
        raise JobError(
            "reference", f"The set has {seen} rows and {count} answers: open the set again."
        )


def pieces(
    blocks: Blocks, comparable: Comparable | None, at_once: int
) -> Iterator[tuple[int, Float32]]:
    """Rows of the blocks as float32, at most `at_once`, each piece with its first row's number.

    They share one buffer: take what is needed before asking for the next.
    """
    buffer = np.empty((0, 0), np.float32)
    for start, rows in blocks:
        for first in range(0, len(rows), at_once):
            part = rows[first : first + at_once]
            if len(buffer) < len(part):
                buffer = np.empty(part.shape, np.float32)
            piece = _converted(part, buffer[: len(part)])
            yield start + first, piece if comparable is None else comparable(piece)


def _converted(rows: Rows, out: Float32) -> Float32:
    """Rows as float32. torch converts float16 ten times faster than NumPy."""
    to, of = torch.from_numpy(out), _view(rows)
    step = max(1, _QUIET // max(1, out.shape[1]) - 1)
    for first in range(0, len(out), step):
        to[first : first + step].copy_(of[first : first + step])
    return out


def _view(rows: Rows) -> Tensor:
    """Rows as a tensor that is only read; torch warns of mapped files that must not be written."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(np.asarray(rows))


class All:
    """The streamed softmax over every reference: a running maximum, sum and weighted answer.

    queries : (k, d) unit rows. answers : (m, C). scale : what cosines are multiplied with.
    """

    def __init__(self, queries: Float32, answers: Table, scale: float) -> None:
        self.queries = queries * np.float32(scale)
        self.answers = answers
        self.at_once = _ROWS_AT_ONCE
        self.memory = np.empty(0, np.float32)  # new pages cost time
        k = len(queries)
        self.top = np.full((k, 1), -np.inf, np.float32)
        self.total = np.zeros((k, 1), np.float32)
        self.sums = np.zeros((k, answers.shape[1]), np.float32)

    def add(self, start: int, rows: Float32, takes_part: Bools) -> None:
        told = self.answers[start : start + len(rows)]
        if not takes_part.all():
            rows, told = rows[takes_part], told[takes_part]
        if not len(rows):
            return
        for first in range(0, len(self.queries), _QUERIES_AT_ONCE):
            here = slice(first, first + _QUERIES_AT_ONCE)
            logits = self._logits(self.queries[here], rows)
            top = np.maximum(self.top[here], logits.max(axis=1, keepdims=True))
            logits -= top
            weights = np.exp(logits, out=logits)
            fade = np.exp(self.top[here] - top)
            self.total[here] *= fade
            self.total[here] += weights.sum(axis=1, keepdims=True)
            self.sums[here] *= fade
            self.sums[here] += weights @ told
            self.top[here] = top

    def _logits(self, queries: Float32, rows: Float32) -> Float32:
        size = len(queries) * len(rows)
        if len(self.memory) < size:
            self.memory = np.empty(size, np.float32)
        out = self.memory[:size].reshape(len(queries), len(rows))
        return np.matmul(queries, rows.T, out=out)

    def merge(self, other: Self) -> None:
        top = np.maximum(self.top, other.top)
        # Where neither has seen a reference both maxima are -inf, whose difference is no number.
        seen = np.where(np.isfinite(top), top, 0)
        mine, others = np.exp(self.top - seen), np.exp(other.top - seen)
        self.total = np.asarray(self.total * mine + other.total * others, np.float32)
        self.sums = np.asarray(self.sums * mine + other.sums * others, np.float32)
        self.top = np.asarray(top, np.float32)

    def result(self) -> Float32:
        return np.asarray(self.sums / np.maximum(self.total, 1e-30), np.float32)


class OnDevice:
    """`All` for queries on another device, where the references go piece by piece."""

    def __init__(self, queries: Tensor, answers: Table, scale: float) -> None:
        self.at_once = _SEARCHED_AT_ONCE
        self.queries = queries * scale
        self.answers = answers
        self.top = queries.new_full((len(queries), 1), -torch.inf)
        self.total = queries.new_zeros((len(queries), 1))
        self.sums = queries.new_zeros((len(queries), answers.shape[1]))

    def add(self, start: int, rows: Float32, takes_part: Bools) -> None:
        if not takes_part.any():
            return
        told = self.answers[start : start + len(rows)][takes_part]
        device = self.queries.device
        logits = self.queries @ torch.tensor(rows[takes_part], device=device).T
        top = torch.maximum(self.top, logits.amax(1, keepdim=True))
        weights = logits.sub_(top).exp_()
        fade = (self.top - top).exp_()
        self.total.mul_(fade).add_(weights.sum(1, keepdim=True))
        self.sums.mul_(fade).add_(weights @ torch.tensor(told, device=device))
        self.top = top

    def merge(self, other: Self) -> None:
        top = torch.maximum(self.top, other.top)
        seen = torch.where(top.isfinite(), top, 0)
        mine, others = (self.top - seen).exp_(), (other.top - seen).exp_()
        self.total = self.total * mine + other.total * others
        self.sums = self.sums * mine + other.sums * others
        self.top = top

    def result(self) -> Float32:
        found: Float32 = (self.sums / self.total.clamp(min=1e-30)).cpu().numpy()
        return found


class Nearest:
    """The k most similar references of each query, found by faiss and merged over the blocks.

    queries : (k, d) unit rows. device : where they lie; a GPU searches for itself.
    """

    def __init__(
        self, queries: Float32, answers: Table, scale: float, top_k: int, device: str = "cpu"
    ) -> None:
        self.at_once = _SEARCHED_AT_ONCE
        self.search = searcher(device)
        self.queries = queries
        self.answers = answers
        self.scale = scale
        self.top_k = top_k
        self.cosines = np.full((len(queries), 0), -np.inf, np.float32)
        self.rows = np.zeros((len(queries), 0), np.int64)

    def add(self, start: int, rows: Float32, takes_part: Bools) -> None:
        alive = np.flatnonzero(takes_part)
        if not len(alive) or not len(self.queries):
            return
        if len(alive) < len(rows):
            rows = rows[alive]
        cosines, found = self.search(self.queries, rows, min(self.top_k, len(alive)))
        self._keep(cosines, alive[found] + start)

    def _keep(self, cosines: Float32, rows: npt.NDArray[np.int64]) -> None:
        cosines = np.concatenate([self.cosines, cosines], 1)
        rows = np.concatenate([self.rows, rows], 1)
        order = np.lexsort((rows, -cosines), axis=1)[:, : self.top_k]
        self.cosines = np.take_along_axis(cosines, order, 1)
        self.rows = np.take_along_axis(rows, order, 1)

    def merge(self, other: Self) -> None:
        self._keep(other.cosines, other.rows)

    def result(self) -> Float32:
        out = np.zeros((len(self.rows), self.answers.shape[1]), np.float32)
        if not self.rows.shape[1]:
            return out
        weights = torch.from_numpy(self.cosines * np.float32(self.scale)).softmax(1)
        step = max(1, _GATHERED // (self.rows.shape[1] * self.answers.shape[1]))
        for first in range(0, len(out), step):
            here = slice(first, first + step)
            told = torch.from_numpy(self.answers[self.rows[here]])
            out[here] = (weights[here, None] @ told)[:, 0].numpy()
        return out


def searcher(
    device: str,
) -> Callable[[Float32, Float32, int], tuple[Float32, npt.NDArray[np.int64]]]:
    """faiss's exact search by inner product: (queries, rows, k) to cosines and places (q, k)."""
    import faiss

    on_gpu = device == "cuda" and faiss.get_num_gpus() > 0
    gpu = faiss.StandardGpuResources() if on_gpu else None

    def search(queries: Float32, rows: Float32, k: int) -> Any:
        if gpu is not None:
            return faiss.knn_gpu(gpu, queries, rows, k, metric=faiss.METRIC_INNER_PRODUCT)
        # Of the thread that asks; the others search elsewhere. torch has the same setting: left
        # at one, whatever it computes later in this thread would be slower, and sum otherwise.
        threads = faiss.omp_get_max_threads()
        faiss.omp_set_num_threads(1)
        try:
            return faiss.knn(queries, rows, k, metric=faiss.METRIC_INNER_PRODUCT)
        finally:
            faiss.omp_set_num_threads(threads)

    return search
