"""What is going on, live, Run and Cancel; stays in view below the settings."""

import time
from dataclasses import replace
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QProgressBar, QSizePolicy, QWidget

from ..job import Progress
from .keys import pressed
from .parts import NoticeArea, Tone, Way, button, column, label, pressed_row

STAGES = {
    "models": "Loading the models",
    "text": "Reading the words",
    "encode": "Looking at the image: window",
    "score": "Comparing with the words: window",
    "purify": "Cleaning up: window",
    "diffusion": "Looking at the image with the diffusion model",
    "walk": "Following outlines",
    "segment": "Cutting the image into segments",
    "retrieve": "Comparing with the reference set",
    "learn": "Learning from image",
    "evaluate": "Checking: step",
    "decide": "Deciding",
}
# Where in the bar each stage begins and ends, in per mille.
SHARES = {
    "models": (0, 50),
    "text": (50, 100),
    "encode": (100, 600),
    "score": (600, 700),
    "purify": (700, 970),
    "diffusion": (600, 800),
    "walk": (800, 970),
    "segment": (100, 300),
    "retrieve": (600, 970),
    "learn": (50, 1000),
    "evaluate": (50, 1000),
    "decide": (970, 1000),
}


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
        self._clock = Clock()
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

    def resizeEvent(self, event: Any) -> None:
        """Narrower sentences are higher ones."""
        super().resizeEvent(event)
        self._area.fit()

    def busy(self) -> None:
        """A run has begun."""
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

    def show_device(self, device: str, memory: int) -> None:
        """Where the worker computes and how much memory it holds, in bytes."""
        parts = [device] if device else []
        if memory:
            parts.append(f"{memory / 1e9:.1f} GB in use")
        self.device.setText("Worker: " + ", ".join(parts) if parts else "")
        self.device.setVisible(bool(parts))

    def progress(self, number: int, planes: int, step: Progress) -> None:
        """One step of plane `number` of `planes`."""
        step = self._clock.timed(number, step)
        low, high = SHARES[step.stage]
        within = low + (high - low) * (step.done / step.total if step.total else 0)
        self.bar.setValue(round((1000 * number + within) / planes))
        self.stage.setText(_sentence(number, planes, step))


class Clock:
    """Tells how long a stage still takes where the engine does not, from its steps so far."""

    def __init__(self) -> None:
        self._stage: tuple[int, str, int] | None = None
        self._began = 0.0
        self._first = 0

    def timed(self, number: int, step: Progress) -> Progress:
        """The step of plane `number`, with seconds left once they can be told."""
        now, stage = time.monotonic(), (number, step.stage, step.total)
        if stage != self._stage or step.done < self._first:
            self._stage, self._began, self._first = stage, now, step.done
        steps = step.done - self._first
        if step.seconds_left is not None or not steps or step.total < 2:
            return step
        return replace(step, seconds_left=(now - self._began) / steps * (step.total - step.done))


def _sentence(number: int, planes: int, step: Progress) -> str:
    text = step.message or STAGES[step.stage]
    if step.total > 1 and not step.message:
        text += f" {min(step.done + 1, step.total)} of {step.total}"
    if planes > 1:
        text = f"Slice {number + 1} of {planes}. {text}"
    if step.seconds_left is not None and step.seconds_left >= 1:
        text += f", about {step.seconds_left:.0f} s left"
    return text
