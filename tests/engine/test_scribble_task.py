"""Scribbles through the engine and a real worker: pixels travel once, previews by name."""

import contextlib
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from engine_steps import finish
from painted_engine import Painted, PaintedEngine

from napari_prelabel.engine import scribble
from napari_prelabel.engine.engine import Engine
from napari_prelabel.engine.tasks import (
    ImageRead,
    ReadImage,
    Scribble,
    Scribbled,
    Unread,
    reach_of,
)
from napari_prelabel.engine.timing import Stopwatch
from napari_prelabel.images.rgb import content_hash
from napari_prelabel.models.catalog import bundle_of
from napari_prelabel.values.errors import Cancelled, ImageError, JobError, ModelError, WorkerDied
from napari_prelabel.values.job import Nerve
from napari_prelabel.worker.pool import Pool

HERE = Path(__file__).parent
SIZE = (96, 128)
OBJECT = np.zeros(SIZE, bool)
OBJECT[24:72, 32:88] = True
IMAGE = np.where(OBJECT[..., None], [200, 40, 40], [40, 60, 200]).astype(np.uint8)
NAME = content_hash(IMAGE)
WAIT = 200


def preview(corner=(20, 24), size=(56, 72), name=NAME, radius=60.0, **changes):
    """A stroke of ink 2 along the middle of the object, in a box around it."""
    strokes = np.zeros(SIZE, np.uint16)
    strokes[47:50, 50:70] = 2
    box = tuple(slice(c, c + n) for c, n in zip(corner, size, strict=True))
    given = {"strokes": strokes[box], "locked": np.zeros(size, bool)} | changes
    return Scribble(name, corner, radius=radius, **given)


def whole(**changes):
    return preview((0, 0), SIZE, **changes)


@pytest.fixture
def engine(monkeypatch):
    made = PaintedEngine()
    made.seen = []
    plain = Painted.attention

    def counted(self, image, **how):
        made.seen.append(image)
        return plain(self, image, **how)

    monkeypatch.setattr(Painted, "attention", counted)
    return made


def do(engine, task):
    return finish(engine.do(task))[0]


def test_a_stroke_takes_its_object_and_the_image_is_read_once(engine):
    read, seen = finish(engine.do(ReadImage(IMAGE)))
    assert read == ImageRead(NAME)
    assert [s.stage for s in seen] == ["models", "diffusion"]
    found = do(engine, whole())
    assert isinstance(found, Scribbled)
    taken = found.ids == 2
    assert (taken & OBJECT).sum() / (taken | OBJECT).sum() > 0.9
    assert set(np.unique(found.ids)) == {0, 2}
    do(engine, whole(radius=10.0))
    assert do(engine, ReadImage(IMAGE)) == read
    assert len(engine.seen) == 1


def test_a_run_of_nerve_before_leaves_its_graph_to_the_scribble(engine):
    engine.affinities(bundle_of("demo"), "float32", Stopwatch(torch.device("cpu"))).graph(
        IMAGE, NAME, Nerve(alpha=0.3, steps=4)
    )
    do(engine, ReadImage(IMAGE, nerve=Nerve()))
    assert len(engine.seen) == 1
    do(engine, ReadImage(IMAGE, nerve=Nerve(radius=2)))
    assert len(engine.seen) == 1  # another graph of the same attention
    do(engine, ReadImage(IMAGE, nerve=Nerve(timestep=7)))
    assert len(engine.seen) == 2


def test_the_box_that_matters_gives_what_the_whole_image_gives(engine):
    do(engine, ReadImage(IMAGE))
    corner, size = (17, 20), (62, 80)
    part = do(engine, preview(corner, size, radius=30.0))
    every = do(engine, whole(radius=30.0))
    box = tuple(slice(c, c + n) for c, n in zip(corner, size, strict=True))
    np.testing.assert_array_equal(part.ids, every.ids[box])
    np.testing.assert_array_equal(part.reach, every.reach[box])
    assert not every.reach[~_near(30.0)].any()
    assert every.reach[_near(30.0)].all()


def _near(radius):
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    away = np.hypot(
        np.maximum(0, np.maximum(47 - y, y - 49)), np.maximum(0, np.maximum(50 - x, x - 69))
    )
    return away <= radius


def test_locked_pixels_and_what_lies_outside_the_box_stay(engine):
    do(engine, ReadImage(IMAGE))
    locked = np.zeros(SIZE, bool)
    locked[:, 60:] = True
    found = do(engine, whole(locked=locked))
    assert not found.ids[locked].any()
    assert found.ids[~locked].any()


def test_an_image_that_is_not_here_is_said_to_be_unread(engine):
    assert do(engine, preview()) == Unread(NAME)
    do(engine, ReadImage(IMAGE))
    assert do(engine, preview(name="another")) == Unread("another")


def test_pixels_survive_the_loss_of_the_graph(engine):
    do(engine, ReadImage(IMAGE))
    for key in list(engine._cache._entries):
        if "image" not in engine._cache._entries[key]:
            engine._cache._forget(key)
    assert isinstance(do(engine, preview()), Scribbled)
    assert len(engine.seen) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"corner": (60, 24)},
        {"corner": (-1, 24)},
        {"corner": (20, 80)},
        {"locked": np.zeros((4, 4), bool)},
    ],
)
def test_strokes_beside_the_image_are_refused(engine, wrong):
    do(engine, ReadImage(IMAGE))
    with pytest.raises(ImageError, match="do not lie in the image"):
        do(engine, replace(preview(), **wrong))


def test_the_suggested_radius_follows_the_stroke_between_bounds():
    assert reach_of(40.0, (300, 200)) == 60
    assert reach_of(1.0, (300, 200)) == 10
    assert reach_of(1000.0, (300, 200)) == 200
    assert reach_of(0.0, (1, 5000)) == 1


def test_two_windows_do_not_end_each_others_previews():
    assert not ReadImage.replaces
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))
        with Pool(engine="painted_engine:PaintedEngine") as pool:
            pool.ask(ReadImage(IMAGE)).result(WAIT)
            runs = [pool.ask(whole(radius=float(r))) for r in (5, 10, 20, 40)]
            counts = [(run.result(WAIT).ids > 0).sum() for run in runs]
            assert counts == sorted(counts)


def test_nothing_drawn_gives_nothing(engine):
    do(engine, ReadImage(IMAGE))
    found = do(engine, preview(strokes=np.zeros((56, 72), np.uint16)))
    assert not found.ids.any()
    assert not found.reach.any()


@pytest.mark.parametrize("task", [ReadImage(IMAGE), preview()])
def test_a_cancelled_task_stops(engine, task):
    with pytest.raises(Cancelled):
        finish(engine.do(task, lambda: True))
    assert not engine.seen


def test_models_without_diffusion_are_refused_with_the_cure(monkeypatch):
    bare = replace(bundle_of("demo"), diffusion="")
    monkeypatch.setattr(scribble, "bundle_of", lambda _: bare)
    with pytest.raises(JobError, match="has no diffusion model: choose"):
        do(Engine("cpu"), ReadImage(IMAGE))


def test_a_model_that_is_not_installed_is_named_with_the_cure(monkeypatch, tmp_path):
    monkeypatch.setenv("PRELABEL_MODELS", str(tmp_path))
    with pytest.raises(ModelError, match="fetch"):
        do(Engine("cpu"), ReadImage(IMAGE, "vitb16"))


def test_a_worker_that_was_started_anew_says_so():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))
        with Pool(engine="painted_engine:PaintedEngine") as pool:
            assert pool.ask(ReadImage(IMAGE)).result(WAIT) == ImageRead(NAME)
            first = pool.ask(whole()).result(WAIT)
            assert (first.ids == 2).sum() > 2000
            psutil.Process(pool.worker["pid"]).kill()
            with contextlib.suppress(WorkerDied):  # it may be noticed by this task only
                pool.ask(preview()).result(WAIT)
            assert pool.ask(preview()).result(WAIT) == Unread(NAME)
            pool.ask(ReadImage(IMAGE)).result(WAIT)
            np.testing.assert_array_equal(pool.ask(whole()).result(WAIT).ids, first.ids)
