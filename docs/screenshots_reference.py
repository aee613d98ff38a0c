"""The whole loop of learning from corrections, pictured: correct two images, make a set, look at
it, evaluate it, run ReME on a third image, ask which references caused a label.

The images are three parts of scikit-image's photograph of coins; no model knows them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from qtpy.QtCore import Qt
from scipy import ndimage
from skimage import data, filters, morphology

from napari_prelabel.gui import DOCK, PLUGIN, REFERENCE
from napari_prelabel.gui.layers.result import ResultLayer
from napari_prelabel.gui.prelabel.dock import PrelabelDock
from napari_prelabel.gui.reference.dock import ReferenceDock
from napari_prelabel.gui.tabs import front

WORDS = "table\ncoin"
PARTS = {
    "coins left": slice(0, 128),
    "coins middle": slice(128, 256),
    "coins right": slice(256, 384),
}
CORRECTED, THIRD = ("coins left", "coins middle"), "coins right"
Wait = Callable[[Callable[[], bool]], None]
Shoot = Callable[[napari.Viewer, str], None]


def open_part(viewer: napari.Viewer, name: str) -> None:
    for layer in viewer.layers:
        layer.visible = False
    grey = data.coins()[:, PARTS[name]]
    viewer.add_image(np.dstack([grey] * 3), name=name, rgb=True)
    viewer.reset_view()


def truth(name: str) -> Any:
    """1 table, 2 coin: brighter than what surrounds it, without holes and specks."""
    grey = ndimage.gaussian_filter(data.coins().astype(float), 1)
    coins = grey > filters.threshold_local(grey, 101, offset=-8)
    coins = ndimage.binary_fill_holes(morphology.closing(coins, morphology.disk(3)))
    coins = morphology.opening(coins, morphology.disk(6))
    return coins[:, PARTS[name]].astype(np.uint8) + 1


def correct(viewer: napari.Viewer, dock: PrelabelDock, name: str, wait: Wait) -> None:
    """Run on a part and put every wrong pixel right, as a person does with the brush."""
    open_part(viewer, name)
    dock.bar.run_button.click()
    wait(lambda: not dock.session.running)
    layer = viewer.layers[f"{name} [prelabel]"]
    wrong = layer.data != truth(name)
    layer.data_setitem(np.nonzero(wrong), truth(name)[wrong])


def look(dock: ReferenceDock, section: str) -> None:
    """Open one section and fold the others."""
    for name, one in dock.sections.items():
        one.expand() if name == section else one.collapse()


def picture(viewer: napari.Viewer, sets: Path, wait: Wait, shoot: Shoot) -> None:
    """Write docs/images/reference-*.png."""
    viewer.layers.clear()
    wrapper, frame = viewer.window.add_plugin_dock_widget(PLUGIN, DOCK)
    dock = frame.dock
    dock.words.set_text(WORDS)
    dock.method.method.choose("base")
    for name in CORRECTED:
        correct(viewer, dock, name, wait)
    _, reference = viewer.window.add_plugin_dock_widget(PLUGIN, REFERENCE)
    viewer.window._qt_window.resizeDocks([wrapper], [400], Qt.Orientation.Horizontal)
    reference.new.parent_folder.setText("~/reference sets")
    reference.new.name.setText("coins")
    reference.new.author.setText("Ann")
    reference.new.licence.setText("CC0-1.0")
    reference.bar.say()
    wait(lambda: len(reference.learn.ticked) == len(CORRECTED))
    viewer.reset_view()
    shoot(viewer, "reference-learn")
    reference.new.parent_folder.setText(str(sets))
    reference.bar.button.click()
    wait(lambda: not reference.asker.busy)
    wait(lambda: reference.shelf.overview is not None)
    _look_at_it(viewer, reference, wait, shoot)
    _run_on_a_third(viewer, dock, reference, wait, shoot)


def _look_at_it(viewer: napari.Viewer, dock: ReferenceDock, wait: Wait, shoot: Shoot) -> None:
    look(dock, "content")
    gallery = dock.content.gallery
    words = [c.word for c in dock.content.table.rows]
    dock.content.table.choose(words.index("coin"))
    wait(lambda: gallery.pictures.rowCount() > 0)
    first = gallery.pictures.index(0)
    wait(lambda: gallery.pictures.data(first, Qt.ItemDataRole.DecorationRole) is not None)
    gallery.setCurrentIndex(first)
    wait(lambda: not dock.content.detail.isHidden())
    shoot(viewer, "reference-content")
    look(dock, "trust")
    dock.trust.button.click()
    wait(lambda: not dock.asker.busy)
    shoot(viewer, "reference-trust")


def _run_on_a_third(
    viewer: napari.Viewer, dock: PrelabelDock, reference: ReferenceDock, wait: Wait, shoot: Shoot
) -> None:
    open_part(viewer, THIRD)
    reference.use()
    wait(lambda: bool(dock.method.reference.digest))
    dock.bar.run_button.click()
    wait(lambda: not dock.session.running)
    shoot(viewer, "reference-run")
    front(reference)
    look(reference, "why")
    reference.why.button.click()
    result = ResultLayer.of(viewer.layers[f"{THIRD} [prelabel]"])
    assert result is not None
    reference.tool.ask_at(tuple(result.layer.data_to_world((44, 80))))
    wait(lambda: bool(reference.why.list.cards) or bool(reference.bar.notices.texts))
    shoot(viewer, "reference-why")
