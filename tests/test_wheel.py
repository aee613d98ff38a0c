"""The built wheel carries the manifest, the sample data and the demo models, no benchmarks."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CHECK = """
import warnings; warnings.simplefilter("ignore")
from npe2 import PluginManifest
import napari_prelabel
from napari_prelabel.values.samples import sample_path
manifest = PluginManifest.from_distribution("napari-prelabel")
manifest.validate_imports()
print(napari_prelabel.__file__)
print(sample_path("models", "demo-clip", "open_clip_model.safetensors"))
print(len(manifest.contributions.commands))
"""


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=240)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_manifest_and_the_sample_data_work_from_the_wheel(unpacked):
    environment = os.environ | {"PYTHONPATH": str(unpacked), "PYTHONSAFEPATH": "1"}
    out = subprocess.run(
        [sys.executable, "-c", CHECK], env=environment, capture_output=True, text=True, check=True
    )
    package, weights, commands = out.stdout.split("\n")[:3]
    assert Path(package).is_relative_to(unpacked)
    assert Path(weights).is_relative_to(unpacked)
    assert int(commands) >= 10


def test_what_only_a_checkout_needs_stays_out(unpacked):
    assert {p.name for p in unpacked.iterdir() if "dist-info" not in p.name} == {"napari_prelabel"}
    assert not {"bench", "benchmarks", "synthetic"} & {
        p.name for p in unpacked.joinpath("napari_prelabel").iterdir()
    }


def test_the_demo_runs_from_the_wheel(unpacked, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(unpacked), "PYTHONSAFEPATH": "1"}
    code = "from napari_prelabel.cli import app; app()"
    command = [sys.executable, "-c", code, "demo", "--limit", "1", "--no-window", "--device", "cpu"]
    done = subprocess.run(
        [*command, "--out", tmp_path], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "report.json").read_text())["rows"]
    assert [row["method"] for row in rows] == ["base", "freecp", "nerve", "reme"]
