"""Images with truth for the benchmarks: the drawn scenes, or a folder of images and masks."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..values.errors import JobError
from ..values.labels import Ids
from ..values.samples import sample_path
from ..values.vocabulary import IGNORE, Class, Vocabulary

SPLITS = ("train", "val", "test")
VAL_SCENES = 24


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """An image (H, W, 3) uint8 and its truth (H, W) uint16, ids of the data set's vocabulary."""

    name: str
    image: npt.NDArray[np.uint8]
    truth: Ids


@dataclass(frozen=True, slots=True)
class DataSet:
    """Images with truth.

    vocabulary : the classes of the data set, then distractors, which never occur.
    stuff, things : ids of the classes that the samples show, by their kind.
    distractors : how many classes at the vocabulary's end are none of the data set's.
    """

    name: str
    split: str
    vocabulary: Vocabulary
    stuff: tuple[int, ...]
    things: tuple[int, ...]
    distractors: int
    samples: tuple[Sample, ...]

    @property
    def classes(self) -> tuple[int, ...]:
        """Ids that mean IoU is taken over: those that the truth of some sample has."""
        return tuple(sorted((*self.stuff, *self.things)))


def load_synthetic(split: str, limit: int | None = None) -> DataSet:
    """The drawn scenes: 24 shipped ones for "test", as many fresh ones for "train" and "val".

    Raises JobError for another split.
    """
    if split not in SPLITS:
        raise JobError("split", f"There is no split {split!r}: choose {', '.join(SPLITS)}.")
    kinds = json.loads(sample_path("scenes", "classes.json").read_text(encoding="utf-8"))
    scenes = _words("scenes.txt")
    distractors = _words("distractors.txt")
    count = len(scenes.classes)
    extra = tuple(Class(count + i, c.name) for i, c in enumerate(distractors.classes, start=1))
    told = json.loads(sample_path("descriptions", "scenes.json").read_text(encoding="utf-8"))
    vocabulary = Vocabulary((*scenes.classes, *extra)).with_descriptions(told)
    found = _shipped(count) if split == "test" else _drawn(split, limit or VAL_SCENES)
    samples = tuple(islice(found, limit))
    true = {i for sample in samples for i in np.unique(sample.truth).tolist()}
    of_kind = {
        kind: tuple(int(i) for i, c in kinds.items() if c["kind"] == kind and int(i) in true)
        for kind in ("stuff", "thing")
    }
    return DataSet(
        "synthetic",
        split,
        vocabulary,
        of_kind["stuff"],
        of_kind["thing"],
        len(extra),
        samples,
    )


def _words(name: str) -> Vocabulary:
    return Vocabulary.parse(sample_path("vocabularies", name).read_text(encoding="utf-8"))


def _shipped(n_classes: int) -> Iterator[Sample]:
    for path in sorted(sample_path("scenes", "images").glob("*.png")):
        with Image.open(path) as picture:
            image = np.array(picture.convert("RGB"))
        truth = read_truth(sample_path("scenes", "masks", path.name), n_classes)
        yield Sample(path.stem, image, truth)


def read_truth(path: Path, n_classes: int) -> Ids:
    """(H, W) uint16 ids of a mask file; 255 of an 8-bit mask is ignore unless a class has it."""
    with Image.open(path) as mask:
        small = mask.mode in ("L", "P")
        truth = np.array(mask, np.uint16)
    if small and n_classes < 255:
        truth[truth == 255] = IGNORE
    return truth


def _drawn(split: str, count: int) -> Iterator[Sample]:
    from ..synthetic.scenes import scene, split_seeds

    for seed in split_seeds(split)[:count]:
        shown = scene(seed, split)
        yield Sample(f"{split}-{seed}", shown.image, shown.labels)
