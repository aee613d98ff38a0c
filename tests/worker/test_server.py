"""A worker at an address: real servers on loopback, with and without their certificate."""

import asyncio
import contextlib
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from napari_prelabel.engine.tasks import Explain
from napari_prelabel.values.errors import (
    Cancelled,
    ConnectionLost,
    FileFormatError,
    NotConnected,
    Superseded,
    WorkerDied,
    WorkerNotStarted,
)
from napari_prelabel.values.job import Job, Progress
from napari_prelabel.values.steps import Followed
from napari_prelabel.values.vocabulary import Vocabulary
from napari_prelabel.worker import connection, versions
from napari_prelabel.worker import serve as module
from napari_prelabel.worker.away import Away
from napari_prelabel.worker.credentials import Credentials, of_folder
from napari_prelabel.worker.pool import Pool
from napari_prelabel.worker.serve import serve

HERE = Path(__file__).parent
IMAGE = np.random.default_rng(0).integers(0, 2, (30, 20, 3), np.uint8)
WAIT = 60


def job(words):
    return Job(Vocabulary.parse(words))


def until(condition, seconds=WAIT):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


class Server:
    """A process of served.py; `address` is where it listens."""

    def __init__(self, tls, port=0, version="", workers=1):
        paths = os.pathsep.join([str(HERE), *filter(None, sys.path)])
        command = [sys.executable, HERE / "served.py", str(port), tls, version]
        self.process = subprocess.Popen(
            [*command, "scripted:Scripted", str(workers)], stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONPATH": paths},
        )  # fmt: skip
        self.address = self.process.stdout.readline().strip()
        self.port = int(self.address.rpartition(":")[2])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)
        self.process.stdout.close()
        assert not psutil.wait_procs(children, timeout=10)[1]


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return tmp_path_factory.mktemp("server") / "certificates"


@pytest.fixture(scope="module")
def server(tls):
    with Server(tls) as server:
        yield server


@pytest.fixture(scope="module")
def pool(server, tls):
    with Pool(server.address, tls, patience=0.5) as pool:
        pool.start()
        yield pool


def test_a_job_and_a_task_run_there_with_progress(pool, server):
    steps = []
    result = pool.submit(job("slow 10"), IMAGE, steps.append).result(WAIT)
    np.testing.assert_array_equal(result.ids, IMAGE[..., 0] > 0)
    assert steps[0] == Progress("encode", 0, 10, 1.0)
    there = psutil.Process(result.record["pid"]).parents()
    assert server.process.pid in [p.pid for p in there]
    answer = pool.ask(Explain(job("tree"), IMAGE, (2, 7))).result(WAIT)
    assert answer.class_id == 7
    np.testing.assert_array_equal(answer.mask, IMAGE[..., 0] > 0)
    assert pool.where == f"cpu at {server.address}"
    assert (pool.address, pool.trouble, pool.memory()) == (server.address, "", 0)


def test_runs_are_cancelled_and_superseded_there(pool):
    pid = pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"]
    steps = []
    run = pool.submit(job("slow 1000"), IMAGE, steps.append)
    until(lambda: steps)
    newer = pool.submit(job("slow 1000"), IMAGE)
    with pytest.raises(Superseded):
        run.result(WAIT)
    newer.cancel()
    with pytest.raises(Cancelled):
        newer.result(WAIT)
    assert pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"] == pid


def test_a_worker_that_is_killed_in_mid_run_is_one_sentence_and_the_next_run_works(pool):
    pid = pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"]
    steps = []
    run = pool.submit(job("slow 100000"), IMAGE, steps.append)
    until(lambda: steps)
    psutil.Process(pid).kill()
    with pytest.raises(WorkerDied, match=r"worker process stopped.*press Run to try once more"):
        run.result(WAIT)
    assert pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"] != pid


def test_a_worker_that_does_not_listen_is_replaced(pool):
    steps = []
    run = pool.submit(job("deaf 100000"), IMAGE, steps.append)
    until(lambda: steps)
    pid = pool.worker["pid"]
    run.cancel()
    assert pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"] != pid


def test_what_a_client_asked_for_ends_with_the_client(pool, server, tls):
    steps = []
    with Pool(server.address, tls) as other:
        run = other.submit(job("slow 100000"), IMAGE, steps.append)
        until(lambda: steps)
        waiting = pool.submit(job("quick"), IMAGE)
    with pytest.raises(Cancelled):
        run.result(WAIT)
    waiting.result(WAIT)


def test_a_run_that_waits_for_another_client_is_cancelled_without_harm(pool, server, tls):
    steps = []
    with Pool(server.address, tls) as other:
        theirs = other.submit(job("slow 30"), IMAGE, steps.append)
        until(lambda: steps)
        mine = pool.submit(job("quick"), IMAGE)
        mine.cancel()
        assert theirs.result(WAIT).ids.any()
    with pytest.raises(Cancelled):
        mine.result(WAIT)


def test_commands_drive_it_like_an_engine_here(server, tls):
    with Pool(server.address, tls) as pool:
        away = Away(pool)
        steps = away.run(job("slow 4"), IMAGE)
        assert next(steps).stage == "encode"
        rest = Followed(steps)
        assert {step.stage for step in rest} <= {"encode"}
        assert rest.result.ids.any()
        left = away.run(job("slow 100000"), IMAGE)
        next(left)
        left.close()
        assert list(away.do(Explain(job("tree"), IMAGE, (1, 3))))
        assert away.device == f"cpu at {server.address}"
        with pytest.raises(WorkerDied):
            list(away.run(job("leave"), IMAGE))


def sockets(pid):
    """(address, port) of every listening socket of a process and its children."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return {
        c.laddr[:2]
        for process in processes
        for c in process.net_connections(kind="inet")
        if c.status == psutil.CONN_LISTEN
    }


def handshake(address, certificate=None):
    """What a listener says to a TLS client after the handshake; raises OSError where it refuses."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate)
    with (
        socket.create_connection(address, 10) as plain,
        context.wrap_socket(plain) as wrapped,
    ):
        return wrapped.recv(1)


def raw(address):
    """What a listener says to somebody who asks for a page in the clear."""
    with socket.create_connection(address, 10) as plain:
        plain.sendall(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            return plain.recv(100)
    return b""


@pytest.fixture(params=["server", "local"])
def listening(request, pool, server):
    """Listening sockets of a server and of a worker beside napari's process."""
    if request.param == "server":
        pool.submit(job("quick"), IMAGE).result(WAIT)
        yield sockets(server.process.pid)
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))
        with Pool(engine="scripted:Scripted") as local:
            local.submit(job("quick"), IMAGE).result(WAIT)
            yield sockets(psutil.Process(local.worker["pid"]).parent().pid)


def test_listeners_are_on_loopback_and_answer_nobody_without_the_certificate(listening, tmp_path):
    other = Credentials.new()
    strangers = tmp_path / "other.pem"
    strangers.write_text(other.certificate + other.key)
    assert len(listening) == 3  # scheduler, nanny, worker: no HTTP
    for address in listening:
        assert address[0] in ("127.0.0.1", "::1")
        assert b"HTTP" not in raw(address)
        for certificate in (None, strangers):
            with pytest.raises(OSError, match=r"CERTIFICATE|UNKNOWN_CA|unknown ca|reset|EOF"):
                assert not handshake(address, certificate)


@pytest.mark.parametrize("certificate", ["other", "none", "empty"])
def test_a_client_without_the_certificate_is_told_in_one_sentence(server, tmp_path, certificate):
    if certificate == "other":
        of_folder(tmp_path)
    error, words = {
        "other": (NotConnected, "does not know our certificate .*once more"),
        "none": (NotConnected, "needs the folder"),
        "empty": (FileFormatError, "holds no prelabel.crt"),
    }[certificate]
    with Pool(server.address, None if certificate == "none" else tmp_path) as pool:
        pool.start()
        with pytest.raises(error, match=words):
            pool.submit(job("quick"), IMAGE).result(WAIT)
        assert pool.where == f"no connection to {server.address}, tried again"
        assert pool.trouble


def test_another_version_is_told_in_one_sentence(tls):
    with (
        Server(tls, version="0.0.1") as server,
        Pool(server.address, tls) as pool,
        pytest.raises(NotConnected, match=r"has napari-prelabel 0\.0\.1 where .* is here: install"),
    ):
        pool.submit(job("quick"), IMAGE).result(WAIT)


def test_a_server_that_stops_and_starts_again(tls):
    with Server(tls) as server:
        pool = Pool(server.address, tls)
        result = pool.submit(job("quick"), IMAGE).result(WAIT)
        steps = []
        run = pool.submit(job("slow 100000"), IMAGE, steps.append)
        until(lambda: steps)
    with pool:
        with pytest.raises(ConnectionLost, match=r"lost during the run.*tried again"):
            run.result(WAIT)
        until(lambda: "no connection" in pool.where)
        with pytest.raises(NotConnected, match="nobody answers there"):
            pool.submit(job("quick"), IMAGE).result(WAIT)
        np.testing.assert_array_equal(result.ids, IMAGE[..., 0] > 0)
        with Server(tls, server.port):
            until(lambda: pool.ready)
            assert pool.where == f"cpu at {server.address}"
            steps = []
            assert pool.submit(job("slow 4"), IMAGE, steps.append).result(WAIT).ids.any()
            assert steps


def test_a_pool_changes_from_an_address_to_this_machine_and_back(server, tls, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *sys.path]))
    with Pool(server.address, tls, engine="scripted:Scripted") as pool:
        there = pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"]
        assert pool.change(connection.Setup())
        here = pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"]
        assert (pool.where, pool.address) == ("cpu", "")
        assert pool.change(connection.Setup(), server.address, tls)
        assert pool.submit(job("quick"), IMAGE).result(WAIT).record["pid"] == there != here


def test_two_clients_take_two_workers(tls):
    with (
        Server(tls, workers=2) as server,
        Pool(server.address, tls) as one,
        Pool(server.address, tls) as two,
    ):
        pids = [[p.submit(job("quick"), IMAGE).result(WAIT).record["pid"] for p in (one, two)]
                for _ in range(2)]  # fmt: skip
    assert pids[0] == pids[1]
    assert len(set(pids[0])) == 2


@pytest.mark.parametrize(
    ("workers", "cards", "wanted"),
    [
        (None, "", [{}]),
        (2, "", [{}, {}]),
        (None, "4,MIG-5", ["4", "MIG-5"]),
        (3, "0,1", ["0", "1", "0"]),
    ],
)
def test_one_worker_for_each_card(monkeypatch, workers, cards, wanted):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", cards)
    found = list(module._environments(workers, module._cards()))
    assert found == [w if w == {} else {"CUDA_VISIBLE_DEVICES": w} for w in wanted]


@pytest.mark.skipif(os.name != "posix", reason="a script for a shell")
def test_cards_are_counted_by_their_own_tool(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert module._cards() == []
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: NVIDIA H100'\necho 'GPU 1: NVIDIA H100'\n")
    tool.chmod(0o755)
    assert module._cards() == ["0", "1"]


def test_the_key_is_its_owners_alone(tls):
    credentials = of_folder(tls)
    assert credentials == of_folder(tls)
    assert stat.S_IMODE(tls.stat().st_mode) == 0o700
    assert {stat.S_IMODE(f.stat().st_mode) for f in tls.iterdir()} == {0o600}
    with pytest.raises(FileFormatError, match="takes no certificate"):
        credentials.write(tls)


@pytest.mark.parametrize("text", ["tcp://host:1", "host:port", "host:99999", ":8786", ""])
def test_an_address_that_cannot_be_one(text, tls):
    with pytest.raises(NotConnected, match="reads tls://host:port"):
        serve(tls, text)


def test_addresses_as_people_type_them():
    read = connection.full_address
    assert read(" gpu ") == read("gpu:8786") == read("tls://gpu:8786") == "tls://gpu:8786"


def test_an_address_that_is_taken_is_one_sentence(server, tls):
    with pytest.raises(WorkerNotStarted, match=r"cannot be listened at"):
        serve(tls, server.address, 1, told=print)


def test_a_dask_scheduler_of_others_is_told_from_ours(tls):
    from distributed import Scheduler

    from napari_prelabel.worker.client import connect

    credentials = of_folder(tls)

    async def meet():
        theirs = Scheduler(host="127.0.0.1", port=0, protocol="tls://", dashboard_address=":0",
                           security=credentials.security())  # fmt: skip
        async with theirs as scheduler:
            await connect(scheduler.address, credentials, 10)

    with pytest.raises(NotConnected, match="not that of 'prelabel serve'"):
        asyncio.run(meet())


def test_versions_are_compared_by_what_messages_depend_on():
    same = versions.versions()
    assert versions.difference(same) == ""
    told = versions.difference(same | {"numpy": "1", "dask": "2020.1"})
    assert "dask 2020.1 where" in told
    assert " and numpy 1 where " in told
    assert versions.difference({}).count(" none where ") == len(same)
