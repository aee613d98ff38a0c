"""Keeps the class table, the result box and the colours on the canvas as the result stands."""

from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer, Signal

from ...values.errors import PrelabelError, VocabularyError
from ...values.vocabulary import Class, Vocabulary, key
from ..layers.result import ResultLayer
from ..parts.pieces import sentence
from ..run.place_box import PlaceBox
from ..run.session import Session
from .class_table import ClassTable
from .result_box import ResultBox
from .vocabulary_box import VocabularyBox

RECOUNT_MS = 150


class Legend(QObject):
    """`failed` brings a sentence when a class cannot be painted with.

    dressed : gives a vocabulary the colours and descriptions that were chosen in the dock.
    """

    failed = Signal(str)

    def __init__(
        self,
        session: Session,
        place: PlaceBox,
        words: VocabularyBox,
        table: ClassTable,
        results: ResultBox,
        dressed: Callable[[Vocabulary], Vocabulary],
    ) -> None:
        # A child of the table: its timer must not outlive the window.
        super().__init__(table)
        self._session, self._place, self._words = session, place, words
        self._table, self._results, self._dressed = table, results, dressed
        self._recount = QTimer(self)
        self._recount.setSingleShot(True)
        self._recount.setInterval(RECOUNT_MS)
        self._recount.timeout.connect(self._count)
        session.painted.connect(self._recount.start)
        table.picked.connect(self._pick)
        table.refused.connect(self.failed)
        table.changed.connect(self._dress)
        results.blank.connect(self._blank)

    def stop(self) -> None:
        """Count no more, for a dock that is closed."""
        self._recount.stop()

    @property
    def _result(self) -> ResultLayer | None:
        return self._session.result(self._place.layer)

    def show(self, result: ResultLayer | None, changed: str | None = None) -> None:
        """Table, counts and what can be undone, as the result stands."""
        typed = list(self._words.vocabulary.classes) if self._words.vocabulary else []
        names = {key(c.name) for c in typed}
        known = result.annotation.vocabulary.classes if result is not None else ()
        counts = result.annotation.counts() if result is not None else {}
        kept = [c for c in known if key(c.name) not in names and counts[c.name]]
        canvas = {c.name: "#{:02x}{:02x}{:02x}".format(*c.rgb) for c in known if counts[c.name]}
        self._table.classes.set_classes(typed, kept, canvas)
        if result is None:
            self._results.show_state((0, 0), 0, changed)
            return
        self._dress()
        self._show_counts(result, changed)

    def _show_counts(self, result: ResultLayer, changed: str | None = None) -> None:
        notes = result.annotation
        self._table.classes.set_counts(notes.counts())
        runs = len(notes.history.runs), len(notes.history.undone_runs)
        self._results.show_state(runs, notes.human_pixels(), changed)

    def _count(self) -> None:
        result = self._result
        if result is not None:
            self._show_counts(result)

    def keep_threshold(self, result: ResultLayer) -> None:
        """A new result hides what the slider says."""
        if result.annotation.threshold != self._results.threshold:
            result.blank_below(self._results.threshold)

    def _blank(self, threshold: float) -> None:
        result = self._result
        if result is not None:
            result.blank_below(threshold)
            self._count()

    def _dress(self) -> None:
        """Colours and visibility of the classes, at once on the canvas."""
        result = self._result
        if result is not None:
            self.recolour(result)

    def recolour(self, result: ResultLayer) -> None:
        """Draw a result in the colours of the table."""
        names = {c.name for c in result.annotation.vocabulary.classes}
        colours = {n: c for n, c in self._table.classes.colours.items() if n in names}
        result.recolour(colours, self._table.classes.hidden)

    def _pick(self, name: str) -> None:
        """Paint with a class of the table from now on, whether a run has met it or not."""
        try:
            result = self.paintable(name)
        except PrelabelError as error:
            self.failed.emit(sentence(error))
            return
        found = result.annotation.vocabulary.find(name)
        if found is not None:
            result.layer.selected_label = found.id
            self._session.select(result)

    def paintable(self, name: str) -> ResultLayer:
        """A result layer that has a class of this name, empty before the first run."""
        result = self._result
        if result is not None and result.annotation.vocabulary.find(name):
            return result
        typed = self._words.vocabulary
        entry = typed.find(name) if typed is not None else None
        if typed is None or entry is None:
            raise VocabularyError("The words need a correction first.")
        if result is None:
            result = self._session.empty(self._place.source, self._dressed(typed))
        else:
            known = result.annotation.vocabulary
            fresh = Class(len(known.classes) + 1, name, colour=self._table.classes.colours[name])
            result.annotation.vocabulary = Vocabulary((*known.classes, fresh), known.background)
            result.dress()
        self.show(result)
        return result
