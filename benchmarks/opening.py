"""The first opening of the dock, each in a process of its own, so that imports count."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import Any, NoReturn

from .watch import Felt, felt, quiet


def once(who: str, settle_s: float) -> Felt:
    """Open a napari, then a dock: an empty widget, or ours."""
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.opening", who, str(settle_s)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    if told.returncode:
        raise RuntimeError(f"The window of {who} ended: {told.stderr}")
    return Felt(**json.loads(told.stdout.splitlines()[-1]))


def child(who: str, settle_s: float) -> NoReturn:
    """What the process of `once` does; nothing of ours was imported but this package."""
    import napari
    from qtpy.QtWidgets import QWidget

    viewer = napari.Viewer()
    viewer.window.resize(1400, 900)
    # A window in use has shown an image and looked for its plugins.
    napari.plugins._npe2.widget_iterator()
    quiet(1.0)

    def ours() -> None:
        viewer.window.add_plugin_dock_widget("napari-prelabel", "Pre-label")

    def empty() -> None:
        viewer.window.add_dock_widget(QWidget(), name="empty", area="right")

    value = (
        felt([ours], settle_s, lambda: is_whole(viewer))
        if who == "ours"
        else felt([empty], settle_s)
    )
    if who == "ours" and not is_whole(viewer):
        raise SystemExit("The dock did not come.")
    print(json.dumps(asdict(value)), flush=True)
    # Neither a worker that has just been started nor the window is waited for.
    from napari_prelabel.gui.run.runner import close_shared_pool

    close_shared_pool()
    os._exit(0)


def is_whole(viewer: Any) -> bool:
    """Whether all of the dock is there to be used."""
    # The module may be in the middle of its import.
    kind = getattr(sys.modules.get("napari_prelabel.gui.prelabel.dock"), "PrelabelDock", None)
    if kind is None:
        return False
    found = viewer.window._qt_window.findChildren(kind)
    return bool(found) and found[0].isVisible()


if __name__ == "__main__":
    child(sys.argv[1], float(sys.argv[2]))
