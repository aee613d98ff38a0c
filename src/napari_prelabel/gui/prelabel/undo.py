"""Undo and redo of runs, by button and key, and what is said when Ctrl+Z meets one."""

from qtpy.QtCore import QObject

from ..run.place_box import PlaceBox
from ..run.run_bar import RunBar
from ..run.session import Session
from .legend import Legend
from .result_box import ResultBox


class Undo(QObject):
    """Takes runs on the chosen image back and brings them again; says what became of it."""

    def __init__(
        self, session: Session, place: PlaceBox, results: ResultBox, legend: Legend, bar: RunBar
    ) -> None:
        super().__init__(results)
        self._session, self._place, self._legend, self._bar = session, place, legend, bar
        session.walked.connect(self._walked)
        results.undo.connect(self.undo)
        results.redo.connect(self.redo)

    def undo(self) -> None:
        """Take the last run on the chosen image back, in one step."""
        if self._drawing():
            self._bar.say(("info", "Finish the stroke first, then undo the run."))
        elif self._session.undo_run(self._place.layer):
            self._walked("The last run was undone.")
        else:
            self._bar.say(("info", "There is no run to undo on this image."))

    def redo(self) -> None:
        """Bring back the run that was undone last."""
        if self._drawing():
            self._bar.say(("info", "Finish the stroke first, then redo the run."))
        elif self._session.redo_run(self._place.layer):
            self._walked("The run that was undone is back.")
        else:
            self._bar.say(("info", "There is no undone run to bring back on this image."))

    def _drawing(self) -> bool:
        result = self._session.result(self._place.layer)
        return result is not None and result.drawing

    def _walked(self, told: str) -> None:
        """Table and counts as the result stands now; what was said of it before is over."""
        self._legend.show(self._session.result(self._place.layer), told)
        self._bar.say()
        if not self._session.running:
            self._bar.idle("")
