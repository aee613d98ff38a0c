"""Open, read and extend a large reference set: seconds and memory.

python -m benchmarks.reference_store [segments] [width]
"""

import hashlib
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.reference.values import Addition, EncoderId, Segment, Source

WORDS = 5000
PER_IMAGE = 100


def image(number: int, width: int, rng: np.random.Generator) -> Addition:
    rows = rng.standard_normal((PER_IMAGE, width), np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    segments = tuple(
        Segment((i, 0, i + 9, 9), 81, (f"word {w}",))
        for i, w in enumerate(rng.integers(WORDS, size=PER_IMAGE).tolist())
    )
    source = Source(hashlib.sha256(str(number).encode()).hexdigest(), f"{number}.png", (480, 640))
    return Addition(source, rows, segments, (rng.bytes(1500),) * PER_IMAGE)


def memory() -> float:
    """Highest resident megabytes so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(name: str, start: float) -> None:
    print(f"{name}: {time.perf_counter() - start:.3f} s, peak {memory():.0f} MB", flush=True)


def measure(folder: Path, segments: int, width: int) -> None:
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    made = ReferenceSet.create(folder, EncoderId("random", "0" * 64, width))
    for first in range(0, segments // PER_IMAGE, 160):
        last = min(first + 160, segments // PER_IMAGE)
        made.add([image(i, width, rng) for i in range(first, last)])
    timed(f"build {segments:,} x {width}", start)
    for name in ("open", "open again"):
        start = time.perf_counter()
        found = ReferenceSet.open(folder)
        timed(name, start)
    start = time.perf_counter()
    links = found.links()
    timed(f"links {links.shape}, {links.nnz:,} ones", start)
    times = []
    for number in range(40):
        more = image(10**9 + number, width, rng)
        start = time.perf_counter()
        found.add([more])
        times.append(time.perf_counter() - start)
    print(f"add one image of {PER_IMAGE}: median {np.median(times):.3f}, max {max(times):.3f} s")
    before = memory()
    start = time.perf_counter()
    queries = rng.standard_normal((300, width), np.float32)
    best = max(float((queries @ rows.astype(np.float32).T).max()) for _, rows in found.blocks())
    timed(f"read all blocks, best {best:.2f} (memory before {before:.0f} MB)", start)


if __name__ == "__main__":
    count, size = (int(a) for a in (*sys.argv[1:], *("100000", "1024")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as place:
        measure(Path(place) / "set", count, size)
