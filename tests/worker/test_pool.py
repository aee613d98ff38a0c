"""The worker process: a real one, really killed."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from napari_prelabel.engine.tasks import Clean
from napari_prelabel.reference.values import Cleaning
from napari_prelabel.values.errors import (
    Cancelled,
    ImageError,
    ModelError,
    RunFailed,
    Superseded,
    WorkerDied,
    WorkerNotStarted,
)
from napari_prelabel.values.job import Job, Progress
from napari_prelabel.values.labels import LabelMap
from napari_prelabel.values.vocabulary import Vocabulary
from napari_prelabel.worker.pool import Pool

HERE = Path(__file__).parent
SCRIPTED = "scripted:Scripted"
IMAGE = np.random.default_rng(0).integers(0, 2, (30, 20, 3), np.uint8)
WAIT = 60


def job(words):
    return Job(Vocabulary.parse(words))


def family(pid=None):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def gone(processes, seconds=10):
    return not psutil.wait_procs(processes, timeout=seconds)[1]


def folder_of(pool):
    """The temporary folder of a worker and its guard, which the guard's command line names."""
    command = psutil.Process(pool.worker["pid"]).parent().cmdline()
    return Path(command[command.index("--folder") + 1])


def until(condition, seconds=WAIT):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))


@pytest.fixture(scope="module")
def pool():
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *sys.path])
    with Pool(engine=SCRIPTED, patience=0.5) as pool:
        pool.submit(job("quick"), IMAGE).result(WAIT)
        yield pool
    os.environ["PYTHONPATH"] = before


def test_round_trip_though_libraries_print_on_stdout(pool):
    steps, ends = [], []
    run = pool.submit(job("slow 10"), IMAGE, steps.append, ends.append)
    result = run.result(WAIT)
    np.testing.assert_array_equal(result.ids, IMAGE[..., 0] > 0)
    assert result.score.dtype == np.float16
    assert result.vocabulary.names == ("slow 10",)
    assert result.notices == ("scripted",)
    assert result.record["pid"] != os.getpid()
    until(lambda: ends)
    assert ends == [result]
    assert steps[0] == Progress("encode", 0, 10, 1.0)
    assert run.done()


def test_submit_and_cancel_do_not_wait(pool):
    image = np.zeros((3000, 4000, 3), np.uint8)
    start = time.perf_counter()
    run = pool.submit(job("slow 1000"), image)
    run.cancel()
    assert time.perf_counter() - start < 0.02
    with pytest.raises(Cancelled):
        run.result(WAIT)


def test_callbacks_come_from_another_thread(pool):
    threads = []
    pool.submit(
        job("quick"), IMAGE, on_done=lambda _: threads.append(threading.current_thread())
    ).result(WAIT)
    until(lambda: threads)
    assert threads[0] is not threading.main_thread()


def test_progress_is_paced(pool):
    steps = []
    start = time.monotonic()
    pool.submit(job("slow 20"), IMAGE, steps.append).result(WAIT)
    assert 2 <= len(steps) <= 2 + 10 * (time.monotonic() - start)


def test_cancel_stops_between_windows_and_keeps_the_worker(pool):
    pid = pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"]
    steps = []
    run = pool.submit(job("slow 1000"), IMAGE, steps.append)
    until(lambda: steps)
    run.cancel()
    with pytest.raises(Cancelled, match="nothing was changed"):
        run.result(1)
    assert pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"] == pid


def test_a_newer_job_ends_the_older_and_stale_replies_are_dropped(pool):
    ends = []
    old = pool.submit(job("slow 6"), IMAGE, on_done=lambda end: ends.append(("old", end)))
    between = pool.submit(job("slow 6"), IMAGE)
    new = pool.submit(job("quick"), IMAGE, on_done=lambda end: ends.append(("new", end)))
    assert old.generation < between.generation < new.generation
    assert isinstance(new.result(WAIT), LabelMap)
    for run in (old, between):
        with pytest.raises(Cancelled):
            run.result(WAIT)
    time.sleep(0.3)
    assert [name for name, _ in ends] == ["old", "new"]
    assert isinstance(ends[0][1], Superseded)
    assert "Another run was started" in str(ends[0][1])


def test_a_worker_that_does_not_listen_is_replaced(pool):
    pid = pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"]
    steps = []
    run = pool.submit(job("deaf 100000"), IMAGE, steps.append)
    until(lambda: steps)
    run.cancel()
    with pytest.raises(Cancelled):
        run.result(WAIT)
    assert pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"] != pid


def test_kill_in_mid_run_is_one_sentence_and_the_next_run_works(pool):
    pid = pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"]
    steps = []
    run = pool.submit(job("slow 100000"), IMAGE, steps.append)
    until(lambda: steps)
    psutil.Process(pid).kill()
    with pytest.raises(WorkerDied, match="press Run to try once more"):
        run.result(WAIT)
    start = time.monotonic()
    result = pool.submit(job("quick"), IMAGE).result(WAIT)
    print(f"worker back {time.monotonic() - start:.2f} s after its death was told")
    assert result.record["pid"] != pid
    assert result.record["runs"] == 1


def test_a_job_that_kills_its_worker_is_not_tried_again(pool):
    with pytest.raises(WorkerDied):
        pool.submit(job("leave"), IMAGE).result(WAIT)
    assert pool.submit(job("quick"), IMAGE).result(WAIT).record["runs"] == 1


def test_errors_of_ours_cross_as_themselves_and_others_are_told(pool):
    with pytest.raises(ModelError, match="missing") as caught:
        pool.submit(job("refused"), IMAGE).result(WAIT)
    assert caught.value.model == "demo"
    with pytest.raises(RunFailed, match=r"ValueError: a shape does not fit") as failed:
        pool.submit(job("broken"), IMAGE).result(WAIT)
    assert "scripted.py" in failed.value.details


def test_a_failing_callback_does_no_harm(pool, caplog):
    run = pool.submit(job("slow 10"), IMAGE, on_progress=lambda _: 1 / 0)
    assert isinstance(run.result(WAIT), LabelMap)
    assert "a callback of a run failed" in caplog.text


@pytest.mark.parametrize("image", [np.zeros((3, 4), np.uint8), np.zeros((3, 4, 3))])
def test_only_rgb_is_taken(pool, image):
    with pytest.raises(ImageError, match="to_rgb"):
        pool.submit(job("quick"), image)


def test_what_a_person_may_see_of_the_worker(pool):
    pool.submit(job("quick"), IMAGE).result(WAIT)
    until(lambda: pool.ready)
    assert pool.device == "cpu"
    assert pool.memory() > 1e6


def test_sockets_are_on_loopback_only(pool):
    pool.submit(job("quick"), IMAGE).result(WAIT)
    addresses = {
        c.laddr.ip
        for process in family()
        for c in process.net_connections(kind="inet")
        if c.status == psutil.CONN_LISTEN
    }
    assert addresses
    assert addresses <= {"127.0.0.1", "::1"}


def test_an_engine_that_cannot_be_made_tells_why_at_the_run():
    with Pool(engine="scripted:absent") as pool, pytest.raises(ModelError, match="missing"):
        pool.submit(job("quick"), IMAGE).result(WAIT)


def test_closing_leaves_no_process_and_no_file():
    pool = Pool(engine=SCRIPTED)
    before = set(family())
    run = pool.submit(job("quick"), IMAGE)
    run.result(WAIT)
    mine = [p for p in family() if p not in before]
    folder = folder_of(pool)
    late = pool.submit(job("slow 100000"), IMAGE)
    pool.close()
    assert len(mine) >= 2
    assert gone(mine)
    assert not folder.exists()
    with pytest.raises(Cancelled):
        late.result(1)
    with pytest.raises(WorkerNotStarted, match="closed"):
        pool.submit(job("quick"), IMAGE)
    pool.close()


def test_a_killed_guard_leaves_no_worker_and_the_next_run_works(pool):
    steps = []
    run = pool.submit(job("slow 100000"), IMAGE, steps.append)
    until(lambda: steps)
    guard = psutil.Process(pool.worker["pid"]).parent().pid
    mine = family(guard)
    psutil.Process(guard).kill()
    with pytest.raises(WorkerDied, match="guard ended"):
        run.result(WAIT)
    assert gone(mine)
    assert isinstance(pool.submit(job("quick"), IMAGE).result(WAIT), LabelMap)


def test_an_answer_that_cannot_be_read_ends_its_run_alone(pool):
    pid = pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"]
    with pytest.raises(RunFailed, match="ZeroDivisionError"):
        pool.submit(job("unreadable"), IMAGE).result(WAIT)
    assert pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"] == pid


def test_a_request_that_cannot_be_written_ends_its_run_alone(pool):
    pid = pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"]
    with pytest.raises(RunFailed, match="TypeError"):
        pool.ask(Clean(threading.Lock(), Cleaning())).result(WAIT)
    assert pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"] == pid


def test_what_comes_back_may_be_written_to_and_is_as_it_went(pool):
    labels = pool.submit(job("quick"), np.asfortranarray(IMAGE[:, ::-1])).result(WAIT)
    np.testing.assert_array_equal(labels.ids, IMAGE[:, ::-1, 0] > 0)
    for array in (labels.ids, labels.score, labels.runner_up):
        array += 1


def test_a_cleared_temporary_folder_does_no_harm(pool):
    pid = pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"]
    shutil.rmtree(folder_of(pool))
    assert pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"] == pid


@pytest.mark.parametrize("fault", ["folder", "python"])
def test_a_process_that_cannot_be_made_is_one_sentence(fault, monkeypatch, tmp_path):
    if fault == "folder":
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    else:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with Pool(engine=SCRIPTED) as pool, pytest.raises(WorkerNotStarted, match="No such file"):
        pool.submit(job("quick"), IMAGE).result(WAIT)
    assert list(tmp_path.iterdir()) == []


UNGUARDED = """
import os, sys
import numpy as np
from napari_prelabel.worker.pool import Pool
from napari_prelabel.values.job import Job
from napari_prelabel.values.vocabulary import Vocabulary
with open(sys.argv[1], "a") as file:
    file.write("a window opens\\n")
pool = Pool(engine="scripted:Scripted")
run = pool.submit(Job(Vocabulary.parse("quick" if len(sys.argv) < 3 else "slow 100000")),
                  np.zeros((4, 4, 3), np.uint8), on_progress=lambda p: print("step", flush=True))
run.result(60)
print("heavy", sorted({"torch", "napari_prelabel.engine.engine"} & set(sys.modules)))
"""


def test_an_unguarded_script_opens_one_window_and_ends_alone(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    windows = tmp_path / "windows.txt"
    out = subprocess.run(
        [sys.executable, script, windows], capture_output=True, text=True, timeout=WAIT
    )
    assert out.returncode == 0, out.stderr
    assert "heavy []" in out.stdout
    assert windows.read_text() == "a window opens\n"


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_parent_leaves_no_process(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(UNGUARDED)
    with subprocess.Popen(
        [sys.executable, script, tmp_path / "w.txt", "slow"], stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout.readline() == b"step\n"
        mine = family(parent.pid)
        assert len(mine) >= 2
        parent.kill()
        assert gone(mine)


def test_a_host_that_cannot_start_is_one_sentence(monkeypatch, tmp_path):
    (tmp_path / "distributed.py").write_text("raise ImportError('no such library here')")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with Pool(engine=SCRIPTED) as pool:
        run = pool.submit(job("quick"), IMAGE)
        with pytest.raises(WorkerNotStarted, match="no such library here"):
            run.result(WAIT)


def test_a_host_that_says_nothing_is_given_up(monkeypatch, tmp_path):
    (tmp_path / "distributed.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with Pool(engine=SCRIPTED, start_timeout=2) as pool:
        run = pool.submit(job("quick"), IMAGE)
        with pytest.raises(WorkerNotStarted, match="said nothing for 2 s"):
            run.result(WAIT)
