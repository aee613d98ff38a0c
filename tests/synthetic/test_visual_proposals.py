"""Class-agnostic segments of drawn scenes, from which the demo visual encoder learns."""

import numpy as np
import pytest

from benchmarks.synthetic.train.proposals import (
    CUTS,
    LEAST,
    SIDE,
    open_proposals,
    propose,
)

FINE, COARSE, STANDING = range(CUTS)


@pytest.fixture
def picture():
    """A red house with a blue door on a grey ground with a little noise."""
    rng = np.random.default_rng(0)
    image = np.full((256, 256, 3), 120, np.float64)
    image[60:120, 80:130] = (200, 40, 40)
    image[80:104, 96:114] = (30, 30, 220)
    return (image + rng.normal(0, 2, image.shape)).clip(0, 255).astype(np.uint8)


def test_a_door_is_a_part_and_belongs_to_its_house(picture):
    cuts = propose(picture)
    assert cuts.shape == (CUTS, SIDE, SIDE)
    assert cuts.dtype == np.uint8
    door, wall, ground = (46, 52), (34, 44), (5, 5)
    assert len({cuts[FINE][p] for p in (door, wall, ground)}) == 3
    for cut in (COARSE, STANDING):
        assert cuts[cut][door] == cuts[cut][wall] > 0
        assert cuts[cut][ground] != cuts[cut][wall]
    house = cuts[STANDING] == cuts[STANDING][wall]
    truth = np.zeros((SIDE, SIDE), bool)
    truth[30:60, 40:65] = True
    assert (house & truth).sum() > 0.7 * (house | truth).sum()  # its rim is shared
    assert cuts[STANDING][ground] == 0


def test_segments_are_numbered_by_falling_size_and_none_is_tiny():
    image = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8).repeat(16, 0)
    for cut in propose(image.repeat(16, 1)):
        sizes = np.bincount(cut.ravel())[1:]
        assert (sizes >= LEAST).all()
        assert (np.diff(sizes) <= 0).all()


def test_rows_are_the_segments_boxes_and_are_kept(tmp_path, picture, monkeypatch):
    images = np.stack([picture, picture[::-1]])
    made = open_proposals(tmp_path, images, processes=1)
    np.testing.assert_array_equal(made.labels[1], propose(picture[::-1]))
    assert len(made.rows) == sum(int(cut.max()) for scene in made.labels for cut in scene)
    for scene, cut, number, y0, x0, y1, x1 in made.rows:
        ys, xs = np.nonzero(made.labels[scene, cut] == number)
        assert (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1) == (y0, x0, y1, x1)
    monkeypatch.setattr("benchmarks.synthetic.train.proposals.propose", None)
    again = open_proposals(tmp_path, images, processes=1)  # reads, or the cut would fail
    np.testing.assert_array_equal(again.rows, made.rows)
    np.testing.assert_array_equal(again.labels, made.labels)
