"""A pool that answers scribbles in a thread: an ink takes what has the colour under its stroke."""

import threading
import time

import numpy as np
from scipy import ndimage

from napari_prelabel.engine.tasks import ImageRead, ReadImage, Scribble, Scribbled, Unread
from napari_prelabel.images.rgb import content_hash

from fake_pool import FakeRun  # isort: skip


class ScribblePool:
    """`asked` holds every task; `fail` holds errors of the next answers, None for none.

    hold : while set, answers wait. pause : seconds an answer takes.
    """

    def __init__(self):
        self.asked, self.fail, self.images = [], [], {}
        self.hold = threading.Event()
        self.pause = 0.0
        self.under_way = self.most_under_way = 0
        self.where = self.trouble = ""

    def start(self):
        return None

    def memory(self):
        return 0

    def of(self, kind):
        return [task for task in self.asked if isinstance(task, kind)]

    def ask(self, task, on_progress=None, on_done=None):
        del on_progress
        run = FakeRun()
        self.asked.append(task)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        threading.Thread(target=self._work, args=(run, task, on_done), daemon=True).start()
        return run

    def _work(self, run, task, on_done):
        while self.hold.is_set() and not run.stop.is_set():
            time.sleep(0.002)
        time.sleep(self.pause)
        outcome = self.fail.pop(0) if self.fail else None
        if outcome is None and not run.stop.is_set():
            outcome = self._read(task) if isinstance(task, ReadImage) else self._answer(task)
        self.under_way -= 1
        on_done(outcome)

    def _read(self, task):
        name = content_hash(task.image)
        self.images[name] = task.image
        return ImageRead(name)

    def _answer(self, task: Scribble):
        if task.name not in self.images:
            return Unread(task.name)
        (y, x), (h, w) = task.corner, task.strokes.shape
        picture = self.images[task.name][y : y + h, x : x + w]
        reach = ndimage.distance_transform_edt(task.strokes == 0) <= task.radius
        ids = np.zeros((h, w), np.uint16)
        for ink in np.unique(task.strokes[task.strokes > 0]):
            for colour in np.unique(picture[task.strokes == ink], axis=0):
                ids[(picture == colour).all(2) & reach] = ink
        ids = np.where(task.strokes > 0, task.strokes, ids)
        ids[task.locked] = 0
        return Scribbled(ids, reach)
