"""Tells what the image looks like: the words of a ready list that win pixels, base alone.

A run of its own on the encodings that are cached; it writes no labels, and the next Run ends it.
"""

from collections.abc import Callable
from dataclasses import replace

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from ...models.catalog import bundle_of, known_words
from ...values import presets
from ...values.errors import Cancelled, PrelabelError
from ...values.job import Job, Progress
from ...values.labels import LabelMap
from ...values.vocabulary import UNLABELLED, Vocabulary, key, typed
from ..layers.images import LayerSource
from ..models.models_box import ModelsBox
from ..parts.pieces import button, column, label, row, sentence
from ..run.place_box import PlaceBox
from ..run.runner import Plane, Runner
from ..run.session import Session, Task
from .method_box import MethodBox
from .vocabulary_box import VocabularyBox
from .words_menu import read_words, samples

LIST = "coco_stuff"
MOST, LEAST_SHARE = 8, 0.01


class Suggester(QWidget):
    """The row below the words: what the image looks like, and Add; hidden until it is asked.

    failed : a sentence when the question cannot be asked. held : whether it makes no sense.
    """

    failed = Signal(str)

    def __init__(
        self,
        session: Session,
        place: PlaceBox,
        words: VocabularyBox,
        models: ModelsBox,
        method: MethodBox,
    ) -> None:
        super().__init__()
        self._session, self._place, self._words = session, place, words
        self._models, self._method = models, method
        self._runner = Runner(session.runner.pool)
        self._batch = 0
        self._found: list[tuple[str, float]] = []
        self.held: Callable[[], bool] = lambda: False
        self.text = label(selectable=True)
        self.add = button("Add these words", "Put them below the words that are typed", self._add)
        self.close_button = button("Close", "Hide this; stops the looking", self.stop)
        rows = column(self, 0)
        rows.addWidget(self.text)
        rows.addLayout(row(self.add, self.close_button, stretch=0))
        self.hide()
        self._runner.progressed.connect(self._progressed)
        self._runner.arrived.connect(self._arrived)
        self._runner.ended.connect(self._ended)
        session.started.connect(lambda _: self.stop())
        session.ended.connect(self._run_ended)
        place.image_changed.connect(lambda _: self.stop())
        self.destroyed.connect(self._runner.cancel)

    # Asking

    def ask(self) -> None:
        """Look at the chosen part of the image with a ready list of words."""
        if self._session.running:
            self.failed.emit("Wait for the run, or cancel it, before asking for words.")
            return
        if self.held():
            return
        try:
            job, source = self._job(), self._place.source
            here = self._place.planes()[:1]
            self._models.check(job)
        except PrelabelError as error:
            self.failed.emit(sentence(error))
            return
        self._begin(job, source, here)

    def _job(self) -> Job:
        models = self._models.models.currentData()
        _ = self._place.source
        job = Job(ready_list(models), models=models, region=self._place.rectangle())
        return replace(self._method.apply(job), method="base", reference=None, min_score=0.0)

    def _begin(self, job: Job, source: LayerSource, planes: list[Plane]) -> None:
        self._found = []
        self._say("Looking what the image shows…")
        self._batch = self._runner.start(job, source.view, planes)

    def _run_ended(self, task: Task, error: Exception | None) -> None:
        """A run that found nothing asks by itself, where the words are few and quickly read."""
        nothing = task.done and not any(task.won.values()) and error is None
        here = task.source.layer is self._place.layer and not self._session.running
        if nothing and here and known_words(bundle_of(task.job.models).clip) is not None:
            self.ask()

    def stop(self) -> None:
        """Look no longer, and hide."""
        self._runner.cancel()
        self._batch = 0
        self.hide()

    # Answers

    def _progressed(self, batch: int, _: int, __: int, step: Progress) -> None:
        if batch == self._batch and step.total > 1:
            self._say(f"Looking what the image shows: {step.done + 1} of {step.total}…")

    def _arrived(self, batch: int, _: Plane, found: LabelMap) -> None:
        if batch == self._batch:
            self._found = winners(found)

    def _ended(self, batch: int, error: Exception | None) -> None:
        if batch != self._batch:
            return
        if error is not None:
            self.stop()
            if not isinstance(error, Cancelled):
                self.failed.emit(sentence(error))
            return
        listed = ", ".join(f"{name} {100 * share:.0f}%" for name, share in self._found)
        self._say(f"Of a ready list, the image looks most like: {listed}.")

    def _say(self, text: str) -> None:
        self.text.setText(text)
        self.add.setVisible(bool(self.fresh()))
        self.show()

    def fresh(self) -> list[str]:
        """Suggested words that are not typed yet."""
        there = self._words.vocabulary
        known = {key(w) for c in there.classes for w in c.queries} if there else set()
        known |= {key(w) for w in there.background} if there else set()
        return [name for name, _ in self._found if key(name) not in known]

    def _add(self) -> None:
        text = self._words.text.rstrip()
        self._words.set_text("\n".join(filter(None, [text, *map(typed, self.fresh())])))
        self.stop()


def ready_list(models: str) -> Vocabulary:
    """The words to compare an image with: those of COCO-Stuff, or all that a demo model knows."""
    known = known_words(bundle_of(models).clip)
    if known is None:
        return presets.load(LIST)
    for _, path in samples():
        return Vocabulary.parse(read_words(path).text)
    return Vocabulary.parse("\n".join(known))


def winners(found: LabelMap) -> list[tuple[str, float]]:
    """Words with at least 1% of the pixels and their shares, the largest first, at most eight."""
    size = max(1, found.ids.size)
    shares = {i: n / size for i, n in found.counts().items() if i != UNLABELLED}
    names = {c.id: c.name for c in found.vocabulary.classes}
    order = sorted((i for i in shares if shares[i] >= LEAST_SHARE), key=lambda i: -shares[i])
    return [(names[i], shares[i]) for i in order[:MOST]]
