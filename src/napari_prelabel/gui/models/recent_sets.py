"""Which reference sets were used last, and where new ones go; kept between sessions."""

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import platformdirs

from .. import remember
from ..preferences import preferences

FILE = "reference.json"
MOST = 12
MANIFEST = "manifest.json"


def settings() -> dict[str, Any]:
    """What the Reference dock remembers."""
    return remember.load(FILE) or {}


def keep(**changed: Any) -> None:
    """Remember some settings beside the others."""
    remember.update(changed, FILE)


def recent() -> list[Path]:
    """Folders of sets, the newest first; those that are gone are left out."""
    told = settings().get("sets", [])
    folders = [Path(t) for t in told if isinstance(t, str)] if isinstance(told, list) else []
    return [f for f in folders if is_set(f)]


def is_set(folder: Path) -> bool:
    """Whether a set lies there; no for a folder that cannot be looked into."""
    with contextlib.suppress(OSError):
        return (folder / MANIFEST).is_file()
    return False


def used(folder: Path, known: Iterable[Path]) -> list[Path]:
    """Put a set first among the known ones and remember them so."""
    folders = [folder, *(f for f in known if f != folder)][:MOST]
    keep(sets=[str(f) for f in folders])
    return folders


def home() -> Path:
    """The folder that new sets go to unless the person chooses another.

    The one of the Preferences, else that of the last set, else the user's data folder.
    """
    if chosen := preferences().reference_sets:
        return chosen
    told = settings().get("home")
    return Path(told) if isinstance(told, str) and told else _default_home()


def _default_home() -> Path:
    return platformdirs.user_data_path("napari-prelabel") / "reference-sets"


def folder_for(name: str, parent: Path) -> Path:
    """Folder of a new set of this name; of sets with equal names the later gets a number."""
    safe = "".join(c if c.isalnum() or c in " ._-()" else "_" for c in name).strip(" .") or "set"
    folder, number = parent / safe, 2
    while folder.exists():
        folder, number = parent / f"{safe} {number}", number + 1
    return folder


def titles(folders: Iterable[Path]) -> list[tuple[str, Path]]:
    """Names to choose from; where two sets have the same, their parent folder is told, too."""
    listed = list(folders)
    names = [f.name for f in listed]
    return [
        (f.name if names.count(f.name) == 1 else f"{f.name} ({f.parent.name})", f) for f in listed
    ]
