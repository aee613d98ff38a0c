"""Small pieces all docks are made of: sections that fold, labels, notices."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from qtpy.QtCore import QPoint, QSize, Qt, QTimer
from qtpy.QtGui import QFont, QFontMetrics
from qtpy.QtWidgets import (
    QBoxLayout,
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from .theme import FOLDED, MARGIN, OPEN, SPACE

_UNBOUNDED = (1 << 24) - 1
MOST_HIGH = 180
# Longer words may be broken where nothing is seen.
LONG_WORD, NOTHING = 12, "\u200b"
Way = tuple[str, str, Callable[[], Any]]
Tone = Literal["info", "warning", "failed"]


class Section(QCollapsible):
    """A titled part of the dock that folds away; its content may grow and shrink."""

    def __init__(self, title: str, *, opened: bool = True, tip: str = "") -> None:
        self._told, self._tip = "", tip
        super().__init__(title, expandedIcon=" ", collapsedIcon=" ")
        self._title = title
        self.setDuration(0)
        # superqt lets a section be no higher than its hint, which knows nothing of wrapped text.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.layout().setContentsMargins(0, 0, 0, 0)
        self.layout().setSpacing(0)
        # Aligned to the top, its layout is no higher than its hint either.
        self.layout().setAlignment(Qt.AlignmentFlag(0))
        button = self.toggleButton()
        button.setStyleSheet("")
        button.setIconSize(QSize(0, 0))
        button.setProperty("role", "fold")
        self.content().layout().setContentsMargins(0, 2, 0, SPACE)
        self.content().layout().setSpacing(SPACE)
        self.toggled.connect(self._fitted)
        button.clicked.connect(self.reveal)
        self.expand(animate=False) if opened else self.collapse(animate=False)
        self._fitted(opened)

    def _fitted(self, opened: bool) -> None:
        self._name()
        self.content().setMaximumHeight(_UNBOUNDED if opened else 0)
        self.content().setVisible(opened)

    def _name(self) -> None:
        """The title with what is told, as much as fits; all of it in the tooltip."""
        button, opened = self.toggleButton(), self.isExpanded()
        told = f":  {self._told}" if self._told and not opened else ""
        text = f"{OPEN if opened else FOLDED}  {self._title}{told}"
        bold = button.font()
        bold.setBold(True)  # as the style sheet has it, which the button knows once it is shown
        # The button's own width is that before the layout comes to it.
        room = max(self.width() - 4 * SPACE, 200)
        shown = QFontMetrics(bold).elidedText(text, Qt.TextElideMode.ElideRight, room)
        self.setText(shown)
        button.setToolTip("\n".join(filter(None, [text[3:] if shown != text else "", self._tip])))

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self._name()

    def reveal(self) -> None:
        """Scroll an unfolded section into view, its title at least."""
        area: QWidget | None = self
        while area is not None and not isinstance(area, QScrollArea):
            area = area.parentWidget()
        if area is not None and self.isExpanded():
            QTimer.singleShot(0, self, partial(_into_view, area, self))

    def tell(self, text: str) -> None:
        """What the title says beside its name while the section is folded."""
        self._told = text
        self._fitted(self.isExpanded())

    def expand(self, animate: bool = False) -> None:
        super().expand(animate=animate)

    def collapse(self, animate: bool = False) -> None:
        super().collapse(animate=animate)

    def add(self, what: QWidget | QBoxLayout) -> None:
        """Put a widget or a row of widgets below the others."""
        layout = self.content().layout()
        layout.addWidget(what) if isinstance(what, QWidget) else layout.addLayout(what)


def _into_view(area: QScrollArea, part: QWidget) -> None:
    """Scroll as little as it takes to see all of a part, or its top where it is too high."""
    top = part.mapTo(area.widget(), QPoint(0, 0)).y()
    bar = area.verticalScrollBar()
    least = top + part.height() - area.viewport().height()
    bar.setValue(min(top, max(bar.value(), least)))


class Notices(QWidget):
    """Plain sentences about the last thing that happened; their text can be selected."""

    def __init__(self) -> None:
        super().__init__()
        self._rows = QVBoxLayout(self)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(SPACE)
        self._texts: list[tuple[Tone, str]] = []

    @property
    def texts(self) -> list[str]:
        """The sentences shown, oldest first."""
        return [text for _, text in self._texts]

    def height_at(self, width: int) -> int:
        """Pixels of height the sentences take at a width."""
        frames = [self._rows.itemAt(i).widget() for i in range(self._rows.count())]
        for frame in frames:
            frame.ensurePolished()
            frame.findChild(QLabel).ensurePolished()
        heights = [int(frame.layout().totalHeightForWidth(width)) + 4 for frame in frames]
        return sum(heights) + SPACE * max(len(heights) - 1, 0) + 2

    def show_only(self, *notices: tuple[Tone, str]) -> None:
        """Replace what is said."""
        while (item := self._rows.takeAt(0)) is not None:
            widget = item.widget()
            widget.setParent(None)
            widget.deleteLater()
        self._texts = []
        for tone, text in notices:
            self.add(tone, text)

    def add(self, tone: Tone, text: str, *ways: Way) -> None:
        """Say one more sentence, with buttons below it; the same one is not said twice.

        ways : (text, tip, what it does) of each button.
        """
        if text in self.texts:
            return
        self._texts.append((tone, text))
        frame = QFrame()
        frame.setProperty("role", tone)
        rows = QVBoxLayout(frame)
        rows.setContentsMargins(8, 5, 6, 5)
        rows.setSpacing(SPACE)
        rows.addWidget(label(text, selectable=True))
        for name, tip, does in ways:
            rows.addWidget(button(name, tip, does))
        self._rows.addWidget(frame)


class NoticeArea(QScrollArea):
    """Notices that take the height they need, and scroll beyond what a laptop can spare."""

    def __init__(self) -> None:
        super().__init__()
        self.notices = Notices()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidget(self.notices)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.hide()

    def say(self, *notices: tuple[Tone, str]) -> None:
        """Replace the sentences."""
        self.notices.show_only(*notices)
        self.fit()

    def add(self, tone: Tone, text: str) -> None:
        """Say one sentence more."""
        self.notices.add(tone, text)
        self.fit()

    def ask(self, tone: Tone, text: str, *ways: Way) -> None:
        """Replace the sentences by one with buttons."""
        self.notices.show_only()
        self.notices.add(tone, text, *ways)
        self.fit()

    def fit(self) -> None:
        """Give the sentences the height they need at the width of the parent."""
        said = bool(self.notices.texts)
        self.setVisible(said)
        parent = self.parentWidget()
        if said and parent is not None:
            wanted = self.notices.height_at(max(parent.width() - 2 * MARGIN - 16, 200))
            self.setFixedHeight(min(wanted, MOST_HIGH))


class Combo(QComboBox):
    """A list of choices that never makes the dock wider than it is."""

    def __init__(self, tip: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tip = tip
        self.setToolTip(tip)
        self.currentIndexChanged.connect(self._tell)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def offer(self, choices: list[tuple[str, Any]], keep: bool = True) -> None:
        """Replace the choices `(text, value)`, keeping the chosen value if it is still there."""
        value = self.currentData()
        self.blockSignals(True)
        self.clear()
        for text, item in choices:
            self.addItem(text, item)
        self.blockSignals(False)
        values = [item for _, item in choices]
        if keep and value in values:
            self.setCurrentIndex(values.index(value))
        self._tell()

    def explain(self, tip: str) -> None:
        """Take another tooltip."""
        self._tip = tip
        self._tell()

    def _tell(self, *_: Any) -> None:
        """A choice that is too long to be read says itself in the tooltip."""
        inside = QStyleOptionComboBox()
        self.initStyleOption(inside)
        part = QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, inside, part, self)
        text = self.currentText()
        cut = self.fontMetrics().horizontalAdvance(text) > room.width() - 4
        self.setToolTip("\n".join(filter(None, [text if cut else "", self._tip])))

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self._tell()

    def choose(self, value: Any) -> bool:
        """Select the choice with this value; False when there is none."""
        for i in range(self.count()):
            if self.itemData(i) == value:
                self.setCurrentIndex(i)
                return True
        return False

    def wheelEvent(self, event: Any) -> None:
        """Scrolling the dock must not change a setting by accident."""
        event.ignore()


class Wrapped(QLabel):
    """A label that wraps, inside words too where they are as long as names of files."""

    def setText(self, text: str) -> None:
        long = {word for word in text.split() if len(word) > LONG_WORD}
        for word in long:
            parts = [word[i : i + LONG_WORD] for i in range(0, len(word), LONG_WORD)]
            text = text.replace(word, NOTHING.join(parts))
        super().setText(text)

    def text(self) -> str:
        return str(super().text()).replace(NOTHING, "")


class Name(QLabel):
    """The label of a row; all rows have the same width."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.setMinimumWidth(78)

    def sizeHint(self) -> QSize:
        return super().sizeHint().expandedTo(QSize(78, 0))


def label(text: str = "", role: str = "", *, selectable: bool = False) -> QLabel:
    """A label that wraps."""
    made = Wrapped()
    made.setText(text)
    made.setWordWrap(True)
    made.setTextFormat(Qt.TextFormat.PlainText)
    if role:
        made.setProperty("role", role)
    if selectable:
        made.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        made.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
    return made


def button(text: str, tip: str, clicked: Callable[[], Any], role: str = "") -> QPushButton:
    """A push button; `role` "main" is the one that matters, "link" the quiet ones."""
    made = QPushButton(text)
    made.setToolTip(tip)
    made.clicked.connect(lambda: clicked())
    if role:
        made.setProperty("role", role)
    return made


def line(placeholder: str, tip: str, name: str) -> QLineEdit:
    """A field for a line of text. name : read aloud by screen readers."""
    made = QLineEdit()
    made.setPlaceholderText(placeholder)
    made.setToolTip(tip)
    made.setAccessibleName(name)
    return made


def row(*widgets: QWidget, stretch: int = -1) -> QHBoxLayout:
    """Widgets side by side; the one at `stretch` takes the room that is left."""
    made = QHBoxLayout()
    made.setContentsMargins(0, 0, 0, 0)
    made.setSpacing(SPACE)
    for i, widget in enumerate(widgets):
        made.addWidget(widget, 1 if i == stretch % len(widgets) else 0)
    return made


def pressed_row(main: QPushButton, other: QPushButton) -> QHBoxLayout:
    """The two buttons of a bar, of one height whether they can be pressed or not."""
    for one in (main, other):
        one.setFixedHeight(one.fontMetrics().height() + 2 * MARGIN)
    return row(main, other, stretch=0)


def column(parent: QWidget, margin: int = MARGIN) -> QVBoxLayout:
    """The vertical layout of a widget."""
    made = QVBoxLayout(parent)
    made.setContentsMargins(margin, margin, margin, margin)
    made.setSpacing(SPACE)
    return made


def over_bar(dock: QWidget, body: QWidget, bar: QWidget) -> QScrollArea:
    """A dock's layout: what scrolls, and below it a bar that stays where it is."""
    scroll = QScrollArea()
    scroll.setWidgetResizable(True)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setWidget(body)
    outer = QVBoxLayout(dock)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.setSpacing(0)
    outer.addWidget(scroll, 1)
    outer.addWidget(rule())
    outer.addWidget(bar)
    return scroll


def rule() -> QFrame:
    """A thin line between two parts."""
    made = QFrame()
    made.setProperty("role", "rule")
    made.setFixedHeight(1)
    return made


def sentence(error: Exception) -> str:
    """An error's text with a capital first letter."""
    text = str(error)
    return text[:1].upper() + text[1:]


def counted(number: int, one: str, many: str = "") -> str:
    """ "1 image", "1,200 images"."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def plain_font(font: QFont, share: float) -> QFont:
    """The font in another size."""
    made = QFont(font)
    made.setPointSizeF(max(font.pointSizeF(), 6.0) * share)
    return made
