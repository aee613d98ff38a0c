"""The diffusion model beside the models that are chosen: whether it is here, and getting it."""

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from ...models import catalog
from ...values.errors import JobError, ModelError
from ..parts.pieces import column, label
from ..preferences import changes
from .fetch_row import Fetchable, FetchRow, megabytes

GET = "Get the diffusion model…"


def check_diffusion(bundle: catalog.Bundle) -> None:
    """Raise JobError where models have no diffusion model, ModelError where it is not here."""
    if not bundle.diffusion:
        other = next(b.title for b in catalog.BUNDLES.values() if usable(b))
        raise JobError(
            "models",
            f"{bundle.title} has no diffusion model, which NERVE and Scribble need: choose "
            f"{other} under Models.",
        )
    if not catalog.installed(bundle.diffusion) and not changes().away:
        raise ModelError(
            bundle.diffusion,
            f"The diffusion model of {bundle.title} is not on this machine yet: press “{GET}” "
            "under Models.",
        )


def usable(bundle: catalog.Bundle) -> bool:
    """Whether a bundle has a diffusion model that means something."""
    return bool(bundle.diffusion) and not catalog.MODELS[bundle.diffusion].random


class DiffusionRow(QWidget):
    """Shows only for models that have a diffusion model. `ended` comes after a download."""

    failed = Signal(str)
    ended = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._bundle: catalog.Bundle | None = None
        self.facts = label(role="muted", selectable=True)
        self.fetcher = FetchRow(GET)
        rows = column(self, 0)
        rows.addWidget(self.facts)
        rows.addWidget(self.fetcher)
        self.fetcher.failed.connect(self.failed)
        self.fetcher.ended.connect(self._fetched)

    def show_bundle(self, bundle: catalog.Bundle) -> None:
        """Tell of the diffusion model of these models."""
        self._bundle = bundle
        self.setVisible(bool(bundle.diffusion))
        if not bundle.diffusion:
            return
        name, entry = bundle.diffusion, catalog.MODELS[bundle.diffusion]
        here = catalog.installed(name)
        if here:
            state = "installed"
        elif entry.size:
            state = f"{megabytes(entry.size)} to fetch"
        else:
            state = "missing: install napari-prelabel again"
        self.facts.setText(
            f"Diffusion model for NERVE and Scribble: {state}. Licence: {entry.licence}."
        )
        self.fetcher.show_model(
            Fetchable(
                name, f"The diffusion model of {bundle.title}", entry.source, entry.size,
                entry.licence, catalog.model_dir(name), here,
            )
        )  # fmt: skip

    def _fetched(self) -> None:
        if self._bundle is not None:
            self.show_bundle(self._bundle)
        self.ended.emit()

    def close_download(self) -> None:
        """Stop fetching when the dock closes."""
        self.fetcher.close_download()
