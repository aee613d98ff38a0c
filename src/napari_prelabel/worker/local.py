"""The guarded process of a worker on this machine, as napari's process starts and ends it."""

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ..values.errors import WorkerNotStarted
from .credentials import Credentials
from .link import Site


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker on this machine is started with.

    arguments : keyword arguments of the engine, of what JSON holds.
    environment : variables of its process beside those of this one.
    """

    arguments: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


class LocalHost:
    """One host process; made in a running event loop. Raises OSError where none can be made."""

    def __init__(self, engine: str, setup: Setup) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="prelabel-"))
        self._log = self._folder / "log.txt"
        self._loop = asyncio.get_running_loop()
        self._line: asyncio.Future[bytes] = self._loop.create_future()
        try:
            self._process = self._spawn(engine, setup)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        threading.Thread(target=self._listen, name="prelabel-host", daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    async def place(self, seconds: float) -> Site:
        """Where its scheduler listens; raises WorkerNotStarted, and ends it after `seconds`."""
        try:
            line = await asyncio.wait_for(asyncio.shield(self._line), seconds)
        except TimeoutError:
            self._kill()
            raise WorkerNotStarted(f"it said nothing for {seconds:g} s.{self._words()}") from None
        if not line:
            code = await asyncio.to_thread(self._process.wait)
            raise WorkerNotStarted(f"it ended with code {code}.{self._words()}")
        told = json.loads(line)
        return Site(told["address"], Credentials(told["certificate"], told["key"]), near=True)

    def epitaph(self, seconds: float) -> str:
        """How it ended; waits until it has, and ends it after `seconds`."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._kill()
            return "its guard did not answer"
        return f"its guard ended with code {code}"

    def close(self, timeout: float = 3.0) -> None:
        """Close the pipe, upon which the process ends; kill it and its children if it does not."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _spawn(self, engine: str, setup: Setup) -> "subprocess.Popen[bytes]":
        command = [
            sys.executable, "-P", "-m", "napari_prelabel.worker.host",
            "--folder", str(self._folder), "--engine", engine,
            "--arguments", json.dumps(dict(setup.arguments)),
        ]  # fmt: skip
        # A session of its own: Ctrl+C in napari's terminal is napari's business.
        options: dict[str, Any] = (
            {"start_new_session": True}
            if os.name == "posix"
            else {"creationflags": getattr(subprocess, "CREATE_NO_WINDOW", 0)}
        )
        with self._log.open("wb") as errors:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                env=os.environ | dict(setup.environment), **options,
            )  # fmt: skip

    def _listen(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        with stream:
            line = stream.readline()
        with contextlib.suppress(RuntimeError):  # the pool has been closed meanwhile
            self._loop.call_soon_threadsafe(self._line.set_result, line)

    def _kill(self) -> None:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self._process.pid)
            for child in [*process.children(recursive=True), process]:
                with contextlib.suppress(psutil.Error):
                    child.kill()
        self._process.wait()

    def _words(self) -> str:
        """The last line of its log, as a sentence."""
        with contextlib.suppress(OSError):
            lines = self._log.read_text("utf-8", "replace").strip().splitlines()
            if lines:
                return f" Its last words: {lines[-1][-300:]}."
        return ""
