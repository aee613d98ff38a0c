"""One real napari window with our dock, and the actions that are done in it."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import napari
import numpy as np
import numpy.typing as npt
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest

from napari_prelabel.annotation import kept
from napari_prelabel.engine.tasks import ImageRead, ReadImage, Scribbled
from napari_prelabel.gui import remember
from napari_prelabel.gui.prelabel import dock
from napari_prelabel.gui.prelabel.dock import PrelabelDock
from napari_prelabel.gui.run.runner import Runner
from napari_prelabel.values.labels import LabelMap
from napari_prelabel.values.vocabulary import Vocabulary

from .watch import quiet

WORDS = "sky\nsea\nsand\nstone\nwood\nwater\nroad\ncar\ntree\nhouse\nfield\ncloud"
CLASSES, MODELS = len(WORDS.split()), "vitb16-shape"
Steps = list[Callable[[], object]]


class Pool:
    """Answers at once, without a worker: what the window does with an answer is measured."""

    def __init__(self) -> None:
        self.device = self.where = self.trouble = ""
        self.answers = list[LabelMap]()

    def start(self) -> None: ...

    def memory(self) -> int:
        return 0

    def submit(self, job: Any, image: Any, on_progress: Any) -> "Run":
        del job, image, on_progress
        return Run(self.answers.pop(0))

    def ask(self, task: Any, on_progress: Any = None, on_done: Any = None) -> "Run":
        del on_progress
        threading.Thread(target=lambda: on_done(_answer(task)), daemon=True).start()
        return Run(None)


class Run:
    """An answer that has come."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def result(self) -> Any:
        return self._answer

    def cancel(self) -> None: ...


def _answer(task: Any) -> Any:
    if isinstance(task, ReadImage):
        return ImageRead("image")
    shape = task.strokes.shape
    return Scribbled(task.strokes.astype(np.uint16), np.ones(shape, np.bool_))


class Room:
    """A window of 1400 x 900 with an image; `prepare` makes fresh layers for every action."""

    def __init__(self, megapixels: float, folder: Path, settle_s: float) -> None:
        # Nothing of the person's is read or written, and no models need be here.
        cast(Any, dock).check_diffusion = lambda _: None
        remember._path = lambda: folder / "dock.json"
        kept.folder = lambda: folder / "kept"
        self._settle_s = settle_s
        height = max(64, round((megapixels * 1e6 / 1.5) ** 0.5))
        self.shape = (height, round(1.5 * height))
        self.pool = Pool()
        self.viewer = napari.Viewer()
        self.viewer.window.resize(1400, 900)
        self.dock = PrelabelDock(self.viewer, Runner(lambda: cast(Any, self.pool)))
        self.viewer.window.add_dock_widget(self.dock, name="Pre-label", area="right")
        rng = np.random.default_rng(0)
        self.image = rng.integers(0, 256, (*self.shape, 3), np.uint8)
        self.answers = [blobs(rng, self.shape) for _ in range(2)]
        self.dock.models.apply(MODELS)
        self._hold: Any = None

    def close(self) -> None:
        self.viewer.close()

    def settled(self) -> bool:
        """Whether no run and no reading is under way."""
        return not self.dock.session.running and not self.dock.scribble._asker.busy

    def prepare(self, name: str, who: str) -> Steps:
        """Make layers for an action and return its steps."""
        self.dock.scribble.switch(False)
        for layer in self.viewer.layers:
            layer.mode = "pan_zoom"
        self.viewer.layers.clear()
        quiet(0.5)  # napari 0.9.2 can crash where layers come before those that left are undrawn
        self.dock.words.set_text(WORDS)
        self.dock.results.show_threshold(0.0)
        self.viewer.add_image(self.image, name="photo")
        quiet(0.5)
        make = getattr(self, "_" + name.replace(" ", "_").lower())
        steps: Steps = make(who == "ours")
        quiet(self._settle_s)
        return steps

    def check(self, name: str, who: str) -> None:
        """Raise where an action has not done what it is measured for."""
        if self._hold is None or not self._hold():
            raise RuntimeError(f"{name!r} of {who} did not happen.")

    # The actions; each returns its steps

    def _first_stroke(self, ours: bool) -> Steps:
        layer = self._ours().layer if ours else self._bare(self.answers[0].ids.astype(np.uint8))
        layer.selected_label, layer.brush_size, layer.mode = 3, 20, "paint"
        self.viewer.layers.selection.active = layer
        before = layer.data.copy()
        self._hold = lambda: (layer.data != before).any()
        return self._stroke()

    def _slider(self, ours: bool) -> Steps:
        if ours:
            layer = self._ours().layer
            self._hold = lambda: (layer.data == 0).mean() > 0.2
            return [lambda: self.dock.results.slider.setValue(50)]
        layer, other = (
            self._bare(self.answers[0].ids.astype(np.uint8)),
            self.answers[1].ids.astype(np.uint8),
        )
        return [lambda: setattr(layer, "data", other)]

    def _scribble_taken_up(self, ours: bool) -> Steps:
        tool = self.dock.scribble
        self._hold = lambda: (
            tool.on is ours and any(isinstance(x, Labels) for x in self.viewer.layers)
        )
        if ours:
            return [lambda: tool.switch(True)]
        empty = np.zeros(self.shape, np.uint8)
        return [lambda: self._bare(empty)]

    def _first_dab_of_scribble(self, ours: bool) -> Steps:
        if not ours:
            empty = np.zeros(self.shape, np.uint8)
            return [lambda: self._bare(empty)]
        result, before = self._ours(), len(self.viewer.layers)
        self.viewer.layers.selection.active = result.layer
        result.layer.selected_label = 3
        self.dock.scribble.switch(True)
        self._hold = lambda: len(self.viewer.layers) > before
        return self._stroke()

    def _a_first_result(self, ours: bool) -> Steps:
        found = self.answers[0]
        if not ours:
            ids = found.ids.astype(np.uint8)
            return [lambda: self._bare(ids)]
        self._hold = lambda: (self._shown().layer.data == found.ids).all()
        return [lambda: self._run(found)]

    def _a_next_result(self, ours: bool) -> Steps:
        found = self.answers[1]
        if ours:
            self._ours()
            self._hold = lambda: (self._shown().layer.data == found.ids).all()
            return [lambda: self._run(found)]
        layer, other = self._bare(self.answers[0].ids.astype(np.uint8)), found.ids.astype(np.uint8)
        return [lambda: setattr(layer, "data", other)]

    # What they are made of

    def _bare(self, ids: npt.NDArray[np.uint8]) -> Labels:
        """A layer of napari's own with the size, type and colours of ours."""
        colours: dict[int | None, Any] = {None: (0.5, 0.5, 0.5, 1.0), 0: (0.0, 0.0, 0.0, 0.0)}
        colours |= {c.id: (*(v / 255 for v in c.rgb), 1.0) for c in VOCABULARY.classes}
        layer = self.viewer.add_labels(
            ids, opacity=0.6, colormap=DirectLabelColormap(color_dict=colours)
        )
        self._hold = lambda: layer in self.viewer.layers
        return layer

    def _run(self, found: LabelMap) -> None:
        self.pool.answers = [found]
        self.dock.bar.run_button.click()

    def _shown(self) -> Any:
        return self.dock.session.result(self.dock.place.layer)

    def _ours(self) -> Any:
        self._run(self.answers[0])
        while self.dock.session.running:
            quiet(0.05)
        return self._shown()

    def _stroke(self) -> Steps:
        """Press, drag and let go over the middle of the canvas, with the mouse."""
        canvas = self.viewer.window._qt_viewer.canvas.native
        middle = canvas.rect().center()
        points = [middle + QPoint(8 * i, 5 * i) for i in range(10)]
        left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mouseMove(canvas, points[0])
        return [
            lambda: QTest.mousePress(canvas, left, none, points[0]),
            *(lambda p=p: _drag(canvas, p) for p in points[1:]),
            lambda: QTest.mouseRelease(canvas, left, none, points[-1]),
        ]


def _drag(canvas: Any, point: QPoint) -> None:
    """QTest's own moves hold no button."""
    from qtpy.QtCore import QEvent, QPointF
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    at, left = QPointF(point), Qt.MouseButton.LeftButton
    where = QPointF(canvas.mapToGlobal(point))
    none = Qt.KeyboardModifier.NoModifier
    event = QMouseEvent(QEvent.Type.MouseMove, at, where, left, left, none)
    QApplication.sendEvent(canvas, event)


VOCABULARY = Vocabulary.parse(WORDS)


def blobs(rng: np.random.Generator, shape: Sequence[int]) -> LabelMap:
    """Labels in squares of 64 pixels, with a score that rises from left to right."""
    squares = rng.integers(1, CLASSES + 1, [-(-n // 64) for n in shape], dtype=np.uint16)
    ids = squares.repeat(64, 0).repeat(64, 1)[: shape[0], : shape[1]]
    score = np.broadcast_to(np.linspace(0, 1, shape[1], dtype=np.float16), tuple(shape))
    return LabelMap(np.ascontiguousarray(ids), score.copy(), np.roll(ids, 64, 0), VOCABULARY)
