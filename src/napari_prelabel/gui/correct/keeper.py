"""Keeps the person's labels on disk within seconds of a stroke, and offers them when they return.

The main path: a stroke starts a timer, the timer a thread that copies and writes; an image without
labels asks for kept ones, whose row takes them up or forgets them.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from napari.layers import Image
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from ...annotation import kept
from ...annotation.annotation import Annotation
from ...annotation.kept import Kept, Moved, Offer
from ...values.errors import ImageError, PrelabelError
from ..layers.result import ResultLayer
from ..parts.pieces import button, column, counted, label, row, sentence
from ..run.place_box import PlaceBox
from ..run.session import Session
from ..threads import Background

SOON_MS = 1500
PATIENCE = 4.0
RESTORED = "Your labels are as you left them."
# Labels that change while they are copied are copied again; a later stroke brings them again, too.
TRIES, AGAIN_S = 5, 0.2


class Keeper(QWidget):
    """The row of the dock that offers kept labels; hidden while there are none.

    restored(ResultLayer) after kept labels were taken up; failed(sentence).
    """

    restored = Signal(object)
    failed = Signal(str)

    def __init__(self, session: Session, place: PlaceBox) -> None:
        super().__init__()
        self._session, self._place = session, place
        self._offer: Offer | None = None
        self._exporting: tuple[ResultLayer | None, int] = (None, 0)
        self.text = label()
        self.take = button(
            "Take up", "Show these labels again, yours as yours and the model's as the model's",
            self.take_up,
        )  # fmt: skip
        self.drop = button("Forget", "Delete the kept labels", self.forget)
        rows = column(self, 0)
        rows.addWidget(self.text)
        rows.addLayout(row(self.take, self.drop, stretch=0))
        self.hide()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(SOON_MS)
        self._soon.timeout.connect(self._save)
        self._writer = Writer(self._complain)
        self._read = Background()
        self._read.done.connect(self._show)
        session.painted.connect(self.note)
        session.ended.connect(self.note)
        session.shown.connect(lambda *_: self.look())
        place.image_changed.connect(self.look)
        # A window that is closed takes its widgets along before anybody is asked.
        self.destroyed.connect(self._writer.flush)

    # Keeping

    def note(self, *_: Any) -> None:
        """Something changed: keep it soon."""
        for result in self._session.results():
            self._writer.add(result)
        if not self._soon.isActive():
            self._soon.start()
        if not self.isHidden():
            self.look()

    def flush(self) -> None:
        """Keep what is not kept yet, now; the process waits for the file before it ends."""
        self._soon.stop()
        for result in self._session.results():
            self._writer.add(result)
        self._writer.flush()

    def _save(self) -> None:
        if any(result.drawing for result in self._session.results()) or not self._writer.start():
            self._soon.start()

    def _complain(self, sentence: str) -> None:
        with contextlib.suppress(RuntimeError):  # the window has gone
            self.failed.emit(sentence)

    def exporting(self, result: ResultLayer) -> None:
        """An export of these labels, as they stand, has begun."""
        self._exporting = (result, result.annotation.edits)

    def exported(self) -> None:
        """The labels lie in a file of the person's: unless they went on, ours has served."""
        result, edits = self._exporting
        if result is None or result.annotation.edits != edits:
            return
        if result.kept is not None:
            _unlink(result.kept)
        result.kept, result.kept_at = None, edits

    # Offering

    def look(self, *_: Any) -> None:
        """Offer what was kept of the chosen image, unless it has labels."""
        self._offer = None
        image = self._place.layer
        if image is not None and self._session.result(image) is None:
            with contextlib.suppress(OSError, ImageError):
                shape = self._place.source.shape
                fitting = [o for o in kept.offers(key_of(image)) if o.shape == shape]
                self._offer = fitting[0] if fitting else None
        if self._offer is not None:
            when = datetime.fromtimestamp(self._offer.seconds)
            self.text.setText(
                f"You worked on this image on {when:%d %B at %H:%M}: "
                f"{counted(self._offer.human, 'pixel')} "
                "of yours were kept, not exported."
            )
        self.setVisible(self._offer is not None)

    def take_up(self) -> None:
        """Show the kept labels as a layer again."""
        offer = self._offer
        if offer is not None:
            self.take.setEnabled(False)
            source = self._place.source
            self._read.start(lambda: (offer, source, kept.read(offer.path)))

    def _show(self, outcome: Any) -> None:
        self.take.setEnabled(True)
        if isinstance(outcome, Exception):
            self.failed.emit(sentence(outcome))
            return
        offer, source, found = outcome
        if self._session.result(source.layer) is not None:
            return
        result = self._restored(source, found)
        result.kept, result.kept_at = offer.path, result.annotation.edits
        self.look()
        self.restored.emit(result)

    def _restored(self, source: Any, found: Kept) -> ResultLayer:
        held = (found.arrays["shown"], found.arrays["model"])
        result = self._session.empty(source, found.vocabulary, *held)
        with result.writing():
            kept.restore(result.annotation, found)
        result.place, result.source = (source.level, source.channel_axis), source
        return result

    def forget(self) -> None:
        """Delete the offered file and offer the next, if there is one."""
        if self._offer is not None:
            _unlink(self._offer.path)
        self.look()


class Writer:
    """Writes what is due, off the GUI thread; needs no window, which may be gone by then.

    complain : takes a sentence, once, when the disk refuses.
    """

    def __init__(self, complain: Callable[[str], None]) -> None:
        self._complain: Callable[[str], None] | None = complain
        self._due: dict[ResultLayer, Path] = {}
        self._thread: threading.Thread | None = None

    def add(self, result: ResultLayer) -> None:
        """Take a result whose labels hold a person's work that is not kept yet."""
        image = result.image()
        if result.annotation.edits == result.kept_at or image is None or result in self._due:
            return
        if result.annotation.human_pixels() or result.kept is not None:
            self._due[result] = result.kept or kept.new_path(key_of(image))

    def start(self) -> bool:
        """Write in a thread; False while an earlier one writes still."""
        if self._thread is not None and self._thread.is_alive():
            return False
        if self._due:
            due, self._due = self._due, {}
            # No daemon: Python waits for it, so the last stroke before the end is kept, too.
            self._thread = threading.Thread(target=self._work, args=(due,))
            self._thread.start()
        return True

    def flush(self, *_: Any) -> None:
        """Write now, after what is being written."""
        self.join()
        self.start()

    def join(self) -> None:
        """Wait for what is being written, some seconds at most."""
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def _work(self, due: dict[ResultLayer, Path]) -> None:
        for result, path in due.items():
            began = time.monotonic()
            try:
                self._write(result, path)
            except PrelabelError as error:
                complain, self._complain = self._complain, None
                if complain is not None:
                    complain(f"Your labels could not be kept for the next start: {error}")
            # Large stacks take a while to write: leave the disk half of the time to others.
            time.sleep(min(time.monotonic() - began, PATIENCE / 2))
        with contextlib.suppress(OSError):
            kept.prune()

    def _write(self, result: ResultLayer, path: Path) -> None:
        if not result.annotation.human_pixels():
            _unlink(path)
            result.kept, result.kept_at = None, result.annotation.edits
            return
        for _ in range(TRIES):
            with contextlib.suppress(Moved):
                result.kept_at = keep(result.annotation, path)
                result.kept = path
                return
            time.sleep(AGAIN_S)


def key_of(image: Image) -> str:
    """What names an image among kept labels: its file, or its name where there is none."""
    data = image.data[0] if image.multiscale else image.data
    return kept.key_of(str(image.source.path or image.name), data)


def keep(annotation: Annotation, path: Path) -> int:
    """Write the labels as they stand; returns the `edits` they stand at.

    Raises Moved when somebody edited them meanwhile, FileFormatError when the disk refuses.
    """
    from ...formats.atomic import write_atomic

    copy = kept.copied(annotation)
    write_atomic(path, copy.fill, overwrite=True)
    return copy.edits


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
