"""Pre-label images from typed words by training-free open-vocabulary segmentation.

Importing this package loads neither torch nor Qt: names are fetched when they are used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "Class": "vocabulary",
    "Engine": "engine.run",
    "FreeCP": "job",
    "Job": "job",
    "LabelMap": "labels",
    "PrelabelError": "errors",
    "Progress": "job",
    "Vocabulary": "vocabulary",
    "Windows": "job",
}
__all__ = ["__version__", *sorted(_WHERE)]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
