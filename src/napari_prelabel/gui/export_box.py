"""Write the result where the person wants it, and say what a reader finds in the files."""

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLineEdit, QWidget

from ..errors import PrelabelError
from ..formats import FORMATS, LabelImage, Options, Receipt, export
from .background import Background
from .parts import Combo, Name, button, column, label, row


class ExportBox(QWidget):
    """`wanted` asks the dock for something to export; `said` brings (tone, sentence)."""

    wanted = Signal()
    save_job = Signal()
    load_job = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.format = Combo("The kind of file")
        self.format.offer([(f.title, f.name) for f in FORMATS.values()])
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("Folder")
        self.folder.setToolTip("Where the files are written")
        self.folder.setAccessibleName("Export folder")
        browse = button("…", "Choose a folder", self._browse)
        browse.setFixedWidth(34)
        self.replace = QCheckBox("Replace files that exist")
        self.button = button(
            "Export", "Write the labels as they are on the screen", self.wanted.emit
        )
        self.receipt = label(selectable=True)
        self.receipt.hide()
        rows = column(self, 0)
        rows.addLayout(row(Name("Format"), self.format, stretch=1))
        rows.addLayout(row(Name("Folder"), self.folder, browse, stretch=1))
        rows.addWidget(self.replace)
        rows.addWidget(self.button)
        rows.addWidget(self.receipt)
        save = button(
            "Save settings…", "As a job file, for `prelabel run --job`", self.save_job.emit
        )
        load = button("Load settings…", "From a job file", self.load_job.emit)
        rows.addLayout(row(save, load, stretch=0))
        self._work = Background()
        self._work.done.connect(self._written)

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Export folder", self.folder.text())
        if chosen:
            self.folder.setText(chosen)

    def suggest(self, source: str | None) -> None:
        """Offer a folder beside the image, unless one is chosen already."""
        if not self.folder.text():
            beside = Path(source).parent if source else Path.home()
            self.folder.setText(str(beside / "prelabel"))

    def write(self, image: LabelImage) -> None:
        """Write off the GUI thread; the receipt follows."""
        folder, name = Path(self.folder.text()).expanduser(), self.format.currentData()
        options = Options(overwrite=self.replace.isChecked())
        self.button.setEnabled(False)
        self._tell("Writing…", "muted")
        self._work.start(lambda: export([image], folder, name, options))

    def _written(self, outcome: Any) -> None:
        self.button.setEnabled(True)
        if isinstance(outcome, Receipt):
            where = ", ".join(p.name for p in outcome.paths[:4])
            more = f" and {len(outcome.paths) - 4} more" if len(outcome.paths) > 4 else ""
            self._tell("\n".join([*outcome.lines(), f"Files: {where}{more}"]), "")
        elif isinstance(outcome, PrelabelError):
            self._tell(str(outcome), "error")
        else:
            self._tell(f"The files could not be written: {outcome}", "error")

    def fail(self, text: str) -> None:
        """Say why nothing can be exported."""
        self._tell(text, "error")

    def _tell(self, text: str, role: str) -> None:
        self.receipt.setProperty("role", role)
        self.receipt.style().unpolish(self.receipt)
        self.receipt.style().polish(self.receipt)
        self.receipt.setText(text)
        self.receipt.show()
