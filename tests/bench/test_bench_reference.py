"""The benchmark of reference sets on folders of real images, on a folder of drawn discs."""

import json

import numpy as np
import pytest
from PIL import Image

from benchmarks import reference
from napari_prelabel.values.errors import FileFormatError, JobError
from napari_prelabel.values.retrieval import Proposals, ReME
from napari_prelabel.values.vocabulary import IGNORE


def disc(seed, value):
    """A bright disc on a dark ground, and its mask."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:40, :56]
    inside = np.hypot(y - rng.uniform(12, 28), x - rng.uniform(14, 42)) < 9
    image = np.where(inside[..., None], (190, 120, 60), (50, 60, 90)) + rng.normal(
        0, 12, (40, 56, 1)
    )
    return image.clip(0, 255).astype(np.uint8), np.where(inside, value, 0).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for seed in range(4):
        image, mask = disc(seed, 5)
        mask[:2] = 255
        Image.fromarray(image).save(tmp_path / "images" / f"disc_{seed}.jpg", quality=95)
        Image.fromarray(mask).save(tmp_path / "masks" / f"disc_{seed}.png")
    Image.fromarray(image).save(tmp_path / "images" / "unmasked.png")
    return tmp_path


def finished(steps):
    said = []
    while True:
        try:
            said.append(next(steps))
        except StopIteration as end:
            return said, end.value


def test_every_value_of_the_masks_is_a_class_but_255(folder):
    data = reference.load_folder(folder)
    assert data.vocabulary.names == ("background", "class 5")
    assert [s.name for s in data.samples] == [f"disc_{i}" for i in range(4)]
    truth = data.samples[0].truth
    assert set(np.unique(truth)) == {1, 2, IGNORE}
    assert (truth[:2] == IGNORE).all()
    assert len(reference.load_folder(folder, "*_[01]").samples) == 2


@pytest.mark.parametrize(
    ("file", "text"),
    [("classes.txt", "0 ground\n5 round thing\n"),
     ("classes.json", '{"0": "ground", "5": {"name": "round thing"}}'),
     ("classes.json", '["ground", "a", "b", "c", "d", "round thing"]')],
)  # fmt: skip
def test_names_come_from_the_file_beside(folder, file, text):
    (folder / file).write_text(text)
    assert reference.load_folder(folder).vocabulary.names == ("ground", "round thing")


def test_images_of_sixteen_bits_are_stretched(folder):
    grey = np.linspace(1000, 9000, 40 * 56).reshape(40, 56).astype(np.uint16)
    (folder / "images" / "disc_0.jpg").unlink()
    Image.fromarray(grey).save(folder / "images" / "disc_0.png")
    image = reference.load_folder(folder).samples[0].image
    assert image.shape == (40, 56, 3)
    assert image.max() - image.min() > 250


def test_folders_that_cannot_be_used_say_why(folder):
    with pytest.raises(FileFormatError, match="images/ and masks/"):
        reference.load_folder(folder / "images")
    Image.new("RGB", (56, 40)).save(folder / "masks" / "disc_1.png")
    with pytest.raises(FileFormatError, match="in colour"):
        reference.load_folder(folder)
    Image.new("L", (5, 4)).save(folder / "masks" / "disc_1.png")
    with pytest.raises(FileFormatError, match="different sizes"):
        reference.load_folder(folder)


def test_draws_differ_and_come_back(folder):
    data = reference.load_folder(folder)
    found = list(reference.drawn(data, 2, 6))
    assert found == list(reference.drawn(data, 2, 6))
    assert len(set(found)) > 1
    assert all(len(set(chosen)) == 2 for chosen in found)
    with pytest.raises(JobError, match="leave one"):
        list(reference.drawn(data, 4, 1))


def test_all_methods_are_measured_on_the_same_draws(folder, monkeypatch):
    monkeypatch.setattr(reference, "TREES", 5)
    monkeypatch.setattr(reference, "PIXELS", 300)
    data = reference.load_folder(folder)
    settings = ReME(proposals=Proposals(finest=16))
    said, draws = finished(reference.measure(data, annotated=2, draws=2, settings=settings))
    assert said == [(n, m) for n in (0, 1) for m in reference.METHODS]
    figures = reference.report(data, draws, 2)
    json.dumps(figures, allow_nan=False)
    rows = {row["method"]: row for row in figures["rows"]}
    assert tuple(rows) == ("nothing", "random_forest", "reme")
    discs = [d.matrix[2].sum() / d.matrix.sum() for d in draws[::3]]
    assert rows["nothing"]["pixels_to_fix"] == pytest.approx(100 * np.mean(discs), abs=0.01)
    for name in ("random_forest", "reme"):
        assert rows[name]["pixels_to_fix"] < 2
        assert rows[name]["miou"] > 90
        low, high = rows[name]["fix_interval"]
        assert low <= rows[name]["pixels_to_fix"] <= high
    saved = rows["random_forest"]["pixels_to_fix"] - rows["reme"]["pixels_to_fix"]
    assert rows["reme"]["saved"] == pytest.approx(saved, abs=0.02)
    assert [len(r) for r in reference.rows_of(figures)] == [len(reference.HEAD)] * 3


def test_one_draw_has_no_interval(folder):
    data = reference.load_folder(folder)
    _, draws = finished(reference.measure(data, annotated=2, draws=1, methods=("nothing",)))
    row = reference.report(data, draws, 2)["rows"][0]
    assert row["interval"] is row["fix_interval"] is None
    assert next(reference.rows_of({"rows": [row]}))[2] == ""


def test_without_a_background_nothing_is_unlabelled(folder):
    (folder / "classes.txt").write_text("0 ground\n5 disc\n")
    data = reference.load_folder(folder)
    _, draws = finished(reference.measure(data, annotated=2, draws=1, methods=("nothing",)))
    assert draws[0].matrix[:, 1:].sum() == 0
