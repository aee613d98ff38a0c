"""What must be alike on both sides, for messages are pickled there and unpickled here."""

import sys
from collections.abc import Mapping
from importlib.metadata import version

from .. import __version__

# Package and how many parts of its version count; 0 stands for all.
_COUNT = {"dask": 0, "distributed": 0, "msgpack": 1, "numpy": 1}


def versions() -> dict[str, str]:
    """Of this side: ours, Python's, and what dask's messages are made with."""
    python = ".".join(map(str, sys.version_info[:2]))
    return {"napari-prelabel": __version__, "Python": python} | {
        name: _first(version(name), parts) for name, parts in _COUNT.items()
    }


def _first(text: str, parts: int) -> str:
    return ".".join(text.split(".")[:parts]) if parts else text


def difference(there: Mapping[str, str]) -> str:
    """What differs there from here, as a part of a sentence; "" where nothing does."""
    return " and ".join(
        f"{name} {there.get(name, 'none')} where {ours} is here"
        for name, ours in versions().items()
        if there.get(name) != ours
    )
