"""Fetching one model: asked first, counted in bytes, stopped, gone on with."""

from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QMessageBox, QProgressBar, QWidget

from ...values.errors import Cancelled, PrelabelError
from ..parts.pieces import button, column, label, row
from ..threads import Background


@dataclass(frozen=True, slots=True)
class Fetchable:
    """What a person agrees to: a model's name, title, source, size in bytes, licence, place."""

    name: str
    title: str
    source: str
    size: int
    licence: str
    folder: Path
    installed: bool


class Download(QObject):
    """Fetches one model off the GUI thread; stopping keeps what came, so it can go on later."""

    moved = Signal(object, object)
    ended = Signal(object)

    def __init__(self, model: str) -> None:
        super().__init__()
        self.model = model
        self._stopped = False
        self._work = Background()
        self._work.done.connect(self.ended)

    def start(self) -> None:
        self._work.start(self._fetch)

    def stop(self) -> None:
        self._stopped = True

    def _fetch(self) -> None:
        from ...models.fetch import fetch

        def moved(done: int, total: int | None) -> None:
            self.moved.emit(done, total)

        fetch(self.model, on_bytes=moved, cancelled=lambda: self._stopped)


class FetchRow(QWidget):
    """A button that shows only for a model that is not here yet.

    `busy` brings whether something is being fetched, `failed` a sentence, after `ended`.
    """

    busy = Signal(bool)
    failed = Signal(str)
    ended = Signal()

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text
        self._model: Fetchable | None = None
        self._download: Download | None = None
        self.get = button(text, "Shows what would be fetched before it is", self.ask)
        self.stop = button("Stop", "What has come is kept; you can go on later", self._stop)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bytes = label(role="muted")
        rows = column(self, 0)
        rows.addLayout(row(self.get, self.stop, stretch=0))
        rows.addWidget(self.bar)
        rows.addWidget(self.bytes)

    def show_model(self, model: Fetchable | None) -> None:
        """Offer to fetch another model, unless it is here or None."""
        self._model = model
        self._show()

    def _show(self) -> None:
        model, busy = self._model, self._download is not None
        offered = model is not None and model.size > 0 and not model.installed and not busy
        self.get.setVisible(offered)
        for widget in (self.stop, self.bar, self.bytes):
            widget.setVisible(busy)
        self.setVisible(offered or busy)
        self.busy.emit(busy)

    def ask(self) -> None:
        """Say what would be fetched; fetch it after a yes."""
        model = self._model
        if model is None:
            return
        text = (
            f"{model.title}\n\n"
            f"From: huggingface.co/{model.source}\n"
            f"Size: {megabytes(model.size)}\n"
            f"Licence: {model.licence}\n"
            f"Stored in: {model.folder}\n\n"
            "Nothing about your images is sent. Fetch it now?"
        )
        answer = QMessageBox.question(self, "Get models", text)
        if answer == QMessageBox.StandardButton.Yes:
            self.fetch(model.name)

    def fetch(self, name: str) -> None:
        """Start fetching, or go on where it was stopped."""
        self._download = Download(name)
        self._download.moved.connect(self._moved)
        self._download.ended.connect(self._ended)
        self.bar.setRange(0, 0)
        self.bytes.setText("Connecting…")
        self._show()
        self._download.start()

    def _moved(self, done: int, total: int | None) -> None:
        if total:
            self.bar.setRange(0, 1000)
            self.bar.setValue(round(1000 * done / total))
            self.bytes.setText(f"{megabytes(done)} of {megabytes(total)}")
        else:
            self.bytes.setText(megabytes(done))

    def _stop(self) -> None:
        if self._download is not None:
            self.bytes.setText("Stopping…")
            self._download.stop()

    def _ended(self, outcome: object) -> None:
        self._download = None
        self._show()
        # First what changed, then the sentence: a change takes away what was said before it.
        self.ended.emit()
        if isinstance(outcome, Cancelled):
            self.failed.emit(f"Stopped. What has come is kept: press “{self._text}” to go on.")
        elif isinstance(outcome, PrelabelError):
            self.failed.emit(str(outcome))
        elif isinstance(outcome, Exception):
            self.failed.emit(f"The models could not be fetched: {outcome}")

    def close_download(self) -> None:
        """Stop fetching when the dock closes."""
        if self._download is not None:
            self._download.stop()


def megabytes(size: int) -> str:
    """A size in bytes for people."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
