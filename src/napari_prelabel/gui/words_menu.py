"""The menu beside the words: ready lists, load, save, descriptions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from .. import presets
from ..errors import FileFormatError, PrelabelError
from ..presets import PRESETS
from ..samples import sample_path
from ..vocabulary import Vocabulary

Sentences = Mapping[str, Sequence[str]]
_OPEN = "Words (*.txt *.names *.json);;All files (*)"


class WordsMenu(QPushButton):
    """`words` brings the text of a list, `sentences` descriptions by class name."""

    words = Signal(str)
    sentences = Signal(object)
    save = Signal(str)
    failed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Lists", parent)
        self.setToolTip("Ready lists of words, and lists in files")
        menu = QMenu(self)
        for title, path in samples():
            menu.addAction(title).triggered.connect(lambda *_, p=path: self.load(p))
        for name, title in PRESETS.items():
            menu.addAction(title).triggered.connect(
                lambda *_, n=name: self.words.emit(presets.text(n))
            )
        menu.addSeparator()
        menu.addAction("Load words…").triggered.connect(lambda *_: self._ask_load())
        menu.addAction("Save words…").triggered.connect(lambda *_: self._ask_save())
        menu.addSeparator()
        menu.addAction("Load descriptions…").triggered.connect(lambda *_: self._ask_sentences())
        self.setMenu(menu)

    def load(self, path: Path) -> None:
        """Read a list of words and hand on its text."""
        try:
            self.words.emit(read_words(path))
        except PrelabelError as error:
            self.failed.emit(str(error))

    def load_sentences(self, path: Path) -> None:
        """Read descriptions and hand them on."""
        try:
            self.sentences.emit(read_sentences(path))
        except PrelabelError as error:
            self.failed.emit(str(error))

    def _ask_load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load words", "", _OPEN)
        if name:
            self.load(Path(name))

    def _ask_save(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save words", "words.txt", "Text (*.txt)")
        if name:
            self.save.emit(name)

    def _ask_sentences(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load descriptions", "", "JSON (*.json)")
        if name:
            self.load_sentences(Path(name))


def samples() -> list[tuple[str, Path]]:
    """Title and path of the lists that belong to the sample scenes."""
    try:
        path = sample_path("vocabularies", "scenes.txt")
    except FileFormatError:
        return []
    return [("Sample scenes", path)]


def read_words(path: Path) -> str:
    """The text of a list, from a text file or our JSON; it parses, or an error says why not."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix == ".json":
            return Vocabulary.from_dict(json.loads(text)).to_text()
    except (OSError, ValueError) as error:
        raise FileFormatError(path, f"{path.name} cannot be read as words: {error}.") from error
    Vocabulary.parse(text)
    return text


def read_sentences(path: Path) -> Sentences:
    """Descriptions as JSON: `{"class name": ["sentence", ...]}`."""
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise FileFormatError(path, f"{path.name} cannot be read as JSON: {error}.") from error
    if not isinstance(data, dict) or not all(
        isinstance(v, list) and all(isinstance(s, str) for s in v) for v in data.values()
    ):
        raise FileFormatError(
            path, f'{path.name} must look like {{"class name": ["sentence", "sentence"]}}.'
        )
    return data
