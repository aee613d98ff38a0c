"""Every screen of the docks, at both sizes and in both themes, into a folder: to be looked at.

Run `make screens`, or `xvfb-run -s "-screen 0 1600x1000x24" python docs/screens.py FOLDER`.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import napari
import numpy as np
import psutil
import screenshots_reference
from napari import settings
from napari._qt.dialogs.preferences_dialog import PreferencesDialog
from napari._qt.qt_resources import get_stylesheet
from PIL import Image
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QApplication, QWidget
from skimage import data

from napari_prelabel.annotation import kept
from napari_prelabel.gui import DOCK, PLUGIN, REFERENCE, remember
from napari_prelabel.gui.cheat_sheet import show_keys
from napari_prelabel.gui.parts.pieces import Section
from napari_prelabel.gui.prelabel.dock import PrelabelDock
from napari_prelabel.gui.run import runner

SIZES = {"small": (1366, 768), "large": (1600, 1000)}
THEMES = ("dark", "light")
PHOTOGRAPH = data.cat


def wait(done: Callable[[], bool], seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)


def pause(seconds: float) -> None:
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end)


class Camera:
    """Takes the window, or a dialog, in every size and theme."""

    def __init__(self, viewer: napari.Viewer, folder: Path) -> None:
        self.viewer, self.folder = viewer, folder

    def shoot(self, name: str, part: Section | None = None) -> None:
        """The whole window as `name-theme-size.png`, with a part of a dock in view."""
        for theme, size in self._settings():
            if part is not None:  # a window that was resized scrolls
                part.reveal()
                pause(0.1)
            made = self.viewer.screenshot(canvas_only=False, flash=False)
            picture = Image.fromarray(made).convert("RGB")
            picture.save(self.folder / f"{name}-{theme}-{size}.png")
        print(name, flush=True)

    def shoot_widget(self, make: Callable[[], QWidget], name: str) -> None:
        """A dialog of its own, which has one size."""
        for theme in THEMES:
            self.viewer.theme = theme
            widget = make()
            pause(0.2)
            widget.grab().save(str(self.folder / f"{name}-{theme}.png"))
            widget.close()
            QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        print(name, flush=True)

    def _settings(self) -> Iterator[tuple[str, str]]:
        """Each of both, from the theme that is there: to dress a window takes long."""
        for theme in sorted(THEMES, key=lambda t: t != self.viewer.theme):
            self.viewer.theme = theme
            for size, pixels in SIZES.items():
                self.viewer.window.resize(*pixels)
                pause(0.15)
                yield theme, size


def show_only(dock: QWidget, name: str) -> None:
    """Unfold one section of a dock and bring it into view."""
    for one, section in dock.sections.items():
        section.expand() if one == name else section.collapse()
    pause(0.1)
    dock.scroll.ensureWidgetVisible(dock.sections[name])
    bar = dock.scroll.verticalScrollBar()
    bar.setValue(bar.maximum())


def label_scene(camera: Camera, dock: PrelabelDock, folder: Path) -> None:
    """From the empty dock over a run to an export."""
    viewer = camera.viewer
    camera.shoot("01-empty")
    viewer.open_sample(PLUGIN, "scene-1")
    camera.shoot("02-words")
    dock.words.edit.setPlainText("sky\nsea, lake")
    camera.shoot("03-wrong-line")
    dock.words.set_text(viewer.layers[0].metadata["prelabel_vocabulary"])
    dock.method.method.choose("base")
    run_held(camera, dock)
    camera.shoot("04-done")
    for name in dock.sections:
        show_only(dock, name)
        camera.shoot(f"05-{name}", dock.sections[name])
    show_only(dock, "result")
    dock.undo_run()
    camera.shoot("06-undone")
    dock.redo_run()
    dock.method.method.choose("nerve")
    show_only(dock, "models")
    camera.shoot("07-nerve")
    dock.method.method.choose("base")
    dock.exporter.folder.setText(str(folder / "labels"))
    dock.export()
    wait(lambda: dock.exporter.button.isEnabled())
    show_only(dock, "export")
    camera.shoot("08-exported", dock.sections["export"])
    dock.scroll.verticalScrollBar().setValue(0)
    dock.scribble_box.button.click()
    wait(lambda: not dock.scribble._asker.busy)
    camera.shoot("09-scribble")
    dock.scribble_box.button.click()


def run_held(camera: Camera, dock: PrelabelDock) -> None:
    """A run, with the worker held in its middle for a picture."""
    pool = runner.shared_pool()
    wait(lambda: pool.ready)
    worker = psutil.Process(pool.worker["pid"])
    held = dock.bar.bar.valueChanged.connect(lambda value: value > 0 and worker.suspend())
    dock.bar.run_button.click()
    wait(lambda: worker.status() == psutil.STATUS_STOPPED or not dock.session.running)
    dock.bar.bar.valueChanged.disconnect(held)
    camera.shoot("04-running")
    worker.resume()
    wait(lambda: not dock.session.running)


def others(camera: Camera, dock: PrelabelDock) -> None:
    """Labels of others, a 16-bit image, and our page of napari's Preferences."""
    viewer = camera.viewer
    viewer.layers.clear()
    dock.words.set_text("ground\nroof")
    grey = (PHOTOGRAPH().astype(np.uint16).sum(2) * 40).astype(np.uint16)
    viewer.add_image(grey, name="sixteen bits")
    camera.shoot("10-sixteen-bits")
    viewer.add_labels((grey > 12000).astype(np.uint8) + 1, name="of others")
    pause(0.5)
    camera.shoot("11-labels-of-others")
    viewer.layers.clear()

    def page() -> QWidget:
        made = PreferencesDialog(viewer.window._qt_window)
        made.setStyleSheet(get_stylesheet(viewer.theme))
        made.show()
        made._list.setCurrentRow(made._list.count() - 1)
        return made

    camera.shoot_widget(page, "12-preferences")
    camera.shoot_widget(lambda: show_keys(viewer), "13-keys")


def reference(camera: Camera) -> None:
    """Every tab of the Reference dock, empty and with a set of two corrected images."""
    viewer = camera.viewer
    _, empty = viewer.window.add_plugin_dock_widget(PLUGIN, REFERENCE)
    camera.shoot("20-reference-empty")
    viewer.window.remove_dock_widget(empty)
    with tempfile.TemporaryDirectory() as sets:
        screenshots_reference.picture(
            viewer, Path(sets), wait, lambda _, name: camera.shoot(f"21-{name}")
        )


def fail(camera: Camera, dock: PrelabelDock) -> None:
    """Complaints, a notice with buttons, suggestions, and long texts."""
    viewer = camera.viewer
    dock.words.set_text("")
    dock.bar.run_button.click()
    camera.shoot("14-failed")
    viewer.layers.clear()
    dock.words.set_text("cat\nbasket")
    viewer.add_image(PHOTOGRAPH(), name="photograph", rgb=True)
    wait(lambda: bool(dock.bar.notices.texts))
    camera.shoot("15-photograph")
    dock.unlike._choose()
    camera.shoot("16-choose-models")
    dock.models.apply("demo")
    long = "IMG_20261127_183003_panorama_of_the_northern_field_after_rain_edited_final(2)"
    viewer.layers.clear()
    viewer.add_image(np.zeros((3, 60, 80, 4), np.uint16), name=long, contrast_limits=(0, 9))
    names = [f"a very long name of a class, of forty {n}".replace(",", "") for n in range(9)]
    dock.words.set_text("\n".join(names))
    dock.table.classes.set_counts(dict.fromkeys(names, 100_000_000))
    dock.bar.say(*[("failed", f"{n}. {long}.tif could not be read; save it anew.") for n in "123"])
    camera.shoot("17-long")
    viewer.layers.clear()
    dock.bar.say()


def main(folder: Path) -> None:
    remember._path = lambda: folder / "absent" / "dock.json"
    remember.save = remember.update = lambda *_: None
    apart = tempfile.TemporaryDirectory()
    kept.folder = lambda: Path(apart.name) / "kept"
    settings._CFG_PATH = str(Path(apart.name) / "settings.yaml")
    viewer = napari.Viewer()
    camera = Camera(viewer, folder)
    wrapper, frame = viewer.window.add_plugin_dock_widget(PLUGIN, DOCK)
    dock = frame.dock
    viewer.window._qt_window.resizeDocks([wrapper], [370], Qt.Orientation.Horizontal)
    wait(lambda: frame.whole)
    label_scene(camera, dock, Path(apart.name))
    fail(camera, dock)
    others(camera, dock)
    viewer.window.remove_dock_widget(frame)
    reference(camera)
    runner.close_shared_pool()
    viewer.close()
    apart.cleanup()


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "screens")
    target.mkdir(parents=True, exist_ok=True)
    main(target)
