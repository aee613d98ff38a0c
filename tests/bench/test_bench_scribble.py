"""The scribble's benchmark: the simulated annotator, its measures, its rivals, its tables."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from benchmarks import scribble as bench
from napari_prelabel.engine.affinities import Affinities
from napari_prelabel.engine.cache import Encodings
from napari_prelabel.engine.samples import DataSet, Sample
from napari_prelabel.engine.timing import Stopwatch
from napari_prelabel.methods.scribble import DEFAULTS, propose
from napari_prelabel.models.denoising import HeadMaps
from napari_prelabel.values.labels import LabelMap
from napari_prelabel.values.vocabulary import Vocabulary

WORDS = Vocabulary.parse("sky\nroad\ncar")
SIZE = (60, 72)


def scene(seed):
    """A car on a road under a sky; colours differ, with noise."""
    truth = np.ones(SIZE, np.uint16)
    truth[30:], truth[20:42, 10 + seed : 60] = 2, 3
    colours = np.array([[0, 0, 0], [60, 60, 200], [90, 160, 60], [200, 40, 40]])
    noise = np.random.default_rng(seed).integers(0, 12, (*SIZE, 3))
    return Sample(f"s{seed}", (colours[truth] + noise).astype(np.uint8), truth)


class Painted:
    """Attends by colour and place."""

    digest = "painted"

    def attention(self, image, *, timestep=None):
        del timestep
        planes = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 40
        rows = torch.nn.functional.adaptive_avg_pool2d(planes, (10, 12))[0].flatten(1).T
        q = torch.cat([rows, torch.ones(len(rows), 1)], 1)[None] * 2
        k = torch.cat([rows, -rows.square().sum(1, keepdim=True) / 2], 1)[None] * 2
        return HeadMaps((q,), (k,), ((10, 12),), (1.0,))


class PaintedEngine:
    """Its labels lack the right half of the car."""

    device = "cpu"

    def __init__(self, device="cpu"):
        assert device in ("cpu", "auto")
        self._cache = Encodings()

    def run(self, job, image):
        assert job.method == "nerve"
        yield
        red = image[..., 0] > 180
        ids = np.where(red, 3, np.where(image[..., 2] > 150, 1, 2)).astype(np.uint16)
        ids[:, 35:][ids[:, 35:] == 3] = 2
        return LabelMap(ids, np.ones(ids.shape, np.float16), ids * 0, WORDS)

    def affinities(self, bundle, precision, watch):
        assert (bundle.diffusion, precision) == ("demo-diffusion", "float32")
        return Affinities(Painted(), self._cache, watch)


@pytest.fixture
def data():
    return DataSet("drawn", "val", WORDS, (1, 2), (3,), 0, (scene(0), scene(1)))


def case(length=(0.3, 0.7)):
    sample = scene(0)
    empty = np.zeros_like(sample.truth)
    return bench.cases(sample.image, sample.truth, empty, 3, np.random.default_rng(4), length)


def graph():
    affinities = Affinities(Painted(), Encodings(), Stopwatch(torch.device("cpu")))
    return affinities.graph(scene(0).image, "s", bench.bundle_of("demo").nerve)


def test_strokes_lie_inside_what_is_wrong_largest_first_and_repeat():
    found = case()
    assert [c.label for c in found] == [1, 2, 3]
    for c, again in zip(found, case(), strict=True):
        np.testing.assert_array_equal(c.stroke, again.stroke)
        assert c.stroke.any()
        assert not (c.stroke & ~c.region).any()
        assert c.region.sum() == (c.truth == c.label).sum()


def test_a_stroke_is_a_share_of_the_longest_way():
    part = np.zeros((40, 90), bool)
    part[18:23, 5:85] = True
    rng = np.random.default_rng(0)
    for low, high in ((0.0, 0.01), (0.3, 0.7), (1.0, 1.0)):
        y, x = np.nonzero(bench.stroke(part, rng, (low, high)))
        assert 18 <= y.min() <= y.max() <= 22
        assert low * 74 <= np.ptp(x) + 1 <= high * 80 + 3


def test_parts_that_are_right_or_specks_get_no_stroke():
    sample = scene(0)
    before = sample.truth.copy()
    before[5, 5] = 2
    assert not bench.cases(sample.image, sample.truth, before, 3, np.random.default_rng(0))
    before[22:40, 40:58] = 2
    (only,) = bench.cases(sample.image, sample.truth, before, 3, np.random.default_rng(0))
    assert only.label == 3
    assert not (only.stroke & (before == sample.truth)).any()


def test_measures_count_what_is_fixed_and_broken():
    c = case()[2]
    before = c.truth.copy()
    before[20:42, 40:60] = 2
    c = replace(c, before=before)
    wrong = (before != c.truth).sum()
    (net, of), (iou, one) = bench.judged(c, c.region)
    assert (net, of, iou, one) == (wrong, wrong, 1, 1)
    (net, _), (iou, _) = bench.judged(c, np.ones(SIZE, bool))
    assert net == wrong - (c.truth != 3).sum() < 0
    assert iou == c.region.mean()
    (net, _), (iou, _) = bench.judged(c, np.zeros(SIZE, bool))
    assert (net, iou) == (0, 0)


def test_the_scribble_is_what_the_method_takes():
    c, g = case()[2], graph()
    want = propose(
        c.stroke.astype(np.uint16), np.zeros(SIZE, np.uint16), g, radius=c.reach(), image=c.image
    )
    np.testing.assert_array_equal(bench.scribbled(c, g), want.mask)
    assert bench.fixed(c, g).sum() != want.mask.sum()
    other = bench.scribbled(c, g, settings=replace(DEFAULTS, steps=0), floor=1.0, times=0.1)
    assert other.sum() < want.mask.sum()


@pytest.mark.parametrize("way", [bench.superpixels, bench.random_walker, bench.watershed])
def test_rivals_take_a_plain_thing_and_no_more(way):
    c = case((1.0, 1.0))[2]
    taken = way(c, graph())
    assert (taken & c.region).sum() / (taken | c.region).sum() > 0.9
    assert taken[c.stroke].all()
    assert not (taken & ~c.near()).any()


def test_a_walker_that_nothing_limits_takes_all():
    c = case()[2]
    c = replace(c, stroke=np.ones(SIZE, bool))
    assert bench.random_walker(c, graph()).all()
    np.testing.assert_array_equal(bench.brush(c, graph()), c.stroke)


def test_tables_have_every_setting_once():
    assert len(bench.sweep()) == 1 + 5 * 4 + 3 * 5
    assert bench.sweep()["floor 0.3, radius x 2"].keywords == {"times": 2.0, "floor": 0.3}
    assert bench.sweep()["steps 10"].keywords["settings"] == replace(DEFAULTS, steps=10)
    assert all(next(iter(make())) == bench.OURS for make in bench.TABLES.values())


def test_rows_are_means_over_the_starts(data):
    ways = {bench.OURS: bench.scribbled, "brush": bench.brush}
    trial = bench.Trial(PaintedEngine(), data, "demo", ways)
    for seed, sample in enumerate(data.samples):
        trial.add(sample, seed)
    ours, brush = trial.rows()
    sums = np.sum(trial.found[bench.OURS], 0)
    share = 100 * sums[:, :, 0] / sums[:, :, 1]
    assert ours["net"] == pytest.approx(share[:, 0].mean(), abs=0.051)
    assert ours["iou_empty"] == pytest.approx(share[0, 1], abs=0.051)
    assert sums[1, 1, 1] == 2  # one stroke a scene on NERVE's labels: half of the car
    assert ours["net"] > brush["net"] > 0
    low, high = brush["net_gain"]
    assert low <= brush["net"] - ours["net"] + 0.11
    assert high < 0
    assert "net_gain" not in ours


def test_the_command_prints_and_writes(data, monkeypatch, tmp_path):
    monkeypatch.setattr(bench, "load_synthetic", lambda *_: data)
    monkeypatch.setattr(bench, "Engine", PaintedEngine)
    monkeypatch.setitem(bench.TABLES, "compare", lambda: {bench.OURS: partial(bench.scribbled)})
    app = bench.typer.Typer()
    app.command()(bench.main)
    file = tmp_path / "rows.json"
    found = CliRunner().invoke(app, ["compare", "--strokes", "1", "--json", str(file)])
    assert found.exit_code == 0, found.output
    assert "2 scenes, 4 strokes" in found.output
    (row,) = json.loads(file.read_text("utf-8"))["rows"]
    assert row["way"] == bench.OURS
    wrong = CliRunner().invoke(app, ["swep"])
    assert wrong.exit_code == 2
    assert "sweep, rivals, compare" in wrong.output
