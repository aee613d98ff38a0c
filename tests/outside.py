"""The package of docs/extend.md, taken out of the page and installed into a folder of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "extend.md"


def installed(folder):
    """Install the page's package; returns the folder to put on the path."""
    toml, module = re.findall(r"```(?:toml|python)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    source, target = folder / "source", folder / "site"
    source.mkdir()
    (source / "pyproject.toml").write_text(toml, "utf-8")
    (source / "prelabel_colours.py").write_text(module, "utf-8")
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index",
         "--no-build-isolation", "--disable-pip-version-check", "--target", target, source],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    return target


def on_path(*folders):
    """Environment variables of a process that finds packages in these folders as well."""
    before = os.environ.get("PYTHONPATH", "")
    path = os.pathsep.join(filter(None, [*map(str, folders), before]))
    return os.environ | {"PYTHONPATH": path}


def pretended(folder, name, value, code=""):
    """A package by hand: what pip would write for one entry point, and its module."""
    module = value.partition(":")[0]
    (folder / f"{module}.py").write_text(code, "utf-8")
    about = folder / f"{module}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[napari_prelabel.methods]\n{name} = {value}\n")
