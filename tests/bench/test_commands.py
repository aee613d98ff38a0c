"""`python -m benchmarks`: the commands, without models."""

import json

import pytest
from brightness import Brightness
from typer.testing import CliRunner

from benchmarks import speed
from benchmarks.__main__ import app
from napari_prelabel import cli
from napari_prelabel.models import catalog


@pytest.fixture
def benches(monkeypatch):
    """Runs a bench without models; `.runner` keeps the jobs."""
    runner = Brightness()
    monkeypatch.setattr(cli.screen, "engine", lambda _: runner)
    monkeypatch.setattr(catalog, "installed", lambda name: name == "demo-clip")
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    call.runner = runner
    return call


@pytest.mark.parametrize("name", ["accuracy", "speed", "affinity", "reme-ablation",
                                  "reference-speed", "reference", "stalls", "worker"])  # fmt: skip
def test_every_bench_says_what_it_takes(benches, name):
    assert name in benches("--help").stdout
    result = benches(name, "--help")
    assert result.exit_code == 0
    assert "--json" in result.stdout


def test_the_command_that_went_is_unknown():
    assert CliRunner().invoke(cli.app, ["bench", "accuracy"]).exit_code == 2


def test_accuracy_keeps_its_layout(benches, tmp_path):
    file = tmp_path / "accuracy.json"
    result = benches(
        "accuracy", "--data", "synthetic", "--split", "test", "--limit", 2,
        "--methods", "base,freecp", "--bases", "sclip", "--ap", "0.8", "--logit-scale", "40",
        "--absent-classes", "mmseg", "--json", file,
    )  # fmt: skip
    assert result.exit_code == 0
    assert "sclip" in result.stdout
    assert "predicted alone counts 0 (--absent-classes mmseg)" in result.stdout
    figures = json.loads(file.read_text(encoding="utf-8"))
    assert figures["absent_classes"] == "mmseg"
    assert "predicted alone counts 0" in figures["absent_classes_rule"]
    assert [(r["method"], r["base"]) for r in figures["rows"]] == [
        ("base", "sclip"),
        ("freecp", "sclip"),
    ]
    keys = {
        "method", "base", "miou", "miou_stuff", "miou_things", "pixel_accuracy", "boundary_f",
        "pixels_to_fix", "interval",
    }  # fmt: skip
    assert all(keys <= set(row) for row in figures["rows"])
    assert {"gain", "gain_interval"} <= set(figures["rows"][1])
    assert benches.runner.jobs[-1].freecp.ap_threshold == 0.8
    assert {job.logit_scale for job in benches.runner.jobs} == {40.0}


def test_speed_keeps_all_classes_on_random_weights(benches, tmp_path, monkeypatch):
    asked = []

    def measured(engine, job, size, repeats):
        asked.append((engine, job, size, repeats))
        return {"stages": [{"name": "trunk", "seconds": 1.0, "forward": True}], "peak_mb": 1}

    monkeypatch.setattr(speed, "measure", measured)
    monkeypatch.setattr(catalog, "installed", lambda _: True)
    file = tmp_path / "speed.json"
    assert benches("speed", "--size", "64x96", "--json", file).exit_code == 0
    assert benches("speed", "--models", "demo", "--method", "base").exit_code == 0
    assert benches("speed", "--rp", "0.3").exit_code == 0
    (_, first, size, repeats), (_, demo, *_), (_, told, *_) = asked
    assert (size, repeats, len(first.vocabulary.classes)) == ((64, 96), 3, 171)
    recommended = catalog.bundle_of("demo").freecp.rp_threshold
    assert [j.freecp.rp_threshold for j in (first, demo, told)] == [0.0, recommended, 0.3]
    assert json.loads(file.read_text(encoding="utf-8"))["stages"][0]["name"] == "trunk"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["accuracy", "--data", "coco"], "data must be one of synthetic"),
        (["accuracy", "--split", "all"], "no split 'all'"),
        (["accuracy", "--methods", "magic"], "'magic' is no method"),
        (["accuracy", "--methods", ","], "at least one"),
        (["accuracy", "--bases", "magic"], "base must be one of"),
        (["accuracy", "--absent-classes", "drop"], "absent_classes must be one of skip, mmseg"),
        (["speed", "--size", "448"], "written like 448x600"),
    ],
)
def test_errors_are_one_sentence(arguments, sentence, benches):
    result = benches(*arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
