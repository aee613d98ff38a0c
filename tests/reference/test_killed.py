"""A set that is being written survives the end of its writer, whenever that comes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="children are forked")


def broken(folder, how):
    """What set_breaker saw; fails with its traceback when a set did not open whole."""
    done = subprocess.run(
        [sys.executable, str(HERE / "set_breaker.py"), str(folder), how],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_writer_killed_before_any_of_its_file_operations(tmp_path):
    seen = broken(tmp_path / "set", "steps")
    assert seen["killed"] > 20
    assert seen["images"] == [8, 9]  # the old set or the new one


def test_writers_killed_at_fifty_random_moments(tmp_path):
    seen = broken(tmp_path / "set", "moments")
    assert seen["killed"] == 50
    assert seen["grew"]


def test_two_writers_at_once_lose_nothing(tmp_path):
    assert broken(tmp_path / "set", "together") == {"status": [0, 0], "images": 14}
