"""What happens between Run and the layer: one task at a time, its answers in order, its end."""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from weakref import ref

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QObject, QTimer, Signal

from ..errors import Cancelled, PrelabelError
from ..job import Job, Progress
from ..labels import LabelMap
from .annotation import Step
from .images import Source, placement
from .result import METADATA, ResultLayer, dtype_for
from .runner import Plane, Runner

RETRY_MS = 40
SUFFIX = " [prelabel]"


@dataclass(slots=True, eq=False)
class Task:
    """One press of Run: the job, where it goes, what has come back so far."""

    number: int
    job: Job
    source: Source
    planes: int
    locked: frozenset[str]
    overwrite: bool
    step: Step | None = None
    first: bool = True
    done: int = 0
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)
    won: Counter[str] = field(default_factory=Counter)
    notices: list[str] = field(default_factory=list)
    last: LabelMap | None = None


class Session(QObject):
    """Runs jobs and shows their answers.

    started(Task), progressed(number, planes, Progress), shown(ResultLayer, Task) after every
    answer, ended(Task, error or None), painted() when the person changed pixels.
    """

    started = Signal(object)
    progressed = Signal(int, int, object)
    shown = Signal(object, object)
    ended = Signal(object, object)
    painted = Signal()

    def __init__(self, viewer: Any, runner: Runner | None = None) -> None:
        super().__init__()
        self._viewer = viewer
        self.runner = runner or Runner()
        self.task: Task | None = None
        self._results: list[tuple[ref[Image], ref[Labels]]] = []
        self._inbox: deque[Callable[[], None]] = deque()
        self._retry = QTimer(self)
        self._retry.setSingleShot(True)
        self._retry.setInterval(RETRY_MS)
        self._retry.timeout.connect(self._drain)
        self.runner.progressed.connect(self._progressed)
        self.runner.arrived.connect(self._arrived)
        self.runner.ended.connect(self._ended)

    @property
    def running(self) -> bool:
        return self.task is not None

    def result(self, image: Image | None) -> ResultLayer | None:
        """The result layer of an image, if it is still in the viewer."""
        for known, labels in self._results:
            layer = labels()
            if known() is image and layer is not None and layer in self._viewer.layers:
                return ResultLayer.of(layer)
        return None

    # The task

    def start(
        self,
        job: Job,
        source: Source,
        planes: list[Plane],
        locked: frozenset[str] = frozenset(),
        overwrite: bool = False,
    ) -> None:
        """Run a job on planes; an older task ends first, with what it has."""
        if self.task is not None:
            self._close(Cancelled())
        number = self.runner.start(job, source.plane, planes)
        self.task = Task(number, job, source, len(planes), locked, overwrite)
        self.started.emit(self.task)

    def cancel(self) -> None:
        """Stop; slices that are done stay."""
        self.runner.cancel()

    def _progressed(self, batch: int, number: int, planes: int, step: Progress) -> None:
        if self.task is not None and batch == self.task.number:
            self.progressed.emit(number, planes, step)

    def _arrived(self, batch: int, plane: Plane, found: LabelMap) -> None:
        self._inbox.append(lambda: self._show(batch, plane, found))
        self._drain()

    def _ended(self, batch: int, error: Exception | None) -> None:
        self._inbox.append(lambda: self._end(batch, error))
        self._drain()

    def _drain(self) -> None:
        """Handle what has come, but never in the middle of a stroke."""
        while self._inbox:
            if self.task is not None:
                result = self.result(self.task.source.layer)
                if result is not None and result.drawing:
                    self._retry.start()
                    return
            self._inbox.popleft()()

    def _show(self, batch: int, plane: Plane, found: LabelMap) -> None:
        task = self.task
        if task is None or batch != task.number or task.source.layer not in self._viewer.layers:
            return
        result = self.result(task.source.layer)
        if result is not None and result.layer.data.shape != task.source.shape:
            result = None
        task.first = task.first and result is None
        if result is None:
            result = self._new_layer(task)
        if task.step is None:
            task.step = result.annotation.begin()
        changed = result.put(task.step, found, plane, locked=task.locked, overwrite=task.overwrite)
        _note(task, result, found, changed)
        self.shown.emit(result, task)

    def _new_layer(self, task: Task) -> ResultLayer:
        image = task.source.layer
        layer = Labels(
            np.zeros(task.source.shape, dtype_for(task.job.vocabulary)),
            name=f"{image.name}{SUFFIX}",
            opacity=0.6,
            **placement(task.source),
        )
        result = ResultLayer(layer, task.job.vocabulary)
        result.on_change = self.painted.emit
        self._results.append((ref(image), ref(layer)))
        self._viewer.add_layer(layer)
        return result

    def _end(self, batch: int, error: Exception | None) -> None:
        if self.task is not None and batch == self.task.number:
            self._close(error)

    def _close(self, error: Exception | None) -> None:
        task, self.task = self.task, None
        assert task is not None
        result = self.result(task.source.layer)
        if result is not None and task.step is not None and task.last is not None:
            result.finish(task.step, task.job.to_dict(), task.last.provenance)
            result.layer.metadata[METADATA]["image"] = task.source.layer.name
        self.ended.emit(task, error)


def _note(
    task: Task, result: ResultLayer, found: LabelMap, changed: dict[tuple[int, int], int]
) -> None:
    """Keep what the summary after the run needs."""
    names = {c.id: c.name for c in result.annotation.vocabulary.classes}
    task.done += 1
    task.last = found
    for (old, new), pixels in changed.items():
        task.changed[names.get(old, ""), names.get(new, "")] += pixels
    for class_id, pixels in found.counts().items():
        if class_id:
            task.won[names.get(class_id, "")] += pixels
    task.notices += [n for n in found.notices if n not in task.notices]


def summary(task: Task, error: Exception | None) -> list[tuple[str, str]]:
    """What to say after a run, as (tone, sentence)."""
    said: list[tuple[str, str]] = []
    if error is not None:
        said.append(_why(task, error))
    said += [("warning", notice) for notice in task.notices]
    if task.done and error is None:
        losers = [n for n in task.job.vocabulary.names if not task.won[n]]
        if len(losers) == len(task.job.vocabulary.names):
            said.append(
                (
                    "warning",
                    "Nothing was found: no pixel took any of the words. Try other words, fewer "
                    "background words, or a lower least score.",
                )
            )
        elif losers:
            said.append(("info", f"No pixel took: {_listed(losers)}."))
    return said


def _why(task: Task, error: Exception) -> tuple[str, str]:
    if isinstance(error, Cancelled):
        if task.done:
            return "info", f"Cancelled after {task.done} of {task.planes} slices, which stay."
        return "info", str(error)
    if isinstance(error, PrelabelError):
        return "failed", str(error)
    return "failed", f"The run failed: {error}. Nothing was changed; please report this."


def changed_text(task: Task) -> str:
    """What differs from the run before, the largest changes first."""
    total = sum(task.changed.values())
    if task.first or not task.done:
        return ""
    if not total:
        return "Nothing changed against the run before."
    lines = [f"{total:,} pixels changed against the run before:"]
    for (old, new), pixels in task.changed.most_common(5):
        lines.append(f"{old or 'unlabelled'} → {new or 'unlabelled'}   {pixels:,}")
    if len(task.changed) > 5:
        lines.append(f"and {len(task.changed) - 5} smaller changes")
    return "\n".join(lines)


def _listed(words: list[str], most: int = 10) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
