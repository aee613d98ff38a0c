"""Write the result where the person wants it, and say what a reader finds in the files."""

import hashlib
import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLineEdit, QWidget

from ...formats import FORMATS, LabelImage, Options, Receipt
from ...formats.folder import Claim, claim_of_array, claim_of_file, claim_of_part, export_one
from ...values.declare import declared
from ...values.errors import PrelabelError
from ...values.labels import read_record
from ...values.vocabulary import Vocabulary
from ..layers import from_file
from ..layers.images import pixel_size
from ..layers.result import METADATA
from ..parts.pieces import Combo, Name, button, column, label, row
from ..parts.setting_field import SettingField
from ..preferences import Preferences, changes
from ..threads import Background


class ExportBox(QWidget):
    """`wanted` asks the dock for something to export; `written` comes when it is on the disk.

    fields : of the formats' own options, by format and name, once the format has been chosen.
    """

    wanted = Signal()
    written = Signal()
    save_job = Signal()
    load_job = Signal()
    fields: dict[str, dict[str, SettingField]]
    _boxes: dict[str, QWidget]
    _preferred: Path | None

    def __init__(self) -> None:
        super().__init__()
        self._offered, self._preferred = "", None
        self.format = Combo("\n".join(f.says for f in FORMATS.values()))
        self.format.offer([(f.title, f.name) for f in FORMATS.values()])
        self.folder = QLineEdit()
        self.folder.setPlaceholderText("Folder")
        self.folder.setToolTip("Where the files are written")
        self.folder.setAccessibleName("Export folder")
        self.folder.textChanged.connect(
            lambda text: self.folder.setToolTip(f"Where the files are written\n{text}".strip())
        )
        browse = button("…", "Choose a folder", self._browse)
        browse.setFixedWidth(34)
        self.replace = QCheckBox("Replace files that exist")
        self.replace.setToolTip("Only labels of this very image; never those of another")
        self.button = button(
            "Export", "Write the labels as they are on the screen", self.wanted.emit
        )
        self.receipt = label(selectable=True)
        self.receipt.hide()
        rows = column(self, 0)
        rows.addLayout(row(Name("Format"), self.format, stretch=1))
        self._options = QWidget()
        column(self._options, 0)
        self.fields, self._boxes = {}, {}
        rows.addWidget(self._options)
        rows.addLayout(row(Name("Folder"), self.folder, browse, stretch=1))
        rows.addWidget(self.replace)
        rows.addWidget(self.button)
        rows.addWidget(self.receipt)
        save = button(
            "Save settings…", "As a job file, for `prelabel run --job`", self.save_job.emit
        )
        load = button("Load settings…", "From a job file", self.load_job.emit)
        rows.addLayout(row(save, load, stretch=0))
        self.folder.textChanged.connect(self.over)
        self.format.currentIndexChanged.connect(self.over)
        self.format.currentIndexChanged.connect(self._show_options)
        self._show_options()
        self.replace.toggled.connect(self.over)
        changes().changed.connect(self._prefer)
        self._prefer(changes().follow())
        self._work = Background()
        self._work.done.connect(self._written)
        # Formats write with SciPy, and napari's first Labels layer brings pandas: the first export
        # and the first result do not wait for them.
        self._load = Background()
        self._load.start(_imported)

    def _show_options(self, *_: Any) -> None:
        """The options of the chosen format, made when it is chosen first."""
        chosen = FORMATS[self.format.currentData()]
        if chosen.options and chosen.name not in self._boxes:
            box = self._boxes[chosen.name] = QWidget()
            rows = column(box, 0)
            made = [SettingField(told.name, told) for told in declared(chosen.options)]
            for field in made:
                head = [] if field.titled else [Name(field.told.title)]
                rows.addLayout(row(*head, field.native, stretch=len(head)))
            self.fields[chosen.name] = {field.name: field for field in made}
            self._options.layout().addWidget(box)
        for name, box in self._boxes.items():
            box.setVisible(name == chosen.name)
        self._options.setVisible(chosen.name in self._boxes)

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Export folder", self.folder.text())
        if chosen:
            self.folder.setText(chosen)

    def _prefer(self, now: Preferences) -> None:
        """Offer the folder of the Preferences from now on, where the person chose no other."""
        folder = now.exports
        if self.folder.text() == self._offered:
            self.folder.clear()
        self._preferred = folder
        if folder is not None:
            self.suggest(None)

    def suggest(self, source: str | None) -> None:
        """Offer the preferred folder, else one beside the image, unless one is chosen already."""
        if not self.folder.text():
            beside = (Path(source).parent if source else Path.home()) / "prelabel"
            self._offered = str(self._preferred or beside)
            self.folder.setText(self._offered)

    def write(self, make: Callable[[], tuple[LabelImage, Claim]]) -> None:
        """Write what `make` gives off the GUI thread; the receipt follows."""
        if not self.folder.text().strip():
            self.fail("Choose a folder first.")
            return
        folder, name = Path(self.folder.text()).expanduser(), self.format.currentData()
        asked = {n: field.value for n, field in self.fields.get(name, {}).items()}
        kind = FORMATS[name].options
        options = Options(self.replace.isChecked(), own=kind(**asked) if kind else None)
        self.button.setEnabled(False)
        self._tell("Writing…", "muted")
        self._work.start(lambda: _export(make, folder, name, options))

    def _written(self, outcome: Any) -> None:
        self.button.setEnabled(True)
        if isinstance(outcome, PrelabelError):
            self._tell(str(outcome), "error")
        elif isinstance(outcome, Exception):
            self._tell(f"The files could not be written: {outcome}", "error")
        else:
            where = ", ".join(p.name for p in outcome.paths[:4])
            more = f" and {len(outcome.paths) - 4} more" if len(outcome.paths) > 4 else ""
            self._tell("\n".join([*outcome.lines(), f"Files: {where}{more}"]), "")
            self.written.emit()

    def over(self, *_: Any, every: bool = False) -> None:
        """Take away an error whose cause is gone; `every` takes receipts, too."""
        if (every or self.receipt.property("role") == "error") and self.button.isEnabled():
            self.receipt.hide()
            self.receipt.clear()

    def fail(self, text: str) -> None:
        """Say why nothing can be exported."""
        self._tell(text, "error")

    def _tell(self, text: str, role: str) -> None:
        self.receipt.setProperty("role", role)
        self.receipt.style().unpolish(self.receipt)
        self.receipt.style().polish(self.receipt)
        self.receipt.setText(text)
        self.receipt.show()


def _imported() -> None:
    importlib.import_module("pandas")
    importlib.import_module("scipy.ndimage")
    importlib.import_module("skimage.measure")


def _export(
    make: Callable[[], tuple[LabelImage, Claim]], folder: Path, name: str, options: Options
) -> Receipt:
    return export_one(*make(), folder, name, options)


def label_facts(layer: Labels, image: Image, layers: Sequence[Any] = ()) -> dict[str, Any]:
    """The image that labels are of, pixel size and record that go into the files.

    layers : of the viewer: images of one file are parts of it, each with labels of its own.
    """
    scale, unit = pixel_size(layer), str(layer.units[-1])
    if (scale, unit) == ((1.0, 1.0), "pixel"):  # napari's own reader asks no file for its size
        scale, unit = from_file.pixel_size_of(image) or (scale, unit)
    return {
        "path": image.source.path,
        "name": image.name,
        "part": from_file.is_part(image, layers),
        "data": image.data[0] if image.multiscale else image.data,
        "scale": scale,
        "unit": unit,
        "record": read_record(layer.metadata.get(METADATA, {})),
    }


def label_image(
    ids: Any, vocabulary: Vocabulary, facts: dict[str, Any]
) -> tuple[LabelImage, Claim]:
    """What is exported and whose it is; reads the image."""
    facts = dict(facts)
    part = facts.pop("part", False)
    path, name, data = (facts.pop(key) for key in ("path", "name", "data"))
    if path and "://" not in str(path):
        whole = Path(os.path.abspath(path))
        claim = claim_of_part(whole, name, _digits(data)) if part else claim_of_file(whole)
    else:
        claim = claim_of_array(name, _digits(data))
    return LabelImage(ids, vocabulary, claim.names.outputs[0], **facts), claim


def _digits(data: Any) -> str:
    """Digits of an array's pixels; of its first plane where they are not all in memory."""
    whole = data if isinstance(data, np.ndarray) else np.asarray(data[(0,) * (data.ndim - 2)])
    told = hashlib.sha256(f"{data.dtype} {data.shape}".encode())
    told.update(np.ascontiguousarray(whole).data)
    return told.hexdigest()
