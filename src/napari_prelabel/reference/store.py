"""A reference set: a folder of segments and words that many images' corrections add up to.

>>> set_ = ReferenceSet.open("street")                       # doctest: +SKIP
>>> for start, rows in set_.blocks():                        # doctest: +SKIP
...     scores = queries @ rows.T.astype("float32")

Every change is one commit: new files under new numbers, then manifest.json in one step. A killed
process leaves the old generation or the new one, never a mixture, and the last one can be undone.
"""

import contextlib
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import numpy as np
import numpy.typing as npt

from ..formats.atomic import write_atomic
from ..values.errors import EncoderMismatch, ReferenceSetError
from . import commit
from .commit import Draft
from .manifest import (
    HISTORY,
    LONGEST,
    MANIFEST,
    OURS,
    PARTS,
    Manifest,
    StoredEncoder,
    read_manifest,
)
from .marks import CleaningMarks
from .shards import check_addition
from .snapshot import Snapshot, open_snapshot
from .values import (
    Addition,
    ClassStats,
    Cleaned,
    Counts,
    EncoderId,
    Label,
    Metric,
    Record,
    Rows,
    Source,
)

if TYPE_CHECKING:
    from scipy import sparse

LOCK = ".lock"
PATIENCE = 60.0

Change = Callable[[Draft], None]


class ReferenceSet:
    """An open reference set. What it tells belongs to one generation until something is changed
    through it or `refresh` is called; several processes may read and change one folder.

    Raises ReferenceSetError from every method when the folder is damaged or cannot be written.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._now = snapshot
        self._grouped = False
        self._last_of_group = 0

    @classmethod
    def create(
        cls,
        folder: Path | str,
        encoder: EncoderId,
        text: EncoderId | None = None,
        name: str = "",
        *,
        position: bool = False,
    ) -> "ReferenceSet":
        """A new, empty set in a folder that is empty or not there yet.

        text : encoder of the phrases; None when words meet by name.
        position : rows end with where the segment lies in its image, `values.with_position`.
        """
        place = Path(folder)
        if place.exists() and not place.is_dir():
            raise ReferenceSetError(place, f"{place} is a file: choose a folder for the set.")
        if place.is_dir() and any(not p.name.startswith(".") for p in place.iterdir()):
            raise ReferenceSetError(
                place, f"{place} is not empty: choose an empty folder for the reference set."
            )
        name = name or place.resolve().name
        if len(name) > LONGEST:
            raise ReferenceSetError(
                place, f"The name of a reference set has at most {LONGEST} characters: shorten it."
            )
        now = _now()
        manifest = Manifest(
            name,
            StoredEncoder(encoder.name, encoder.digest, encoder.width),
            StoredEncoder(text.name, text.digest, text.width) if text else None,
            position,
            created=now,
            changed=now,
        )
        with _writable(place):
            place.mkdir(parents=True, exist_ok=True)
            write_atomic(place / MANIFEST, manifest.to_bytes())
        return cls.open(place)

    @classmethod
    def open(cls, folder: Path | str) -> "ReferenceSet":
        """Open the newest generation; everything but the embeddings' numbers is checked."""
        return cls(open_snapshot(Path(folder)))

    def refresh(self) -> None:
        """Read the newest generation, if another process wrote one."""
        if read_manifest(self.folder) != self._now.manifest:
            self._now = open_snapshot(self.folder, self._now)

    # ---- what the set is ----

    @property
    def folder(self) -> Path:
        return self._now.folder

    @property
    def name(self) -> str:
        return self._now.manifest.name

    @property
    def encoder(self) -> EncoderId:
        return EncoderId(**asdict(self._now.manifest.encoder))

    @property
    def text(self) -> EncoderId | None:
        told = self._now.manifest.text
        return EncoderId(**asdict(told)) if told else None

    @property
    def position(self) -> bool:
        """Whether rows end with the segment's place in its image."""
        return self._now.manifest.position

    @property
    def width(self) -> int:
        """Length of a row."""
        return self._now.manifest.width

    @property
    def generation(self) -> int:
        return self._now.manifest.generation

    @property
    def n_segments(self) -> int:
        return self._now.n_segments

    @property
    def n_images(self) -> int:
        return len(self._now.places)

    @property
    def n_labels(self) -> int:
        return self._now.n_labels

    @property
    def counts(self) -> Counts:
        """Segments, images and labels, and images under each licence."""
        told = self._now.manifest.counts
        return Counts(told.segments, told.images, self.n_labels, dict(told.licences))

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all that decides an answer: rows, links, switches, cleaning, metric."""
        return self._now.manifest.digest

    @property
    def metric(self) -> Metric | None:
        return self._now.metric

    @property
    def cleaned(self) -> Cleaned | None:
        """What the last cleaning did, None if there was none."""
        return self._now.marks.head.cleaned if self._now.marks else None

    def require(self, encoder: EncoderId) -> None:
        """Raise EncoderMismatch unless this encoder's rows can be compared with the set's."""
        stored = self.encoder
        if (stored.digest, stored.width) != (encoder.digest, encoder.width):
            raise EncoderMismatch(self.folder, _told(stored), _told(encoder))

    # ---- what it holds ----

    def labels(self) -> tuple[Label, ...]:
        """All phrases, in the order of the links' columns."""
        return self._now.labels

    def blocks(self) -> Iterator[tuple[int, npt.NDArray[np.float16]]]:
        """(first row, rows (n, width) float16, memory-mapped) in the order of the rows.

        A block has at most 16,384 rows, more only when one image has; one with a number that is
        not finite is refused.
        """
        return self._now.blocks()

    def rows(self, indices: npt.ArrayLike) -> Rows:
        """(n, width) float32 of the rows asked for, in their order."""
        return self._now.rows(indices)

    def links(
        self,
        *,
        abstract: bool = True,
        outliers: bool = True,
        synonyms: bool = True,
        without: Container[str] = (),
    ) -> "sparse.csr_array":
        """Which segment holds which label.

        abstract, outliers, synonyms : False leaves that cleaning step away.
        without : hashes of images whose segments must not answer.

        Returns
        -------
        (n_segments, n_labels) float32 CSR of ones; rows switched off and rows of images in
        `without` are empty
        """
        return self._now.links(
            abstract=abstract, outliers=outliers, synonyms=synonyms, without=without
        )

    def raw_pairs(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Row and label of every pair before cleaning, of rows that are switched on."""
        return self._now.raw_pairs()

    def addresses(self, rows: npt.ArrayLike) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Of each row, its image's number in `sources` and its place in that image."""
        return self._now.addresses(rows)

    def image_rows(self, content_hash: str) -> npt.NDArray[np.int64]:
        """Rows of an image, ascending; none when the image is not in the set."""
        return self._now.image_rows(content_hash)

    def sources(self) -> tuple[Source, ...]:
        """The images, in the order of their rows."""
        return self._now.sources()

    def records(self, rows: npt.ArrayLike) -> tuple[Record, ...]:
        """Everything told of these rows, in their order."""
        return self._now.records(rows)

    def thumbnail(self, row: int) -> bytes:
        """PNG of what lies around a segment."""
        return self.thumbnails([row])[0]

    def thumbnails(self, rows: npt.ArrayLike) -> tuple[bytes, ...]:
        """PNG of what lies around these segments, in their order."""
        return self._now.thumbnails(rows)

    def rows_of(self, word: str) -> npt.NDArray[np.int64]:
        """Rows with a phrase of this root word before cleaning, ascending."""
        return self._now.rows_of(word)

    def class_stats(self) -> tuple[ClassStats, ...]:
        """Segments, images, switched off and dropped of every root word."""
        return self._now.class_stats()

    # ---- changes: each is one commit ----

    def add(self, additions: Sequence[Addition]) -> None:
        """Add images; one that is there already (same hash) is replaced."""
        for addition in additions:
            check_addition(addition, self.width, self.folder)
        if additions:
            self._commit(lambda draft: draft.add(additions))

    def remove(self, hashes: Iterable[str]) -> None:
        """Take images out; those that are not there are passed over."""
        gone = set(hashes)
        self._commit(lambda draft: draft.remove(gone))

    def switch(self, rows: npt.ArrayLike, on: bool) -> None:
        """Let rows answer, or not, from the next run on."""
        named = list(self._now.named(rows))
        self._commit(lambda draft: draft.switch(named, on))

    def declare(self, synonyms: Mapping[str, Sequence[str]]) -> None:
        """Add words that mean the same as a phrase, `phrase -> other words`."""
        if any(synonyms.values()):
            self._commit(lambda draft: draft.declare(synonyms))

    def merge(self, other: "ReferenceSet") -> None:
        """Add the images of another set of the same encoder, with its switches and synonyms.

        An image of both is taken from the one that was reviewed later. Its cleaning and its
        metric are not taken over: clean the merged set again.
        """
        self.require(other.encoder)
        if (self.position, self.text) != (other.position, other.text):
            raise ReferenceSetError(
                other.folder,
                f"{other.folder.name} differs from {self.folder.name} in its text encoder or in "
                "keeping positions: make it again in the same way.",
            )
        theirs = other._now
        self._commit(lambda draft: draft.merge(theirs))

    def put_cleaning(self, marks: CleaningMarks | None) -> None:
        """Store a cleaning's results beside the raw pairs, in place of the last; None: none."""
        self._commit(lambda draft: draft.put_cleaning(marks))

    def put_metric(self, metric: Metric | None) -> None:
        """Store the whitening that rows and queries are compared after; None: none."""
        if metric is not None:
            _check_metric(metric, self.width, self.folder)
        self._commit(lambda draft: draft.put_metric(metric))

    def undo(self) -> None:
        """Go back to the generation before the last change; a second time: forth again.

        A change that another process has made since this set was read is not taken back.
        """
        with self._locked():
            manifest = read_manifest(self.folder)
            if manifest != self._now.manifest:
                raise ReferenceSetError(
                    self.folder,
                    f"{self.folder.name} was changed elsewhere since: open it again, then undo.",
                )
            if manifest.previous is None:
                raise ReferenceSetError(
                    self.folder, f"There is nothing to undo in {self.folder.name}."
                )
            before = read_manifest(self.folder, HISTORY.format(manifest.previous))
            self._grouped = False
            self._put(manifest, replace(before, serial=manifest.serial))

    def discard(self) -> None:
        """Delete the set: its own files, and its folder where nothing else lies in it."""
        with self._locked(), _writable(self.folder):
            (self.folder / MANIFEST).unlink(missing_ok=True)
            _sweep(self.folder, set())
        with contextlib.suppress(OSError):
            (self.folder / LOCK).unlink(missing_ok=True)
            self.folder.rmdir()

    @contextlib.contextmanager
    def one_step(self) -> Iterator[None]:
        """Changes made inside are taken back by one `undo`; each is still a commit of its own."""
        self._grouped, self._last_of_group = True, 0
        try:
            yield
        finally:
            self._grouped = False

    def _commit(self, change: Change) -> None:
        with self._locked():
            now = open_snapshot(self.folder, self._now)
            draft = Draft(now)
            try:
                change(draft)
                if draft.changed:
                    self._put(now.manifest, draft.manifest, draft.write)
            except BaseException:
                _sweep_unnamed(self.folder)
                raise
        self.refresh()

    def _put(
        self, before: Manifest, after: Manifest, write: Callable[[], None] = lambda: None
    ) -> None:
        """Write the new files, the history, then the manifest; delete what neither names."""
        folder = self.folder
        follows = self._grouped and before.generation == self._last_of_group
        step = before.previous if follows else before.generation
        after = replace(after, generation=before.generation + 1, previous=step, changed=_now())
        past = replace(before, previous=None)
        if follows and step is not None:
            past = read_manifest(folder, HISTORY.format(step))
        with _writable(folder):
            write()
            if not follows:
                history = folder / HISTORY.format(before.generation)
                write_atomic(history, past.to_bytes(), overwrite=True)
            commit.flush(folder)
            write_atomic(folder / MANIFEST, after.to_bytes(), overwrite=True)
            commit.flush(folder)
        _sweep(folder, {*after.files(), *past.files()})
        self._now = open_snapshot(folder, self._now)
        self._last_of_group = after.generation

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        path = self.folder / LOCK
        if path.is_symlink():
            raise ReferenceSetError(path, f"{path} is a link: delete it, then try again.")
        lock = filelock.FileLock(path, timeout=PATIENCE)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock)
            except filelock.Timeout as error:
                raise ReferenceSetError(
                    self.folder,
                    f"Another process has been changing {self.folder.name} for {PATIENCE:.0f} "
                    "seconds: wait for it, then try again.",
                ) from error
            except OSError as error:
                raise _unwritable(self.folder, error) from error
            yield


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> ReferenceSetError:
    return ReferenceSetError(
        folder,
        f"The reference set {folder.name} cannot be written ({error.strerror or error}): nothing "
        "was changed; make its folder writable or copy it elsewhere.",
    )


def _sweep(folder: Path, named: set[str]) -> None:
    """Delete our files that no kept generation names; one that cannot go waits."""
    for path in folder.iterdir():
        ours = OURS.fullmatch(path.name) or PARTS.fullmatch(path.name)
        if ours and path.name not in named:
            with contextlib.suppress(OSError):
                os.unlink(path)


def _sweep_unnamed(folder: Path) -> None:
    """After a change that failed: free the disk of what it wrote; a damaged set stays as it is."""
    with contextlib.suppress(ReferenceSetError, OSError):
        manifest = read_manifest(folder)
        named = {*manifest.files()}
        if manifest.previous is not None:
            named |= {*read_manifest(folder, HISTORY.format(manifest.previous)).files()}
        _sweep(folder, named)


def _check_metric(metric: Metric, width: int, folder: Path) -> None:
    shapes = (metric.mean.shape, metric.matrix.shape)
    finite = np.isfinite(metric.mean).all() and np.isfinite(metric.matrix).all()
    if shapes[0] != (width,) or len(shapes[1]) != 2 or shapes[1][0] != width or not finite:
        raise ReferenceSetError(
            folder,
            f"A metric of {folder.name} needs a finite mean of ({width},) and a matrix of "
            f"({width}, e), not {shapes[0]} and {shapes[1]}.",
        )


def _told(encoder: EncoderId) -> str:
    return f"{encoder.name} ({encoder.digest[:12]}, {encoder.width} numbers)"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
