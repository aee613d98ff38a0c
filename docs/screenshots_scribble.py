"""NERVE and the scribble tool, pictured on a sample scene: a run beside those of other methods,
and one stroke before, while it spreads, and once it is taken.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import napari
import numpy as np
from PIL import Image
from qtpy.QtCore import Qt

from napari_prelabel.gui import DOCK, PLUGIN
from napari_prelabel.gui.prelabel.dock import PrelabelDock
from napari_prelabel.gui.scribble.strokes import NOT_THIS, Ink
from napari_prelabel.gui.scribble.tool import ScribbleTool
from napari_prelabel.report import overlay

SCENE, NAME = "scene-1", "scene-18"
BESIDE = ("base", "freecp", "nerve")
WORD = "boat"
# Over both sails and the hull, then over the water below: (y, x) in pixels.
STROKE = ((46.0, 84.0), (66.0, 96.0), (88.0, 100.0), (90.0, 62.0), (66.0, 68.0), (46.0, 72.0))
OUTSIDE = ((104.0, 62.0), (108.0, 84.0), (104.0, 108.0))
CENTRE, ZOOM = (75.0, 85.0), 5.4
GAP = 8
Wait = Callable[[Callable[[], bool]], None]
Shoot = Callable[[napari.Viewer, str], None]


def picture(viewer: napari.Viewer, folder: Path, wait: Wait, shoot: Shoot) -> None:
    """Write nerve-*.png and scribble-*.png."""
    viewer.layers.clear()
    wrapper, frame = viewer.window.add_plugin_dock_widget(PLUGIN, DOCK)
    dock = frame.dock
    viewer.window._qt_window.resizeDocks([wrapper], [370], Qt.Orientation.Horizontal)
    viewer.open_sample(PLUGIN, SCENE)
    panels = [viewer.layers[NAME].data]
    for method in BESIDE:
        dock.method.method.choose(method)
        dock.bar.run_button.click()
        wait(lambda: not dock.session.running)
        labels = viewer.layers[f"{NAME} [prelabel]"].data
        panels.append(overlay(panels[0], labels, dock.words.vocabulary))
    shoot(viewer, "nerve-run")
    _beside(panels).save(folder / "nerve-beside.png", optimize=True)
    _scribble(viewer, dock, wait, shoot)
    dock.method.method.choose("freecp")


def _beside(panels: list[Any]) -> Image.Image:
    white = np.full((panels[0].shape[0], GAP, 3), 255, np.uint8)
    row = [part for panel in panels for part in (white, panel)][1:]
    return Image.fromarray(np.concatenate(row, 1))


def _scribble(viewer: napari.Viewer, dock: PrelabelDock, wait: Wait, shoot: Shoot) -> None:
    layer = viewer.layers[f"{NAME} [prelabel]"]
    dock.scribble_box.button.click()
    tool = dock.scribble
    wait(lambda: not tool._asker.busy)
    layer.selected_label = dock.words.vocabulary.names.index(WORD) + 1
    viewer.scene.camera.center, viewer.scene.camera.zoom = CENTRE, ZOOM
    shoot(viewer, "scribble-before")
    _draw(tool, STROKE)
    _draw(tool, OUTSIDE, NOT_THIS)
    wait(lambda: tool._answer is not None and tool._answer[0].version == tool._version)
    shoot(viewer, "scribble-preview")
    tool.accept()
    shoot(viewer, "scribble-after")
    tool.leave()


def _draw(
    tool: ScribbleTool, points: tuple[tuple[float, float], ...], ink: Ink | None = None
) -> None:
    tool.begin((), points[0], ink)
    for point in points[1:]:
        tool.go_on(point)
