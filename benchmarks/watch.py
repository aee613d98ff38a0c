"""What a person feels of the GUI thread: the longest time that it does not answer."""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from qtpy.QtCore import QEventLoop, Qt, QTimer

BEAT_MS, FRAME_MS = 5, 16


@dataclass(frozen=True, slots=True)
class Felt:
    """One action, in ms.

    stall : the most that the GUI thread computed between two beats of a 5 ms timer; gap : the
    longest such time on the clock, other processes and threads included; total : what the GUI
    thread computed from the action until it was quiet again.
    """

    stall: float
    gap: float
    total: float


def felt(
    steps: Sequence[Callable[[], object]],
    settle_s: float,
    until: Callable[[], bool] = lambda: True,
    patience_s: float = 60.0,
) -> Felt:
    """Do the steps of an action in the event loop, one a frame, and watch it settle.

    settle_s : how long to watch at least. until : what to wait for then, `patience_s` at most.
    """
    loop, beats = QEventLoop(), []
    timer, todo = QTimer(), list(steps)
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(lambda: beats.append((time.perf_counter(), time.thread_time())))
    raised: list[Exception] = []

    def step() -> None:
        beats.append((time.perf_counter(), time.thread_time()))
        try:
            todo.pop(0)()
        except Exception as error:  # an exception in a slot would be printed and lost
            raised.append(error)
            loop.quit()
            return
        QTimer.singleShot(FRAME_MS if todo else round(settle_s * 1000), step if todo else settle)

    def settle() -> None:
        try:
            over = until() or time.perf_counter() > end
        except Exception as error:
            raised.append(error)
            over = True
        QTimer.singleShot(round(settle_s * 1000), loop.quit if over else settle)

    end = time.perf_counter() + patience_s
    timer.start(BEAT_MS)
    QTimer.singleShot(4 * BEAT_MS, step)
    loop.exec()
    timer.stop()
    if raised:
        raise raised[0]
    pairs = list(itertools.pairwise(beats))
    clock = [(b[0] - a[0]) * 1000 for a, b in pairs]
    computed = [(b[1] - a[1]) * 1000 for a, b in pairs]
    idle = statistics.median(computed)
    return Felt(max(computed), max(clock), sum(max(c - idle, 0.0) for c in computed))


def quiet(seconds: float = 0.3) -> None:
    """Let the window live for a while."""
    loop = QEventLoop()
    QTimer.singleShot(round(seconds * 1000), loop.quit)
    loop.exec()


def summary(values: Sequence[Felt]) -> dict[str, dict[str, float]]:
    """Median and largest of each figure."""
    named = [asdict(value) for value in values]
    return {
        name: {
            "median": round(statistics.median(row[name] for row in named), 1),
            "max": round(max(row[name] for row in named), 1),
        }
        for name in named[0]
    }
