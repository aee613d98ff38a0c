"""Retrieval from a large set beside one faiss search of the same size, in one run."""

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
from scipy.sparse import csr_array

from napari_prelabel.methods import reme
from napari_prelabel.values.errors import JobError
from napari_prelabel.values.retrieval import ReME

_EVERY = 0.004
_CHUNK = 16_384
_STATUS = Path("/proc/self/status")

Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Size:
    """How large the made-up set and image are."""

    segments: int = 200_000
    width: int = 1024
    labels: int = 5_000
    classes: int = 150
    queries: int = 300

    def __post_init__(self) -> None:
        for name in ("segments", "width", "labels", "classes", "queries"):
            if getattr(self, name) < 1:
                raise JobError(name, f"{name} must be 1 or more, not {getattr(self, name)}.")


@dataclass(slots=True)
class _Most:
    """The most memory of the process's own beyond that at the start; mapped files aside."""

    bytes: int = 0
    _done: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        start = _own_bytes()
        while not self._done.wait(_EVERY):
            self.bytes = max(self.bytes, _own_bytes() - start)

    def stop(self) -> None:
        self._done.set()


def measure(
    size: Size, *, top_k: int = 64, repeats: int = 3, faiss_too: bool = True, seed: int = 0
) -> dict[str, Any]:
    """Write a set of random rows, retrieve from the mapped file, and search it with faiss.

    top_k : of the run that keeps only the most similar references.
    repeats : rounds, each with every step once, so that a busy machine slows all of them.
    faiss_too : build an IndexFlatIP, which takes 4 bytes a value; False leaves the ratios out.

    Returns plain JSON values. Seconds of the fastest round, which other work on the machine
    disturbed least: `answers` (once a vocabulary), `retrieve` (an image), `retrieve_top_k`,
    `faiss` (one top-1 search); ratio is retrieve by faiss, ratio_new_words answers and retrieve
    by faiss; peak_mb is memory beyond the mapped embeddings, the answers included.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "embeddings.npy"
        _write(path, size, seed)
        rows = np.load(path, mmap_mode="r")
        try:
            return _measured(rows, size, top_k, repeats, faiss_too, seed)
        finally:
            rows._mmap.close()  # Windows removes no file that is mapped


def _measured(
    rows: npt.NDArray[np.float16],
    size: Size,
    top_k: int,
    repeats: int,
    faiss_too: bool,
    seed: int,
) -> dict[str, Any]:
    rng = np.random.default_rng(seed + 1)
    queries = _unit(rng, size.queries, size.width)
    links = _links(rng, size)
    words = rng.dirichlet(np.full(size.classes, 0.05), size.labels).astype(np.float32)
    nearest = ReME(top_k=top_k)
    live = np.diff(links.indptr) > 0
    with _peak() as most:
        told = reme.answers(links, words)
        reme.retrieve(queries, [(0, rows)], told, live=live)
    index = _index(rows) if faiss_too else None
    steps: dict[str, Any] = {
        "answers": lambda: reme.answers(links, words),
        "retrieve": lambda: reme.retrieve(queries, [(0, rows)], told, live=live),
        "retrieve_top_k": lambda: reme.retrieve(queries, [(0, rows)], told, nearest, live=live),
    }
    if index is not None:
        steps["faiss"] = lambda: index.search(queries, 1)
    rounds = [{name: _time(step) for name, step in steps.items()} for _ in range(repeats)]
    best = {name: min(took[name] for took in rounds) for name in steps}
    if index is not None:
        best["ratio"] = best["retrieve"] / best["faiss"]
        best["ratio_new_words"] = (best["answers"] + best["retrieve"]) / best["faiss"]
    return {
        **{name: getattr(size, name) for name in Size.__slots__},
        "top_k": top_k,
        **{name: round(value, 6) for name, value in best.items()},
        "peak_mb": round(most.bytes / 1e6, 1),
        "embeddings_mb": round(rows.nbytes / 1e6, 1),
    }


def _write(path: Path, size: Size, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (size.segments, size.width)
    file = np.lib.format.open_memmap(path, "w+", np.float16, shape)
    for start in range(0, size.segments, _CHUNK):
        count = min(_CHUNK, size.segments - start)
        file[start : start + count] = _unit(rng, count, size.width)
    file.flush()


def _unit(rng: np.random.Generator, count: int, width: int) -> Rows:
    rows = rng.standard_normal((count, width), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def _links(rng: np.random.Generator, size: Size) -> csr_array:
    """One label a segment, two in every third."""
    each = np.where(np.arange(size.segments) % 3 == 0, 2, 1)
    ends = np.concatenate([[0], np.cumsum(each)])
    labels = rng.integers(0, size.labels, ends[-1])
    return csr_array(
        (np.ones(ends[-1], np.float32), labels, ends), shape=(size.segments, size.labels)
    )


def _index(rows: npt.NDArray[np.float16]) -> Any:
    import faiss

    index = faiss.IndexFlatIP(rows.shape[1])
    for start in range(0, len(rows), _CHUNK):
        index.add(rows[start : start + _CHUNK].astype(np.float32))
    return index


def _time(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@contextmanager
def _peak() -> Iterator[_Most]:
    most = _Most()
    watcher = threading.Thread(target=most.watch, daemon=True)
    watcher.start()
    try:
        yield most
    finally:
        most.stop()
        watcher.join()


def _own_bytes() -> int:
    """Resident memory that no file backs; all of it where the system does not tell them apart."""
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)
