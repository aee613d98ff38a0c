"""A copy of the source with something added as docs/extend.md says, and what is seen of it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import napari_prelabel
from napari_prelabel.values.samples import sample_path

HERE = Path(napari_prelabel.__file__).parent
# What the dock and the command line offer: titles by name, and options with their help.
LOOK = """
import json, sys
from typer.testing import CliRunner
from qtpy.QtWidgets import QApplication
from napari_prelabel.cli import app
from napari_prelabel.gui.prelabel.method_box import MethodBox
qt = QApplication(sys.argv)
box = MethodBox()
def listed(combo):
    return {combo.itemData(i): combo.itemText(i) for i in range(combo.count())}
told = {
    "bases": listed(box.base), "methods": listed(box.method),
    "fields": [".".join(key) for key in box._fields],
    "run": CliRunner().invoke(app, ["run", "--help"]).output,
}
print(json.dumps(told))
"""


class Grown:
    """`files` counts the files that were touched; `run` runs Python on the copy."""

    def __init__(self, folder):
        self.root = folder / "src" / "napari_prelabel"
        shutil.copytree(HERE, self.root, ignore=shutil.ignore_patterns("__pycache__"))
        if not (self.root / "sample_data").exists():
            (folder / "sample_data").symlink_to(sample_path("models").parent)
        self.files = set()

    def add(self, name, text, before=None):
        """Write a new file, or text before a place in one that is there."""
        path = self.root / name
        if before is not None:
            old = path.read_text("utf-8")
            assert old.count(before) == 1, (name, before)
            text = old.replace(before, text + before)
        path.write_text(text, "utf-8")
        self.files.add(name)

    def run(self, *words):
        env = os.environ | {"PYTHONPATH": str(self.root.parent), "COLUMNS": "200"}
        ended = subprocess.run(
            [sys.executable, *map(str, words)], env=env, capture_output=True, text=True, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def prelabel(self, *words):
        """The command, on the copy."""
        return self.run("-c", "import sys; from napari_prelabel.cli import app; app()", *words)

    def offered(self):
        """What dock and command line offer."""
        return json.loads(self.run("-c", LOOK).splitlines()[-1])
