"""The choice of models: what each is, under which licence, how large, installed or not."""

from typing import Any

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QMessageBox, QProgressBar, QWidget

from ..errors import Cancelled, PrelabelError
from ..job import Job
from ..models import catalog
from .background import Background
from .parts import Combo, Name, button, column, label, row

HIDDEN = ("shape",)


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
        from ..models.fetch import fetch

        def moved(done: int, total: int | None) -> None:
            self.moved.emit(done, total)

        fetch(self.model, on_bytes=moved, cancelled=lambda: self._stopped)


class ModelsBox(QWidget):
    """`changed` comes when other models are chosen or have been installed."""

    changed = Signal()
    failed = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.models = Combo("The models that look at the image and read the words")
        shown = [n for n in catalog.BUNDLES if not n.endswith(HIDDEN)]
        self.models.offer([(catalog.BUNDLES[n].title, n) for n in shown])
        self.facts = label(role="muted", selectable=True)
        self.get = button("Get these models…", "Shows what would be fetched before it is", self.ask)
        self.stop = button("Stop", "What has come is kept; you can go on later", self._stop)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bytes = label(role="muted")
        self._download: Download | None = None
        rows = column(self, 0)
        rows.addLayout(row(Name("Models"), self.models, stretch=1))
        rows.addWidget(self.facts)
        rows.addLayout(row(self.get, self.stop, stretch=0))
        rows.addWidget(self.bar)
        rows.addWidget(self.bytes)
        self.models.currentIndexChanged.connect(self._chosen)
        self._chosen()

    @property
    def bundle(self) -> catalog.Bundle:
        return catalog.BUNDLES[self.models.currentData()]

    @property
    def installed(self) -> bool:
        return catalog.installed(self.bundle.clip)

    def apply(self, job_models: str) -> None:
        """Choose a bundle by name, as a job file has it; hidden ones are added to the list."""
        if not self.models.choose(job_models):
            bundle = catalog.bundle_of(job_models)
            self.models.addItem(bundle.title, job_models)
            self.models.choose(job_models)

    def check(self, job: Job) -> None:
        """Raise ModelError or JobError when these models cannot run this job."""
        from ..errors import JobError, ModelError

        bundle = catalog.bundle_of(job.models)
        if not catalog.installed(bundle.clip):
            raise ModelError(
                bundle.clip,
                f"{bundle.title} is not on this machine yet: press “Get these models…”, or choose "
                "the demo models.",
            )
        for field, value, able in (
            ("method", job.method, bundle.methods),
            ("base", job.base, bundle.bases),
        ):
            if value not in able:
                raise JobError(
                    field, f"{bundle.title} cannot do {value}: choose one of {', '.join(able)}."
                )

    def _chosen(self, *_: Any) -> None:
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        busy = self._download is not None
        self.facts.setText(_facts(self.bundle))
        offered = catalog.entry_of(self.bundle.clip).size > 0
        self.get.setVisible(offered and not self.installed and not busy)
        self.stop.setVisible(busy)
        self.bar.setVisible(busy)
        self.bytes.setVisible(busy)
        self.models.setEnabled(not busy)

    # Fetching

    def ask(self) -> None:
        """Say what would be fetched; fetch it after a yes."""
        name = self.bundle.clip
        entry = catalog.entry_of(name)
        text = (
            f"{self.bundle.title}\n\n"
            f"From: huggingface.co/{entry.source}\n"
            f"Size: {_megabytes(entry.size)}\n"
            f"Licence: {entry.licence}\n"
            f"Stored in: {catalog.model_dir(name)}\n\n"
            "Nothing about your images is sent. Fetch it now?"
        )
        answer = QMessageBox.question(self, "Get models", text)
        if answer == QMessageBox.StandardButton.Yes:
            self.fetch(name)

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
            self.bytes.setText(f"{_megabytes(done)} of {_megabytes(total)}")
        else:
            self.bytes.setText(_megabytes(done))

    def _stop(self) -> None:
        if self._download is not None:
            self.bytes.setText("Stopping…")
            self._download.stop()

    def _ended(self, outcome: object) -> None:
        self._download = None
        self._show()
        if isinstance(outcome, Cancelled):
            self.failed.emit("Stopped. What has come is kept: press “Get these models…” to go on.")
        elif isinstance(outcome, PrelabelError):
            self.failed.emit(str(outcome))
        elif isinstance(outcome, Exception):
            self.failed.emit(f"The models could not be fetched: {outcome}")
        self.changed.emit()

    def close_download(self) -> None:
        """Stop fetching when the dock closes."""
        if self._download is not None:
            self._download.stop()


def _facts(bundle: catalog.Bundle) -> str:
    entry = catalog.entry_of(bundle.clip)
    if catalog.installed(bundle.clip):
        state = "Installed."
    elif entry.size:
        state = f"{_megabytes(entry.size)} to fetch."
    else:
        state = "Missing: install napari-prelabel again."
    return f"{state} Licence: {entry.licence}." + (f" {bundle.notice}" if bundle.notice else "")


def _megabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
