"""napari's process and the worker's: what is imported, what is left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

HERE = Path(__file__).parent
IMPORTS = """
import sys, time
import napari, napari.viewer, napari.layers
start = time.perf_counter()
import napari_prelabel.gui.commands
print(time.perf_counter() - start)
import napari_prelabel.gui.prelabel.dock, napari_prelabel.gui.layers.io, napari_prelabel.gui.launch
print(time.perf_counter() - start)
print(sorted({"torch", "open_clip", "distributed", "transformers"} & set(sys.modules)))
"""
WINDOW = """
import functools, os, sys, threading, time
import napari, numpy as np, psutil
from qtpy.QtCore import QTimer
from napari_prelabel.worker.pool import Pool
from napari_prelabel.gui import remember
from napari_prelabel.gui.run import runner
from pathlib import Path

remember._path = lambda: Path(sys.argv[2]) / "dock.json"
runner.Pool = functools.partial(Pool, engine="fake_engine:FakeEngine")
viewer = napari.Viewer()
viewer.window.resize(700, 500)
from napari_prelabel.gui.prelabel.dock import PrelabelDock
dock = PrelabelDock(viewer)
viewer.window.add_dock_widget(dock)
viewer.add_image(np.zeros((40, 50)), contrast_limits=(0, 1))
dock.models.apply("vitb16-shape")
dock.words.set_text("a")
dock.run()

def tell(number, planes, step):
    print(*[p.pid for p in psutil.Process().children(recursive=True)], flush=True)
    if sys.argv[1] == "close":
        QTimer.singleShot(0, viewer.close)

dock.session.progressed.connect(tell)
napari.run()
"""


def python(code: str, *args: str) -> "subprocess.Popen[str]":
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PRELABEL_FAKE_SECONDS": "20",
        "PYTHONWARNINGS": "ignore",
    }
    return subprocess.Popen(
        [sys.executable, "-c", code, *args], env=env, stdout=subprocess.PIPE, text=True
    )


def test_the_plugin_is_imported_in_no_time_and_without_torch(capsys):
    took = []
    for _ in range(3):
        out, _ = python(IMPORTS).communicate(timeout=120)
        commands, dock, heavy = out.splitlines()
        assert heavy == "[]"
        took.append((float(commands), float(dock)))
        if took[-1][0] <= 0.3:
            break
    with capsys.disabled():
        print(
            "\nimport of the manifest's commands {:.3f} s, of the dock {:.3f} s".format(*min(took))
        )
    assert min(took)[0] <= 0.3


@pytest.mark.parametrize("how", ["close", "kill"])
def test_no_process_is_left_when_napari_ends(how, tmp_path):
    process = python(WINDOW, how, str(tmp_path))
    assert process.stdout is not None
    late = threading.Timer(90, process.kill)  # a run that never starts prints no line
    late.start()
    pids = [int(p) for p in process.stdout.readline().split()]
    late.cancel()
    assert pids, "the worker did not start"
    if how == "kill":
        process.send_signal(signal.SIGKILL)
    process.wait(30)
    process.stdout.close()
    end = time.monotonic() + 20
    while left := [p for p in pids if psutil.pid_exists(p) and _alive(p)]:
        assert time.monotonic() < end, f"still running: {left}"
        time.sleep(0.1)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
