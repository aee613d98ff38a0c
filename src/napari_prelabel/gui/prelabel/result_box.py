"""After the run: blank the doubtful, take the run back, see what changed."""

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtWidgets import QCheckBox, QSlider, QWidget

from ..keys import pressed
from ..parts.pieces import button, column, counted, label, row


class ResultBox(QWidget):
    """`blank` brings a threshold 0..1; `undo` and `redo` the wish to take the last run back, and to
    bring it back."""

    blank = Signal(float)
    undo = Signal()
    redo = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, 100)
        self.slider.setPageStep(5)
        self.slider.setAccessibleName("Hide pixels less sure than")
        self.slider.setToolTip(
            "Pixels the model is less sure of become unlabelled; move back and they return.\n"
            "What you painted is never touched."
        )
        self.percent = label("off")
        self.percent.setMinimumWidth(40)
        self.percent.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.overwrite = QCheckBox("Runs may overwrite pixels I painted")
        self.overwrite.setToolTip(
            "Off: what you painted, filled or erased stays, whatever a run says, and so do labels\n"
            "of others that you opened from a file."
        )
        self.undo_button = button(
            "Undo run",
            f"Labels and scores as before the last run, in one step ({pressed('undo')})",
            self.undo.emit,
        )  # fmt: skip
        self.redo_button = button(
            "Redo run",
            f"Bring back the run that was undone last ({pressed('redo')})",
            self.redo.emit,
        )
        self.kept = label(role="muted")
        self.changed = label(selectable=True)
        rows = column(self, 0)
        rows.addWidget(label("Hide pixels less sure than"))
        rows.addLayout(row(self.slider, self.percent, stretch=0))
        rows.addWidget(self.overwrite)
        rows.addWidget(self.kept)
        runs = row(self.undo_button, self.redo_button)
        runs.setStretch(0, 1)  # both alike
        rows.addLayout(runs)
        rows.addWidget(self.changed)
        self._quiet = QTimer(self)
        self._quiet.setSingleShot(True)
        self._quiet.setInterval(25)
        self._quiet.timeout.connect(lambda: self.blank.emit(self.threshold))
        self.slider.valueChanged.connect(self._moved)
        self.show_state((0, 0), 0, "")

    @property
    def threshold(self) -> float:
        return float(self.slider.value()) / 100

    def show_threshold(self, threshold: float) -> None:
        """Set the slider to what a result uses, without asking for anything."""
        self.slider.blockSignals(True)
        self.slider.setValue(round(threshold * 100))
        self.slider.blockSignals(False)
        self._tell(self.slider.value())
        self._quiet.stop()

    def _moved(self, value: int) -> None:
        self._tell(value)
        self._quiet.start()

    def _tell(self, value: int) -> None:
        self.percent.setText(f"{value} %" if value else "off")

    def show_state(self, runs: tuple[int, int], human: int, changed: str | None = None) -> None:
        """Runs that can be undone and redone, pixels that are the person's, what changed."""
        self.undo_button.setEnabled(runs[0] > 0)
        self.redo_button.setEnabled(runs[1] > 0)
        self.kept.setText(
            f"{counted(human, 'pixel')} painted by you or brought by others: kept by runs."
        )
        self.kept.setVisible(human > 0)
        if changed is not None:
            self.changed.setText(changed)
            self.changed.setVisible(bool(changed))
