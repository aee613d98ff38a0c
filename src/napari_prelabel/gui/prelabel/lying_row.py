"""The row of the dock that offers labels lying on the chosen image; hidden while there are none.

Labels that one of our own files brought are taken up at once, without a question.
"""

from typing import Any
from weakref import WeakSet

from napari.layers import Image, Labels
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from ...values.errors import PrelabelError
from ...values.vocabulary import Vocabulary
from ..layers import lying
from ..layers.io import DOUBT
from ..layers.lying import Found
from ..layers.opened import is_picture
from ..layers.result import ResultLayer
from ..parts.pieces import button, column, counted, label, line, row, sentence
from ..run.place_box import PlaceBox
from ..run.session import Session
from ..threads import Background
from .vocabulary_box import VocabularyBox

# More names than this are not asked for in a row.
MOST_ASKED = 12
ADOPTED = "These are the labels of the image now; runs write around what is there."
_MOVES = ("data", "scale", "translate", "rotate", "shear", "affine", "name")


class LyingRow(QWidget):
    """`adopted(ResultLayer)` after labels were taken up, `failed(sentence)` when they cannot be."""

    adopted = Signal(object)
    failed = Signal(str)

    def __init__(
        self, viewer: Any, session: Session, place: PlaceBox, words: VocabularyBox
    ) -> None:
        super().__init__()
        self._viewer, self._session, self._place, self._words = viewer, session, place, words
        self._refused: WeakSet[Labels] = WeakSet()
        self._followed: WeakSet[Any] = WeakSet()
        self.found: Found | None = None
        self.text = label()
        self.names = line("", "", "Names of these labels")
        self.names.returnPressed.connect(self.use)
        self.use_button = button(
            "Use them", "From now on these are the labels of the image: what you paint counts, is\n"
            "kept on this disk, and no run writes over what is there", self.use,
        )  # fmt: skip
        self.refuse_button = button("Not these", "Leave these labels alone", self.refuse)
        rows = column(self, 0)
        rows.addWidget(self.text)
        rows.addWidget(self.names)
        rows.addLayout(row(self.use_button, self.refuse_button, stretch=0))
        self.hide()
        self._read, self._taking = Background(), Background()
        self._read.done.connect(self._show)
        self._taking.done.connect(self._take)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self.look)
        self._events: tuple[Any, ...] = ()

    def begin(self) -> None:
        """Look from now on."""
        events = self._viewer.layers.events
        self._events = (events.inserted, events.removed)
        for event in self._events:
            event.connect(self._look_soon)
        self._place.image_changed.connect(self._look_soon)
        self._look_soon()

    def leave(self) -> None:
        """Look no more, for a dock that is closed."""
        for event in self._events:
            event.disconnect(self._look_soon)
        for layer in self._followed:
            for name in _MOVES:
                getattr(layer.events, name).disconnect(self._look_soon)
        self._soon.stop()

    def _look_soon(self, *_: Any) -> None:
        self._soon.start()

    def look(self) -> None:
        """Take our own labels up; offer those of others that lie on the chosen image."""
        layers, known = list(self._viewer.layers), self._session.results()
        for layer in layers:
            if isinstance(layer, (Image, Labels)) and layer not in self._followed:
                self._followed.add(layer)
                for name in _MOVES:
                    getattr(layer.events, name).connect(self._look_soon)
            if is_picture(layer):
                self._session.result(layer)
        image = self._place.layer
        for result in self._session.results():
            if result not in known and result.image() is image:
                self.adopted.emit(result)
        fitting = [x for x in reversed(layers) if isinstance(x, Labels) and self._fits(x, image)]
        if not fitting or image is None:
            self._show(None)
        elif self.found is None or (self.found.layer, self.found.image) != (fitting[0], image):
            self._show(None)
            layer, typed = fitting[0], self._words.vocabulary
            self._read.start(lambda: _found(layer, image, typed))

    def _fits(self, layer: Labels, image: Image | None) -> bool:
        return (
            image is not None
            and layer not in self._refused
            and lying.is_of_others(layer)
            and lying.can_be_edited(layer)
            and lying.lies_on(layer, image)
        )

    def _show(self, found: Found | Exception | None) -> None:
        """Ask about labels, once it is known what is in them."""
        if isinstance(found, Exception) or (
            found is not None and len(found.values) > lying.MOST_CLASSES
        ):
            found = None
        self.found = found
        self.setVisible(found is not None)
        if found is None:
            return
        self.text.setText(
            f"The labels '{found.layer.name}' lie on this image. Are they its labels?"
        )
        self.names.setVisible(0 < len(found.values) <= MOST_ASKED)
        self.names.setText(", ".join(found.names))
        ids = ", ".join(map(str, found.values))
        self.names.setToolTip(f"What the labels {ids} mean, in this order, with commas between")

    def refuse(self) -> None:
        """Ask about these labels no more."""
        if self.found is not None:
            self._refused.add(self.found.layer)
        self._show(None)
        self._look_soon()

    def use(self) -> None:
        """Make them the labels of the image, with the names that stand in the row."""
        found = self.found
        if found is None:
            return
        layer = found.layer
        names = found.names
        if not self.names.isHidden():
            names = tuple(name.strip() for name in self.names.text().split(","))
        if len(names) != len(found.values) or not all(names):
            count = len(found.values)
            self.failed.emit(f"Give {count} names with commas between, one for each label.")
            return
        if layer._staged_history or layer._block_history:
            self.failed.emit("Finish the stroke first, then press again.")
            return
        told = dict(zip(found.values, names, strict=True))
        self.use_button.setEnabled(False)
        # Painted meanwhile, they may hold other values than when they were offered.
        self._taking.start(lambda: _renamed(found, told))

    def _take(self, found: Found | Exception) -> None:
        self.use_button.setEnabled(True)
        try:
            if isinstance(found, Exception):
                raise found
            result = lying.take_up(found, self._words.vocabulary)
        except PrelabelError as error:
            self.failed.emit(sentence(error))
            return
        self._show(None)
        self._session.take_over(result)
        self.adopted.emit(result)


def adopted_text(result: ResultLayer) -> str:
    """What is said of labels that were taken up: what of them a run will replace."""
    notes = result.annotation
    if doubt := notes.facts.get(DOUBT):
        return f"These are the labels of the image now. {doubt}"
    theirs, mine = notes.model_pixels(), notes.human_pixels()
    if not theirs:
        return ADOPTED
    stay = f"{counted(mine, 'pixel')} of yours or imported stay" if mine else "you changed none"
    return (
        f"These are the labels of the image now. {counted(theirs, 'pixel')} are the model's, which "
        f"the next run replaces; {stay}."
    )


def _found(layer: Labels, image: Image, typed: Vocabulary | None) -> Found:
    values = lying.values_of(layer.data)
    return Found(layer, image, values, lying.names_for(values, lying.features_of(layer), typed))


def _renamed(found: Found, names: dict[int, str]) -> Found:
    values = lying.values_of(found.layer.data)
    told = tuple(names.get(v, f"label {v}") for v in values)
    return Found(found.layer, found.image, values, told)
