"""Models of transformers' folder layout: loaded from disk alone, checked, never unpickled."""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn
from transformers.utils import logging

from ..values.errors import ChecksumMismatch, ModelError
from .entries import CONFIG, WEIGHTS, ModelEntry

logging.disable_progress_bar()


def read_config(name: str, folder: Path, types: tuple[str, ...]) -> dict[str, Any]:
    """The configuration of a folder; ModelError when it is missing, broken or another model's."""
    try:
        config: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        found = config["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            name, f"{CONFIG} of {name} is missing or broken: fetch the model again."
        ) from error
    if found not in types:
        raise ModelError(
            name, f"{CONFIG} of {name} describes a {found}, not a {types[0]}: fetch it again."
        )
    return config


def load_folder(
    kind: Any, name: str, folder: Path, entry: ModelEntry, dtype: torch.dtype
) -> tuple[nn.Module, str]:
    """A model of a transformers class with the weights of a folder, and its digest.

    Raises ModelError when weights are missing, broken, of other shapes, or hold no numbers;
    ChecksumMismatch when they are not the published ones.
    """
    digest = _digest(name, folder, entry)
    try:
        model, report = kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=dtype,
            ignore_mismatched_sizes=True,  # so that the report names them
            output_loading_info=True,
        )
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise _broken(name, str(error)) from error
    lost = sorted(map(str, report["missing_keys"])) or sorted(map(str, report["mismatched_keys"]))
    if lost:
        raise _broken(name, f"{lost[0]} is missing or of another size")
    model.eval().requires_grad_(False)
    for key, value in model.state_dict().items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise _broken(name, f"{key} holds values that are no numbers")
    return model, digest


def _digest(name: str, folder: Path, entry: ModelEntry) -> str:
    """Hex SHA-256 of the configuration and all weights."""
    total = hashlib.sha256((folder / CONFIG).read_bytes())
    paths = sorted(folder.glob("*.safetensors"))
    if not paths:
        raise ModelError(
            name, f"{folder.name} holds no safetensors file, and others can run code: fetch it."
        )
    for path in paths:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if path.name == WEIGHTS and entry.sha256 not in (None, found):
            raise ChecksumMismatch(name, path, str(entry.sha256), found)
        total.update(found.encode())
    return total.hexdigest()


def _broken(name: str, reason: str) -> ModelError:
    first = reason.strip().splitlines()[0] if reason.strip() else "no reason given"
    return ModelError(
        name, f"The files of {name} do not hold its weights: fetch it again. ({first})"
    )
