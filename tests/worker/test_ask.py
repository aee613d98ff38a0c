"""Tasks beside jobs in one worker: queued, cancelled, superseded by their kind alone."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_prelabel.engine.tasks import Clean, Explain
from napari_prelabel.reference.values import Cleaned
from napari_prelabel.values.errors import Cancelled, ModelError, RunFailed, Superseded, WorkerDied
from napari_prelabel.values.job import Job
from napari_prelabel.values.labels import LabelMap
from napari_prelabel.values.retrieval import Cleaning
from napari_prelabel.values.vocabulary import Vocabulary
from napari_prelabel.worker.pool import Pool

HERE = Path(__file__).parent
IMAGE = np.random.default_rng(0).integers(0, 2, (30, 20, 3), np.uint8)
WAIT = 60


@pytest.fixture(scope="module")
def pool():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))
        with Pool(engine="scripted:Scripted", patience=1.0) as pool:
            yield pool


def job(words):
    return Job(Vocabulary.parse(words))


def explain(steps, answer=3):
    return Explain(job("tree"), IMAGE, (steps, answer))


def clean(command):
    return Clean(command, Cleaning())


def test_a_task_is_answered_with_its_arrays_and_progress(pool):
    steps, done = [], []
    run = pool.ask(explain(2, 7), steps.append, done.append)
    answer = run.result(WAIT)
    assert answer.class_id == 7
    np.testing.assert_array_equal(answer.mask, IMAGE[..., 0] > 0)
    assert steps[0].stage == "retrieve"
    assert done == [answer]


def test_jobs_and_tasks_wait_for_each_other_and_all_are_answered(pool):
    task = pool.ask(clean("slow"))
    older = pool.submit(job("slow 40"), IMAGE)
    newer = pool.submit(job("quick"), IMAGE)
    last = pool.ask(clean("quick"))
    assert task.result(WAIT) == Cleaned(Cleaning(), abstract=("slow",))
    with pytest.raises(Superseded):
        older.result(WAIT)
    assert isinstance(newer.result(WAIT), LabelMap)
    assert last.result(WAIT).abstract == ("quick",)


def test_an_explanation_supersedes_the_one_before_it(pool):
    first = pool.ask(explain(200))
    second = pool.ask(explain(1, 5))
    with pytest.raises(Superseded):
        first.result(WAIT)
    assert second.result(WAIT).class_id == 5


def test_a_task_can_be_cancelled(pool):
    run = pool.ask(explain(400))
    run.cancel()
    with pytest.raises(Cancelled):
        run.result(WAIT)
    assert pool.ask(clean("quick")).result(WAIT)


@pytest.mark.parametrize(
    ("command", "error"), [("refused", ModelError), ("broken", RunFailed), ("leave", WorkerDied)]
)
def test_a_task_that_fails_ends_in_its_error_and_the_next_one_works(pool, command, error):
    with pytest.raises(error):
        pool.ask(clean(command)).result(WAIT)
    assert pool.ask(clean("quick")).result(WAIT)
