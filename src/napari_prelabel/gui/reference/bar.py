"""What is going on, the button that matters and Cancel; stays in view below the rest."""

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QProgressBar, QSizePolicy, QWidget

from ...values.job import Progress
from ..parts.pieces import NoticeArea, Tone, button, column, label, pressed_row
from ..parts.progress import Clock, time_left, told


class WorkBar(QWidget):
    """`main` and `cancel` when pressed."""

    main = Signal()
    cancel = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.button = button("", "", self.main.emit, "main")
        self.cancel_button = button("Cancel", "Stop; the set stays as it is", self.cancel.emit)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.stage = label()
        self._area = NoticeArea()
        self.notices = self._area.notices
        rows = column(self)
        # What grows stands above what is pressed: the buttons never move.
        for grows in (self._area, self.stage, self.bar):
            rows.addWidget(grows)
        rows.addLayout(pressed_row(self.button, self.cancel_button))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._clock = Clock()
        self._usable = True
        self.idle("")

    def offer(self, text: str, tip: str, usable: bool) -> None:
        """What the button does now."""
        self.button.setText(text)
        self.button.setToolTip(tip)
        self._usable = usable
        self.button.setEnabled(usable and self.bar.isHidden())

    def busy(self, text: str) -> None:
        """Work has begun."""
        self.bar.setRange(0, 0)
        self.bar.show()
        self.button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self._tell(text)
        self.say()

    def idle(self, text: str) -> None:
        """No work is under way; `text` says how the last ended."""
        self.bar.hide()
        self.button.setEnabled(self._usable)
        self.cancel_button.setEnabled(False)
        self._tell(text)

    def progress(self, step: Progress) -> None:
        """One step of the work."""
        step = self._clock.timed(step)
        self.bar.setRange(0, max(step.total, 0) if step.total > 1 else 0)
        self.bar.setValue(step.done)
        text = told(step)
        if step.message:
            text += f": {step.message}"
        self._tell(text + time_left(step.seconds_left))

    def _tell(self, text: str) -> None:
        self.stage.setText(text)
        self.stage.setVisible(bool(text))

    def say(self, *notices: tuple[Tone, str]) -> None:
        """Replace the sentences."""
        self._area.say(*notices)

    def resizeEvent(self, event: Any) -> None:
        """Narrower sentences are higher ones."""
        super().resizeEvent(event)
        self._area.fit()
