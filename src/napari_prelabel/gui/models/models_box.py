"""The choice of models: what each is, under which licence, how large, installed or not."""

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from ...models import catalog
from ...models.entries import ClipEntry
from ...values.job import Job
from ..parts.pieces import Combo, Name, column, label, row
from ..preferences import changes
from .fetch_row import Fetchable, FetchRow, megabytes
from .method_diffusion import DiffusionRow, check_diffusion

HIDDEN = ("shape",)


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
        self.fetcher = FetchRow("Get these models…")
        rows = column(self, 0)
        rows.addLayout(row(Name("Models"), self.models, stretch=1))
        rows.addWidget(self.facts)
        rows.addWidget(self.fetcher)
        self.diffusion = DiffusionRow()
        rows.addWidget(self.diffusion)
        self.diffusion.failed.connect(self.failed)
        self.diffusion.ended.connect(self._chosen)
        self.fetcher.failed.connect(self.failed)
        self.fetcher.busy.connect(lambda busy: self.models.setEnabled(not busy))
        self.fetcher.ended.connect(self._chosen)
        self.models.currentIndexChanged.connect(self._chosen)
        changes().follow()
        changes().changed.connect(self._chosen)  # the folder of models may be another
        self._chosen()

    @property
    def bundle(self) -> catalog.Bundle:
        return catalog.BUNDLES[self.models.currentData()]

    @property
    def installed(self) -> bool:
        return catalog.installed(self.bundle.clip)

    def choose_full(self) -> None:
        """Choose models for photographs where the demo models are: what is here, else the least."""
        if catalog.row_of(ClipEntry, self.bundle.clip).words is None:
            return
        names = [self.models.itemData(i) for i in range(self.models.count())]
        clips = {n: catalog.bundle_of(n).clip for n in names}
        entries = {n: catalog.row_of(ClipEntry, clip) for n, clip in clips.items()}
        full = [n for n in names if entries[n].words is None and not n.endswith(HIDDEN)]
        self.models.choose(
            min(full, key=lambda n: (not catalog.installed(clips[n]), entries[n].size))
        )

    def apply(self, job_models: str) -> None:
        """Choose a bundle by name, as a job file has it; hidden ones are added to the list."""
        if not self.models.choose(job_models):
            bundle = catalog.bundle_of(job_models)
            self.models.addItem(bundle.title, job_models)
            self.models.choose(job_models)

    def check(self, job: Job) -> None:
        """Raise ModelError or JobError when these models cannot run this job."""
        from ...values.errors import JobError, ModelError

        bundle = catalog.bundle_of(job.models)
        if not catalog.installed(bundle.clip) and not changes().away:
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
        if job.needs.diffusion:
            check_diffusion(bundle)

    def _chosen(self, *_: Any) -> None:
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        self.facts.setText(_facts(self.bundle))
        self.fetcher.show_model(_fetchable(self.bundle))
        self.diffusion.show_bundle(self.bundle)

    def close_download(self) -> None:
        """Stop fetching when the dock closes."""
        self.fetcher.close_download()
        self.diffusion.close_download()


def _fetchable(bundle: catalog.Bundle) -> Fetchable:
    entry, name = catalog.MODELS[bundle.clip], bundle.clip
    return Fetchable(
        name, bundle.title, entry.source, entry.size, entry.licence,
        catalog.model_dir(name), catalog.installed(name),
    )  # fmt: skip


def _facts(bundle: catalog.Bundle) -> str:
    entry = catalog.MODELS[bundle.clip]
    if catalog.installed(bundle.clip):
        state = "Installed."
    elif entry.size:
        state = f"{megabytes(entry.size)} to fetch."
    else:
        state = "Missing: install napari-prelabel again."
    return f"{state} Licence: {entry.licence}." + (f" {bundle.notice}" if bundle.notice else "")
