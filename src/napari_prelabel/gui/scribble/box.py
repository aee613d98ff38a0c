"""The scribble's row in the dock: a button, the radius, and what it is waiting for."""

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QProgressBar, QPushButton, QSlider, QWidget

from ..keys import pressed
from ..parts.pieces import button, column, label, row

LEAST, MOST = 4, 400
TIP = (
    "Draw over a thing with the selected class; the stroke spreads to the thing's edge\n"
    "({}). Right button or Alt: not this. Enter accepts, Esc drops, [ and ] change\n"
    "the radius, Ctrl+Z takes the last stroke back, Space held moves the picture."
)


class ScribbleBox(QWidget):
    """`toggled` when the tool is taken up or put down, `radius_changed` in pixels, `cancel`."""

    toggled = Signal(bool)
    radius_changed = Signal(int)
    cancel = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.button = QPushButton("Scribble")
        self.button.setCheckable(True)
        self.button.setProperty("role", "tool")
        self.button.setToolTip(TIP.format(pressed("scribble")))
        # Bold while it is down, which the button's own hint does not know.
        wide = self.button.fontMetrics().horizontalAdvance("Scribble")
        self.button.setMinimumWidth(wide * 5 // 4 + 24)
        self.button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(LEAST, MOST)
        self.slider.setAccessibleName("Radius")
        tip = (
            "How far from a stroke pixels may change: the thin line around it ([ and ]).\n"
            "It grows with the stroke until you set it yourself."
        )
        self.slider.setToolTip(tip)
        self.pixels = label()
        self.pixels.setToolTip(tip)
        self.pixels.setMinimumWidth(48)
        self.pixels.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.note = label(role="muted")
        self.bar = QProgressBar()
        self.bar.setRange(0, 0)
        self.bar.setTextVisible(False)
        self.stop = button("Cancel", "Stop reading the image", self.cancel.emit)
        rows = column(self, 0)
        rows.addLayout(row(self.button, self.slider, self.pixels, stretch=1))
        rows.addWidget(self.note)
        rows.addLayout(row(self.bar, self.stop, stretch=0))
        self.button.toggled.connect(self.toggled)
        self.slider.valueChanged.connect(self._moved)
        self._chosen = False
        self.show_reading(False)
        self.say("")
        self.suggest(MOST // 10)

    @property
    def radius(self) -> int:
        return int(self.slider.value())

    def measure(self, side: int) -> None:
        """An image's shorter side: no radius needs to be larger, or MOST on small images."""
        self._quietly(lambda: self.slider.setMaximum(max(MOST, side)))

    def suggest(self, radius: int) -> None:
        """A radius that the person has not chosen otherwise."""
        if not self._chosen:
            self._quietly(lambda: self.slider.setValue(radius))

    def forget(self) -> None:
        """What the person chose was for the strokes that are gone."""
        self._chosen = False

    def _quietly(self, change: Callable[[], None]) -> None:
        self.slider.blockSignals(True)
        change()
        self.slider.blockSignals(False)
        self._tell()

    def step(self, direction: int) -> None:
        """One notch wider (1) or narrower (-1)."""
        notch = max(2, self.radius // 8)
        self.slider.setValue(self.radius + direction * notch)

    def _moved(self, value: int) -> None:
        self._chosen = True
        self._tell()
        self.radius_changed.emit(value)

    def _tell(self) -> None:
        self.pixels.setText(f"{self.radius} px")

    def show_on(self, on: bool) -> None:
        """The button as the tool stands, without asking for anything."""
        self.button.blockSignals(True)
        self.button.setChecked(on)
        self.button.blockSignals(False)

    def show_reading(self, on: bool) -> None:
        for widget in (self.bar, self.stop):
            widget.setVisible(on)

    def say(self, text: str) -> None:
        self.note.setText(text)
        self.note.setVisible(bool(text))

    def wheelEvent(self, event: Any) -> None:
        """Scrolling the dock must not change the radius by accident."""
        event.ignore()
