"""What happens between Run and the layer: one task at a time, its answers in order, its end."""

import math
import time
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any

from napari.layers import Image, Labels
from qtpy.QtCore import QObject, QTimer, Signal

from ...annotation.blank import blank
from ...annotation.history import Step
from ...annotation.strips import strips_of
from ...annotation.tally import histogram
from ...values.errors import Cancelled, ImageError, PrelabelError, RunFailed, WorkerDied
from ...values.faults import sentence_of
from ...values.job import Job, Progress
from ...values.labels import Ids, LabelMap
from ...values.vocabulary import Vocabulary
from ..layers.images import LayerSource, placement
from ..layers.lying import belongs
from ..layers.result import SHARE_S, ResultLayer, dtype_for
from ..parts.pieces import Tone, counted
from .runner import Plane, Runner

RETRY_MS = 40
SUFFIX = " [prelabel]"
_turns = count(1)


@dataclass(slots=True, eq=False)
class Task:
    """One press of Run: the job, where it goes, what has come back so far.

    pixels : the image's array and how its values are shown, at the start.
    asked : the person, or a newer run of this dock, wished its end.
    finished : planes that are done, those of an earlier press that this one goes on from included.
    missed : planes that cannot be labelled, by the sentence that says why.
    """

    number: int
    job: Job
    source: LayerSource
    planes: int
    locked: frozenset[str]
    overwrite: bool
    pixels: tuple[Any, ...]
    result: ResultLayer | None = None
    step: Step | None = None
    first: bool = True
    asked: bool = False
    finished: set[Plane] = field(default_factory=set)
    changed: Counter[tuple[str, str]] = field(default_factory=Counter)
    won: Counter[str] = field(default_factory=Counter)
    notices: list[str] = field(default_factory=list)
    missed: dict[str, list[Plane]] = field(default_factory=dict)
    last: LabelMap | None = None

    @property
    def done(self) -> int:
        """How many planes are done."""
        return len(self.finished)

    def goes_on_from(self, other: "Task", planes: Collection[Plane]) -> bool:
        """Whether this asks for nothing but what another task has left undone."""
        return (
            self.job.digest == other.job.digest
            and self.source == other.source
            and self.pixels[0] is other.pixels[0]
            and self.pixels[1:] == other.pixels[1:]
            and (self.locked, self.overwrite) == (other.locked, other.overwrite)
            and other.finished < set(planes)
        )


class Session(QObject):
    """Runs jobs and shows their answers.

    started(Task), progressed(number, planes, Progress), shown(ResultLayer, Task) after every
    answer, ended(Task, error or None), painted() when the person changed pixels, walked(sentence)
    when an undo or redo of strokes met a run. It holds no list of results: they belong to their
    layers, so another session finds them, too.
    """

    started = Signal(object)
    progressed = Signal(int, int, object)
    shown = Signal(object, object)
    ended = Signal(object, object)
    painted = Signal()
    walked = Signal(str)

    def __init__(self, viewer: Any, runner: Runner | None = None) -> None:
        super().__init__()
        self._viewer = viewer
        self.runner = runner or Runner()
        self.task: Task | None = None
        # The task whose answer is put in part: it is put whole, whatever ends the task meanwhile.
        self._half: Task | None = None
        self._inbox: deque[Callable[[], None]] = deque()
        self._retry = QTimer(self)
        self._retry.setSingleShot(True)
        self._retry.setInterval(RETRY_MS)
        self._retry.timeout.connect(self._drain)
        self.runner.progressed.connect(self._progressed)
        self.runner.arrived.connect(self._arrived)
        self.runner.missed.connect(self._missed)
        self.runner.ended.connect(self._ended)
        viewer.layers.events.removed.connect(self._removed)

    @property
    def running(self) -> bool:
        return self.task is not None

    def result(self, image: Image | None) -> ResultLayer | None:
        """The result of an image that was run last, else labels that were opened for it."""
        if image is None:
            return None
        known = [r for r in self.results() if r.image() is image]
        result = max(known, key=lambda r: r.turn) if known else self._adopted(image)
        if result is not None:
            self._listen(result)
        return result

    def _listen(self, result: ResultLayer) -> None:
        result.listeners.add(self._told)
        result.walked.add(self._walked)

    def results(self) -> list[ResultLayer]:
        """Every result in the viewer, in the order of its layers."""
        layers = [x for x in self._viewer.layers if isinstance(x, Labels)]
        return [result for layer in layers if (result := ResultLayer.of(layer)) is not None]

    def _adopted(self, image: Image) -> ResultLayer | None:
        for layer in reversed(self._viewer.layers):
            if isinstance(layer, Labels) and belongs(layer, image, self._viewer.layers):
                try:
                    return ResultLayer.adopt(layer, image)
                except PrelabelError:
                    continue
        return None

    def take_over(self, result: ResultLayer) -> None:
        """Make labels that lay there those of their image: the next run goes into them."""
        result.turn = next(_turns)
        self._listen(result)
        self.painted.emit()

    def _told(self) -> None:
        self.painted.emit()

    def _walked(self, text: str) -> None:
        self._viewer.status = text
        self.walked.emit(text)

    def select(self, result: ResultLayer) -> None:
        """Make a result the layer that the brush works on."""
        self._viewer.layers.selection.active = result.layer

    # The task

    def start(
        self,
        job: Job,
        source: LayerSource,
        planes: list[Plane],
        locked: frozenset[str] = frozenset(),
        overwrite: bool = False,
    ) -> None:
        """Run a job on planes; an older task ends first, with what it has."""
        self._stop(Cancelled())
        layer = source.layer
        pixels = (layer.data, tuple(layer.contrast_limits), layer.gamma)
        task = Task(0, job, source, len(planes), locked, overwrite, pixels)
        result = self.result(source.layer)
        left = result.unfinished if result is not None else None
        if result is not None and left is not None and self._can_go_on(result, left, task, planes):
            task = replace(left, asked=False)
        rest = [plane for plane in planes if plane not in task.finished]
        task.number = self.runner.start(job, source.view, rest)
        self.task = task
        self.started.emit(self.task)

    def _can_go_on(self, result: ResultLayer, left: Task, task: Task, planes: list[Plane]) -> bool:
        """Whether slices that an earlier run has done can stay, undone with the rest."""
        last = left.step is not None and result.annotation.is_last_run(left.step)
        return last and left.result is result and task.goes_on_from(left, planes)

    def cancel(self) -> None:
        """Stop; slices that are done stay."""
        if self.task is not None:
            self.task.asked = True
        self.runner.cancel()

    def undo_run(self, image: Image | None) -> bool:
        """Take the last run on an image back; one under way ends first, with what it has.

        False when there is none, or in the middle of a stroke.
        """
        result = self.result(image)
        if result is None or result.drawing:
            return False
        if self.task is not None and self.task.source.layer is image:
            self._stop(Cancelled())
        return result.undo_run()

    def redo_run(self, image: Image | None) -> bool:
        """Bring back the run on an image that was undone last.

        False when there is none, while a run is under way, or in the middle of a stroke.
        """
        result = self.result(image)
        under_way = self.task is not None and self.task.source.layer is image
        return result is not None and not under_way and result.redo_run()

    def leave(self) -> None:
        """End the run and listen no more, for a dock that is closed; the layers stay."""
        self._stop(Cancelled())
        self._viewer.layers.events.removed.disconnect(self._removed)
        for result in self.results():
            result.listeners.discard(self._told)
            result.walked.discard(self._walked)

    def _stop(self, error: Exception) -> None:
        """Give the task up now; what it has is finished as soon as no stroke is under way."""
        task, self.task = self.task, None
        if task is None:
            return
        task.asked = True
        self.runner.cancel()
        self._inbox.append(lambda: self._close(task, error))
        self.complete()

    def _removed(self, event: Any) -> None:
        if self.task is not None and event.value is self.task.source.layer:
            name = event.value.name
            self._stop(ImageError(f"The image {name!r} was removed, so its run was ended."))

    def _progressed(self, batch: int, number: int, planes: int, step: Progress) -> None:
        if self.task is not None and batch == self.task.number:
            self.progressed.emit(self.task.planes - planes + number, self.task.planes, step)

    def _arrived(self, batch: int, plane: Plane, found: LabelMap) -> None:
        parts = _strips(found)
        for part in parts:
            whole = found if part is parts[-1] else None
            self._inbox.append(partial(self._show, batch, plane, part, whole))
        self._drain()

    def _missed(self, batch: int, plane: Plane, error: Exception) -> None:
        if self.task is not None and batch == self.task.number:
            self.task.missed.setdefault(sentence_of(error), []).append(plane)

    def _ended(self, batch: int, error: Exception | None) -> None:
        self._inbox.append(lambda: self._end(batch, error))
        self._drain()

    def complete(self) -> None:
        """Show all that has come, now; in the middle of a stroke, after it."""
        self._drain(math.inf)

    def _drain(self, share_s: float = SHARE_S) -> None:
        """Handle what has come, large answers in parts, but nothing in the middle of a stroke."""
        end = time.perf_counter() + share_s
        while self._inbox:
            if any(result.drawing for result in self.results()):
                self._retry.start()
                return
            self._inbox.popleft()()
            if self._half is not None and time.perf_counter() > end:
                QTimer.singleShot(0, self, self._drain)
                return

    def _show(
        self, batch: int, plane: Plane, found: LabelMap, whole: LabelMap | None = None
    ) -> None:
        """Put an answer or a strip of it; the `whole` comes with the last strip."""
        task = self._half or self.task
        if task is None or batch != task.number:
            return
        begun, self._half = self._half is not None, task if whole is None else None
        if begun and (task.result is None or task.result.layer not in self._viewer.layers):
            return
        result = self._result_of(task)
        if task.step is None:
            task.step = result.annotation.begin()
        changed = result.put(
            task.step, found, plane, more=whole is None, locked=task.locked,
            overwrite=task.overwrite,
        )  # fmt: skip
        _note(task, result, found, changed, whole)
        if whole is not None:
            task.finished.add(plane)
            self.shown.emit(result, task)

    def _result_of(self, task: Task) -> ResultLayer:
        """The layer a task writes into, the same for all its answers while it is there."""
        if task.result is not None and task.result.layer in self._viewer.layers:
            return task.result
        image, source = task.source.layer, task.source
        place = (source.level, source.channel_axis)
        self.result(image)  # takes over labels that were opened for the image
        known = [
            r for r in self.results()
            if r.image() is image and r.layer.data.shape == source.shape
            and r.place in (place, None)
        ]  # fmt: skip
        task.first = task.first and not known
        task.step = None
        task.result = (
            max(known, key=lambda r: r.turn) if known else self.empty(source, task.job.vocabulary)
        )
        task.result.place, task.result.source = place, source
        task.result.turn = next(_turns)
        return task.result

    def empty(self, source: LayerSource, vocabulary: Vocabulary, *held: Ids) -> ResultLayer:
        """A new result layer without labels, to be painted into or filled by a run.

        held : ids that it is to hold, with others than those of the classes among them.
        """
        image = source.layer
        layer = Labels(
            blank(source.shape, dtype_for(vocabulary, *held)),
            name=f"{image.name}{SUFFIX}",
            opacity=0.6,
            **placement(source),
        )
        result = ResultLayer(layer, vocabulary, image, owner=None)
        self._listen(result)
        chosen = self._viewer.layers.selection.active
        self._viewer.add_layer(layer)
        if _on_another(chosen, image):
            self._viewer.layers.selection.active = chosen
        return result

    def _end(self, batch: int, error: Exception | None) -> None:
        if self.task is not None and batch == self.task.number:
            task, self.task = self.task, None
            self._close(task, error)

    def _close(self, task: Task, error: Exception | None) -> None:
        result = task.result
        if result is not None and task.step is not None and task.last is not None:
            result.finish(task.step, task.job.to_dict(), task.last.record)
            result.unfinished = task if error is not None and task.done < task.planes else None
        self.ended.emit(task, error)


def _on_another(layer: Any, image: Image) -> bool:
    """Whether a person works on another image meanwhile, whose layers must stay selected."""
    result = ResultLayer.of(layer) if isinstance(layer, Labels) else None
    theirs = result.image() if result is not None else layer
    return isinstance(theirs, Image) and theirs is not image


def _strips(found: LabelMap) -> list[LabelMap]:
    """An answer in parts that are put one by one; itself where it is small."""
    height, width = found.ids.shape
    y, x = found.origin
    rows = strips_of(height, width)
    if len(rows) == 1:
        return [found]
    return [
        replace(found, ids=found.ids[r], score=found.score[r], runner_up=found.runner_up[r],
                origin=(y + r.start, x))
        for r in rows
    ]  # fmt: skip


def _note(
    task: Task,
    result: ResultLayer,
    found: LabelMap,
    changed: dict[tuple[str, str], int],
    whole: LabelMap | None,
) -> None:
    """Keep what the summary after the run needs."""
    names = {c.id: c.name for c in result.annotation.vocabulary.classes}
    if whole is not None:
        task.last = whole
    task.changed.update(changed)
    counts = histogram(found.ids)
    for class_id, name in names.items():
        task.won[name] += int(counts[class_id])
    task.notices += [n for n in found.notices if n not in task.notices]


def summary(task: Task, error: Exception | None) -> list[tuple[Tone, str]]:
    """What to say after a run, as (tone, sentence)."""
    said: list[tuple[Tone, str]] = []
    if error is not None:
        said.append(_why(task, error))
    said += [("failed", _left_out(why, planes)) for why, planes in task.missed.items()]
    said += [("warning", notice) for notice in task.notices]
    if task.done and error is None:
        losers = [n for n in task.job.vocabulary.names if not task.won[n]]
        if len(losers) == len(task.job.vocabulary.names):
            said.append(
                (
                    "warning",
                    "Nothing was found: no pixel took any of the words. Lists > Suggest words "
                    "says what the image looks like; fewer background words help, too.",
                )
            )
        elif losers:
            said.append(("info", f"No pixel took: {_listed(losers)}."))
    return said


def _why(task: Task, error: Exception) -> tuple[Tone, str]:
    if isinstance(error, Cancelled):
        if not task.asked:
            ended = "Another run took the worker over, so this one ended."
            return "failed", f"{ended}{_done(task)} Press Run to go on."
        if task.done:
            done = f"Cancelled after {task.done} of {task.planes} slices, which stay."
            return "info", f"{done} Press Run to go on."
        return "info", str(error)
    if task.done:
        return "failed", f"{_cause(error)}{_done(task)} Press Run to go on."
    if isinstance(error, PrelabelError):
        return "failed", str(error)
    return "failed", f"The run failed: {error}. Nothing was changed; please report this."


def _left_out(why: str, planes: list[Plane]) -> str:
    """Which slices were not labelled, called as napari's sliders count them."""
    listed = _listed([", ".join(map(str, plane)) for plane in planes], 5)
    return f"Not labelled, slice{'s' * (len(planes) > 1)} {listed}: {why}"


def _cause(error: Exception) -> str:
    """Why a run ended; unlike the error's own sentence it does not speak of what was changed."""
    if isinstance(error, WorkerDied):
        return error.event
    if isinstance(error, RunFailed):
        return f"The run failed ({error.cause}); please report it with its details."
    if isinstance(error, PrelabelError):
        return str(error)
    return f"The run failed: {error}; please report this."


def _done(task: Task) -> str:
    return f" {task.done} of {task.planes} slices were done before and stay." if task.done else ""


def changed_text(task: Task) -> str:
    """What differs from the run before, the largest changes first."""
    total = sum(task.changed.values())
    if task.first or not task.done:
        return ""
    if not total:
        return "Nothing changed against the run before."
    lines = [f"{counted(total, 'pixel')} changed against the run before:"]
    for (old, new), pixels in task.changed.most_common(5):
        lines.append(f"{old or 'unlabelled'} → {new or 'unlabelled'}   {pixels:,}")
    if len(task.changed) > 5:
        lines.append(f"and {len(task.changed) - 5} smaller changes")
    return "\n".join(lines)


def _listed(words: list[str], most: int = 10) -> str:
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more
