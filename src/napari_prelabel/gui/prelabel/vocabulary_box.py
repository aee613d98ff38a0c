"""The box the words are typed into, and the message under it when a line is not understood."""

from qtpy.QtCore import Qt, QTimer, Signal
from qtpy.QtGui import QColor, QTextCursor, QTextFormat
from qtpy.QtWidgets import QPlainTextEdit, QTextEdit, QVBoxLayout, QWidget

from ...values.errors import VocabularyError
from ...values.vocabulary import Vocabulary
from ..parts.pieces import label
from ..parts.theme import SPACE

EXAMPLE = "One class a line, for example\ntree: bush, hedge\nsky\nroad\n- reflection"
TIP = (
    "One class a line. After a colon come further words for the same class: 'tree: bush, hedge'.\n"
    "A line that begins with a dash names things that are no class: '- reflection'.\n"
    "A colour goes in brackets: 'sky [#87ceeb]'. A # begins a comment.\n"
    'A name that holds such signs stands in quotes: "12:30".'
)
QUIET_MS = 300


class VocabularyBox(QWidget):
    """Text on one side, a Vocabulary on the other.

    `parsed` comes at every keystroke with a Vocabulary or None; `settled` comes once the text
    has been left alone for 300 ms and is understood.
    """

    parsed = Signal(object)
    settled = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.vocabulary: Vocabulary | None = None
        self.error: VocabularyError | None = None
        self.edit = QPlainTextEdit()
        self.edit.setPlaceholderText(EXAMPLE)
        self.edit.setToolTip(TIP)
        self.edit.setTabChangesFocus(True)
        self.edit.setAccessibleName("Words to look for")
        self.edit.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.edit.setFixedHeight(self.edit.fontMetrics().lineSpacing() * 6 + 18)
        self.message = label(role="error", selectable=True)
        self.message.hide()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(SPACE)
        layout.addWidget(self.edit)
        layout.addWidget(self.message)
        self._quiet = QTimer(self)
        self._quiet.setSingleShot(True)
        self._quiet.setInterval(QUIET_MS)
        self._quiet.timeout.connect(self._settle)
        self.edit.textChanged.connect(self._read)

    @property
    def text(self) -> str:
        return str(self.edit.toPlainText())

    def set_text(self, text: str) -> None:
        """Replace the words; what was typed before can be undone."""
        if text == self.text:
            return
        cursor = self.edit.textCursor()
        cursor.select(QTextCursor.SelectionType.Document)
        cursor.insertText(text)
        self.edit.moveCursor(QTextCursor.MoveOperation.Start)

    def _read(self) -> None:
        try:
            self.vocabulary, self.error = Vocabulary.parse(self.text), None
        except VocabularyError as error:
            self.vocabulary, self.error = None, error
        self._tell()
        self.parsed.emit(self.vocabulary)
        self._quiet.start()

    def hush(self) -> None:
        """Do not say `settled` of what was changed until now."""
        self._quiet.stop()

    def _settle(self) -> None:
        if self.vocabulary is not None:
            self.settled.emit(self.vocabulary)

    def _tell(self) -> None:
        wrong = self.error is not None and bool(self.text.strip())
        sentence = str(self.error) if wrong else ""
        self.message.setText(sentence[:1].upper() + sentence[1:])
        self.message.setVisible(wrong)
        self.edit.setProperty("wrong", wrong)
        self.edit.style().unpolish(self.edit)
        self.edit.style().polish(self.edit)
        self._mark(self.error.line if wrong and self.error else None)

    def _mark(self, line: int | None) -> None:
        """Shade the line at fault, counted from 1."""
        marks = []
        if line is not None:
            mark = QTextEdit.ExtraSelection()
            mark.format.setBackground(QColor(220, 60, 50, 70))
            mark.format.setProperty(QTextFormat.Property.FullWidthSelection, True)
            mark.cursor = QTextCursor(self.edit.document().findBlockByNumber(line - 1))
            marks.append(mark)
        self.edit.setExtraSelections(marks)
