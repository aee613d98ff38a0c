"""Which reference set ReME asks: those used last, or a folder, with what is in it."""

from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QWidget

from ...models.catalog import MODELS, installed
from ...values.encoder import Encoder
from ...values.errors import JobError, ModelError
from ...values.job import Reference
from ..models import recent_sets
from ..models.encoders import choice
from ..parts.pieces import Combo, Name, button, column, counted, label, row, sentence
from ..preferences import changes
from ..threads import Background

NONE = "no set yet"
_IN_DOCK = "in the Reference dock"
MAKE = "Make one in the Reference dock (Plugins > Reference) from images that you corrected."


class ReferenceChooser(QWidget):
    """`changed` comes when another set is chosen, or the chosen one has been read.

    digest, encoder : of the chosen set, "" and None while it is being read. text : whether its
    words meet by CLIP, words : by which. problem : why it cannot be used, "" when it can.
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.sets = Combo("The set that ReME compares the picture with")
        self.sets.setAccessibleName("Reference set")
        browse = button("…", "Open the folder of a reference set", self._browse)
        browse.setFixedWidth(34)
        self.facts = label(role="muted", selectable=True)
        self.digest = ""
        self.problem = ""
        self.encoder: Encoder | None = None
        self.text = False
        self.words = ""
        rows = column(self, 0)
        rows.addLayout(row(Name("Set"), self.sets, browse, stretch=1))
        rows.addWidget(self.facts)
        self._work = Background()
        self._work.done.connect(self._told)
        self.sets.currentIndexChanged.connect(lambda *_: self._chosen())
        self.refresh()

    @property
    def folder(self) -> Path | None:
        chosen: Path | None = self.sets.currentData()
        return chosen

    def chosen(self) -> Reference | None:
        """The set as a Job names it; its digest is left open while it is being read."""
        return Reference(str(self.folder), self.digest) if self.folder is not None else None

    def check(self) -> None:
        """Raise ModelError or JobError when the set or its encoder is not here."""
        if self.problem:
            raise JobError("reference", self.problem)
        if changes().away:
            return
        if self.encoder is not None and not choice(self.encoder).installed:
            raise ModelError(
                str(self.encoder),
                f"The set was made with {self.encoder}, which is not on this machine yet: get it "
                f"{'under Models' if self.encoder.how == 'clip' else _IN_DOCK}, or "
                "choose another set.",
            )

        if self.words in MODELS and not installed(self.words):
            raise ModelError(
                self.words,
                f"The words of this set are compared by {self.words}, which is not on this machine "
                "yet: get it under Models, or choose another set.",
            )

    def refresh(self) -> None:
        """Follow the sets used last, and read the chosen one again."""
        folders = recent_sets.recent()
        if self.folder is not None and self.folder not in folders:
            folders.append(self.folder)
        self.sets.offer(recent_sets.titles(folders) or [(NONE, None)])
        self._chosen()

    def choose(self, folder: Path) -> None:
        """Choose a set, known or not."""
        if not self.sets.choose(folder):
            folders = recent_sets.used(folder, recent_sets.recent())
            self.sets.offer(recent_sets.titles(folders))
            self.sets.choose(folder)
        self._chosen()

    def _browse(self) -> None:
        start = str(self.folder or recent_sets.home())
        chosen = QFileDialog.getExistingDirectory(self, "Open a reference set", start)
        if chosen:
            self.choose(Path(chosen))

    def _chosen(self) -> None:
        folder = self.folder
        self.digest, self.encoder, self.problem = "", None, ""
        if folder is None:
            self.problem = MAKE
            self.facts.setText(MAKE)
            self.changed.emit()
            return
        self.facts.setText("Reading the set …")
        self._work.start(lambda: (folder, _read(folder)))

    def _told(self, outcome: Any) -> None:
        folder, found = outcome
        if folder != self.folder:
            return
        if isinstance(found, Exception):
            self.problem = sentence(found)
            self.facts.setText(self.problem)
        else:
            self.digest, self.encoder, self.words, told = found
            self.text = bool(self.words)
            self.problem = ""
            self.facts.setText(told)
        self.changed.emit()


def _read(folder: Path) -> tuple[str, Encoder, str, str] | Exception:
    """`_facts`, or why there are none: another set may be chosen by then."""
    try:
        return _facts(folder)
    except Exception as error:
        return error


def _facts(folder: Path) -> tuple[str, Encoder, str, str]:
    """Digest, encoder, model of the words, and one line about a set; off the GUI thread."""
    from ...reference.store import ReferenceSet

    held = ReferenceSet.open(folder)
    classes = len({label.root for label in held.labels()})
    size = f"{counted(held.n_segments, 'segment')}, {counted(classes, 'class', 'classes')}"
    told = f"{size}. Encoder: {held.encoder.name}."
    words = held.text.name if held.text is not None else ""
    return held.digest, Encoder.parse(held.encoder.name), words, told
