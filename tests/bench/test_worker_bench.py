"""The bench of the way to the worker and back, with a real one."""

import json

import pytest
from typer.testing import CliRunner

from benchmarks import worker
from benchmarks.__main__ import app


def test_the_way_to_the_worker_is_timed(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "")
    path = tmp_path / "worker.json"
    result = CliRunner().invoke(app, ["worker", "--repeats", "2", "--json", str(path)])
    assert result.exit_code == 0, result.output
    figures = json.loads(path.read_text())
    assert 0 < figures["round_trip_ms"] < 5000
    assert set(figures["gaps_ms_in_runs"]) == {"longest", "p99"}
    assert f"threads: {figures['threads']}" in result.stdout


def test_a_worker_that_never_answers_is_given_up():
    with pytest.raises(TimeoutError, match="did not answer"):
        worker.Heart().wait(lambda: False, 0.01)
