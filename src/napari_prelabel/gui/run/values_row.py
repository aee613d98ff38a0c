"""A row that says which values of the image become black and white, with a way back."""

from typing import Any

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from ..layers import limits
from ..layers.limits import Limits
from ..parts.pieces import Name, button, label, row

TIP = (
    "Images of more than 8 bits are stretched for the models. Automatic does it for each plane by "
    "its own values, as the command line does. Moving the layer's contrast limits chooses other "
    "values, which saved settings keep."
)


class ValuesRow(QWidget):
    """Hidden for bytes that nobody stretched; `changed` comes with every change of limits."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._layer: Image | None = None
        self.text = label(role="muted")
        self.text.setToolTip(TIP)
        self.back = button("Automatic", "Forget these limits and stretch by the values", self._auto)
        self.setLayout(row(Name("Values"), self.text, self.back, stretch=1))
        self.hide()

    def show_layer(self, layer: Image | None) -> None:
        """Follow another layer."""
        self.leave()
        self._layer = layer
        if layer is not None:
            layer.events.contrast_limits.connect(self._tell)
            layer.events.auto_contrast.connect(self._tell)
        self._tell()

    def leave(self) -> None:
        """Follow no layer any more."""
        if self._layer is not None:
            self._layer.events.contrast_limits.disconnect(self._tell)
            self._layer.events.auto_contrast.disconnect(self._tell)
        self._layer = None

    def choose(self, chosen: Limits) -> None:
        """Take limits for the layer; () is automatic."""
        if self._layer is not None:
            limits.give(self._layer, chosen)
        self._tell()

    def _auto(self) -> None:
        self.choose(())

    def _tell(self, _: Any = None) -> None:
        if self._layer is None:
            self.hide()
            return
        chosen = limits.limits_of(self._layer)
        self.text.setText(limits.told(chosen))
        self.back.setVisible(bool(chosen))
        self.setVisible(limits.worth_telling(self._layer, chosen))
        self.changed.emit()
