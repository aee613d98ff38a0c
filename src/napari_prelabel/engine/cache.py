"""What was encoded once: tensors by the content they came from, in memory and then on disk.

Keys name everything that decides a value (pixels, model digest, geometry), so nothing ever needs
to be invalidated. Values are kept as they were computed: a run that finds them gives the same
result, bit by bit, as one that computes them.
"""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

_log = logging.getLogger(__name__)

Entry = Mapping[str, Tensor]
_SUFFIX = ".safetensors"


def cache_key(*parts: object) -> str:
    """Hex SHA-256 over parts that name a value; bytes are hashed as they are."""
    digest = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()


class Encodings:
    """Least recently used entries leave first, from memory and from disk.

    memory : bytes of tensors kept in memory; 0 keeps none.
    folder : where entries are kept on disk too, None for nowhere.
    disk : bytes of files kept in the folder.
    """

    def __init__(
        self, memory: int = 512 << 20, folder: Path | None = None, disk: int = 2 << 30
    ) -> None:
        self._limit = memory
        self._disk_limit = disk
        self._folder = folder
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._bytes = 0
        self._files: OrderedDict[str, int] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors in memory."""
        return self._bytes

    def get(self, key: str, make: Callable[[], Entry]) -> Entry:
        """The entry of a key; `make` computes it where neither memory nor disk has it."""
        found = self.find(key)
        if found is None:
            found = make()
            self.put(key, found)
        return found

    def find(self, key: str) -> Entry | None:
        """The entry of a key, or None."""
        if key in self._entries:
            self._entries.move_to_end(key)
            return self._entries[key]
        entry = self._read(key)
        if entry is not None:
            self._remember(key, entry)
        return entry

    def put(self, key: str, entry: Entry) -> None:
        """Keep an entry; its tensors must not be changed afterwards."""
        self._remember(key, entry)
        self._write(key, entry)

    def _remember(self, key: str, entry: Entry) -> None:
        size = _size(entry)
        if size > self._limit:
            return
        self._forget(key)
        self._entries[key] = entry
        self._bytes += size
        while self._bytes > self._limit:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= _size(entry)

    def _path(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{key}{_SUFFIX}"

    def _read(self, key: str) -> Entry | None:
        if self._folder is None or key not in self._listing():
            return None
        path = self._path(key)
        try:
            entry: Entry = load_file(path)
            os.utime(path)
        except (OSError, SafetensorError, ValueError) as error:
            _log.warning("%s is dropped from the cache: %s", path.name, error)
            self._remove(key)
            return None
        self._listing().move_to_end(key)
        return entry

    def _write(self, key: str, entry: Entry) -> None:
        if self._folder is None or key in self._listing():
            return
        plain = {name: tensor.detach().contiguous().cpu() for name, tensor in entry.items()}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._folder, suffix=".part")
            os.close(handle)
            try:
                save_file(plain, name)
                Path(name).replace(self._path(key))
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except (OSError, SafetensorError) as error:  # a full disk must not end a run
            _log.warning("nothing is kept on disk: %s", error)
            self._folder = None
            return
        files = self._listing()
        files[key] = self._path(key).stat().st_size
        while sum(files.values()) > self._disk_limit and len(files) > 1:
            self._remove(next(iter(files)))

    def _remove(self, key: str) -> None:
        self._listing().pop(key, None)
        with contextlib.suppress(OSError):
            self._path(key).unlink(missing_ok=True)

    def _listing(self) -> "OrderedDict[str, int]":
        """Keys on disk, least recently used first, and the bytes of their files."""
        if self._files is None:
            found = []
            with contextlib.suppress(OSError):
                for path in self._folder.glob(f"*{_SUFFIX}") if self._folder else ():
                    status = path.stat()
                    found.append((status.st_mtime_ns, path.stem, status.st_size))
            self._files = OrderedDict((key, size) for _, key, size in sorted(found))
        return self._files


def _size(entry: Entry) -> int:
    return sum(t.nbytes for t in entry.values())
