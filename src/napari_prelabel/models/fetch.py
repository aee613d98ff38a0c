"""Fetch a model's weights: resumable, checked, cancellable. Loads no torch, unpickles nothing."""

import contextlib
import hashlib
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from filelock import FileLock, Timeout

from ..values.errors import Cancelled, ChecksumMismatch, ModelError
from .catalog import HOME_VARIABLE, entry_of, folder_of, installed, model_dir
from .catalog_diffusion import DIFFUSIONS
from .catalog_visual import folder_entry

HUB_VARIABLE = "HF_ENDPOINT"  # the name that the hub's own tools read
_SCHEMES = ("http", "https")
_HUB = "https://huggingface.co"
_BLOCK = 1 << 20
_TIMEOUT = 30.0
_NOT_SATISFIABLE = 416
_PARTIAL = 206
_MOVES = 4
_DATA = (".safetensors", ".json", ".txt")
_HASHES = {64: "sha256", 40: "sha1"}

OnBytes = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Remote:
    """What the hub says of a file: its size in bytes (0 unknown) and its checksums, if it does.

    sha256 : hex, stated of large files.
    git : hex SHA-1 that git gives the file, stated of small ones.
    """

    size: int
    sha256: str | None
    git: str | None = None


class FolderLike(Protocol):
    """A row of any table of models that lie as a folder of several files."""

    @property
    def source(self) -> str: ...

    @property
    def files(self) -> tuple[str, ...]: ...


def fetch(
    name: str,
    on_bytes: OnBytes = lambda _done, _total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Fetch a model of the catalogue into `model_dir(name)`; at once if it is there.

    on_bytes : called with (bytes done, bytes in all), what an earlier try left included.
    cancelled : asked about once per megabyte; what was fetched so far is kept.

    Returns the weights' path, or the folder of a model of several files. Raises Cancelled,
    ChecksumMismatch, or ModelError when the model is unknown, random, not a safetensors file, out
    of reach, without a checksum, or being fetched by another process.
    """
    row = DIFFUSIONS.get(name) or folder_entry(name)
    if row is not None:
        return fetch_folder(name, row, on_bytes, cancelled)
    entry = entry_of(name)
    if entry.source == "random":
        raise ModelError(name, f"{name} has random weights: there is nothing to fetch.")
    path = model_dir(name) / entry.file
    if installed(name):
        return path
    if path.suffix != ".safetensors":
        raise ModelError(name, f"{path.name} of {name} is not a safetensors file: it is refused.")
    url = hub_url(entry.source, entry.file)
    host = _host(name, url)
    copy = f"copy {entry.file} of {entry.source} to {path.parent}"
    with _alone(name, path):
        if installed(name):  # by the process that fetched it until now
            return path
        try:
            remote = ask(url)
            sha256 = entry.sha256 or remote.sha256
            if sha256 is None:
                raise ModelError(
                    name,
                    f"{host} states no checksum for {name}, so a damaged or exchanged file would "
                    f"not be noticed: unset {HUB_VARIABLE}, or {copy} yourself.",
                )
            download(name, url, path, remote.size, sha256, on_bytes, cancelled)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ModelError(
                name,
                f"Cannot reach {host} for {name} ({_reason(error)}): try again later, or {copy}.",
            ) from error
    return path


def fetch_folder(
    name: str,
    entry: FolderLike,
    on_bytes: OnBytes = lambda _done, _total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Fetch all files of a model that are not there yet, each whole and checked, into its folder.

    Large files are checked by the SHA-256 that the hub states of them, small ones by their git
    checksum. Arguments and errors are those of `fetch`; returns the folder.
    """
    if entry.source == "random":
        raise ModelError(name, f"{name} has random weights: there is nothing to fetch.")
    folder = folder_of(name, entry.source)
    for file in entry.files:
        if not file.endswith(_DATA):
            raise ModelError(name, f"{file} of {name} can run code when loaded: it is refused.")
    missing = [file for file in entry.files if not (folder / file).is_file()]
    if not missing:
        return folder
    host = _host(name, hub_url(entry.source, missing[0]))
    with _alone(name, folder / "folder"):
        try:
            remotes = {file: ask(hub_url(entry.source, file)) for file in missing}
            total, before = sum(remote.size for remote in remotes.values()), 0
            for file, remote in remotes.items():
                told = _shifted(on_bytes, before, total)
                _fetch_file(name, entry.source, folder, file, remote, told, cancelled)
                before += remote.size
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ModelError(
                name,
                f"Cannot reach {host} for {name} ({_reason(error)}): try again later, or copy "
                f"{entry.source} to {folder}.",
            ) from error
    return folder


def _shifted(on_bytes: OnBytes, before: int, total: int) -> OnBytes:
    return lambda done, _size: on_bytes(before + done, total)


def _fetch_file(
    name: str,
    source: str,
    folder: Path,
    file: str,
    remote: Remote,
    on_bytes: OnBytes,
    cancelled: Callable[[], bool],
) -> None:
    checksum = remote.sha256 or remote.git
    if checksum is None:
        raise ModelError(
            name,
            f"The hub states no checksum for {file} of {name}, so a damaged or exchanged file "
            f"would not be noticed: unset {HUB_VARIABLE}, or copy {source} to {folder} yourself.",
        )
    if not (folder / file).is_file():  # another process may have fetched it until now
        url = hub_url(source, file)
        download(name, url, folder / file, remote.size, checksum, on_bytes, cancelled)


def _host(name: str, url: str) -> str:
    """The host of an address that HF_ENDPOINT may have made; ModelError when it is none."""
    with contextlib.suppress(ValueError):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme in _SCHEMES and parts.hostname:
            return parts.hostname
    raise ModelError(
        name,
        f"{HUB_VARIABLE} is {os.environ.get(HUB_VARIABLE)!r}, which is no address of a model hub: "
        "write it as https://host, or unset it.",
    )


@contextlib.contextmanager
def _alone(name: str, path: Path) -> Iterator[None]:
    """Keep two processes from writing into one part; ModelError for the second."""
    with _disk(name, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(path.name + ".lock"), timeout=0)
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
def _disk(name: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelError(
            name,
            f"{path.parent} cannot be written ({error.strerror or error}): free some space, or "
            f"name another folder in the variable {HOME_VARIABLE}.",
        ) from error


def hub_url(source: str, file: str) -> str:
    """Address of a file of a repository on the model hub; HF_ENDPOINT names another hub."""
    endpoint = os.environ.get(HUB_VARIABLE, _HUB).rstrip("/")
    return f"{endpoint}/{source}/resolve/main/{urllib.parse.quote(file)}"


def ask(url: str) -> Remote:
    """Size and checksum of a file, from the headers of the hub's own answer.

    The hub redirects large files to a store; only the redirecting answer carries the checksum,
    so that redirection is not followed.
    """
    opener = urllib.request.build_opener(_Stay)
    for _ in range(_MOVES):
        if urllib.parse.urlsplit(url).scheme not in _SCHEMES:
            raise ConnectionError("redirected to an address that is none of the web")
        request = urllib.request.Request(url, method="HEAD")
        try:
            with opener.open(request, timeout=_TIMEOUT) as answer:
                headers, size = answer.headers, answer.headers.get("Content-Length")
        except urllib.error.HTTPError as error:
            error.close()
            if not 300 <= error.code < 400:
                raise
            headers, size = error.headers, error.headers.get("X-Linked-Size")
            if size is None:  # the repository was renamed
                url = urllib.parse.urljoin(url, headers.get("Location", ""))
                continue
        tag = (headers.get("X-Linked-Etag") or headers.get("ETag") or "").strip('W/"').lower()
        known = _HASHES.get(len(tag)) if not tag.strip("0123456789abcdef") else None
        return Remote(
            int(size or 0), tag if known == "sha256" else None, tag if known == "sha1" else None
        )
    raise ConnectionError("redirected in a circle")


def download(
    name: str,
    url: str,
    path: Path,
    size: int,
    checksum: str,
    on_bytes: OnBytes,
    cancelled: Callable[[], bool],
) -> None:
    """Fetch `url` to `path` by way of `path`.part, going on where an earlier try stopped.

    size : bytes expected, 0 unknown. checksum : hex SHA-256, or git's SHA-1 of the file.

    Raises Cancelled, ChecksumMismatch (the part is deleted), OSError when the connection breaks
    and ModelError when the disk refuses (the part is kept).
    """
    with _disk(name, path):
        path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    if not (size and part.exists() and part.stat().st_size == size):
        _receive(name, url, part, size, on_bytes, cancelled)
    found = _checksum(part, cancelled, _HASHES[len(checksum)])
    if found != checksum:
        part.unlink()
        raise ChecksumMismatch(name, path, checksum, found)
    part.replace(path)


def _receive(
    name: str,
    url: str,
    part: Path,
    size: int,
    on_bytes: OnBytes,
    cancelled: Callable[[], bool],
) -> None:
    """Append what is missing of `url` to `part`."""
    start = part.stat().st_size if part.exists() else 0
    if size and start > size:  # left by another version of the file
        start = 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    request = urllib.request.Request(url, headers=headers)
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != _NOT_SATISFIABLE:
            raise
        part.unlink()
        raise ConnectionError("the file has changed; start again") from error
    with answer:
        resumed = bool(start) and answer.status == _PARTIAL
        done = start if resumed else 0
        with part.open("ab" if resumed else "wb") as file:
            on_bytes(done, size)
            while block := _read(answer):
                if cancelled():
                    raise Cancelled
                with _disk(name, part):
                    file.write(block)
                    file.flush()
                done += len(block)
                on_bytes(done, size)
    if size and done != size:
        raise ConnectionError(f"the connection broke after {done:,} of {size:,} bytes")


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(_BLOCK)
    except http.client.IncompleteRead as error:  # newer Pythons; older ones just end
        return error.partial


def _checksum(path: Path, cancelled: Callable[[], bool], kind: str) -> str:
    digest = hashlib.new(kind)
    if kind == "sha1":  # git's name of a file is the hash of its size and content
        digest.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as file:
        while block := file.read(16 * _BLOCK):
            if cancelled():
                raise Cancelled
            digest.update(block)
    return digest.hexdigest()


def _reason(error: BaseException) -> str:
    return str(getattr(error, "reason", None) or error) or type(error).__name__


class _Stay(urllib.request.HTTPRedirectHandler):
    """Turns a redirection into an HTTPError that carries the answer's headers."""

    def redirect_request(self, *_args: object, **_kwargs: object) -> None:
        return None
