"""What is going on, live, Run and Cancel; stays in view below the settings."""

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QProgressBar, QSizePolicy, QWidget

from ...values.job import Progress
from ..keys import pressed
from ..parts.pieces import NoticeArea, Tone, Way, button, column, label, pressed_row
from ..parts.progress import RunClock, time_left, told, within


class RunBar(QWidget):
    """`run`, `cancel` when pressed; `live` when ticked or unticked."""

    run = Signal()
    cancel = Signal()
    live = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        tip = f"Label the image from the words ({pressed('run')})\nAll keys: {pressed('keys')}"
        self.run_button = button("Run", tip, self.run.emit, "main")
        self.cancel_button = button(
            "Cancel", "Stop at the next window; slices that are done stay", self.cancel.emit
        )
        self.live_box = QCheckBox("Live: follow the words as I type")
        self.live_box.setToolTip(
            "A changed word runs by itself. The image is looked at only once, so this is quick."
        )
        self.live_box.toggled.connect(self.live)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setRange(0, 1000)
        self.stage = label()
        self.device = label(role="muted")
        self._area = NoticeArea()
        self.notices = self._area.notices
        rows = column(self)
        # What grows stands above what is pressed: Run and Cancel never move.
        for grows in (self._area, self.stage, self.device, self.bar):
            rows.addWidget(grows)
        rows.addWidget(self.live_box)
        rows.addLayout(pressed_row(self.run_button, self.cancel_button))
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._clock = RunClock()
        self._passing = ("", "")
        self.device.hide()
        self.say()
        self.idle("")

    def say(self, *notices: tuple[Tone, str]) -> None:
        """Replace the sentences."""
        self._area.say(*notices)

    def ask(self, tone: Tone, text: str, *ways: Way) -> None:
        """Replace the sentences by one with buttons: (text, tip, what it does)."""
        self._area.ask(tone, text, *ways)

    def add(self, tone: Tone, text: str) -> None:
        """Say one sentence more."""
        self._area.add(tone, text)

    def say_until(self, cause: str, tone: Tone, text: str) -> None:
        """Replace the sentences by one that is true until something happens; see `over`."""
        self._area.say((tone, text))
        self._passing = (cause, text)

    def follow(self, cause: str, *signals: Any) -> None:
        """What happens when one of these signals comes."""
        for signal in signals:
            signal.connect(lambda *_: self.over(cause))

    def over(self, cause: str) -> None:
        """It happened: what was said until then is taken away."""
        if self._passing[0] == cause and self.notices.texts == [self._passing[1]]:
            self.say()

    def resizeEvent(self, event: Any) -> None:
        """Narrower sentences are higher ones."""
        super().resizeEvent(event)
        self._area.fit()

    def busy(self) -> None:
        """A run has begun."""
        self._clock = RunClock()
        self.run_button.setText("Running…")
        self.run_button.setEnabled(False)
        self.cancel_button.setEnabled(True)
        self.bar.setVisible(True)
        self.bar.setValue(0)
        self.stage.setText("Starting…")
        self.stage.setVisible(True)
        self.say()

    def idle(self, text: str) -> None:
        """No run is under way; `text` says how the last one ended."""
        self.run_button.setText("Run")
        self.run_button.setEnabled(True)
        self.cancel_button.setEnabled(False)
        self.bar.setVisible(False)
        self.stage.setText(text)
        self.stage.setVisible(bool(text))

    def show_device(self, device: str, memory: int, trouble: str = "") -> None:
        """Where the worker computes, the bytes of memory it holds, and what it suffers from."""
        parts = [device] if device else []
        if memory:
            parts.append(f"{memory / 1e9:.1f} GB in use")
        self.device.setText("Worker: " + ", ".join(parts) if parts else "")
        self.device.setToolTip(trouble)
        self.device.setVisible(bool(parts))

    def progress(self, number: int, planes: int, step: Progress) -> None:
        """One step of plane `number` of `planes`."""
        self.bar.setValue(round(1000 * (number + within(step)) / planes))
        text = step.message or told(step)
        if planes > 1:
            text = f"Slice {number + 1} of {planes}: {text[:1].lower()}{text[1:]}"
        self.stage.setText(text + time_left(self._clock.left(number, planes, step)))
