"""Which image files are meant, and what they are called in the output."""

import fnmatch
import glob
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..values.errors import FileFormatError
from ..values.names import Names, distinct, mark_of, names_of, written
from .read import SUFFIXES

Tell = Callable[[str], None]
# What systems and other programs keep beside pictures, besides names that begin with a dot.
_JUNK = {
    "__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "system volume information",
    "lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file.

    path : where it lies; a link keeps its own name.
    name : of its output: relative, without suffix, unique in a batch.
    relative : its path, with suffix, in the folder that was searched; its name alone otherwise.
    root : what that folder is called.
    named : whether the person named this very file.
    """

    path: Path
    name: str
    relative: str = ""
    root: str = ""
    named: bool = False

    @property
    def mark(self) -> str:
        """Digits that no file of another path has."""
        return mark_of(str(self.path))

    @property
    def names(self) -> Names:
        """All that its output and it itself may be called, the nicest first."""
        return names_of(self.relative or self.path.name, self.root, self.mark)

    @property
    def source(self) -> str:
        """The file name, with the folders that it was found in."""
        return written(self.relative or self.path.name)


def find_images(
    patterns: Sequence[str], leave_out: Path | None = None, tell: Tell | None = None
) -> tuple[Picture, ...]:
    """Files, folders (with all below them) and globs -> pictures, in the order given.

    Links are pictures of their own name; a folder that links lead to is searched once. Hidden
    files and folders, and those that systems keep beside pictures, are no images, unless they are
    named. A link that leads nowhere, and a file that is named but not there, are pictures as
    well: whoever reads them is told.

    leave_out : the output's folder; what folders and globs find in it is not taken. A folder
        that holds all of them (`prelabel run photos --out .`) leaves nothing out, and a file that
        is named is always taken.
    tell : takes a sentence for each pattern that gives nothing, and each folder that is closed.

    Raises FileFormatError when no pattern gives an image that is there.
    """
    found: dict[str, Picture] = {}
    missing, empty = {}, {}
    for pattern in patterns:
        matches = list(_matches(pattern, tell or _ignore))
        hits = [p for p in matches if not _is_output(p.path, pattern, leave_out)]
        if not hits:
            empty[pattern] = _nothing(pattern, bool(matches), leave_out)
        elif not os.path.lexists(hits[0].path):
            missing[pattern] = f"{pattern} is not there: check its spelling."
        for picture in hits:
            folder = os.path.realpath(picture.path.parent)
            found.setdefault(os.path.join(folder, picture.path.name), picture)
    if not any(os.path.lexists(p.path) for p in found.values()):
        raise FileFormatError(*next(iter((missing | empty).items())))
    for sentence in empty.values():
        (tell or _ignore)(sentence)
    pictures = tuple(found.values())
    names = distinct([p.names.outputs for p in pictures])
    return tuple(replace(p, name=name) for p, name in zip(pictures, names, strict=True))


def _nothing(pattern: str, outputs: bool, out: Path | None) -> str:
    """Why a pattern gives no image."""
    if outputs:
        return (
            f"Every image of {pattern} lies in the output folder {out}: choose another output "
            "folder, or name the files one by one."
        )
    return (
        f"{pattern} holds no image: name files, folders or patterns such as 'photos/*.jpg' "
        f"({', '.join(SUFFIXES)})."
    )


def _matches(pattern: str, tell: Tell) -> Iterator[Picture]:
    path = _absolute(Path(pattern))
    if path.is_dir():
        inside = [p for p in _below(path, tell) if _is_image(p)]
        for p in sorted(inside):
            yield Picture(p, "", "/".join(p.relative_to(path).parts), path.name)
    elif os.path.lexists(path) or not glob.has_magic(pattern):
        if not _is_junk(path.name, dots=False):
            yield Picture(path, "", path.name, path.parent.name, named=True)
    else:
        for p in _expanded(Path(path.anchor), path.parts[1:], tell):
            if _is_image(p):
                yield Picture(p, "", p.name, p.parent.name)


def _absolute(path: Path) -> Path:
    """The path from the root on, links in it kept; ".." behind a link leads where it leads."""
    if ".." not in path.parts:
        return Path(os.path.abspath(path))
    if path.name == "..":
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent)) / path.name


def _is_image(path: Path) -> bool:
    """Whether a file, or a link that leads nowhere, is called as images are."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    return path.is_file() or (path.is_symlink() and not path.exists())


def _is_junk(name: str, dots: bool = True) -> bool:
    return (dots and name.startswith(".")) or name.casefold() in _JUNK


def _entries(folder: Path, tell: Tell) -> list[os.DirEntry[str]]:
    """What a folder holds, in order, without what is hidden."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if not _is_hidden(e)), key=lambda e: e.name)
    except OSError as error:
        tell(f"{folder} cannot be looked into ({error.strerror or error}), and is left out.")
        return []


def _is_hidden(entry: os.DirEntry[str]) -> bool:
    if _is_junk(entry.name):
        return True
    try:
        told = entry.stat(follow_symlinks=False)
    except OSError:
        return False
    windows = getattr(told, "st_file_attributes", 0) & stat.FILE_ATTRIBUTE_HIDDEN
    return bool(windows or getattr(told, "st_flags", 0) & stat.UF_HIDDEN)


def _below(top: Path, tell: Tell, folders: bool = False) -> Iterator[Path]:
    """All files below a folder, or all `folders` and itself; each real folder is entered once.

    Folders come before links to them, so that their pictures have their own names. A link to a
    folder that holds `top` would lead back here.
    """
    real = Path(os.path.realpath(top))
    seen: set[str] = set()
    waiting, links = deque([top]), deque[Path]()
    while waiting or links:
        linked = not waiting
        folder = links.popleft() if linked else waiting.popleft()
        place = os.path.realpath(folder)
        if place in seen or (linked and real.is_relative_to(place)):
            continue
        seen.add(place)
        if folders:
            yield folder
        for entry in _entries(folder, tell):
            path = folder / entry.name
            if not path.is_dir():
                if not folders:
                    yield path
            elif entry.is_symlink():
                links.append(path)
            else:
                waiting.append(path)


def _expanded(base: Path, parts: Sequence[str], tell: Tell) -> Iterator[Path]:
    """What a pattern of path parts stands for, in order; `**` is any number of folders."""
    if not parts:
        yield base
        return
    first, rest = parts[0], parts[1:]
    if first == "**":
        for folder in _below(base, tell, folders=True):
            yield from _expanded(folder, rest or ("*",), tell)
    elif not glob.has_magic(first):
        if os.path.lexists(base / first):
            yield from _expanded(base / first, rest, tell)
    elif first.startswith("."):
        for name in sorted(os.listdir(base)) if base.is_dir() else ():
            if fnmatch.fnmatch(name, first):
                yield from _expanded(base / name, rest, tell)
    elif base.is_dir():
        for entry in _entries(base, tell):
            if fnmatch.fnmatch(entry.name, first):
                yield from _expanded(base / entry.name, rest, tell)


def _ignore(sentence: str) -> None:
    del sentence


def _is_output(path: Path, pattern: str, out: Path | None) -> bool:
    """Whether an image lies in a folder for output that is strictly below the searched one."""
    if out is None or (os.path.lexists(pattern) and not Path(pattern).is_dir()):
        return False
    searched, out = Path(os.path.realpath(_searched(pattern))), Path(os.path.realpath(out))
    inside = Path(os.path.realpath(path.parent)).is_relative_to(out)
    return out != searched and out.is_relative_to(searched) and inside


def _searched(pattern: str) -> Path:
    """The folder that a folder or a glob begins its search in."""
    path = Path(pattern)
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path
