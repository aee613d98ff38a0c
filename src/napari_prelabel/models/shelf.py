"""ModelShelf: loaded models of all kinds, as memory allows; the least recently used leaves."""

import gc
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

import psutil
import torch

from .memory import bytes_of, is_out_of_memory, memory_told

_Model = TypeVar("_Model")


class ModelShelf:
    """Keeps models by a key, and counts what their tensors take. Not for several threads.

    room : bytes that all may take together; the newest stays whatever it takes. None is half of
        what the device has.
    left : called after models left, to let go of what else refers to them.
    """

    def __init__(
        self,
        device: torch.device,
        room: int | None = None,
        left: Callable[[], None] = lambda: None,
    ) -> None:
        self.room = _memory(device) // 2 if room is None else room
        self._device, self._left = device, left
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._used: set[Hashable] = set()

    @property
    def bytes(self) -> int:
        """What all models take together."""
        return sum(size for _, size in self._kept.values())

    def take(self, key: Hashable, name: str, load: Callable[[], _Model]) -> _Model:
        """The model of a key, loaded if it is not here. Where memory does not suffice, the least
        recently used ones leave, one before each further try.

        Raises what `load` raises, and ModelError when there is too little memory for it alone.
        """
        if key not in self._kept:
            with memory_told(name, self._device):
                model = self._loaded(load)
            self._kept[key] = model, bytes_of(model)
        self._kept.move_to_end(key)
        self._used.add(key)
        while self.bytes > self.room and len(self._kept) > 1:
            self._let_go(next(iter(self._kept)))
        return cast(_Model, self._kept[key][0])

    def begin(self) -> None:
        """From now on a model counts as used once it is taken."""
        self._used.clear()

    def let_go_unused(self) -> bool:
        """Let models go that were not taken since `begin`; whether there were any."""
        unused = [key for key in self._kept if key not in self._used]
        for key in unused:
            self._let_go(key)
        return bool(unused)

    def _loaded(self, load: Callable[[], _Model]) -> _Model:
        while True:
            try:
                return load()
            except Exception as error:
                if not self._kept or not is_out_of_memory(error):
                    raise
            # Out of the handler: its error held what had been loaded until then.
            self._let_go(next(iter(self._kept)))

    def _let_go(self, key: Hashable) -> None:
        del self._kept[key]
        self._left()
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()


def _memory(device: torch.device) -> int:
    """Bytes of memory of a device."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return int(psutil.virtual_memory().total)
