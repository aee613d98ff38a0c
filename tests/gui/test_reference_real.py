"""Once with the real worker: correct two images, make a set, evaluate, run on a third, ask why."""

import gc

import numpy as np
import pytest

from napari_prelabel.gui.launch import _result
from napari_prelabel.gui.prelabel.dock import PrelabelDock
from napari_prelabel.gui.reference.dock import ReferenceDock
from napari_prelabel.gui.run import runner
from napari_prelabel.values.vocabulary import Vocabulary

from gui_steps import wait  # isort: skip

WORDS = Vocabulary.parse("sand\nstripes")


@pytest.fixture
def docks(viewer, monkeypatch):
    monkeypatch.setattr(runner, "_pool", None)
    pre = PrelabelDock(viewer)
    viewer.window.add_dock_widget(pre, name="Pre-label", area="right")
    reference = ReferenceDock(viewer)
    viewer.window.add_dock_widget(reference, name="Reference", area="right")
    yield pre, reference
    runner.close_shared_pool()
    gc.collect()


def scene(seed):
    """Fine noise, and in it a square of stripes, (72, 96, 3), with its labels."""
    rng = np.random.default_rng(seed)
    pixels = rng.normal((190, 170, 120), 12, (72, 96, 3))
    y, x = rng.integers(8, 28), rng.integers(8, 44)
    ids = np.ones((72, 96), np.uint16)
    ids[y : y + 36, x : x + 40] = 2
    stripes = (np.arange(96) // 3 % 2)[None, :, None] * np.array([60, 70, 190]) + 20
    pixels = np.where(ids[..., None] == 2, stripes + rng.normal(0, 5, pixels.shape), pixels)
    return pixels.clip(0, 255).astype(np.uint8), ids


@pytest.mark.timeout(280)
def test_correct_two_learn_evaluate_run_on_a_third_ask_why_switch_off(docks, viewer, tmp_path):
    pre, reference = docks
    reference.new.parent_folder.setText(str(tmp_path))
    for name, seed in (("one", 1), ("two", 2)):
        pixels, ids = scene(seed)
        result = _result(viewer.add_image(pixels, name=name, rgb=True), ids, WORDS)
        viewer.add_layer(result.layer)
        result.layer.paint((2, 2), 1)
    wait(lambda: len(reference.learn.ticked) == 2)
    reference.bar.button.click()
    wait(lambda: not reference.asker.busy, 200)
    assert reference.bar.notices.texts[0].startswith("Learned")
    wait(lambda: reference.shelf.overview is not None)
    assert {c.word for c in reference.shelf.overview.classes} == {"sand", "stripes"}

    reference.trust.button.click()
    wait(lambda: not reference.asker.busy, 200)
    figures = {r.name: r for r in reference.trust.table.rows}
    assert figures["set"].pixels_to_fix < 10 < figures["nothing"].pixels_to_fix
    assert "fewer pixels" in reference.trust.verdict.text()

    pixels, ids = scene(3)
    viewer.add_image(pixels, name="three", rgb=True)
    reference.use()
    wait(lambda: bool(pre.method.reference.digest))
    pre.bar.run_button.click()
    wait(lambda: not pre.session.running, 200)
    assert pre.bar.stage.text() == "Done.", pre.bar.notices.texts
    layer = viewer.layers["three [prelabel]"]
    assert (layer.data == ids).mean() > 0.9

    inside = np.argwhere(ids == 2).mean(0)
    reference.tool.ask_at(tuple(inside))
    wait(lambda: bool(reference.why.list.cards), 200)
    assert "“stripes”" in reference.why.answer.text()
    assert "stripes" in reference.why.list.cards[0].line.head
    stripes = reference.shelf.overview.classes
    rows = []
    reference.shelf.ask(lambda held: held.rows_of("stripes"), rows.append)
    wait(lambda: bool(rows))
    reference.shelf.switch(rows[0], False)
    wait(lambda: reference.shelf.overview.classes != stripes)
    wait(lambda: pre.method.reference.digest == reference.shelf.overview.digest)
    pre.bar.run_button.click()
    wait(lambda: not pre.session.running, 200)
    assert not (layer.data == 2).any(), pre.bar.notices.texts
