"""The row of corrections in the dock: Tidy with its menu, and how small is small."""

from collections.abc import Callable

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QMenu, QPushButton, QWidget

from ..keys import pressed
from ..parts.pieces import Name, column, label, row
from ..parts.spins import whole

HINT = "{} on a region: its next best class"
HINT_TIP = (
    "Point at a region with the wrong class and press {}: it takes the class that came\n"
    "second; press again for the one after. Ctrl+Z takes it back."
)
TIP = (
    "Clean the slice in view, in one step of undo (Ctrl+Z). What you painted and classes that\n"
    "are locked stay as they are; what is cleaned is yours from then on."
)
SIZE_TIP = "Regions and holes of fewer pixels count as small"
# What the menu asks for, and its text; {} is the class the brush holds.
KINDS = {
    "absorb": "Absorb small regions",
    "absorb_of": "Absorb small regions of {}",
    "fill_of": "Fill small holes of {}",
    "smooth_of": "Smooth the outline of {}",
}


class CorrectBox(QWidget):
    """`tidy` brings a key of KINDS."""

    tidy = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.held: Callable[[], str] = str
        self.button = QPushButton("Tidy")
        self.button.setToolTip(TIP)
        menu = QMenu(self)
        self.actions_by_kind = {kind: menu.addAction(text) for kind, text in KINDS.items()}
        for kind, action in self.actions_by_kind.items():
            action.triggered.connect(lambda *_, k=kind: self.tidy.emit(k))
        menu.aboutToShow.connect(self._name)
        self.button.setMenu(menu)
        self.least = whole(2, 1_000_000, 8, " px")
        self.least.setValue(64)
        self.least.setToolTip(SIZE_TIP)
        self.least.setAccessibleName("Small regions")
        rows = column(self, 0)
        rows.addLayout(row(self.button, Name("smaller than"), self.least, stretch=2))
        hint = label(HINT.format(pressed("next")), role="muted")
        hint.setToolTip(HINT_TIP.format(pressed("next")))
        rows.addWidget(hint)

    def _name(self) -> None:
        name = self.held()
        for kind, action in self.actions_by_kind.items():
            if "{}" in KINDS[kind]:
                action.setText(KINDS[kind].format(name or "the selected class"))
                action.setEnabled(bool(name))
