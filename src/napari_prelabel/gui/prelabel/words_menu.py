"""The menu beside the words: ready lists, load, save, descriptions. Files are read off the GUI."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from ...values import presets
from ...values.errors import FileFormatError, PrelabelError, VocabularyError
from ...values.presets import PRESETS
from ...values.samples import sample_path
from ...values.vocabulary import Vocabulary
from .. import remember
from ..threads import Background

Sentences = Mapping[str, Sequence[str]]
_TYPED = (".txt", ".names")
_SAVE = "Text (*.txt);;Table (*.csv);;JSON with descriptions (*.json)"


@dataclass(frozen=True, slots=True)
class WordList:
    """A list as it goes into the box: its text, and the descriptions its file had."""

    text: str
    sentences: Sentences = field(default_factory=dict)


class WordsMenu(QPushButton):
    """`words` brings the text of a list, `sentences` descriptions by class name.

    `save` asks the dock for the words, which come back through `write`; `suggest` asks what the
    image looks like.
    """

    words = Signal(str)
    sentences = Signal(object)
    save = Signal(str)
    suggest = Signal()
    failed = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Lists", parent)
        self.setToolTip("Ready lists of words, and lists in files")
        menu = QMenu(self)
        menu.addAction("Suggest words for the image").triggered.connect(
            lambda *_: self.suggest.emit()
        )
        menu.addSeparator()
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
        self._work = Background()
        self._work.done.connect(self._came)

    def load(self, path: Path) -> None:
        """Read a list of words and hand on its text, and its descriptions if it has some."""
        self._work.start(lambda: read_words(path))

    def load_sentences(self, path: Path) -> None:
        """Read descriptions and hand them on."""
        self._work.start(lambda: _descriptions(path))

    def write(self, path: Path, text: str, vocabulary: Vocabulary | None) -> None:
        """Write the typed text, or as CSV or JSON the vocabulary it means."""
        self._work.start(lambda: write_words(path, text, vocabulary))

    def _came(self, outcome: Any) -> None:
        if isinstance(outcome, PrelabelError):
            self.failed.emit(str(outcome))
        elif isinstance(outcome, Exception):
            self.failed.emit(f"The file could not be used: {outcome}")
        elif isinstance(outcome, WordList):
            self.words.emit(outcome.text)
            if outcome.sentences:
                self.sentences.emit(outcome.sentences)
        elif outcome is not None:
            self.sentences.emit(outcome)

    def _ask_load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load words", "", open_filter())
        if name:
            self.load(Path(name))

    def _ask_save(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save words", "words.txt", _SAVE)
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


def open_filter() -> str:
    """What a file dialog offers: every kind of list that can be read."""
    from ...formats.vocabulary_files import SUFFIXES

    return f"Words ({' '.join(f'*{s}' for s in SUFFIXES)});;All files (*)"


def read_words(path: Path) -> WordList:
    """The words of any class file; a text keeps its comments. Raises FileFormatError."""
    from ...formats.vocabulary_files import read_vocabulary, text_of

    vocabulary = read_vocabulary(path)
    told = {c.name: c.descriptions for c in vocabulary.classes if c.descriptions}
    if path.suffix.lower() in _TYPED:
        try:
            text = text_of(path)
            if Vocabulary.parse(text) == vocabulary:
                return WordList(text, told)
        except VocabularyError:
            pass  # the reader left ids, or LabelMe's first two lines, out
    return WordList(vocabulary.to_text(), told)


def write_words(path: Path, text: str, vocabulary: Vocabulary | None) -> None:
    """Write words; the dialog asked before replacing a file. Raises FileFormatError."""
    from ...formats.vocabulary_files import write_vocabulary

    if path.suffix.lower() == ".txt":
        remember.write_text(path, text)
        return
    if vocabulary is None:
        raise FileFormatError(
            path, f"{path.name}: the words need a correction first, or save them as .txt."
        )
    write_vocabulary(path, vocabulary, overwrite=True)


def _descriptions(path: Path) -> Sentences:
    from ...jobs import read_descriptions

    return read_descriptions(path)
