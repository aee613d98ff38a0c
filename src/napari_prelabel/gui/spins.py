"""Boxes for numbers that keep what a job file says."""

from qtpy.QtCore import QLocale
from qtpy.QtWidgets import QDoubleSpinBox, QSpinBox


class Number(QDoubleSpinBox):
    """A number that keeps every digit of a job file and shows no more than it has."""

    def __init__(self, highest: float, step: float, lowest: float = 0.0) -> None:
        super().__init__()
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


def unit() -> QDoubleSpinBox:
    """A number from 0 to 1."""
    return Number(1.0, 0.05)


def whole(lowest: int, highest: int, step: int, suffix: str = "") -> QSpinBox:
    """A whole number."""
    made = QSpinBox()
    made.setRange(lowest, highest)
    made.setSingleStep(step)
    made.setSuffix(suffix)
    return made
