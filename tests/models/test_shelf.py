"""The shelf of loaded models: real models, real bytes, allocations that really fail."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from napari_prelabel.models.clip import load_clip
from napari_prelabel.models.encoders import load_encoder
from napari_prelabel.models.memory import bytes_of, is_out_of_memory
from napari_prelabel.models.shelf import ModelShelf
from napari_prelabel.values.encoder import Encoder
from napari_prelabel.values.errors import ModelError

CPU = torch.device("cpu")
FLOATS = 1000
TOO_MANY = 1 << 50


def numbers(count=FLOATS):
    return lambda: nn.Parameter(torch.zeros(count))


def impossible():
    return torch.empty(TOO_MANY)


def test_bytes_are_those_of_every_tensor_once():
    tied = nn.Linear(10, 10, bias=False)
    holder = {"a": tied, "b": [tied.weight, tied.weight[:3]], "c": torch.zeros(7)}
    assert bytes_of(holder) == 4 * (100 + 7)


@pytest.mark.parametrize(
    ("load", "floats"),
    [
        (lambda: load_clip("demo-clip"), 5_000_000),
        (lambda: load_encoder(Encoder("patches", "demo-visual")), 2_500_000),
    ],
)
def test_a_whole_model_is_counted(load, floats):
    assert bytes_of(load()) > 4 * floats


def test_a_model_is_loaded_once_while_there_is_room():
    shelf, loads = ModelShelf(CPU), []

    def load():
        loads.append(1)
        return numbers()()

    assert shelf.take("a", "a", load) is shelf.take("a", "a", load)
    assert len(loads) == 1
    assert shelf.bytes == 4 * FLOATS
    assert shelf.room > 1 << 28


def test_the_least_recently_used_leaves_when_there_is_no_room():
    left = []
    shelf = ModelShelf(CPU, room=8 * FLOATS, left=lambda: left.append(shelf.bytes))
    a, b = (shelf.take(name, name, numbers()) for name in "ab")
    assert shelf.take("a", "a", numbers()) is a
    shelf.take("c", "c", numbers())
    assert left == [8 * FLOATS]
    assert shelf.take("a", "a", numbers()) is a
    assert shelf.take("b", "b", numbers()) is not b


def test_a_model_larger_than_the_room_stays_alone():
    shelf = ModelShelf(CPU, room=10)
    shelf.take("a", "a", numbers())
    whole = shelf.take("b", "b", numbers(2 * FLOATS))
    assert shelf.bytes == 8 * FLOATS
    assert shelf.take("b", "b", numbers()) is whole


def test_a_model_for_which_there_is_too_little_memory_is_told_after_all_others_left():
    shelf, left = ModelShelf(CPU), []
    shelf._left = lambda: left.append(1)
    for name in "ab":
        shelf.take(name, name, numbers())
    with pytest.raises(ModelError, match="not enough memory on cpu for huge: close other") as told:
        shelf.take("huge", "huge", impossible)
    assert is_out_of_memory(told.value)
    assert (shelf.bytes, len(left)) == (0, 2)


def test_another_error_of_a_load_lets_nothing_go():
    def broken():
        raise RuntimeError("size mismatch")

    shelf = ModelShelf(CPU)
    kept = shelf.take("a", "a", numbers())
    with pytest.raises(RuntimeError, match="size mismatch"):
        shelf.take("b", "b", broken)
    assert shelf.take("a", "a", numbers()) is kept


def test_what_a_run_does_not_use_can_leave():
    shelf = ModelShelf(CPU)
    kept = [shelf.take(name, name, numbers()) for name in "ab"][1]
    shelf.begin()
    shelf.take("b", "b", numbers())
    assert shelf.let_go_unused()
    assert not shelf.let_go_unused()
    assert shelf.take("b", "b", numbers()) is kept
    assert shelf.bytes == 4 * FLOATS


ROOM = """
import resource
from pathlib import Path
import torch
from napari_prelabel.models.shelf import ModelShelf

MEGABYTES = 400
now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + (5 * MEGABYTES // 2 << 20), resource.RLIM_INFINITY))
tries, left = [], []
shelf = ModelShelf(torch.device("cpu"), left=lambda: left.append(shelf.bytes >> 20))
shelf.room = 1 << 50

def load():
    tries.append(1)
    return torch.zeros(MEGABYTES << 18)

for name in "abc":
    shelf.take(name, name, load)
print(len(tries), left, shelf.bytes >> 20, shelf.take("b", "b", load).numel() >> 18, len(tries))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on a process's memory")
def test_where_memory_runs_out_the_oldest_leaves_and_the_load_is_tried_again():
    """In a process that may have two and a half models' memory."""
    done = subprocess.run([sys.executable, "-c", ROOM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "4 [400] 800 400 4"
