"""What is in the set: its classes, the segments of the chosen one, and all about one of them."""

from collections.abc import Sequence

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFileDialog, QFrame, QLabel, QWidget

from ..parts.pieces import button, column, counted, label, row
from ..parts.table import Column, RowsView
from .gallery import Gallery, about, pixmap
from .shelf import Entry, Overview, Rows, Shelf

EMPTY = "Make a set below, or open one above, to see what is in it."
PREVIEW = 72


class ContentBox(QWidget):
    """`show_source` brings the Entry whose place the person wants to see in its image."""

    show_source = Signal(object)
    merge = Signal(str)

    def __init__(self, shelf: Shelf) -> None:
        super().__init__()
        self._shelf = shelf
        self._word = ""
        self._entry: Entry | None = None
        self.empty = label(EMPTY, "muted")
        self.table = RowsView("Classes of the set", _columns(), most=6)
        self.heading = label(role="head")
        self.gallery = Gallery(shelf.entries)
        self.detail = self._detail()
        self.merge_button = button(
            "Merge another set…", "Take the segments of another set into this one", self._ask_merge
        )
        rows = column(self, 0)
        for widget in (self.empty, self.table, self.heading, self.gallery, self.detail):
            rows.addWidget(widget)
        rows.addLayout(row(self.merge_button, QWidget(), stretch=1))
        self.table.chosen.connect(lambda stats: self._show_word(stats.word))
        self.gallery.chosen.connect(self._show_entry)
        self.gallery.switch.connect(shelf.switch)
        shelf.switched.connect(lambda rows, _: self._switched(rows))
        self.show_set(None)

    def _detail(self) -> QFrame:
        frame = QFrame()
        frame.setProperty("role", "card")
        self.picture = QLabel()
        self.picture.setFixedSize(PREVIEW, PREVIEW)
        self.picture.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.told = label(selectable=True)
        self.switch_button = button("", "Takes effect at the next run", self._switch_entry)
        self.image_button = button(
            "Image off", "Switch every segment of this image off", self._switch_image
        )
        self.jump_button = button("Show", "Move to this place, if the image is open", self._jump)
        body = column(frame, 6)
        body.addLayout(row(self.picture, self.told, stretch=1))
        body.addLayout(row(self.switch_button, self.image_button, self.jump_button, stretch=0))
        frame.hide()
        return frame

    # The set

    def show_set(self, overview: Overview | None) -> None:
        """Show another set, or the same after a change; the chosen class stays chosen."""
        classes = overview.classes if overview is not None else ()
        self.empty.setVisible(not classes)
        self.merge_button.setVisible(bool(classes))
        word = self._word if self._word in {c.word for c in classes} else ""
        self.table.blockSignals(True)
        self.table.show_rows(classes)
        if word:
            self.table.choose([c.word for c in classes].index(word))
        self.table.blockSignals(False)
        if not word:
            self._leave_word()
        elif overview is not None:
            self._show_word(word)

    def _leave_word(self) -> None:
        self._word, self._entry = "", None
        self.heading.setVisible(bool(self.table.rows))
        self.heading.setText("Click a class to see its segments")
        self.gallery.hide()
        self.detail.hide()

    def _show_word(self, word: str) -> None:
        fresh = word != self._word
        self._word = word
        if fresh:
            self.detail.hide()
        self._shelf.ask(
            lambda held: held.rows_of(word), lambda rows: self._show_rows(word, rows, fresh)
        )

    def _show_rows(self, word: str, rows: Rows, fresh: bool) -> None:
        if word != self._word:
            return
        self.heading.setText(f"{word}: {counted(len(rows), 'segment')}")
        self.heading.show()
        self.gallery.show()
        if fresh or not _same(rows, self.gallery.pictures.rows):
            self.gallery.show_rows(rows)
        else:
            self.gallery.pictures.forget(rows)

    # One segment

    def _show_entry(self, entry: Entry) -> None:
        self._entry = entry
        picture = pixmap(entry.picture)
        if not picture.isNull():
            picture = picture.scaled(
                PREVIEW, PREVIEW, Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            )  # fmt: skip
        self.picture.setPixmap(picture)
        self.told.setText(about(entry))
        self.switch_button.setText("Switch off" if entry.record.enabled else "Switch on")
        self.detail.show()

    def _switch_entry(self) -> None:
        if self._entry is not None:
            self._shelf.switch([self._entry.record.row], not self._entry.record.enabled)

    def _switch_image(self) -> None:
        if self._entry is None:
            return
        source = self._entry.record.source.hash
        self._shelf.ask(
            lambda held: held.image_rows(source), lambda rows: self._shelf.switch(rows, False)
        )

    def _jump(self) -> None:
        if self._entry is not None:
            self.show_source.emit(self._entry)

    def _switched(self, rows: Rows) -> None:
        self.gallery.pictures.forget(rows)
        entry = self._entry
        if entry is not None and entry.record.row in set(rows.tolist()):
            self._shelf.entries(rows[rows == entry.record.row], self._again)

    def _again(self, entries: Sequence[Entry]) -> None:
        same = self._entry is not None and entries[0].record.row == self._entry.record.row
        if same:
            self._show_entry(entries[0])

    def _ask_merge(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Merge another reference set")
        if chosen:
            self.merge.emit(chosen)


def _columns() -> tuple[Column, ...]:
    return (
        Column("class", lambda c: c.word, "Click to see its segments", tip=_tip),
        Column("segments", lambda c: f"{c.segments:,}", "Regions with this word", 9, True),
        Column("images", lambda c: f"{c.images:,}", "Images they come from", 7, True),
        Column("off", lambda c: f"{c.off:,}" if c.off else "", "Switched off by you", 4, True),
        Column("cleaned", lambda c: f"{c.dropped:,}" if c.dropped else "",
               "Dropped by cleaning, mostly outliers of the class", 8, True),
        Column("words", lambda c: f"{len(c.synonyms)}" if c.synonyms else "",
               "Other words taken for this one", 6, True, tip=_tip),
    )  # fmt: skip


def _tip(stats: object) -> str:
    words = getattr(stats, "synonyms", ())
    return f"Also: {', '.join(words)}" if words else "Click to see its segments"


def _same(a: Rows, b: Rows) -> bool:
    return a.shape == b.shape and bool((a == b).all())
