"""What every loader asks first: which row, which folder, where to compute and how exactly."""

from pathlib import Path
from typing import TypeVar

import torch

from ..values.errors import JobError, ModelError
from .catalog import installed, model_dir, row_of
from .entries import ModelEntry

_Row = TypeVar("_Row", bound=ModelEntry)

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
SEED = 0
"""Of random weights."""


def opened(
    kind: type[_Row], name: str, device: str, precision: str
) -> tuple[_Row, Path, torch.device, torch.dtype]:
    """The row of a model, its folder (of no meaning for random weights), device and float type.

    Raises JobError for an unknown precision, ModelError when the model is unknown or not
    installed, or the device is not there.
    """
    entry = row_of(kind, name)
    if precision not in PRECISIONS:
        raise JobError("precision", f"precision must be one of {', '.join(PRECISIONS)}.")
    place = pick_device(device)
    if not installed(name):
        raise ModelError(
            name, f"The model {name} is not installed: run 'prelabel models fetch {name}'."
        )
    return entry, model_dir(name), place, PRECISIONS[precision]


def pick_device(device: str = "auto") -> torch.device:
    """The device a name stands for: "auto" takes CUDA, then Apple's MPS, then the processor.

    Raises ModelError for a device that is not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ModelError(
            device,
            f"There is no device {device!r} here: choose auto (--device on the command line, "
            "Preferences > Prelabel in napari).",
        ) from error
    return found
