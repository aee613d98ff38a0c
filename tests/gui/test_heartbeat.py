"""The window never stalls: the longest gap between two beats of a 5 ms timer during a run.

A run lasts from the click to the arrival of the result; putting it into the layer is measured
beside it. A machine that is busy with other things stalls every window, so the best of a few
runs counts, and where the machine has more to do than it has processors, what this process computed
between two beats counts in place of the clock: the GUI thread, and what it may have waited for in
our other threads. What the GUI thread itself computed in its longest gap never exceeds the limit;
the gap may, up to the longest of the same window at rest, which drawing in software makes.
"""

import gc
import os
import time

import numpy as np
from qtpy.QtCore import Qt, QTimer

from gui_steps import run, wait  # isort: skip

BEAT_MS, MOST_MS, TRIES = 5, 50, 10


def overloaded() -> bool:
    """Whether more processes than there are processors have been ready in the last minute."""
    return os.getloadavg()[0] > (os.cpu_count() or 1)


class Heart:
    """Beats in the GUI thread and remembers when, and what thread and process had computed.

    loaded : whether the process's computing counts, in place of the clock.
    """

    def __init__(self, loaded: bool) -> None:
        self.loaded = loaded
        self.beats: list[tuple[float, float, float]] = []
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self.beat)

    def beat(self) -> None:
        self.beats.append((time.perf_counter(), time.thread_time(), time.process_time()))

    def __enter__(self) -> "Heart":
        gc.collect()
        self._timer.start(BEAT_MS)
        self.beat()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.stop()

    def longest(self, end: float) -> tuple[float, float]:
        """Longest gap until `end` in ms, and the longest computation of the thread in a gap."""
        beats = np.array([b for b in self.beats if b[0] <= end])
        clock, own, process = np.diff(beats, axis=0).T * 1000
        return float((process if self.loaded else clock).max()), float(own.max())


def test_the_window_lives_during_a_run(dock, viewer, capsys):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    viewer.add_image(image, rgb=True, name="noise")
    dock.words.set_text("\n".join(f"class {i}" for i in range(12)))
    shown: list[tuple[float, float]] = []
    show = dock.session._show

    def timed(*found):
        start = time.perf_counter()
        heart.beat()
        show(*found)
        shown.append((start, (time.perf_counter() - start) * 1000))

    dock.session._show = timed
    loaded = overloaded()
    with Heart(loaded) as heart:
        end = time.perf_counter() + 1.0
        wait(lambda: time.perf_counter() > end)
    idle, _ = heart.longest(time.perf_counter())
    gaps = []
    for i in range(TRIES):
        dock.words.set_text("\n".join(f"class {i + k}" for k in range(12)))
        wait(lambda: not dock.words._quiet.isActive())
        with Heart(loaded) as heart:
            run(dock)
        gaps.append(heart.longest(shown[-1][0]))
        if i and min(gaps)[0] <= MOST_MS:
            break
    with capsys.disabled():
        wall, own = min(gaps)
        of = "process" if loaded else "window"
        print(f"\nlongest gap of the {of}: {wall:.0f} ms in a run (own work {own:.0f} ms), ")
        print(
            f"{idle:.0f} ms without one; all runs: {[round(w) for w, _ in gaps]} ms; at 512 x 512"
        )
        print(f"the first layer takes {shown[0][1]:.0f} ms, ", end="")
        print(f"later results {min(s for _, s in shown[1:]):.0f} ms")
    assert own <= MOST_MS
    assert wall <= max(MOST_MS, idle)
