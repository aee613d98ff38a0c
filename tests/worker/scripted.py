"""An engine without models, imported by the worker process of the tests: words are commands."""

import operator
import os
import sys
import time

import numpy as np

from napari_prelabel.engine.tasks import Explain, Explanation
from napari_prelabel.reference.values import Cleaned
from napari_prelabel.values.errors import Cancelled, ModelError
from napari_prelabel.values.job import Progress
from napari_prelabel.values.labels import LabelMap

print("printed while the engine is imported")


class Scripted:
    device = "cpu"

    def __init__(self):
        print("printed by the engine")
        os.write(1, b"written past Python")
        self.runs = 0

    def run(self, job, image, cancelled):
        self.runs += 1
        word, *rest = job.vocabulary.names[0].split()
        steps = int(rest[0]) if rest else 3
        for i in range(steps):
            yield Progress("encode", i, steps, seconds_left=0.1 * (steps - i))
            getattr(self, word)(job, cancelled)
        print("printed by a run", file=sys.stdout)
        if word == "unreadable":
            return Unreadable()
        ids = (image[..., 0] > 0).astype(np.uint16)
        return LabelMap(
            ids, ids.astype(np.float16), ids, job.vocabulary,
            notices=("scripted",), record={"runs": self.runs, "pid": os.getpid()},
        )  # fmt: skip

    def do(self, task, cancelled):
        """Tasks of the tests are Explain and Clean; the point and the folder are commands."""
        if isinstance(task, Explain):
            for i in range(task.point[0]):
                yield Progress("retrieve", i, task.point[0])
                self.slow(None, cancelled)
            return Explanation(task.point[1], 1.0, task.image[..., 0] > 0, ())
        yield Progress("learn", 0, 1)
        getattr(self, task.folder)(None, cancelled)
        return Cleaned(task.cleaning, abstract=(task.folder,))

    def quick(self, *_):
        pass

    def unreadable(self, *_):
        pass

    def slow(self, _, cancelled):
        time.sleep(0.05)
        if cancelled():
            raise Cancelled

    def deaf(self, *_):
        time.sleep(0.05)

    def broken(self, *_):
        raise ValueError("a shape does not fit")

    def refused(self, *_):
        raise ModelError("demo", "The model is missing.")

    def leave(self, *_):
        os._exit(9)


class Unreadable:
    def __reduce__(self):
        return operator.truediv, (1, 0)


def absent():
    raise ModelError("demo", "The model is missing.")
