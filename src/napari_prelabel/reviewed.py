"""Two folders, images and their corrected label maps, as pairs to learn from or to measure on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from .engine.tasks import Reviewed
from .errors import FileFormatError, ImageError, PrelabelError
from .formats import FORMATS, LabelImage
from .images.find import Picture, find_images
from .images.read import read_image
from .vocabulary import IGNORE, Vocabulary

# Formats of one file an image, by the suffixes of their files.
_READERS = {".png": "png", ".tif": "tiff", ".tiff": "tiff"}


@dataclass(frozen=True, slots=True)
class Files:
    """The two files of a reviewed image."""

    picture: Picture
    labels: Path


class ReviewedFiles(Sequence[Reviewed]):
    """Pairs that are read when they are asked for, so that folders of any size fit into memory.

    vocabulary : of the label files; None takes the table that lies beside each of them.
    from_zero : id 0 of the files is the first class, not "unlabelled".
    """

    def __init__(
        self, files: Sequence[Files], vocabulary: Vocabulary | None, *, from_zero: bool = False
    ) -> None:
        self.files = tuple(files)
        self._vocabulary = vocabulary
        self._from_zero = from_zero

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Reviewed: ...
    @overload
    def __getitem__(self, index: slice) -> "ReviewedFiles": ...
    def __getitem__(self, index: int | slice) -> "Reviewed | ReviewedFiles":
        if isinstance(index, slice):
            return ReviewedFiles(self.files[index], self._vocabulary, from_zero=self._from_zero)
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
                f"{files.labels} has {labels.ids.shape} pixels, {files.picture.path.name} "
                f"{image.shape[:2]}: choose the labels that belong to the image."
            )
        return Reviewed(files.picture.name, image, labels.ids, labels.vocabulary)

    def faults(self) -> Iterator[str]:
        """A sentence for every pair that cannot be used; reads all files."""
        for number in range(len(self)):
            try:
                self[number]
            except PrelabelError as error:
                yield str(error)

    def _labels(self, path: Path) -> LabelImage:
        (found,) = FORMATS[_READERS[path.suffix.lower()]].read(path, self._vocabulary)
        if not self._from_zero:
            return found
        highest = int(np.where(found.ids == IGNORE, 0, found.ids).max(initial=0))
        if highest >= len(found.vocabulary.classes):
            raise ImageError(
                f"{path} holds id {highest}, but from 0 on there are "
                f"{len(found.vocabulary.classes)} classes: name all of them."
            )
        ids = np.where(found.ids == IGNORE, np.uint16(IGNORE), found.ids + np.uint16(1))
        return LabelImage(ids, found.vocabulary, found.name, found.source)


def find_pairs(
    images: Path, labels: Path, vocabulary: Vocabulary | None = None, *, from_zero: bool = False
) -> tuple[ReviewedFiles, tuple[str, ...]]:
    """Pairs of one name in two folders, and sentences on files that have no partner.

    Raises FileFormatError when a folder is missing or no name is in both.
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise FileFormatError(
                folder, f"{folder} is no folder: give one of images, one of labels."
            )
    there = _label_files(labels)
    pictures = find_images([str(images)], leave_out=labels)
    pairs = [Files(p, there[p.name]) for p in pictures if p.name in there]
    if not pairs:
        raise FileFormatError(
            labels,
            f"No image of {images} has labels of its name in {labels}: an image photos/a.jpg needs "
            "labels/a.png.",
        )
    return ReviewedFiles(pairs, vocabulary, from_zero=from_zero), tuple(
        _partners(pictures, there, images, labels)
    )


def _label_files(folder: Path) -> dict[str, Path]:
    """Label files by their path in the folder without suffix."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in _READERS and not path.name.startswith(".") and path.is_file():
            found.setdefault(path.relative_to(folder).with_suffix("").as_posix(), path)
    return found


def _partners(
    pictures: Sequence[Picture], there: dict[str, Path], images: Path, labels: Path
) -> Iterator[str]:
    names = {p.name for p in pictures}
    alone = sum(name not in there for name in names)
    if alone:
        yield f"{alone} of {len(names)} images of {images} have no labels and are left out."
    strays = [path.name for name, path in there.items() if name not in names]
    if strays:
        more = f" and {len(strays) - 1} more" if len(strays) > 1 else ""
        yield f"{strays[0]}{more} of {labels} belong to no image and are left out."
