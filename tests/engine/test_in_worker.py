"""A real engine in a real worker process."""

import os
import sys
from pathlib import Path

import numpy as np
from engine_steps import finish

from napari_prelabel.values.job import Job, Windows
from napari_prelabel.values.vocabulary import Vocabulary
from napari_prelabel.worker.pool import Pool

HERE = Path(__file__).parent


def test_a_real_engine_gives_the_same_in_the_worker_as_here(make_engine, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))
    wanted = Job(
        Vocabulary.parse("tree\nboat\nsky"), models="vitb16-shape", windows=Windows(64, 48, 16)
    )
    image = np.random.default_rng(1).integers(0, 256, (70, 90, 3), np.uint8)
    here, _ = finish(make_engine().run(wanted, image))
    steps = []
    with Pool(engine="small_models:small_engine") as pool:
        there = pool.submit(wanted, image, steps.append).result(60)
    np.testing.assert_array_equal(there.ids, here.ids)
    np.testing.assert_array_equal(there.score, here.score)
    assert there.record == here.record
    assert {"models", "encode"} <= {step.stage for step in steps}
