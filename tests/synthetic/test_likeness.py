"""Telling drawn scenes from photographs."""

import numpy as np
import pytest

from benchmarks.synthetic import likeness as module
from napari_prelabel.engine.likeness import Likeness


def flat(count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        image = rng.integers(0, 256, (1, 1, 3)) + rng.integers(0, 3, (30, 40, 3))
        yield image.clip(0, 255).astype(np.uint8)


def rough(count, seed):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield rng.integers(0, 256, (30, 40, 3), np.uint8)


def test_what_was_learnt_holds_for_images_not_seen():
    found = module.fit(flat(20, 0), flat(8, 1), rough(12, 2))
    assert not any(found.strange(image) for image in flat(5, 3))
    assert all(found.strange(image) for image in rough(5, 4))


def test_crops_are_the_whole_then_parts_of_it():
    image = np.arange(50 * 60 * 3).reshape(50, 60, 3).astype(np.uint8)
    parts = list(module.crops(image, 30, np.random.default_rng(0)))
    assert parts[0] is image
    assert len(parts) == 30
    assert all(0 < p.shape[0] <= 50 and 0 < p.shape[1] <= 60 for p in parts)
    assert len({p.shape for p in parts}) > 10


@pytest.mark.parametrize("left_out", ["", "chelsea"])
def test_command(left_out, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(module, "scenes", lambda split, _: flat(10, len(split)))
    monkeypatch.setattr(module, "photographs", lambda name: rough(1, len(name)))
    monkeypatch.setattr(module, "CROPS", 4)
    path = tmp_path / "likeness.safetensors"
    options = ["--leave-out", left_out] if left_out else []
    monkeypatch.setattr("sys.argv", ["likeness", "--out", str(path), *options])
    module.main()
    out = capsys.readouterr().out
    assert "limit" in out
    assert ("chelsea left out" in out) == bool(left_out)
    assert path.exists() == (not left_out)


def test_real_sources():
    assert sum(1 for _ in module.scenes("train", 2)) == 2
    assert len(list(module.photographs("camera"))) == len(module.PHOTOGRAPHS) - 1


def test_the_shipped_file_is_a_likeness():
    assert isinstance(Likeness.beside("demo-clip"), Likeness)
