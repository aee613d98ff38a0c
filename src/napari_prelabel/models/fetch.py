"""Fetch a model's weights into the cache of the model hub's tools; unpickles nothing.

huggingface_hub asks, authorises, honours mirrors and offline mode, and files what came. The bytes
themselves are received here: its own download keeps nothing of a file that was stopped, looks at
its length alone, and tells of every ten megabytes.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout
from huggingface_hub import get_hf_file_metadata, get_session, hf_hub_download, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from ..values.errors import Cancelled, ChecksumMismatch, ModelError, PrelabelError
from .catalog import installed, model_dir, row_of
from .entries import ModelEntry
from .places import HOME_VARIABLE, fetch_home, models_home, repo_folder

HUB_VARIABLE = "HF_ENDPOINT"  # the name that the hub's own tools read
_HUB = "https://huggingface.co"
_STEP = 1 << 20
_TIMEOUT = 30.0
_NOT_SATISFIABLE = 416
_PARTIAL = 206
_DATA = (".safetensors", ".json", ".txt")
_HASHES = {64: "sha256", 40: "sha1"}

OnBytes = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Remote:
    """A file of a repository as the hub states it.

    size : bytes, 0 unknown. checksum : hex SHA-256 of a large file, git's SHA-1 of a small one.
    part, blob : where it grows, and where it lies once it is whole, in the hub's cache.
    """

    file: str
    url: str
    size: int
    checksum: str
    part: Path
    blob: Path


def fetch(
    name: str,
    on_bytes: OnBytes = lambda _done, _total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Fetch the files of a model of the catalogue; at once if they are here.

    on_bytes : called with (bytes done, bytes in all), what an earlier try left included.
    cancelled : asked at every piece that comes; what was fetched so far is kept.

    Large files are checked by the SHA-256 that the hub states of them, small ones by their git
    checksum. Returns the model's folder. Raises Cancelled, ChecksumMismatch, or ModelError when
    the model is unknown, random, not data alone, out of reach, without a checksum, or being
    fetched by another process.
    """
    entry = row_of(ModelEntry, name)
    if entry.random:
        raise ModelError(name, f"{name} has random weights: there is nothing to fetch.")
    for file in entry.files:
        if not file.endswith(_DATA):
            raise ModelError(name, f"{file} of {name} can run code when loaded: it is refused.")
    if installed(name):
        return model_dir(name)
    repo = fetch_home() / repo_folder(entry.source)
    with _alone(name, repo), _reached(name, entry.source):
        remotes = [] if installed(name) else [_ask(name, entry, file, repo) for file in entry.files]
        total, before = sum(remote.size for remote in remotes), 0
        for remote in remotes:
            if not remote.blob.exists():
                _receive(name, remote, _shifted(on_bytes, before, total), cancelled)
                _check(name, remote, cancelled)
            with _disk(name, repo):
                hf_hub_download(
                    entry.source, remote.file, cache_dir=repo.parent, endpoint=_endpoint(name)
                )
            before += remote.size
            on_bytes(before, total)
    return model_dir(name)


def _shifted(on_bytes: OnBytes, before: int, total: int) -> OnBytes:
    return lambda done, _size: on_bytes(before + done, total)


def _endpoint(name: str) -> str:
    """The hub's address; ModelError when HF_ENDPOINT holds none."""
    endpoint = os.environ.get(HUB_VARIABLE) or _HUB
    with contextlib.suppress(ValueError):
        parts = urlsplit(endpoint)
        if parts.scheme in ("http", "https") and parts.hostname:
            return endpoint.rstrip("/")
    raise ModelError(
        name,
        f"{HUB_VARIABLE} is {endpoint!r}, which is no address of a model hub: "
        "write it as https://host, or unset it.",
    )


def _ask(name: str, entry: ModelEntry, file: str, repo: Path) -> Remote:
    """Size and checksum of a file. Raises ModelError where the hub states none of its content,
    ChecksumMismatch where the catalogue's is another."""
    endpoint = _endpoint(name)
    url = hf_hub_url(entry.source, file, endpoint=endpoint)
    found = get_hf_file_metadata(url, timeout=_TIMEOUT, endpoint=endpoint)
    checksum = (found.etag or "").lower()
    if len(checksum) not in _HASHES or checksum.strip("0123456789abcdef"):
        raise ModelError(
            name,
            f"{urlsplit(endpoint).hostname} states no checksum for {file} of {name}, so a damaged "
            f"or exchanged file would not be noticed: unset {HUB_VARIABLE}, or "
            f"{_copy(name, entry.source)} yourself.",
        )
    blob = repo / "blobs" / checksum
    if entry.sha256 not in (None, checksum) and _HASHES[len(checksum)] == "sha256":
        raise ChecksumMismatch(name, Path(file), str(entry.sha256), checksum)
    part = blob.with_name(f"{checksum}.incomplete")
    return Remote(file, url, found.size or 0, checksum, part, blob)


def _copy(name: str, source: str) -> str:
    return f"copy the files of {source} to {models_home() / name}"


@contextlib.contextmanager
def _reached(name: str, source: str) -> Iterator[None]:
    """Turn what the network raises into a ModelError that names the way out."""
    host = urlsplit(_endpoint(name)).hostname
    try:
        yield
    except PrelabelError:
        raise
    except OfflineModeIsEnabled as error:
        raise ModelError(
            name,
            f"HF_HUB_OFFLINE is set, so {name} is not fetched: unset it, or {_copy(name, source)}.",
        ) from error
    except Exception as error:  # httpx's errors have no base in common with Python's
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(
            name,
            f"Cannot reach {host} for {name} ({reason}): try again later, or "
            f"{_copy(name, source)}.",
        ) from error


@contextlib.contextmanager
def _alone(name: str, repo: Path) -> Iterator[None]:
    """Keep two processes from writing into one part; ModelError for the second."""
    with _disk(name, repo):
        (repo / "blobs").mkdir(parents=True, exist_ok=True)
        lock = FileLock(repo / "prelabel.lock", timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise ModelError(
                name,
                f"{name} is being fetched already, by another window or process: wait until it "
                "is done.",
            ) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _disk(name: str, repo: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is None:  # the network's
            raise
        raise ModelError(
            name,
            f"{repo.parent} cannot be written ({error.strerror}): free some space, or "
            f"name another folder in the variable {HOME_VARIABLE}.",
        ) from error


def _receive(name: str, remote: Remote, on_bytes: OnBytes, cancelled: Callable[[], bool]) -> None:
    """Append what is missing of a file to its part, going on where an earlier try stopped."""
    part, size = remote.part, remote.size
    start = part.stat().st_size if part.exists() else 0
    if size and start == size:
        return
    if size and start > size:  # the disk's doing: the name is that of the content
        start = 0
    headers = build_hf_headers() | {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    with get_session().stream("GET", remote.url, headers=headers, timeout=_TIMEOUT) as answer:
        try:
            hf_raise_for_status(answer)
        except HfHubHTTPError:
            if answer.status_code == _NOT_SATISFIABLE:
                part.unlink()
            raise
        resumed = bool(start) and answer.status_code == _PARTIAL
        done = told = start if resumed else 0
        with _disk(name, part.parents[1]), part.open("ab" if resumed else "wb", 0) as file:
            on_bytes(done, size)
            for block in answer.iter_bytes():
                if cancelled():
                    raise Cancelled
                file.write(block)
                done += len(block)
                if done - told >= _STEP:
                    told = done
                    on_bytes(done, size)
    if size and done != size:
        raise ConnectionError(f"the connection broke after {done:,} of {size:,} bytes")


def _check(name: str, remote: Remote, cancelled: Callable[[], bool]) -> None:
    """Let a part count as the file; ChecksumMismatch, and the part gone, where it is another."""
    digest = hashlib.new(_HASHES[len(remote.checksum)])
    if digest.name == "sha1":  # git's name of a file is the hash of its size and content
        digest.update(f"blob {remote.part.stat().st_size}\0".encode())
    with remote.part.open("rb") as file:
        while block := file.read(16 * _STEP):
            if cancelled():
                raise Cancelled
            digest.update(block)
    if digest.hexdigest() != remote.checksum:
        remote.part.unlink()
        raise ChecksumMismatch(name, Path(remote.file), remote.checksum, digest.hexdigest())
    remote.part.replace(remote.blob)
