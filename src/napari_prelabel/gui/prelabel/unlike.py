"""Holds a run back that cannot work: demo models on a picture unlike the scenes they know.

The picture is looked at off the GUI thread as soon as it is chosen. Without torch: its texture
tells (engine/likeness.py).
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from napari.layers import Image
from qtpy.QtCore import QObject

from ...models import catalog
from ...models.entries import ClipEntry
from ...values.errors import PrelabelError
from ...values.methods import METHODS
from ..layers.images import LayerSource
from ..models.models_box import ModelsBox
from ..run.place_box import PlaceBox
from ..run.run_bar import RunBar
from ..run.session import Session
from ..threads import Background
from .method_box import MethodBox

SENTENCE = (
    "The demo models know drawn scenes only, and this picture is none: choose models for your own "
    "pictures, or correct a few images and let the next ones learn from them."
)
# Larger planes are not read for a look; a run tells of them when it has read them anyway.
LARGEST = 1 << 26


class Unlike(QObject):
    """Looks at the chosen image, says what to do instead, and lets runs pass or not.

    ways : what the notice's buttons do: choose models, learn, run all the same.
    """

    def __init__(
        self,
        session: Session,
        boxes: tuple[PlaceBox, ModelsBox, MethodBox],
        bar: RunBar,
        ways: tuple[Callable[[], Any], Callable[[], Any], Callable[[], Any]],
    ) -> None:
        super().__init__(bar)
        self._session, self._bar = session, bar
        self._place, self._models, self._method = boxes
        self._choose, self._learn, self._run = ways
        self._found: WeakKeyDictionary[Image, bool] = WeakKeyDictionary()
        self._anyway: WeakKeyDictionary[Image, bool] = WeakKeyDictionary()
        self._looks: list[Background] = []
        self._shown = False
        self._place.image_changed.connect(lambda _: self.look())
        self._models.changed.connect(self.look)
        self._method.changed.connect(self.look)
        session.ended.connect(lambda *_: self._tell() if self._applies() else None)

    def holds(self) -> bool:
        """Whether a run on the chosen image is held back; then the notice says why."""
        held = self._applies()
        if held:
            self._tell()
        return held

    def look(self) -> None:
        """Look at the chosen image, unless it is known; take the notice away where it is over."""
        layer = self._place.layer
        if self._shown and not self._applies():
            self._shown = False
            self._bar.say()
        if layer is None or not self._asked():
            return
        if layer in self._found:
            self._tell_if_idle()
            return
        try:
            source = self._place.source
            plane = (0,) * (len(source.shape) - 2)
        except PrelabelError:
            return
        self._found[layer] = False  # until it is known
        if math.prod(source.shape[-2:]) <= LARGEST:
            clip = self._models.bundle.clip
            look = Background(self)
            look.done.connect(partial(self._looked, look, layer))
            self._looks.append(look)
            look.start(lambda: foreign(clip, source, plane))

    def _looked(self, look: Background, layer: Image, outcome: Any) -> None:
        self._looks.remove(look)
        self._found[layer] = outcome is True
        task = self._session.task
        if outcome is True and task is not None and task.source.layer is layer and self._applies():
            self._session.cancel()  # its end tells
        else:
            self._tell_if_idle()

    def _asked(self) -> bool:
        """Whether the chosen models and method depend on drawn scenes."""
        drawn = catalog.row_of(ClipEntry, self._models.bundle.clip).words is not None
        row = METHODS[self._method.method.currentData()]
        return drawn and row.needs(row.settings).clip

    def _applies(self) -> bool:
        layer = self._place.layer
        known = layer is not None and self._found.get(layer, False) and layer not in self._anyway
        return known and self._asked()

    def _tell_if_idle(self) -> None:
        if self._applies() and not self._session.running:
            self._tell()

    def _tell(self) -> None:
        self._shown = True
        self._bar.ask(
            "warning",
            SENTENCE,
            ("Choose models", "Which there are, and what fetching them takes", self._choose),
            ("Learn from a few corrected images", "Opens the Reference dock", self._learn),
            ("Run all the same", "The result will be poor; it can be undone", self._pass),
        )

    def _pass(self) -> None:
        if self._place.layer is not None:
            self._anyway[self._place.layer] = True
        self._shown = False
        self._bar.say()
        self._run()


def foreign(clip: str, source: LayerSource, plane: tuple[int, ...]) -> bool:
    """Whether a plane is surely no drawn scene of a demo model; reads lazy arrays."""
    from ...engine.likeness import Likeness

    likeness = Likeness.beside(clip)
    return likeness is not None and likeness.foreign(source.plane(plane))
