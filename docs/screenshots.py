"""Make the pictures of the dock in docs/images, from the real window and the demo models.

Run `make docs-images`, or `xvfb-run -s "-screen 0 1600x1000x24" python docs/screenshots.py`.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
import psutil
import screenshots_reference
import screenshots_scribble
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication
from skimage import data

from napari_prelabel.annotation import kept
from napari_prelabel.gui import DOCK, PLUGIN, remember
from napari_prelabel.gui.prelabel.dock import PrelabelDock
from napari_prelabel.gui.run import runner

FOLDER = Path(__file__).parent / "images"
SIZE = (1400, 880)


def wait(done: Callable[[], bool], seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not done() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)


def pause(seconds: float) -> None:
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end)


def shoot(viewer: napari.Viewer, name: str) -> None:
    pause(0.4)
    picture = Image.fromarray(viewer.screenshot(canvas_only=False, flash=False)).convert("RGB")
    path = FOLDER / f"{name}.png"
    # Full colour: a palette would change the colours of classes and photographs.
    picture.save(path, optimize=True)
    print(path.name, path.stat().st_size)


def run(dock: PrelabelDock) -> None:
    dock.bar.run_button.click()
    wait(lambda: not dock.session.running)


def photograph(viewer: napari.Viewer, dock: PrelabelDock) -> None:
    """A picture that the demo models know nothing of, and what the dock says before any run."""
    viewer.layers.clear()
    dock.words.set_text("cat\nblanket")
    viewer.add_image(data.cat(), name="cat", rgb=True)
    wait(lambda: bool(dock.bar.notices.texts))
    shoot(viewer, "dock-photograph")
    dock.words.set_text("")  # the next sample brings its own


def main(theme: str) -> None:
    remember._path = lambda: FOLDER / "absent" / "dock.json"
    remember.save = remember.update = lambda *_: None
    apart = tempfile.TemporaryDirectory()
    kept.folder = lambda: Path(apart.name) / "kept"
    viewer = napari.Viewer()
    viewer.theme = theme
    viewer.window.resize(*SIZE)
    wrapper, frame = viewer.window.add_plugin_dock_widget(PLUGIN, DOCK)
    dock = frame.dock
    viewer.window._qt_window.resizeDocks([wrapper], [370], Qt.Orientation.Horizontal)
    shoot(viewer, "dock-empty")
    viewer.open_sample(PLUGIN, "scene-1")
    run(dock)
    shoot(viewer, "dock-done")
    # Another image, so that nothing is cached; the worker is held in mid-run, which is too short.
    viewer.layers.clear()
    viewer.open_sample(PLUGIN, "scene-2")
    pool = runner.shared_pool()
    worker = psutil.Process(pool.worker["pid"])
    held = dock.bar.bar.valueChanged.connect(lambda value: value > 0 and worker.suspend())
    dock.bar.run_button.click()
    wait(lambda: worker.status() == psutil.STATUS_STOPPED or not dock.session.running)
    dock.bar.bar.valueChanged.disconnect(held)
    if not dock.session.running:
        raise SystemExit("The run was over before its picture could be taken: try again.")
    shoot(viewer, "dock-running")
    worker.kill()
    wait(lambda: not dock.session.running)
    shoot(viewer, "dock-failed")
    photograph(viewer, dock)
    screenshots_scribble.picture(viewer, FOLDER, wait, shoot)
    with tempfile.TemporaryDirectory() as sets:
        screenshots_reference.picture(viewer, Path(sets), wait, shoot)
    runner.close_shared_pool()
    viewer.close()
    apart.cleanup()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    main(sys.argv[1] if len(sys.argv) > 1 else "dark")
