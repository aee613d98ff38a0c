"""The sample images that are shipped: 24 test scenes, their truth and their vocabularies; 10
training scenes to learn from."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from napari_prelabel.values.colours import default_colour

from .classes import CLASSES, DISTRACTORS
from .scenes import Scene, scene, split_seeds

SAMPLE_OFFSETS = (
    15, 23, 42, 51, 55, 67, 91, 107, 116, 130, 134, 158,
    163, 164, 174, 175, 190, 193, 197, 204, 209, 225, 235, 236,
)  # fmt: skip
"""Places in the test split chosen so that every class is well seen in at least four scenes."""
LEARNT = 10
"""Scenes of the training split that the demo learns a reference set from."""


def sample_seeds() -> tuple[int, ...]:
    """Seeds of the 24 shipped scenes."""
    return tuple(split_seeds("test")[i] for i in SAMPLE_OFFSETS)


def palette() -> list[int]:
    """768 palette bytes: black for 0, then each class's vocabulary colour."""
    values = [0, 0, 0]
    for class_id in range(1, len(CLASSES) + 1):
        code = default_colour(class_id)
        values += [int(code[i : i + 2], 16) for i in (1, 3, 5)]
    return values + [0] * (768 - len(values))


def _write_pictures(folder: Path, name: str, shown: Scene) -> None:
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    Image.fromarray(shown.image).save(folder / "images" / name, optimize=True)
    mask = Image.fromarray(shown.labels.astype(np.uint8))
    mask.putpalette(palette())
    mask.save(folder / "masks" / name, optimize=True)


def _write_scene(folder: Path, number: int, seed: int) -> dict[str, object]:
    shown: Scene = scene(seed, "test")
    name = f"scene-{number:02d}.png"
    _write_pictures(folder, name, shown)
    present = [CLASSES[i - 1].name for i in np.unique(shown.labels).tolist()]
    size = list(shown.labels.shape)
    return {
        "image": f"images/{name}",
        "mask": f"masks/{name}",
        "seed": seed,
        "size": size,
        "classes": present,
        "captions": list(shown.captions),
    }


def vocabulary_text(synonyms: bool) -> str:
    """All classes of the scenes as a vocabulary, one a line, ids in the order of CLASSES."""
    lines = [f"{c.name}: {', '.join(c.synonyms)}" if synonyms else c.name for c in CLASSES]
    return "\n".join(lines) + "\n"


def _write_vocabularies(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    head = "# The classes of the drawn scenes; ids 1 to 32 as in scenes/masks.\n"
    strange = "# Words that no drawn scene shows: what a busy vocabulary adds by mistake.\n"
    words = "\n".join(DISTRACTORS) + "\n"
    (folder / "scenes.txt").write_text(head + vocabulary_text(synonyms=False))
    (folder / "scenes-synonyms.txt").write_text(head + vocabulary_text(synonyms=True))
    (folder / "distractors.txt").write_text(strange + words)
    both = head + vocabulary_text(synonyms=False) + strange + words
    (folder / "scenes-and-distractors.txt").write_text(both)


def write_samples(folder: Path) -> None:
    """Write scenes, masks, class ids, vocabularies and what to learn from below a folder."""
    scenes = folder / "scenes"
    index = [_write_scene(scenes, n, s) for n, s in enumerate(sample_seeds(), start=1)]
    (scenes / "index.json").write_text(json.dumps(index, indent=1) + "\n")
    classes = {
        str(i): {"name": c.name, "kind": c.kind, "family": c.family, "synonyms": list(c.synonyms)}
        for i, c in enumerate(CLASSES, start=1)
    }
    (scenes / "classes.json").write_text(json.dumps(classes, indent=1) + "\n")
    _write_vocabularies(folder / "vocabularies")
    for seed in split_seeds("train")[:LEARNT]:
        _write_pictures(folder / "learn", f"train-{seed}.png", scene(seed, "train"))
