"""What the guide promises of the first sample scene, with the demo models and their settings."""

from pathlib import Path

import numpy as np
import pytest

from napari_prelabel.engine.engine import Engine
from napari_prelabel.gui.sample_scenes import scene
from napari_prelabel.models.catalog import BUNDLES
from napari_prelabel.values.job import Job
from napari_prelabel.values.vocabulary import Vocabulary

GUIDE = Path(__file__).parents[1] / "docs" / "guide.md"


def names(engine, words):
    """The class name of every pixel of the first sample scene."""
    (pixels, _, _), bundle = scene(0)[0], BUNDLES["demo"]
    job = Job(
        Vocabulary.parse(words), models="demo", method=bundle.method, base=bundle.base,
        freecp=bundle.freecp,
    )  # fmt: skip
    steps = engine.run(job, pixels)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
            break
    listed = np.array(["", *(c.name for c in found.vocabulary.classes)], object)
    return listed[found.ids]


@pytest.mark.timeout(200)
def test_without_the_word_sea_the_sea_becomes_lake():
    assert "take the line `sea` away" in GUIDE.read_text(encoding="utf-8")
    words = scene(0)[0][1]["metadata"]["prelabel_vocabulary"]
    engine = Engine("cpu")
    before = names(engine, words)
    after = names(engine, words.replace("\nsea\n", "\n"))
    changed = before != after
    assert 18_000 < changed.sum() < 23_000  # 20,569 as measured
    assert (after[before == "sea"] == "lake").mean() > 0.9  # 19,744 of 20,489
