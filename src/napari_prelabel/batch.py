"""Many images with one job: read, run, write; a broken image is told and the others go on."""

import os
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from .formats import LabelImage, Options, Receipt, ours, total
from .formats.atomic import check_writable
from .formats.folder import OutFolder, Spot, claim_of_picture
from .images.find import Picture
from .images.read import Pixels, read_image
from .images.rgb import Rgb
from .values.errors import DiskRefused, FileFormatError, PrelabelError
from .values.faults import ends_all, of_the_image, sentence_of
from .values.job import Job, Progress
from .values.labels import MODEL, LabelMap
from .values.steps import Followed

# One file for all images is written again after this many seconds, or twenty times what writing
# it took, and at the end.
FLUSH_SECONDS = 2.0
_SHARE = 20.0


class JobRunner(Protocol):
    """What runs a job on pixels (H, W, 3) uint8; an Engine does."""

    def run(self, job: Job, image: Rgb) -> Generator[Progress, None, LabelMap]: ...


@dataclass(frozen=True, slots=True)
class BatchStep:
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
    runner: JobRunner,
    job: Job,
    pictures: Sequence[Picture],
    folder: Path,
    format_name: str,
    options: Options,
) -> Generator[BatchStep | Outcome, None, Receipt]:
    """Label every picture and write it; yields steps and one Outcome per picture.

    Names are chosen before the first run, by what the folder holds: see `OutFolder`. Labels of
    this very image that are there are skipped unless `options.overwrite`. Stacks are labelled
    plane by plane. Whatever is raised for one image is told in its outcome, and the others are
    done. Whatever ends the batch early, finished images are on disk. Returns the receipt of all
    files. Errors that are no image's own (models, worker, a full disk) are raised.
    """
    sink = _Sink(job, folder, format_name, options)
    ready = False
    try:
        for spot, picture in zip(sink.assign(pictures), pictures, strict=True):
            start = time.perf_counter()
            try:
                if outcome := sink.settled(spot, picture):
                    yield outcome
                    continue
                ready = ready or _checked(folder)
                images, notices = yield from _label(runner, job, picture, spot)
                notices = (*sink.out.moved(spot), *notices)
                sink.add(spot, images, Outcome(picture, "written", "", 0.0, notices), start)
            except BaseException as error:
                if ends_all(error):
                    raise
                yield Outcome(picture, "failed", sentence_of(error))
            yield from sink.flush(patient=True)
        yield from sink.flush()
    finally:
        for _ in sink.flush():
            pass
    return total(sink.receipts)


def without_labels(pictures: Sequence[Picture]) -> tuple[Picture, ...]:
    """The pictures without our label files that folders and patterns gave; those that were named
    stay. FileFormatError when nothing else is left."""
    kept = tuple(p for p in pictures if p.named or not ours(p.path))
    if not kept:
        folder = pictures[0].path.parent
        raise FileFormatError(
            folder,
            f"{folder} holds label files of napari-prelabel only: choose a folder of images.",
        )
    return kept


def _checked(folder: Path) -> bool:
    """True if files can be written into the folder; DiskRefused before any work is done."""
    try:
        check_writable(folder)
    except FileFormatError as error:
        raise DiskRefused(folder, str(error.__cause__ or error)) from error
    return True


def _label(
    runner: JobRunner, job: Job, picture: Picture, spot: Spot
) -> Generator[BatchStep, None, tuple[list[LabelImage], tuple[str, ...]]]:
    content, place = spot.claim.content(), spot.claim.place
    pixels = _read(picture.path)
    display = job.display
    count = len(pixels.planes)
    images: list[LabelImage] = []
    told = dict.fromkeys((*pixels.notices, *pixels.choice(display.channels)))
    for number, plane in enumerate(pixels.planes):
        yield BatchStep(picture, number, count)
        shown = plane.show(display.channels, display.limits)
        steps = Followed(runner.run(job, shown.rgb))
        for progress in steps:
            yield BatchStep(picture, number, count, progress)
        found = steps.result
        # Only the ids are kept: score and second best of a long stack would fill the memory.
        image = LabelImage.of(found.only(shown.valid), spot.name, spot.source, plane.shape)
        images.append(replace(image, content=content, place=place))
        told |= dict.fromkeys(found.notices)
    return _joined(images, pixels), tuple(told)


def _read(path: Path) -> Pixels:
    """The image's pixels; whatever is raised here is the image's own."""
    try:
        return read_image(path)
    except PrelabelError as error:
        raise of_the_image(error) from error


def _joined(images: list[LabelImage], pixels: Pixels) -> list[LabelImage]:
    """One label image, a stack for a stack; planes of unequal size under their own numbers."""
    images = [replace(i, scale=pixels.scale, unit=pixels.unit) for i in images]
    if not pixels.stack:
        return images[:1]
    if pixels.equal:
        ids = np.stack([i.ids for i in images])
        return [replace(images[0], ids=ids, provenance=np.broadcast_to(np.uint8(MODEL), ids.shape))]
    return [image.numbered(number, len(images)) for number, image in enumerate(images)]


class _Sink:
    """Writes label images as they come; the format of one file for all waits a little."""

    def __init__(self, job: Job, folder: Path, format_name: str, options: Options) -> None:
        self.receipts: list[Receipt] = []
        self.out = OutFolder(folder, format_name, job.vocabulary)
        self._options, self._classes = options, job.vocabulary.names
        self._waiting: list[tuple[Spot, list[LabelImage], Outcome]] = []
        self._last, self._cost = time.monotonic(), 0.0

    def assign(self, pictures: Sequence[Picture]) -> list[Spot]:
        return self.out.assign([claim_of_picture(p.names, p.mark, p.path) for p in pictures])

    def settled(self, spot: Spot, picture: Picture) -> Outcome | None:
        """How a picture ends that is not to be labelled, None for the others."""
        if sentence := _unfit(picture.path):
            return Outcome(picture, "failed", sentence)
        if self._options.overwrite or spot.state in ("new", "part"):
            return None
        file = self.out.file(spot.name).name
        if spot.state == "changed":
            return Outcome(
                picture,
                "failed",
                f"{file} holds its labels, made before the image changed: --overwrite labels it "
                "anew.",
            )
        others = spot.subject is not None and spot.subject.classes != self._classes
        notice = f"{file} was there already, with other classes: --overwrite labels it anew."
        return Outcome(picture, "skipped", notices=(notice,) if others else ())

    def add(self, spot: Spot, images: list[LabelImage], outcome: Outcome, start: float) -> None:
        """Take labels; they and their outcome come with the next `flush`."""
        if not self.out.one_file:
            self.receipts.append(self.out.write([(spot, images)], self._options))
        outcome = replace(outcome, seconds=time.perf_counter() - start)
        self._waiting.append((spot, images, outcome))

    def flush(self, patient: bool = False) -> Generator[Outcome, None, None]:
        """Write what waits, if `patient` only now and then, and give the outcomes."""
        patience = max(FLUSH_SECONDS, _SHARE * self._cost) if patient and self.out.one_file else 0.0
        start = time.monotonic()
        if not self._waiting or start - self._last < patience:
            return
        if self.out.one_file:
            outcomes = self._written(self._waiting)
        else:
            outcomes = [outcome for *_, outcome in self._waiting]
        self._waiting = []
        self._last = time.monotonic()
        self._cost = self._last - start
        yield from outcomes

    def _written(self, waiting: Sequence[tuple[Spot, list[LabelImage], Outcome]]) -> list[Outcome]:
        """Write into the one file: all at once, and one by one where that fails."""
        try:
            items = [(spot, images) for spot, images, _ in waiting]
            self.receipts.append(self.out.write(items, self._options))
        except BaseException as error:
            if ends_all(error):
                raise
            if len(waiting) == 1:
                return [replace(waiting[0][2], state="failed", sentence=sentence_of(error))]
            return [outcome for one in waiting for outcome in self._written([one])]
        return [outcome for *_, outcome in waiting]


def _unfit(path: Path) -> str:
    """Why a picture cannot be labelled, before it is opened; "" if it may."""
    if not path.exists():
        if path.is_symlink():
            return f"It is a link to {os.readlink(path)}, which is not there."
        return "It is not there: check its spelling."
    if not path.is_file():
        return "It is no file: name files, folders or patterns."
    if ours(path):
        return "These are labels, not an image: leave them out."
    return ""
