"""Images with truth that methods are measured on, and the scenes that ship with the package."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..values.labels import Ids
from ..values.samples import sample_path
from ..values.vocabulary import IGNORE, Class, Vocabulary

# The folders of sample_data that hold the scenes of a split.
SHIPPED = {"test": "scenes", "train": "learn"}


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


def load_shipped(split: str, limit: int | None = None) -> DataSet:
    """The drawn scenes of sample_data: 24 of "test", and 10 of "train" to learn from.

    Raises FileFormatError for another split.
    """
    found = _scenes(SHIPPED.get(split, split), len(_words("scenes.txt").classes))
    return data_set(split, islice(found, limit))


def data_set(split: str, scenes: Iterable[Sample]) -> DataSet:
    """Drawn scenes of a split with their words and the distractors."""
    kinds = json.loads(sample_path("scenes", "classes.json").read_text(encoding="utf-8"))
    words = _words("scenes.txt")
    distractors = _words("distractors.txt")
    count = len(words.classes)
    extra = tuple(Class(count + i, c.name) for i, c in enumerate(distractors.classes, start=1))
    told = json.loads(sample_path("descriptions", "scenes.json").read_text(encoding="utf-8"))
    vocabulary = Vocabulary((*words.classes, *extra)).with_descriptions(told)
    samples = tuple(scenes)
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


def _scenes(folder: str, n_classes: int) -> Iterator[Sample]:
    for path in sorted(sample_path(folder, "images").glob("*.png")):
        with Image.open(path) as picture:
            image = np.array(picture.convert("RGB"))
        truth = read_truth(sample_path(folder, "masks", path.name), n_classes)
        yield Sample(path.stem, image, truth)


def read_truth(path: Path, n_classes: int) -> Ids:
    """(H, W) uint16 ids of a mask file; 255 of an 8-bit mask is ignore unless a class has it."""
    with Image.open(path) as mask:
        small = mask.mode in ("L", "P")
        truth = np.array(mask, np.uint16)
    if small and n_classes < 255:
        truth[truth == 255] = IGNORE
    return truth
