"""Boxes for numbers that keep what a job file says."""

from typing import Any

from qtpy.QtCore import QLocale
from qtpy.QtWidgets import QDoubleSpinBox, QSpinBox, QWidget


class Number(QDoubleSpinBox):
    """A number that keeps every digit of a job file and shows no more than it has."""

    def __init__(
        self,
        highest: float = 1.0,
        step: float = 0.05,
        lowest: float = 0.0,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setDecimals(20)
        self.setRange(lowest, highest)
        self.setSingleStep(step)

    def textFromValue(self, value: float) -> str:
        """The shortest text that reads back as the value."""
        shortest = QLocale.FloatingPointPrecisionOption.FloatingPointShortest
        return str(self.locale().toString(value, "g", shortest.value))

    def stepBy(self, steps: int) -> None:
        """Steps of 0.05 add up to 0.15, not to 0.15000000000000002."""
        self.setValue(round(self.value() + steps * self.singleStep(), 10))

    def wheelEvent(self, event: Any) -> None:
        """Scrolling the dock must not change a setting by accident."""
        event.ignore()


class Whole(QSpinBox):
    """A whole number."""

    def wheelEvent(self, event: Any) -> None:
        """As of `Number`."""
        event.ignore()


def whole(lowest: int, highest: int, step: int, suffix: str = "") -> Whole:
    """A whole number from `lowest` to `highest`."""
    made = Whole()
    made.setRange(lowest, highest)
    made.setSingleStep(step)
    made.setSuffix(suffix)
    return made
