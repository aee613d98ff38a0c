"""Previews from the worker: at most one under way, and of those that wait the newest alone."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from qtpy.QtCore import QObject, Signal

from ...engine.tasks import ImageRead, ReadImage, Scribble, Unread
from ...images.rgb import Rgb
from ...values.errors import Cancelled, ImageError, WorkerDied
from ...values.job import Nerve, Precision
from ...worker.pool import Pool
from ..run.asker import Asker

Load = Callable[[], Rgb]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the image is read with."""

    models: str
    nerve: Nerve
    precision: Precision


@dataclass(frozen=True, slots=True, eq=False)
class Wish:
    """One preview that is asked for.

    place : of which image and plane; version : grows with every change of what is drawn.
    corner, strokes, locked, radius : as in engine.tasks.Scribble.
    """

    place: Hashable
    version: int
    corner: tuple[int, int]
    strokes: npt.NDArray[np.uint8]
    locked: npt.NDArray[np.bool_]
    radius: float

    @property
    def box(self) -> tuple[slice, slice]:
        (y, x), (h, w) = self.corner, self.strokes.shape
        return slice(y, y + h), slice(x, x + w)


class ScribbleAsker(QObject):
    """Reads an image into the worker when it is needed and asks previews on it.

    reading(True) and reading(False) around the reading of an image; came(Wish, Scribbled);
    failed(exception), upon which nothing is wanted any more.
    """

    reading = Signal(bool)
    came = Signal(object, object)
    failed = Signal(object)

    def __init__(self, pool: Callable[[], Pool]) -> None:
        super().__init__()
        self._asker = Asker(pool)
        self._asker.ended.connect(self._ended)
        self._settings: Settings | None = None
        self._loads: dict[Hashable, Load] = {}
        self._names: dict[Hashable, str] = {}
        self._asked: Hashable | Wish = None
        self._wanted: Wish | None = None
        self._to_read: Hashable = None
        self._again = False

    @property
    def busy(self) -> bool:
        return bool(self._asker.busy)

    @property
    def is_reading(self) -> bool:
        return self.busy and not isinstance(self._asked, Wish)

    def begin(self, settings: Settings) -> None:
        """Forget what was read with other settings."""
        self._settings = settings
        self._names.clear()
        self._loads.clear()

    def read(self, place: Hashable, load: Load) -> None:
        """Read an image ahead of its strokes; `load` gives its pixels, off the GUI thread."""
        self._loads[place] = load
        if place not in self._names and not (self.is_reading and self._asked == place):
            self._to_read = place
            self._go()

    def want(self, wish: Wish) -> None:
        """Ask for a preview, in place of one that waits."""
        self._wanted = wish
        self._go()

    def forget(self) -> None:
        """What waits is not wanted any more; the answer under way is dropped by its version."""
        self._wanted = None

    def cancel(self) -> None:
        """Give up reading; `failed` brings Cancelled."""
        self._wanted = self._to_read = None
        if self.is_reading:
            self._asker.cancel()

    def leave(self) -> None:
        """The tool is put down: nobody is told anything any more."""
        self._wanted = self._to_read = None
        self._asker.leave()
        self.reading.emit(False)

    def _go(self) -> None:
        if self.busy:
            return
        wish = self._wanted
        unread = self._to_read
        if wish is not None and wish.place not in self._names:
            unread = wish.place
        if unread is not None:
            self._to_read = None
            self._asked = unread
            self._asker.ask(self._reading_of(unread))
            self.reading.emit(True)
        elif wish is not None:
            self._asked, self._wanted = wish, None
            task = self._task(wish)
            self._asker.ask(lambda: task)

    def _reading_of(self, place: Hashable) -> Callable[[], ReadImage]:
        load, settings = self._loads[place], self._settings
        assert settings is not None

        def make() -> ReadImage:
            try:
                pixels = load()
            except (OSError, ValueError, MemoryError) as error:
                raise ImageError(f"The image could not be read: {error}") from error
            return ReadImage(pixels, settings.models, settings.nerve, settings.precision)

        return make

    def _task(self, wish: Wish) -> Scribble:
        settings = self._settings
        assert settings is not None
        return Scribble(
            self._names[wish.place], wish.corner, wish.strokes.astype(np.uint16), wish.locked,
            wish.radius, settings.models, settings.nerve, settings.precision,
        )  # fmt: skip

    def _ended(self, outcome: Any) -> None:
        asked, self._asked = self._asked, None
        if not isinstance(asked, Wish):
            self.reading.emit(False)
        if isinstance(outcome, Unread) and isinstance(asked, Wish):
            self._read_again(asked)
        elif isinstance(outcome, Exception):
            self._fail(asked, outcome)
        elif isinstance(outcome, ImageRead):
            self._names[asked] = outcome.name
            self._go()
        else:
            self._again = False
            self._go()  # before the answer is shown, so that the worker has something to do
            self.came.emit(asked, outcome)

    def _read_again(self, wish: Wish) -> None:
        """The worker was started anew: send the pixels once more, then the newest strokes."""
        self._names.clear()
        if self._again:
            self._fail(wish, ImageError(
                "The worker cannot keep an image of this size: scribble on a smaller one, or on "
                "a coarser level of the pyramid."
            ))  # fmt: skip
            return
        self._again = True
        self._wanted = self._wanted or wish
        self._go()

    def _fail(self, asked: Hashable | Wish, error: Exception) -> None:
        if isinstance(error, WorkerDied) and isinstance(asked, Wish) and not self._again:
            self._read_again(asked)
            return
        self._again = False
        if isinstance(error, Cancelled) and isinstance(asked, Wish):
            # The worker is being closed; nobody is waiting any more.
            return
        self._names.clear()
        self._wanted = None
        self.failed.emit(error)
