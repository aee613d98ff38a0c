"""A visual encoder that sees mean colours, exact and instant; and sets made with it."""

import hashlib

import numpy as np
import torch

from napari_prelabel.images.rgb import content_hash
from napari_prelabel.models.visual import Features, pool_segments
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.reference.values import Addition, EncoderId, Segment, Source

RED, GREEN, BLUE = (220, 30, 30), (30, 200, 40), (20, 40, 210)


class Colours:
    name = "colours"
    digest = hashlib.sha256(b"colours").hexdigest()
    width = 3

    def __init__(self):
        self.encoded = 0

    def encode(self, image):
        self.encoded += 1
        tokens = torch.from_numpy(np.ascontiguousarray(image)).float().reshape(-1, 3)
        return Features(tokens, image.shape[:2])

    def pool(self, features, segments, count=None):
        return pool_segments(features, segments, count)


def halves(left, right, size=(20, 30), noise=0):
    """An image whose left and right halves have one colour each."""
    image = np.zeros((*size, 3), np.uint8)
    image[:, : size[1] // 2] = left
    image[:, size[1] // 2 :] = right
    image[0, 0] = noise
    return image


def colour_set(folder, words, images=None):
    """A set with one segment per (word, colour), each of an image of its own."""
    made = ReferenceSet.create(folder, EncoderId(Colours.name, Colours.digest, Colours.width))
    additions = []
    for number, (word, colour) in enumerate(words):
        row = np.asarray(colour, np.float32)[None]
        image = np.full((4, 5, 3), number, np.uint8) if images is None else images[number]
        additions.append(
            Addition(
                Source(content_hash(image), f"image {number}", image.shape[:2]),
                row / np.linalg.norm(row),
                (Segment((0, 0, 4, 5), 20, (word,)),),
                (b"\x89PNG\r\n\x1a\n",),
            )
        )
    made.add(additions)
    return made
