"""What one format of label files is: a row of FORMATS, written in the format's own file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..values.labels import Ids
from ..values.vocabulary import Vocabulary
from .subject import Subject
from .values import LabelImage, Options, Receipt

Write = Callable[[Sequence[LabelImage], Path, Options], Receipt]
Read = Callable[[Path, Vocabulary | None], tuple[LabelImage, ...]]
Values = Callable[[Path], np.ndarray[Any, Any]]


@dataclass(frozen=True, slots=True)
class Format:
    """One file format, all that export box, command line, napari's dialogs and folders know of it.

    name : as typed. title : as a chooser shows it. tip : a sentence on what is written.
    saved : as napari's dialog *Save* calls it.
    suffix : of the files that an export writes, with its dot.
    write : images, path, options -> what a reader finds; one image unless there is a `file`.
    read : path, vocabulary or None -> the images of the file.
    recognises : whether a file is ours, from its first bytes alone; never raises.
    subjects : path, vocabulary -> whose labels the file holds, by file name, without reading
        pixels; none where there is no table of ours. Raises for a shared file of other classes.
    suffixes : of files that are read; napari's *Save* gives the first to a name without one.
    beside : ends of the files that lie beside one `<stem><suffix>`, but for the provenance.
    opens : patterns of names that napari gives us; none that another reader names, for napari asks
        as soon as two do, whatever is in the file.
    whole : whether the files of one name are there and belong together.
    file : name of the one file for all images of a folder, "" for one file an image.
    stacks : whether a (T, Y, X) stack fits into one file.
    lossless : whether every pixel is read as it was written, with the standard options.
    options : its own options, a class declared by `values.declare.settings`; None for none.
    values : path -> the numbers of a file of one image as they are stored, of ours or of others;
        None where those of `read` are all there is.
    plain : writes ids without names, over a file that exists; for labels that have no names and
        more than `most` ids, where others get names like "label 3". None: all of them do.
    """

    name: str
    title: str
    tip: str
    saved: str
    suffix: str
    write: Write
    read: Read
    recognises: Callable[[Path], bool]
    subjects: Callable[[Path, Vocabulary], dict[str, Subject]]
    suffixes: tuple[str, ...]
    beside: tuple[str, ...] = ()
    opens: tuple[str, ...] = ()
    whole: Callable[[Path], bool] = Path.exists
    file: str = ""
    stacks: bool = False
    lossless: bool = True
    options: Any = None
    values: Values | None = None
    plain: Callable[[Ids, Path], None] | None = None
    most: int = 65_534

    @property
    def says(self) -> str:
        """The tip, and what else there is to know before choosing."""
        return self.tip if self.lossless else f"{self.tip} Pixels may be lost; they are counted."

    def takes(self, path: Path) -> bool:
        """Whether a file has one of the suffixes."""
        return path.name.lower().endswith(self.suffixes)

    def numbers(self, path: Path) -> np.ndarray[Any, Any]:
        """The numbers of a file of one image as they are stored; FileFormatError."""
        return self.values(path) if self.values else self.read(path, None)[0].ids
