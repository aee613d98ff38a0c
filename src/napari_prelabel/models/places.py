"""Where models lie on this machine, and where a fetch would put them. Loads no torch."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from ..values.samples import sample_path
from .entries import ModelEntry

HOME_VARIABLE = "PRELABEL_MODELS"


def repo_folder(source: str) -> str:
    """What the hub's tools call a repository's folder in their cache."""
    return "--".join(("models", *source.split("/")))


def hub_cache() -> Path:
    """Where the hub's tools keep models, by their own rules: their library is slow to import."""
    given = [os.environ.get(name) for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")]
    user = os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    home = os.path.join(os.environ.get("HF_HOME", user), "hub")
    return Path(os.path.expandvars(os.path.expanduser(next(filter(None, given), home))))


def fetch_home() -> Path:
    """Where models are fetched to: a folder that was chosen, else the cache of the hub's tools."""
    return models_home() if _chosen() else hub_cache()


# At most one: what `keep_models` was told last.
_kept: list[Path] = []


def _chosen() -> Path | None:
    home = os.environ.get(HOME_VARIABLE)
    return Path(home) if home else next(iter(_kept), None)


def models_home() -> Path:
    """Where models lie under their own names: the environment variable PRELABEL_MODELS, for
    instance a folder that a group shares; else what `keep_models` was told; else the user's data
    folder."""
    return _chosen() or platformdirs.user_data_path("napari-prelabel") / "models"


def keep_models(folder: Path | None) -> None:
    """Keep models in a folder of one's own from now on, or no longer."""
    _kept[:] = [] if folder is None else [folder]


def folder_of(name: str, entry: ModelEntry) -> Path:
    """Folder of a model's files; of one that is not here, what a fetch would write into.

    Raises FileFormatError when the sample data lacks a demo model.
    """
    if entry.source == "sample":
        return sample_path("models", name)
    here = (folder for folder in _places(name, entry.source) if is_whole(folder, entry))
    return next(here, fetch_home() / repo_folder(entry.source))


def is_whole(folder: Path, entry: ModelEntry) -> bool:
    """Whether a folder holds all files of a model."""
    return all(os.path.isfile(folder / file) for file in entry.files)


def _places(name: str, source: str) -> Iterator[Path]:
    """Folders in which a model may lie: one under its own name, as people copy them and earlier
    versions fetched them, and what the hub's tools keep of its repository."""
    yield models_home() / name
    for cache in dict.fromkeys((fetch_home(), hub_cache())):
        repo = cache / repo_folder(source)
        with contextlib.suppress(OSError):
            newest = (repo / "refs" / "main").read_text(encoding="utf-8")
            yield repo / "snapshots" / newest
        yield from sorted((repo / "snapshots").glob("*"))
