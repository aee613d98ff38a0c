"""Pre-label images from typed words by training-free open-vocabulary segmentation.

Importing this package loads neither torch nor Qt: names are fetched when they are used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "Class": "values.vocabulary",
    "Engine": "engine.run",
    "FreeCP": "values.job",
    "Job": "values.job",
    "LabelMap": "values.labels",
    "PrelabelError": "values.errors",
    "Progress": "values.job",
    "Vocabulary": "values.vocabulary",
    "Windows": "values.job",
}
__all__ = ["__version__", *sorted(_WHERE)]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_WHERE[name]}", __name__), name)
