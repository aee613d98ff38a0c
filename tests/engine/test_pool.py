"""The worker process: a real one, really killed."""

import contextlib
import errno
import os
import re
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
from engine_steps import finish

from napari_prelabel.engine import wire
from napari_prelabel.engine.cache import Encodings
from napari_prelabel.engine.engine import Engine
from napari_prelabel.engine.host import Host
from napari_prelabel.engine.pool import Pool
from napari_prelabel.values.errors import (
    Cancelled,
    DiskFull,
    ImageError,
    ModelError,
    RunFailed,
    Superseded,
    WorkerDied,
    WorkerNotStarted,
)
from napari_prelabel.values.job import Job, Progress, Windows
from napari_prelabel.values.labels import LabelMap
from napari_prelabel.values.vocabulary import Vocabulary

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
    with Pool(SCRIPTED, patience=0.5) as pool:
        pool.submit(job("quick"), IMAGE).result(WAIT)
        yield pool
    os.environ["PYTHONPATH"] = before


def test_round_trip_though_libraries_print_on_stdout(pool):
    steps, ends = [], []
    run = pool.submit(job("quick 4"), IMAGE, steps.append, ends.append)
    result = run.result(WAIT)
    np.testing.assert_array_equal(result.ids, IMAGE[..., 0] > 0)
    assert result.score.dtype == np.float16
    assert result.vocabulary.names == ("quick 4",)
    assert result.notices == ("scripted",)
    assert result.record["pid"] != os.getpid()
    until(lambda: ends)
    assert ends == [result]
    assert steps[0] == Progress("encode", 0, 4, 0.4)
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
    assert list(pool._host.folder.glob("*.npy")) == []


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
    run = pool.submit(job("quick"), IMAGE, on_progress=lambda _: 1 / 0)
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
    with Pool("scripted:absent") as pool, pytest.raises(ModelError, match="missing"):
        pool.submit(job("quick"), IMAGE).result(WAIT)


def test_a_real_engine_gives_the_same_in_the_worker_as_here(clip):
    wanted = Job(
        Vocabulary.parse("tree\nboat\nsky"), models="vitb16-shape", windows=Windows(64, 48, 16)
    )
    image = np.random.default_rng(1).integers(0, 256, (70, 90, 3), np.uint8)
    here, _ = finish(Engine("cpu", Encodings(), Encodings(), lambda *_: clip).run(wanted, image))
    steps = []
    with Pool("scripted:tiny") as pool:
        there = pool.submit(wanted, image, steps.append).result(WAIT)
    np.testing.assert_array_equal(there.ids, here.ids)
    np.testing.assert_array_equal(there.score, here.score)
    assert there.record == here.record
    assert {"models", "encode"} <= {step.stage for step in steps}


def test_closing_leaves_no_process_and_no_file():
    pool = Pool(SCRIPTED)
    before = set(family())
    run = pool.submit(job("quick"), IMAGE)
    run.result(WAIT)
    mine = [p for p in family() if p not in before]
    folder = pool._host.folder
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
    guard = pool._host._process.pid
    mine = family(guard)
    psutil.Process(guard).kill()
    with pytest.raises(WorkerDied, match="guard ended"):
        run.result(WAIT)
    assert gone(mine)
    assert isinstance(pool.submit(job("quick"), IMAGE).result(WAIT), LabelMap)


def test_a_message_that_cannot_be_taken_ends_its_run_alone(pool, monkeypatch):
    pid = pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"]
    with monkeypatch.context() as patch:
        patch.setattr(wire, "load_labels", lambda *_: 1 / 0)
        with pytest.raises(RunFailed, match="ZeroDivisionError") as failed:
            pool.submit(job("quick"), IMAGE).result(WAIT)
    assert "in _take" in failed.value.details
    assert pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"] == pid


def test_a_result_that_cannot_be_loaded_is_deleted(tmp_path):
    path = tmp_path / "1.labels"
    path.write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"pickle"):
        wire.load_labels(path, {})
    assert not path.exists()


def test_pixels_that_cannot_be_handed_over_end_the_run(pool, monkeypatch):
    pool.submit(job("quick"), IMAGE).result(WAIT)
    with monkeypatch.context() as patch:
        patch.setattr(wire, "save_image", lambda *_: 1 / 0)
        with pytest.raises(RunFailed, match="ZeroDivisionError"):
            pool.submit(job("quick"), IMAGE).result(WAIT)
    assert isinstance(pool.submit(job("quick"), IMAGE).result(WAIT), LabelMap)


def test_a_cleared_temporary_folder_does_no_harm(pool):
    pid = pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"]
    shutil.rmtree(pool._host.folder)
    assert pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"] == pid
    assert list(pool._host.folder.glob("*.npy")) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
def test_a_full_disk_is_one_sentence_that_names_the_folder(pool, tmp_path, monkeypatch):
    run = pool.submit(job("quick"), IMAGE)
    run.result(WAIT)
    next_number = run.generation + 1
    with monkeypatch.context() as patch:
        patch.setattr(pool._host, "folder", tmp_path / "full")
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / f"{next_number}.npy").symlink_to("/dev/full")
        with pytest.raises(DiskFull, match=re.escape(f"no space left on the disk of {tmp_path}")):
            pool.submit(job("quick"), IMAGE).result(WAIT)
    assert list((tmp_path / "full").iterdir()) == []


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), OSError("9 requested, 3 written")]
)
def test_a_map_that_does_not_fit_leaves_nothing_behind(error, monkeypatch, tmp_path):
    def full(*_args, **_options):
        raise error

    zeros = np.zeros((2, 2), np.uint16)
    monkeypatch.setattr(np, "save", full)
    with pytest.raises(DiskFull, match="free some and press Run again"):
        wire.save_labels(
            tmp_path / "1.labels",
            LabelMap(zeros, zeros.astype(np.float16), zeros, Vocabulary.parse("tree")),
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fault", ["folder", "python"])
def test_a_process_that_cannot_be_made_is_one_sentence(fault, monkeypatch, tmp_path):
    if fault == "folder":
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    else:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    with Pool(SCRIPTED) as pool, pytest.raises(WorkerNotStarted, match="No such file"):
        pool.submit(job("quick"), IMAGE).result(WAIT)
    assert list(tmp_path.iterdir()) == []


def test_a_message_that_cannot_be_read_ends_the_process_and_the_run(pool, monkeypatch):
    pool.submit(job("quick"), IMAGE).result(WAIT)
    mine = family(pool._host._process.pid)
    with monkeypatch.context() as patch:
        patch.setattr(wire, "receive", lambda *_: 1 / 0)
        with pytest.raises(WorkerDied, match="guard ended"):
            pool.submit(job("slow 100000"), IMAGE).result(WAIT)
    assert gone(mine)
    assert isinstance(pool.submit(job("quick"), IMAGE).result(WAIT), LabelMap)


def test_waiting_pixels_of_superseded_and_cancelled_jobs_are_deleted(tmp_path):
    host = Host(tmp_path, SCRIPTED, 1.0, None)
    first, second = tmp_path / "1.npy", tmp_path / "2.npy"
    for path in (first, second):
        path.touch()
    host.take(("run", 1, None, first))
    host.take(("run", 2, None, second))
    assert first.exists()
    host.take(("cancel", 1))
    assert not first.exists()
    assert second.exists()
    host.take(("cancel", 2))
    assert not second.exists()
    host.take(("cancel", 3))


UNGUARDED = """
import os, sys
import numpy as np
from napari_prelabel.engine.pool import Pool
from napari_prelabel.values.job import Job
from napari_prelabel.values.vocabulary import Vocabulary
with open(sys.argv[1], "a") as file:
    file.write("a window opens\\n")
pool = Pool("scripted:Scripted")
run = pool.submit(Job(Vocabulary.parse("quick" if len(sys.argv) < 3 else "slow 100000")),
                  np.zeros((4, 4, 3), np.uint8), on_progress=lambda p: print("step", flush=True))
run.result(60)
print("heavy", sorted({"torch", "distributed"} & set(sys.modules)))
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
    with Pool(SCRIPTED) as pool:
        run = pool.submit(job("quick"), IMAGE)
        with pytest.raises(WorkerNotStarted, match="no such library here"):
            run.result(WAIT)


def test_a_host_that_says_nothing_is_given_up(monkeypatch, tmp_path):
    (tmp_path / "distributed.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with Pool(SCRIPTED, start_timeout=2) as pool:
        run = pool.submit(job("quick"), IMAGE)
        with pytest.raises(WorkerNotStarted, match="said nothing for 2 s"):
            run.result(WAIT)
