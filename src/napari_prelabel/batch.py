"""Many images with one job: read, run, write; a broken image is told and the others go on."""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from .errors import FileFormatError, ImageError, OutOfMemory
from .formats import FORMATS, LabelImage, Options, Receipt, export, target, total
from .formats.coco import already
from .images.find import Picture
from .images.read import Pixels, read_image
from .images.rgb import Rgb
from .job import Job, Progress
from .labels import LabelMap

# One file for all images is written again after this many seconds, and at the end.
FLUSH_SECONDS = 30.0
# An image that raises one of these is left out; anything else ends the batch.
OF_THE_IMAGE = (ImageError, FileFormatError, OutOfMemory)


class Runner(Protocol):
    """What runs a job on pixels (H, W, 3) uint8; an Engine does."""

    def run(self, job: Job, image: Rgb) -> Generator[Progress, None, LabelMap]: ...


@dataclass(frozen=True, slots=True)
class Step:
    """Where a batch stands: plane `plane` of `planes` of an image, and the engine's progress."""

    picture: Picture
    plane: int
    planes: int
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an image ended; `sentence` says why it failed, `notices` what the engine said."""

    picture: Picture
    state: Literal["written", "skipped", "failed"]
    sentence: str = ""
    seconds: float = 0.0
    notices: tuple[str, ...] = ()


def run_batch(
    runner: Runner,
    job: Job,
    pictures: Sequence[Picture],
    folder: Path,
    format_name: str,
    options: Options,
) -> Generator[Step | Outcome, None, Receipt]:
    """Label every picture and write it; yields steps and one Outcome per picture.

    Images that are written already are skipped unless `options.overwrite`. Stacks are labelled
    plane by plane. Whatever ends the batch early, finished images are on disk. Returns the
    receipt of all files. Errors that are no image's own (models, worker) are raised.
    """
    sink = _Sink(job, folder, format_name, options)
    try:
        for picture in pictures:
            if sentence := sink.refuses(picture):
                yield Outcome(picture, "failed", sentence)
                continue
            if sink.has(picture):
                yield Outcome(picture, "skipped")
                continue
            start = time.perf_counter()
            try:
                images, notices = yield from _label(runner, job, picture)
                for image in images:
                    sink.add(image)
            except OF_THE_IMAGE as error:
                yield Outcome(picture, "failed", str(error))
            else:
                yield Outcome(picture, "written", "", time.perf_counter() - start, notices)
            sink.flush(FLUSH_SECONDS)
    finally:
        sink.flush()
    return total(sink.receipts)


def _label(
    runner: Runner, job: Job, picture: Picture
) -> Generator[Step, None, tuple[list[LabelImage], tuple[str, ...]]]:
    pixels = read_image(picture.path)
    display = job.display
    count = len(pixels.planes)
    results = []
    for number in range(count):
        yield Step(picture, number, count)
        shown = pixels.planes[number].show(display.channels, display.limits)
        found = yield from _followed(runner.run(job, shown.rgb), picture, number, count)
        results.append(found.only(shown.valid))
    images = [
        LabelImage.of(result, picture.name, picture.source, plane.shape)
        for result, plane in zip(results, pixels.planes, strict=True)
    ]
    told = dict.fromkeys((*pixels.notices, *pixels.choice(display.channels)))
    told |= dict.fromkeys(n for r in results for n in r.notices)
    return _joined(images, pixels), tuple(told)


def _followed(
    steps: Generator[Progress, None, LabelMap], picture: Picture, plane: int, planes: int
) -> Generator[Step, None, LabelMap]:
    while True:
        try:
            progress = next(steps)
        except StopIteration as end:
            result: LabelMap = end.value
            return result
        yield Step(picture, plane, planes, progress)


def _joined(images: list[LabelImage], pixels: Pixels) -> list[LabelImage]:
    """One label image, a stack for a stack; planes of unequal size under their own numbers."""
    images = [replace(i, scale=pixels.scale, unit=pixels.unit) for i in images]
    if not pixels.stack:
        return images[:1]
    if pixels.equal:
        return [replace(images[0], ids=np.stack([i.ids for i in images]))]
    return [image.numbered(number) for number, image in enumerate(images)]


class _Sink:
    """Writes label images as they come; the format of one file for all waits a little."""

    def __init__(self, job: Job, folder: Path, format_name: str, options: Options) -> None:
        self.receipts: list[Receipt] = []
        self._folder, self._format, self._options = folder, format_name, options
        self._vocabulary = job.vocabulary
        self._waiting: list[LabelImage] = []
        self._last = time.monotonic()
        file = target(folder, format_name, "file")
        self._one_file = bool(FORMATS[format_name].file)
        self._names = already(file, job.vocabulary) if self._one_file else frozenset()

    def refuses(self, picture: Picture) -> str:
        """Why a picture must not be labelled into this folder, "" if it may."""
        path = picture.path.resolve()
        if any(FORMATS[name].recognises(path) for name in FORMATS):
            return "These are labels, not an image: leave them out, or write to another folder."
        if target(self._folder, self._format, picture.name).resolve() == path:
            return "Its labels would take its place: choose another --out or another format."
        return ""

    def has(self, picture: Picture) -> bool:
        """Whether the picture, or the first plane of its stack, is written already."""
        if self._options.overwrite:
            return False
        whole = LabelImage(
            np.zeros((1, 1, 1), np.uint16), self._vocabulary, picture.name, picture.source
        )
        for image in (whole, *whole.planes()):
            file = target(self._folder, self._format, image.name)
            if image.source in self._names if self._one_file else file.exists():
                return True
        return False

    def add(self, image: LabelImage) -> None:
        if self._one_file:
            self._waiting.append(image)
        else:
            self.receipts.append(export([image], self._folder, self._format, self._options))

    def flush(self, patience: float = 0.0) -> None:
        """Write what waits if the last time was more than `patience` seconds ago."""
        if self._waiting and time.monotonic() - self._last >= patience:
            self.receipts.append(export(self._waiting, self._folder, self._format, self._options))
            self._waiting = []
            self._last = time.monotonic()
