"""Class names of the public benchmarks, in their standard order, as vocabularies.

Names are those of the data sets; synonyms only spell compound or British words out. Where a
benchmark has a background class, background words stand for it (docs/methods/freecp.md#words).
"""

from importlib import resources

from .errors import VocabularyError
from .vocabulary import Vocabulary

PRESETS: dict[str, str] = {
    "voc21": "PASCAL VOC, 20 classes and background",
    "voc20": "PASCAL VOC, 20 classes",
    "coco_object": "COCO Object, 80 classes and background",
    "coco_stuff": "COCO-Stuff, 171 classes",
    "ade20k": "ADE20K, 150 classes",
    "cityscapes": "Cityscapes, 19 classes",
    "pascal_context59": "PASCAL Context, 59 classes",
    "pascal_context60": "PASCAL Context, 59 classes and background",
}


def load(name: str) -> Vocabulary:
    """The vocabulary of a preset; VocabularyError lists the presets when there is none."""
    return Vocabulary.parse(text(name))


def text(name: str) -> str:
    """The typed text of a preset, with its comment line."""
    if name not in PRESETS:
        raise VocabularyError(f"{name!r} is no preset: choose one of {', '.join(PRESETS)}.")
    file = resources.files(__package__).joinpath("vocabularies", f"{name}.txt")
    return file.read_text(encoding="utf-8")
