"""Fetch a model's weights: resumable, checked, cancellable. Loads no torch, unpickles nothing."""

import hashlib
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import Cancelled, ChecksumMismatch, ModelError
from .catalog import entry_of, installed, model_dir

HUB_VARIABLE = "HF_ENDPOINT"  # the name that the hub's own tools read
_HUB = "https://huggingface.co"
_BLOCK = 1 << 20
_TIMEOUT = 30.0
_NOT_SATISFIABLE = 416
_PARTIAL = 206
_MOVES = 4

OnBytes = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Remote:
    """What the hub says of a file: its size in bytes (0 unknown) and hex SHA-256, if it does."""

    size: int
    sha256: str | None


def fetch(
    name: str,
    on_bytes: OnBytes = lambda _done, _total: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Path:
    """Fetch a model of the catalogue into `model_dir(name)`; at once if it is there.

    on_bytes : called with (bytes done, bytes in all), what an earlier try left included.
    cancelled : asked about once per megabyte; what was fetched so far is kept.

    Returns the weights' path. Raises Cancelled, ChecksumMismatch, or ModelError when the model
    is unknown, random, not a safetensors file or out of reach.
    """
    entry = entry_of(name)
    if entry.source == "random":
        raise ModelError(name, f"{name} has random weights: there is nothing to fetch.")
    path = model_dir(name) / entry.file
    if installed(name):
        return path
    if path.suffix != ".safetensors":
        raise ModelError(name, f"{path.name} of {name} is not a safetensors file: it is refused.")
    url = hub_url(entry.source, entry.file)
    try:
        remote = ask(url)
        sha256 = entry.sha256 or remote.sha256
        download(name, url, path, remote.size, sha256, on_bytes, cancelled)
    except (OSError, urllib.error.URLError) as error:
        host = urllib.parse.urlsplit(url).hostname
        raise ModelError(
            name,
            f"Cannot reach {host} for {name} ({_reason(error)}): try again later, or copy "
            f"{entry.file} of {entry.source} to {path.parent}.",
        ) from error
    return path


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
        known = len(tag) == 64 and not tag.strip("0123456789abcdef")
        return Remote(int(size or 0), tag if known else None)
    raise ConnectionError("redirected in a circle")


def download(
    name: str,
    url: str,
    path: Path,
    size: int,
    sha256: str | None,
    on_bytes: OnBytes,
    cancelled: Callable[[], bool],
) -> None:
    """Fetch `url` to `path` by way of `path`.part, going on where an earlier try stopped.

    size : bytes expected, 0 unknown. sha256 : checksum expected, None unchecked.

    Raises Cancelled, ChecksumMismatch (the part is deleted), OSError when the connection breaks
    (the part is kept).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    if not (size and part.exists() and part.stat().st_size == size):
        _receive(url, part, size, on_bytes, cancelled)
    found = _checksum(part, cancelled)
    if sha256 is not None and found != sha256:
        part.unlink()
        raise ChecksumMismatch(name, path, sha256, found)
    part.replace(path)


def _receive(
    url: str, part: Path, size: int, on_bytes: OnBytes, cancelled: Callable[[], bool]
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
                done += file.write(block)
                on_bytes(done, size)
    if size and done != size:
        raise ConnectionError(f"the connection broke after {done:,} of {size:,} bytes")


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read(_BLOCK)
    except http.client.IncompleteRead as error:  # newer Pythons; older ones just end
        return error.partial


def _checksum(path: Path, cancelled: Callable[[], bool]) -> str:
    digest = hashlib.sha256()
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
