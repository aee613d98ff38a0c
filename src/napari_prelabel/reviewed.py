"""Two folders, images and their corrected label maps, as pairs to learn from or to measure on."""

import functools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from .engine.tasks import Reviewed
from .formats import Format, LabelImage, format_of, ours
from .formats.folder import Claim
from .formats.subject import Subject, file_content
from .images.find import Picture, find_images
from .images.masks import Two, black_and_white, filled, told, two_values, with_background
from .images.read import read_image
from .values.errors import FileFormatError, ImageError, PrelabelError
from .values.faults import ends_all, one_line, sentence_of
from .values.labels import MODEL, one_channel
from .values.names import key, written
from .values.vocabulary import IGNORE, Class, Vocabulary

# Formats that others save masks in, and those of them that change values.
_LOSSY = (".jpg", ".jpeg")
_PLAIN = (".bmp", ".gif", *_LOSSY)
# Their subjects are read whatever the classes.
_NONE = Vocabulary((Class(1, "any"),))


@dataclass(frozen=True, slots=True)
class Files:
    """The two files of a reviewed image."""

    picture: Picture
    labels: Path


class ReviewedFiles(Sequence[Reviewed]):
    """Pairs that are read when they are asked for, so that folders of any size fit into memory.

    vocabulary : of the label files; None takes the table that lies beside each of them.
    from_zero : id 0 of the files is the first class, not "unlabelled".
    ground : whether what is unlabelled is a class of its own, "background".
    two : whether the files hold 0 and 255 alone, of which 255 is a class.
    mine_only : ignore pixels that only a model said, as files of ours tell it.
    doubts : sentences on files that do not tell any more whose their pixels are, after `usable`.
    """

    def __init__(
        self,
        files: Sequence[Files],
        vocabulary: Vocabulary | None,
        *,
        from_zero: bool = False,
        ground: bool = False,
        two: bool = False,
        mine_only: bool = False,
    ) -> None:
        self.files = tuple(files)
        self._vocabulary = vocabulary
        self._from_zero, self._ground, self._two = from_zero, ground, two
        self._mine_only = mine_only
        self.doubts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Reviewed: ...
    @overload
    def __getitem__(self, index: slice) -> "ReviewedFiles": ...
    def __getitem__(self, index: int | slice) -> "Reviewed | ReviewedFiles":
        if isinstance(index, slice):
            return self._with(self.files[index])
        files = self.files[index]
        pixels = read_image(files.picture.path)
        if len(pixels.planes) != 1:
            raise ImageError(
                f"{files.picture.path} is a stack of {len(pixels.planes)} planes: save the planes "
                "as files, each with its labels."
            )
        image, labels = pixels.plane(0), self._labels(files.labels)
        if labels.ids.shape != image.shape[:2]:
            raise ImageError(
                f"{files.labels} has {_size(labels.ids)} pixels, {files.picture.path.name} "
                f"{_size(image)}: choose the labels that belong to the image."
            )
        ids, vocabulary = labels.ids, labels.vocabulary
        if labels.doubt:
            self.doubts = tuple(dict.fromkeys((*self.doubts, labels.doubt)))
        if self._mine_only and labels.provenance is not None:
            ids = np.where(labels.provenance == MODEL, np.uint16(IGNORE), ids)
        if self._ground:
            vocabulary, number = with_background(vocabulary)
            ids = filled(ids, number)
        return Reviewed(files.picture.name, image, ids, vocabulary)

    def usable(self) -> tuple["ReviewedFiles", tuple[str, ...]]:
        """The pairs that can be used, and a sentence for each of the others; reads all files."""
        good, faults = [], []
        for number, files in enumerate(self.files):
            try:
                self[number]
            except BaseException as error:
                if not isinstance(error, PrelabelError) and ends_all(error):
                    raise
                told = sentence_of(error, "used")
                mine = isinstance(error, PrelabelError)
                faults.append(told if mine else one_line(f"{written(str(files.labels))}: {told}"))
            else:
                good.append(files)
        found = self._with(good)
        found.doubts = self.doubts
        return found, tuple(faults)

    def _with(self, files: Sequence[Files]) -> "ReviewedFiles":
        return ReviewedFiles(
            files,
            self._vocabulary,
            from_zero=self._from_zero,
            ground=self._ground,
            two=self._two,
            mine_only=self._mine_only,
        )

    def _labels(self, path: Path) -> LabelImage:
        if self._two and self._vocabulary is not None:
            ids = black_and_white(
                _values(path), self._vocabulary, str(path), from_zero=self._from_zero
            )
            return LabelImage(ids, self._vocabulary, path.stem)
        found = self._read(path)
        if not self._from_zero:
            return found
        highest = int(np.where(found.ids == IGNORE, 0, found.ids).max(initial=0))
        if highest >= len(found.vocabulary.classes):
            raise ImageError(
                f"{path} holds id {highest}, but from 0 on there are "
                f"{len(found.vocabulary.classes)} classes: name all of them."
            )
        ids = np.where(found.ids == IGNORE, np.uint16(IGNORE), found.ids + np.uint16(1))
        return replace(found, ids=ids)

    def _read(self, path: Path) -> LabelImage:
        suffix, own = path.suffix.lower(), _format(path)
        if own is not None:
            (found,) = own.read(path, self._vocabulary)
            return found
        if self._vocabulary is None or suffix in _LOSSY:
            raise FileFormatError(
                path,
                f"{path} cannot hold ids of classes: save the labels as PNG, or black and white "
                "for one class that is named.",
            )
        values = plain_pixels(path)
        ids = np.where(values == 255, np.uint16(IGNORE), values.astype(np.uint16))
        return LabelImage(ids, self._vocabulary, path.stem)


def find_pairs(
    images: Path,
    labels: Path,
    vocabulary: Vocabulary | None = None,
    *,
    from_zero: bool = False,
    ground: bool = False,
    mine_only: bool = False,
) -> tuple[ReviewedFiles, tuple[str, ...]]:
    """Pairs out of two folders, and sentences on files that have no partner and on masks of 0 and
    255; the rest as in ReviewedFiles.

    Labels belong to the image that their subject tells, whatever it is called by now; labels
    without a subject to the image of their name. Raises FileFormatError when a folder is missing
    or nothing pairs.
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise FileFormatError(
                folder, f"{folder} is no folder: give one of images, one of labels."
            )
    there = _label_files(labels, plain=not labels.samefile(images))
    pictures = [p for p in find_images([str(images)], leave_out=labels) if not ours(p.path)]
    met = _met(pictures, there, labels)
    pairs = [Files(p, met[p]) for p in pictures if p in met]
    if not pairs:
        raise FileFormatError(
            labels,
            f"No image of {images} has labels of its name in {labels}: an image photos/a.jpg needs "
            "labels/a.png.",
        )
    notes = [*_partners(pictures, met, there, images, labels)]
    two: Two = _of_two(pair.labels for pair in pairs) if vocabulary is not None else ""
    if two and vocabulary is not None and (note := told(vocabulary, from_zero, two)):
        notes.append(note)
    found = ReviewedFiles(
        pairs,
        vocabulary,
        from_zero=from_zero,
        ground=ground,
        two=bool(two),
        mine_only=mine_only,
    )
    return found, tuple(notes)


def _of_two(paths: Iterable[Path]) -> Two:
    """Whether label files hold 0 and 255 alone or nearly, 255 somewhere; looks no further than it
    must."""
    white = False
    every: Two = "exact"
    for path in paths:
        try:
            values = _values(path)
        except Exception:
            continue  # told with the faults of all files
        two = two_values(values)
        if not two:
            return ""
        every = "near" if "near" in (two, every) else "exact"
        white |= bool(values.max(initial=0) > 1)
    return every if white else ""


def _format(path: Path) -> Format | None:
    """The format of a file of labels of one image, None for plain pictures and all others."""
    found = None if path.suffix.lower() in _PLAIN else format_of(path)
    return found if found and not found.file else None


def _values(path: Path) -> npt.NDArray[Any]:
    """What a label file holds, as it is stored."""
    own = _format(path)
    return plain_pixels(path) if own is None else own.numbers(path)


def plain_pixels(path: Path) -> npt.NDArray[Any]:
    """(Y, X) uint8 of a mask in a format that we write no labels in; FileFormatError."""
    try:
        with Image.open(path) as picture:
            values = np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise FileFormatError(path, f"{path} is damaged or no image: {error}.") from error
    grey = values if values.ndim == 2 else one_channel(values)
    if grey is None:
        raise FileFormatError(path, f"{path} is a colour picture, not a label map: save a PNG.")
    return grey


def _label_files(folder: Path, plain: bool) -> dict[Path, Subject | None]:
    """Label files of a folder, the best formats first, and whose labels they hold.

    plain : whether pictures in other formats are masks, too.
    """
    found: dict[Path, Subject | None] = {}
    for path in sorted(folder.rglob("*"), key=lambda p: (p.suffix.lower() in _PLAIN, p)):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if hidden or not path.is_file():
            continue
        if plain and path.suffix.lower() in _PLAIN:
            found[path] = None
        elif (chosen := _format(path)) is not None:
            found[path] = next(iter(chosen.subjects(path, _NONE).values()), None)
    return found


def _met(
    pictures: Sequence[Picture], there: Mapping[Path, Subject | None], labels: Path
) -> dict[Picture, Path]:
    """The label file of each picture that has one: by its subject, else by its name."""
    content = functools.cache(file_content)
    called: dict[str, list[Picture]] = {}
    for picture in pictures:
        for source in picture.names.sources:
            called.setdefault(source, []).append(picture)
    met: dict[Picture, Path] = {}
    for path, subject in there.items():
        for picture in called.get(subject.image, ()) if subject else ():
            claim = Claim(picture.names, picture.mark, functools.partial(content, picture.path))
            # Labels of an image that was no file tell pixels, which no file can be compared by.
            if subject and (claim.owns(subject) or not subject.place):
                met.setdefault(picture, path)
    paired = set(met.values())
    lost = {r.content: p for p, r in there.items() if r and r.content and p not in paired}
    named = {
        _stem(path.relative_to(labels).as_posix()): path
        for path, subject in reversed(list(there.items()))
        if subject is None
    }
    stems = Counter(_stem(picture.relative) for picture in pictures)
    for picture in pictures:
        if picture not in met:
            file = lost.get(content(picture.path)) if lost else None
            stem = _stem(picture.relative)
            file = file or named.get(stem if stems[stem] == 1 else key(picture.name))
            if file is not None and file != picture.path:
                met[picture] = file
    return met


def _size(pixels: npt.NDArray[Any]) -> str:
    """Width and height, as people say them; all axes of a stack."""
    shape = pixels.shape[:2] if pixels.shape[2:] in ((), (3,)) else pixels.shape
    return " x ".join(map(str, shape[::-1]))


def _stem(relative: str) -> str:
    """What an image and its labels have in common in their folders, whatever their suffixes."""
    head, dot, tail = relative.rpartition(".")
    return key(head if dot and "/" not in tail else relative)


def _partners(
    pictures: Sequence[Picture],
    met: Mapping[Picture, Path],
    there: Mapping[Path, Subject | None],
    images: Path,
    labels: Path,
) -> Iterator[str]:
    alone = len(pictures) - len(met)
    if alone:
        yield f"{alone} of {len(pictures)} images of {images} have no labels and are left out."
    used = {*met.values(), *(p.path for p in pictures)}
    strays = [path.name for path in there if path not in used]
    if strays:
        more = f" and {len(strays) - 1} more" if len(strays) > 1 else ""
        yield f"{strays[0]}{more} of {labels} belong to no image and are left out."
