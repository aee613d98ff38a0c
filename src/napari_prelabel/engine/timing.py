"""Where the seconds of a run went."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class StageTime:
    """Seconds of a stage; `forward` tells the passes through CLIP from what stands around them."""

    name: str
    seconds: float
    forward: bool


class Stopwatch:
    """Adds up the seconds of stages by their names, in the order of their first start."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stages: dict[str, StageTime] = {}

    @contextmanager
    def time(self, name: str, *, forward: bool = False) -> Iterator[None]:
        """Count the block towards a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            before = self._stages.get(name)
            seconds = time.perf_counter() - start + (before.seconds if before else 0.0)
            self._stages[name] = StageTime(name, seconds, forward)

    @property
    def stages(self) -> list[StageTime]:
        return list(self._stages.values())
