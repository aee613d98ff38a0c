"""Write the result where the person wants it, and say what a reader finds in the files."""

import hashlib
import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QFileDialog, QLineEdit, QWidget

from ...values.errors import PrelabelError
from ...values.labels import read_record
from ...values.vocabulary import Vocabulary
from ..layers import from_file
from ..layers.images import pixel_size
from ..layers.result import METADATA
from ..parts.pieces import Combo, Name, button, column, label, row
from ..preferences import Preferences, changes
from ..threads import Background

if TYPE_CHECKING:
    from ...formats import LabelImage, Receipt
    from ...formats.folder import Claim


SEGMENTATIONS = {
    "auto": "polygons where exact",
    "rle": "run lengths",
    "polygons": "polygons, holes lost",
}
ANNOTATIONS = {"region": "per connected region", "class": "per class of an image"}
FORMAT_TIP = (
    "PNG: a palette image in the classes' colours, and a table of the classes beside it.\n"
    "TIFF: ids, names and pixel size in one file; holds stacks.\n"
    "COCO: one instances.json for all images of the folder."
)
OUTLINE_TIP = (
    "How the outline of an annotation is written.\n"
    "Polygons where exact: run lengths wherever a polygon would lose a pixel or a hole.\n"
    "Run lengths: every pixel is kept. Polygons: for tools that read nothing else."
)


class ExportBox(QWidget):
    """`wanted` asks the dock for something to export; `written` comes when it is on the disk."""

    wanted = Signal()
    written = Signal()
    save_job = Signal()
    load_job = Signal()
    _preferred: Path | None

    def __init__(self) -> None:
        super().__init__()
        self._offered, self._preferred = "", None
        self.format = Combo(FORMAT_TIP)
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
        rows.addWidget(self._coco())
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
        self.replace.toggled.connect(self.over)
        changes().changed.connect(self._prefer)
        self._prefer(changes().follow())
        self._work = Background()
        self._work.done.connect(self._written)
        # The formats bring SciPy along, and napari's first Labels layer brings pandas: neither the
        # opening of the dock nor the first result waits for them.
        self._load = Background()
        self._load.done.connect(self.format.offer)
        self._load.start(_titles)

    def _coco(self) -> QWidget:
        """How COCO holds the labels; shown while COCO is chosen."""
        self.segmentation = Combo(OUTLINE_TIP)
        self.segmentation.setAccessibleName("COCO outlines")
        self.segmentation.offer([(text, name) for name, text in SEGMENTATIONS.items()])
        self.annotation = Combo("What is one annotation")
        self.annotation.setAccessibleName("COCO annotations")
        self.annotation.offer([(text, name) for name, text in ANNOTATIONS.items()])
        box = QWidget()
        rows = column(box, 0)
        rows.addLayout(row(Name("Outlines"), self.segmentation, stretch=1))
        rows.addLayout(row(Name("Annotation"), self.annotation, stretch=1))
        box.hide()
        self.format.currentIndexChanged.connect(
            lambda *_: box.setVisible(self.format.currentData() == "coco")
        )
        return box

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

    def write(self, make: "Callable[[], tuple[LabelImage, Claim]]") -> None:
        """Write what `make` gives off the GUI thread; the receipt follows."""
        if not self.folder.text().strip():
            self.fail("Choose a folder first.")
            return
        folder, name = Path(self.folder.text()).expanduser(), self.format.currentData()
        how = {
            "overwrite": self.replace.isChecked(),
            "segmentation": self.segmentation.currentData(),
            "annotation": self.annotation.currentData(),
        }
        self.button.setEnabled(False)
        self._tell("Writing…", "muted")
        self._work.start(lambda: _export(make, folder, name, how))

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


def _titles() -> list[tuple[str, Any]]:
    from ...formats import FORMATS

    importlib.import_module("pandas")
    return [(f.title, f.name) for f in FORMATS.values()]


def _export(
    make: "Callable[[], tuple[LabelImage, Claim]]", folder: Path, name: str, how: dict[str, Any]
) -> "Receipt":
    from ...formats import Options
    from ...formats.folder import export_one

    image, claim = make()
    return export_one(image, claim, folder, name, Options(**how))


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
) -> "tuple[LabelImage, Claim]":
    """What is exported and whose it is, once the formats are loaded; reads the image."""
    from ...formats import LabelImage
    from ...formats.folder import claim_of_array, claim_of_file, claim_of_part

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
