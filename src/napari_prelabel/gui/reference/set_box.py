"""Which reference set: a new one, one of those used last, or a folder."""

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from ..models import recent_sets
from ..parts.pieces import Combo, Name, button, column, label, row
from .shelf import Overview

NEW = "A new set"


class SetBox(QWidget):
    """`wanted` brings the folder of the set to open, None for a new one."""

    wanted = Signal(object)
    undo = Signal()
    use = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.sets = Combo("The set that is shown here and added to")
        self.sets.setAccessibleName("Reference set")
        self.browse = button("…", "Open the folder of a reference set", self._browse)
        self.browse.setFixedWidth(34)
        self.facts = label(role="muted", selectable=True)
        self.use_button = button(
            "Label with this set", "Chooses ReME and this set in the Pre-label dock", self.use.emit
        )
        self.undo_button = button("Undo", "Take the last change of this set back", self.undo.emit)
        self.folders = recent_sets.recent()
        rows = column(self, 0)
        rows.addLayout(row(Name("Set"), self.sets, self.browse, stretch=1))
        rows.addWidget(self.facts)
        rows.addLayout(row(self.use_button, self.undo_button, stretch=0))
        self._offer()
        self.show_set(None, "")
        self.sets.activated.connect(lambda *_: self.wanted.emit(self.sets.currentData()))

    def _offer(self) -> None:
        self.sets.offer([(NEW, None), *recent_sets.titles(self.folders)])

    def _browse(self) -> None:
        start = str(self.sets.currentData() or recent_sets.home())
        chosen = QFileDialog.getExistingDirectory(self, "Open a reference set", start)
        if chosen:
            self.wanted.emit(Path(chosen))

    def show_set(self, overview: Overview | None, told: str) -> None:
        """Show the open set; `told` is the change that can be undone, "" for none."""
        for widget in (self.facts, self.use_button, self.undo_button):
            widget.setVisible(overview is not None)
        self.undo_button.setEnabled(bool(told))
        self.undo_button.setToolTip(f"Take back: {told}" if told else "Nothing to take back")
        if overview is None:
            self.sets.choose(None)
            return
        if overview.folder not in self.folders[:1]:
            self.folders = recent_sets.used(overview.folder, self.folders)
            self._offer()
        self.sets.choose(overview.folder)
        self.facts.setText(overview.text())
        self.facts.setToolTip(_about(overview))

    def forget(self, folder: Path) -> None:
        """Leave a set out that cannot be opened."""
        self.folders = [f for f in self.folders if f != folder]
        self._offer()


def _about(overview: Overview) -> str:
    licences = ", ".join(overview.licences) or "none told"
    words = f"Words meet by {overview.words or 'name'}"
    return f"{overview.folder}\n{words}\nLicences: {licences}\nState: {overview.digest[:12]}"
