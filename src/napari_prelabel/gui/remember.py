"""The dock's last settings, kept between sessions; and writing small files whole or not at all."""

import contextlib
import json
import threading
from pathlib import Path
from typing import Any

import platformdirs

from ..values.errors import FileFormatError

FILE = "dock.json"
_LOCK = threading.Lock()


def _path() -> Path:
    return platformdirs.user_config_path("napari-prelabel") / FILE


def save(settings: dict[str, Any], file: str = FILE) -> None:
    """Keep the settings, off the GUI thread: flushing a disk may take long."""
    text = json.dumps(settings, ensure_ascii=False)
    path = _path().with_name(file)
    threading.Thread(target=_save, args=(path, text), daemon=True).start()


def _save(path: Path, text: str) -> None:
    # A folder that cannot be written to only means that nothing is remembered.
    with contextlib.suppress(FileFormatError):
        write_text(path, text)


def update(changed: dict[str, Any], file: str) -> None:
    """Keep some settings beside those that are kept already; updates never lose each other's."""
    path = _path().with_name(file)
    threading.Thread(target=_update, args=(path, changed), daemon=True).start()


def _update(path: Path, changed: dict[str, Any]) -> None:
    with _LOCK:
        _save(path, json.dumps((_read(path) or {}) | changed, ensure_ascii=False))


def load(file: str = FILE) -> dict[str, Any] | None:
    """The settings kept last, None when there are none or they cannot be read."""
    return _read(_path().with_name(file))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def as_text(value: Any) -> str:
    return json.dumps(value)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, replacing what was there."""
    from ..formats.atomic import write_atomic

    write_atomic(path, text.encode(), overwrite=True)
