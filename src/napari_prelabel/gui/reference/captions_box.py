"""Learn from plain images: a captions file, its images, and the CLIP that matches the two."""

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QLineEdit, QWidget

from ...values.errors import FileFormatError
from ..models.clips import clips
from ..parts.pieces import Combo, Name, button, column, label, line, row
from .learn_box import LearnBox
from .pairs import Pair

FROM = (("images that you corrected", False), ("images with captions", True))
HELP = (
    'Images that nobody labelled: a text file has a line {"image": "boat.jpg", "caption": "A red '
    'boat on calm water."} for each, and every thing it names goes to the segment most like it.'
)
BESIDE = "where the captions file lies"


class CaptionsBox(QWidget):
    """`changed` when another captions file is named."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.help = label(HELP, "muted")
        self.file = line("a file of captions", "A line of JSON for every image", "Captions file")
        self.folder = line(BESIDE, "The folder that holds the images", "Folder of the images")
        self.clip = Combo("The model that finds the segment most like a thing's name")
        self.clip.setAccessibleName("Match by")
        self.note = label(role="muted")
        rows = column(self, 0)
        rows.addWidget(self.help)
        rows.addLayout(row(Name("Captions"), self.file, _dots(self._browse_file), stretch=1))
        rows.addLayout(row(Name("Images"), self.folder, _dots(self._browse_folder), stretch=1))
        rows.addLayout(row(Name("Match by"), self.clip, stretch=1))
        rows.addWidget(self.note)
        self.file.textChanged.connect(lambda *_: self.changed.emit())
        self.clip.currentIndexChanged.connect(self._explain)

    def refresh(self) -> bool:
        """Offer the models that are at hand; False when there is none."""
        self._clips = clips()
        self.clip.offer([(clip.title, clip.bundle) for clip in self._clips])
        self._explain()
        return bool(self._clips)

    def _explain(self, *_: object) -> None:
        notes = {clip.bundle: clip.note for clip in self._clips}
        note = notes.get(self.clip.currentData(), "")
        self.note.setText(note)
        self.note.setVisible(bool(note))

    @property
    def named(self) -> bool:
        """Whether a captions file is named."""
        return bool(self.file.text().strip())

    def taken(self) -> tuple[Path, Path, str]:
        """Captions file, folder of images, bundle; raises FileFormatError when none is named."""
        if not self.named:
            raise FileFormatError("", "Choose a captions file under “Learn” first.")
        file = _path(self.file)
        folder = _path(self.folder) if self.folder.text().strip() else file.parent
        return file, folder, self.clip.currentData()

    def _browse_file(self) -> None:
        kinds = "Captions (*.jsonl *.json *.ndjson *.txt);;All files (*)"
        chosen, _ = QFileDialog.getOpenFileName(self, "Captions", self.file.text(), kinds)
        if chosen:
            self.file.setText(chosen)

    def _browse_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Images", self.folder.text())
        if chosen:
            self.folder.setText(chosen)


class SourceBox(QWidget):
    """What to learn from: images that were corrected, or images with captions.

    `changed` when something else is chosen, ticked or named.
    """

    changed = Signal()

    def __init__(self, find: Callable[[], list[Pair]]) -> None:
        super().__init__()
        self.learn, self.captions = LearnBox(find), CaptionsBox()
        self.kind = Combo("What the set learns from")
        self.kind.setAccessibleName("Learn from")
        self.kind.offer(list(FROM))
        self._choice = QWidget()
        self._choice.setLayout(row(Name("From"), self.kind, stretch=1))
        rows = column(self, 0)
        for widget in (self._choice, self.learn, self.captions):
            rows.addWidget(widget)
        self.learn.changed.connect(self.changed)
        self.captions.changed.connect(self.changed)
        self.kind.currentIndexChanged.connect(self._chosen)
        self.refresh()

    @property
    def by_captions(self) -> bool:
        return bool(self.kind.currentData())

    @property
    def usable(self) -> bool:
        """Whether there is something to learn from."""
        return self.captions.named if self.by_captions else bool(self.learn.ticked)

    def refresh(self) -> None:
        """Captions need a model that matches them: where none is at hand they are not offered."""
        able = self.captions.refresh()
        self._choice.setVisible(able)
        if not able:
            self.kind.choose(False)
        self._show()

    def _chosen(self, *_: object) -> None:
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        self.learn.setVisible(not self.by_captions)
        self.captions.setVisible(self.by_captions)


def _path(field: QLineEdit) -> Path:
    told = field.text().strip()
    try:
        return Path(told).expanduser()
    except RuntimeError as error:
        raise FileFormatError(
            told, f"{told} is in no home that is known: write it whole."
        ) from error


def _dots(pressed: Callable[[], None]) -> QWidget:
    made = button("…", "Choose", pressed)
    made.setFixedWidth(34)
    return made
