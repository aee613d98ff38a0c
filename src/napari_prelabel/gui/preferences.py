"""Our page of napari's Preferences: what it says now, and who is told when it changes.

napari.yaml declares the settings; napari makes the page of them and keeps what is chosen in
napari-prelabel.yaml beside its own settings.yaml.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari.settings import get_plugin_settings
from qtpy.QtCore import QObject, QTimer, Signal

from ..models import places
from ..worker.local import Setup
from . import PLUGIN

# A path is typed letter by letter, and a number turned step by step.
QUIET_MS = 1200


@dataclass(frozen=True, slots=True)
class Preferences:
    """cache : bytes, None for the engine's own choice; a folder is None where none is named.

    address, tls : of a worker elsewhere and its certificate; None for one on this machine.
    """

    device: str = "auto"
    cache: int | None = None
    early: bool = True
    models: Path | None = None
    reference_sets: Path | None = None
    exports: Path | None = None
    address: str | None = None
    tls: Path | None = None

    @property
    def setup(self) -> Setup:
        """What a worker here is started with; PRELABEL_MODELS goes before the folder of models."""
        arguments: dict[str, Any] = {"device": self.device}
        if self.cache is not None:
            arguments["cache"] = self.cache
        named = self.models is not None and not os.environ.get(places.HOME_VARIABLE)
        return Setup(arguments, {places.HOME_VARIABLE: str(self.models)} if named else {})


def preferences() -> Preferences:
    """What is chosen now; the defaults where napari does not know the plugin."""
    try:
        told: Any = get_plugin_settings(PLUGIN)
    except KeyError:
        return Preferences()
    worker, folders = told.worker, told.folders
    return Preferences(
        worker.device,
        worker.cache << 20 or None,
        worker.start == "with the dock",
        _folder(folders.models),
        _folder(folders.reference_sets),
        _folder(folders.exports),
        worker.address.strip() or None,
        _folder(worker.tls),
    )


def _folder(told: str) -> Path | None:
    """A folder as a person types it; one without a home of that name stays as it is."""
    return Path(os.path.expanduser(told.strip())).absolute() if told.strip() else None


class Changes(QObject):
    """Tells the docks, once changed settings have been left alone for a moment."""

    changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._settings: Any = None
        self._told = Preferences()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(QUIET_MS)
        self._soon.timeout.connect(self.tell)

    def follow(self) -> Preferences:
        """Listen to the page from now on, and take what it says; called when a dock opens."""
        try:
            settings = get_plugin_settings(PLUGIN)
        except KeyError:
            return self._told
        if settings is not self._settings:  # napari makes it anew when a plugin is switched
            self._settings = settings
            settings.events.changed.connect(self._heard)
        self._take(preferences())
        return self._told

    @property
    def away(self) -> bool:
        """Whether the worker, and with it the models, is at an address."""
        return self._told.address is not None

    def _heard(self, _: Any) -> None:
        self._soon.start()

    def tell(self) -> None:
        """Tell what is chosen now, unless it has been told."""
        now = preferences()
        if now != self._told:
            self._take(now)
            self.changed.emit(now)

    def _take(self, now: Preferences) -> None:
        self._told = now
        places.keep_models(now.models)


_changes: list[Changes] = []


def changes() -> Changes:
    """The one watcher of this napari; to be asked for in the GUI thread."""
    if not _changes:
        _changes.append(Changes())
    return _changes[0]
