"""Photographs and demo models: no run that cannot work, and a way out of it."""

import numpy as np
import pytest
import skimage.data
from PIL import Image
from qtpy.QtWidgets import QPushButton

from napari_prelabel.engine.likeness import Likeness
from napari_prelabel.gui.prelabel import unlike
from napari_prelabel.gui.reference.dock import ReferenceDock
from napari_prelabel.images.rgb import to_rgb
from napari_prelabel.values.samples import sample_path

from gui_steps import MODELS, run, wait  # isort: skip

PHOTOGRAPHS = ("astronaut", "coffee", "cat", "camera", "coins", "page")


@pytest.fixture
def demo(dock):
    dock.models.apply("demo")
    dock.words.set_text("sky\nroad")
    return dock


def told(dock):
    return unlike.SENTENCE in dock.bar.notices.texts


def way(dock, text):
    """The button of the notice with this text."""
    return next(b for b in dock.bar.notices.findChildren(QPushButton) if b.text() == text)


def looked(dock):
    wait(lambda: not dock.unlike._looks)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_are_foreign(name):
    assert Likeness.beside("demo-clip").foreign(to_rgb(getattr(skimage.data, name)()))


def test_scenes_and_their_cuttings_are_not():
    likeness, rng = Likeness.beside("demo-clip"), np.random.default_rng(0)
    for path in sorted(sample_path("scenes", "images").glob("*.png")):
        scene = np.asarray(Image.open(path).convert("RGB"))
        y, x = (int(rng.integers(0, n - 160)) for n in scene.shape[:2])
        assert not likeness.foreign(scene), path.name
        assert not likeness.foreign(scene[y : y + 160, x : x + 160]), path.name
        assert not likeness.foreign(scene[:64, :64]), "too small to say anything"


def test_a_photograph_is_told_before_any_run_and_run_holds_back(demo, viewer):
    viewer.add_image(skimage.data.cat(), name="cat", rgb=True)
    wait(lambda: told(demo))
    demo.bar.run_button.click()
    assert not demo.session.running
    assert len(viewer.layers) == 1
    assert told(demo)
    demo.lists.suggest.emit()
    assert demo.suggester.isHidden()
    way(demo, "Choose models").click()
    assert demo.models.models.currentData() == "vitb16"
    assert demo.sections["models"].isExpanded()
    assert not told(demo)
    demo.models.apply("demo")
    assert told(demo)
    demo.models.apply(MODELS)
    run(demo)
    assert "cat [prelabel]" in viewer.layers


def test_run_all_the_same(demo, viewer):
    viewer.add_image(skimage.data.cat(), name="cat", rgb=True)
    wait(lambda: told(demo))
    way(demo, "Run all the same").click()
    wait(lambda: not demo.session.running)
    assert "cat [prelabel]" in viewer.layers
    assert not told(demo)


def test_a_run_that_began_before_the_look_is_ended(demo, viewer, monkeypatch):
    look = demo.unlike._looked
    kept = []
    monkeypatch.setattr(demo.unlike, "_looked", lambda *found: kept.append(found))
    viewer.add_image(skimage.data.coffee(), name="cup", rgb=True)
    wait(lambda: bool(kept))
    demo.run()
    assert demo.session.running
    look(*kept[0])
    wait(lambda: not demo.session.running)
    assert told(demo)


def test_learning_opens_the_reference_dock(demo, viewer):
    viewer.add_image(skimage.data.page(), name="page")
    wait(lambda: told(demo))
    way(demo, "Learn from a few corrected images").click()
    assert any(isinstance(d, ReferenceDock) for d in viewer.window.dock_widgets.values())


def test_scenes_and_stacks_run_as_ever(demo, viewer):
    for sample in ("scene-1", "scene-stack"):
        viewer.open_sample("napari-prelabel", sample)
        looked(demo)
        assert not told(demo)
        assert not demo.unlike.holds()


def test_huge_planes_are_not_read_for_a_look(demo, viewer, monkeypatch):
    monkeypatch.setattr(unlike, "LARGEST", 1000)
    viewer.add_image(skimage.data.cat(), rgb=True)
    looked(demo)
    assert not told(demo)
