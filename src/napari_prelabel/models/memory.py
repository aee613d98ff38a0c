"""What models take of the memory, and what is said when it does not suffice."""

import contextlib
import gc
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor

from ..values.errors import ModelError

_NOT_HELD = (type, FunctionType, ModuleType)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or what caused it, says that memory could not be had."""
    told = str(error).lower()
    return error is not None and (
        isinstance(error, (torch.OutOfMemoryError, MemoryError))
        or is_out_of_memory(error.__cause__)
        or (
            isinstance(error, RuntimeError)
            and any(s in told for s in ("out of memory", "not enough memory", "can't allocate"))
        )
    )


@contextlib.contextmanager
def memory_told(name: str, device: torch.device | str, doing: str = "") -> Iterator[None]:
    """Turn a lack of memory inside the block into a ModelError; `doing` follows the name."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(
            name,
            f"There is not enough memory on {device} for {name}{doing}: close other programs, or "
            "choose a lower precision or a smaller model.",
        ) from error


def bytes_of(model: Any) -> int:
    """Bytes of all tensors that an object holds, however deep; shared ones count once."""
    storages: dict[int, int] = {}
    seen: set[int] = set()
    waiting = [model]
    while waiting:
        held = waiting.pop()
        if id(held) in seen or isinstance(held, _NOT_HELD):
            continue
        seen.add(id(held))
        if isinstance(held, Tensor):
            storage = held.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        else:
            waiting += gc.get_referents(held)
    return sum(storages.values())
