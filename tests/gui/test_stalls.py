"""The bench of the window's stalls, run as a person runs it, on a small image."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FIGURES = ("stall", "gap", "total")
INSIDE = ("slider", "first dab of Scribble")


def bench(folder, *more):
    """What the bench wrote, and what it printed."""
    told = folder / "stalls.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "stalls", "--megapixels", "0.02", "--repeats", "1",
         "--settle", "0.2", "--json", told, *more],
        cwd=ROOT, env={**os.environ, "XDG_CONFIG_HOME": str(folder)}, text=True,
        capture_output=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(told.read_text()), done.stdout


@pytest.mark.parametrize("names", [INSIDE, ("first opening of the dock",)], ids=("inside", "open"))
def test_napari_own_figure_stands_beside_ours(names, tmp_path):
    figures, printed = bench(tmp_path, *(word for name in names for word in ("--only", name)))
    assert figures["megapixels"] == 0.02
    assert tuple(figures["actions"]) == names
    for name, row in figures["actions"].items():
        assert any(line.startswith(name) for line in printed.splitlines())
        assert row["napari_does"]
        for figure in FIGURES:
            own, ours = row["napari"][figure], row["ours"][figure]
            assert 0 < own["median"] <= own["max"]
            assert 0 < ours["median"] <= ours["max"]
            beyond = ours["median"] - own["median"]
            assert row["beyond"][figure] == pytest.approx(beyond, abs=0.11)
