"""Saving and loading the dock's settings as job files."""

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from ...values.errors import PrelabelError
from ...values.job import Job
from .. import remember


class JobFiles(QObject):
    """`failed` brings a sentence. job : what the boxes describe; show : sets them from a job."""

    failed = Signal(str)

    def __init__(
        self, parent: QWidget, job: Callable[[], Job], show: Callable[[Job], None]
    ) -> None:
        super().__init__(parent)
        self._window, self._job, self._show = parent, job, show

    def ask_save(self) -> None:
        """Save where the person says."""
        name, _ = QFileDialog.getSaveFileName(
            self._window, "Save settings", "job.json", "JSON (*.json)"
        )
        if name:
            self.save(Path(name))

    def save(self, path: Path) -> None:
        """Write the settings as a job file."""
        try:
            remember.write_text(path, self._job().to_json())
        except (PrelabelError, OSError) as error:
            self.failed.emit(str(error))

    def ask_load(self) -> None:
        """Load the file that the person chooses."""
        name, _ = QFileDialog.getOpenFileName(self._window, "Load settings", "", "JSON (*.json)")
        if name:
            self.load(Path(name))

    def load(self, path: Path) -> None:
        """Set every box from a job file."""
        try:
            text = path.read_text(encoding="utf-8")
            self._show(Job.from_json(text, path.name))
        except (PrelabelError, OSError, ValueError) as error:
            self.failed.emit(str(error))
