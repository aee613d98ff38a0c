"""Small additions and sets for the tests of reference sets."""

import hashlib
import io

import numpy as np
from PIL import Image

from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.reference.values import Addition, EncoderId, Segment, Source

WIDTH = 6
ENCODER = EncoderId("texture", "a" * 64, WIDTH)


def png(side: int = 4) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (side, 2, 3)).save(file, "PNG")
    return file.getvalue()


def digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def addition(name: str, *words: tuple[str, ...], width: int = WIDTH, **source) -> Addition:
    """An image with a segment for each tuple of words; its numbers follow from its name."""
    words = words or (("tree",), ("sky",), ("tree", "oak"))
    rng = np.random.default_rng(int(digest(name)[:8], 16))
    rows = rng.normal(size=(len(words), width))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    segments = tuple(
        Segment((i, 0, i + 4, 5), 6 + i, told, "correction") for i, told in enumerate(words)
    )
    return Addition(
        Source(digest(name), name, (20, 30), **source),
        rows.astype(np.float32),
        segments,
        tuple(png(2 + i % 5) for i in range(len(words))),
    )


def small_set(folder, *names: str) -> ReferenceSet:
    found = ReferenceSet.create(folder, ENCODER)
    found.add([addition(name) for name in names or ("a", "b")])
    return found
