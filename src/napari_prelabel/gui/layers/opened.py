"""Our label files that napari opened as pictures: they become Labels with names and colours.

napari asks "which reader?" as soon as two plugins name a suffix, whatever is in the file, so our
manifest names none that napari reads itself. What we wrote as PNG or TIFF therefore arrives as a
picture, and is turned while one of our docks is open.
"""

from typing import Any
from weakref import WeakKeyDictionary

from napari.layers import Image, Labels
from napari.settings import get_settings
from napari.utils.notifications import show_warning
from qtpy.QtWidgets import QFileDialog

from ...formats import suffixes
from ...values.errors import PrelabelError
from .. import PLUGIN
from ..threads import Background
from . import io

_told: "WeakKeyDictionary[Image, bool]" = WeakKeyDictionary()


def is_picture(layer: Any) -> bool:
    """Whether a layer is an image to label, and not one of our label files on its way to Labels.

    Looks once at the first bytes of the layer's file.
    """
    return isinstance(layer, Image) and not _of_labels(layer)


def _of_labels(layer: Image) -> bool:
    if layer not in _told:
        path = layer.source.path
        _told[layer] = bool(
            path
            and not layer.multiscale
            and layer.source.reader_plugin != PLUGIN
            and layer.source.parent is None
            and (found := io.ours(path))
            and not found.file
        )
    return _told[layer]


class OpenedLabels:
    """Turns pictures of label files into Labels, those that are open and those that come."""

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._work = Background()
        self._work.done.connect(self._came)
        viewer.layers.events.inserted.connect(self._inserted)
        for layer in list(viewer.layers):
            self._look(layer)
        forget_old_preferences()

    def leave(self) -> None:
        """Listen no more."""
        self._viewer.layers.events.inserted.disconnect(self._inserted)

    def _inserted(self, event: Any) -> None:
        self._look(event.value)

    def _look(self, layer: Any) -> None:
        if isinstance(layer, Image) and _of_labels(layer):
            path = str(layer.source.path)
            self._work.start(lambda: (layer, _read(path)))

    def _came(self, outcome: Any) -> None:
        if not isinstance(outcome, tuple):
            return
        layer, found = outcome
        if found is None or not _same_size(layer, found[0]):
            _told[layer] = False  # a damaged file, or a stack of several: it stays a picture
            return
        layers = self._viewer.layers
        if layer not in layers:
            return
        data, attributes, _ = found
        at, chosen = layers.index(layer), layer in layers.selection
        # The picture goes first: the labels must not be taken for labels of their own picture.
        layers.remove(layer)
        labels = Labels(data, **attributes)
        labels._set_source(layer.source)
        layers.insert(at, labels)
        if chosen:
            layers.selection.active = labels


def _read(path: str) -> io.LayerData | None:
    try:
        (found,) = io.read(path)
    except PrelabelError:
        return None
    return found


def _same_size(layer: Image, ids: Any) -> bool:
    """Whether a picture is of these ids; napari takes colours of tiny pictures for an axis."""
    picture, wanted = ([n for n in shape if n > 1] for shape in (layer.data.shape, ids.shape))
    return picture == wanted or (picture[:-1] == wanted and picture[-1] in (3, 4))


def ask_open(viewer: Any) -> None:
    """Ask for label files; each becomes a Labels layer, or a notice says why not."""
    known = f"Labels ({' '.join(f'*{end}' for end in suffixes())});;All files (*)"
    names, _ = QFileDialog.getOpenFileNames(None, "Open labels", "", known)
    open_labels(viewer, names)


def open_labels(viewer: Any, names: list[str]) -> None:
    """Add the Labels layers of files that were chosen by name, COCO files of others included."""
    for name in names:
        try:
            found = io.read(name)
        except PrelabelError as error:
            show_warning(str(error))
            continue
        for data, attributes, _ in found:
            viewer.add_labels(data, **attributes)


def forget_old_preferences() -> None:
    """Drop napari's preferences of us for files that we name no more: each opening would warn."""
    from npe2 import PluginManager

    readers = PluginManager.instance().get_manifest(PLUGIN).contributions.readers or []
    named = {pattern for reader in readers for pattern in reader.filename_patterns}
    plugins = get_settings().plugins
    kept = {p: who for p, who in plugins.extension2reader.items() if who != PLUGIN or p in named}
    if kept != plugins.extension2reader:
        plugins.extension2reader = kept
