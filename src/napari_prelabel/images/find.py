"""Which image files are meant, and what they are called in the output."""

import glob
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import FileFormatError
from .read import SUFFIXES


@dataclass(frozen=True, slots=True)
class Picture:
    """An image file; `name` is that of its output: relative, without suffix, unique in a batch."""

    path: Path
    name: str

    @property
    def source(self) -> str:
        """The file name, with the folder that the output's name has."""
        folder = self.name.rpartition("/")[0]
        return f"{folder}/{self.path.name}" if folder else self.path.name


def find_images(patterns: Sequence[str], leave_out: Path | None = None) -> tuple[Picture, ...]:
    """Files, folders (with all below them) and globs -> pictures, in the order given.

    leave_out : the output's folder; what folders and globs find in it is not taken. A folder
        that holds all of them (`prelabel run photos --out .`) leaves nothing out, and a file that
        is named is always taken.

    Raises FileFormatError when a pattern matches no image, and when it matches outputs only.
    """
    found: dict[Path, PurePosixPath] = {}
    for pattern in patterns:
        matches = _matches(pattern)
        hits = [m for m in matches if not _is_output(m[0], pattern, leave_out)]
        if matches and not hits:
            raise FileFormatError(
                pattern,
                f"Every image of {pattern} lies in the output folder {leave_out}: choose another "
                "output folder, or name the files one by one.",
            )
        if not hits:
            if not glob.has_magic(pattern) and not Path(pattern).exists():
                raise FileFormatError(pattern, f"{pattern} is not there: check its spelling.")
            raise FileFormatError(
                pattern,
                f"{pattern} holds no image: name files, folders or patterns such as 'photos/*.jpg' "
                f"({', '.join(SUFFIXES)}).",
            )
        for path, name in hits:
            found.setdefault(path.resolve(), name)
    return tuple(Picture(path, name) for path, name in _unique(found.items()))


def _matches(pattern: str) -> list[tuple[Path, PurePosixPath]]:
    path = Path(pattern)
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if _is_image(p))
        return [(p, PurePosixPath(p.relative_to(path).as_posix())) for p in inside]
    if path.exists():
        return [(path, PurePosixPath(path.name))]
    hits = sorted(Path(p) for p in glob.glob(pattern, recursive=True))
    return [(p, PurePosixPath(p.name)) for p in hits if _is_image(p)]


def _is_image(path: Path) -> bool:
    hidden = path.name.startswith(".")
    return path.suffix.lower() in SUFFIXES and not hidden and path.is_file()


def _is_output(path: Path, pattern: str, out: Path | None) -> bool:
    """Whether an image lies in a folder for output that is strictly below the searched one."""
    if out is None or Path(pattern).is_file():
        return False
    searched, out = _searched(pattern).resolve(), out.resolve()
    return out != searched and out.is_relative_to(searched) and path.resolve().is_relative_to(out)


def _searched(pattern: str) -> Path:
    """The folder that a folder or a glob begins its search in."""
    path = Path(pattern)
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


def _unique(found: Iterable[tuple[Path, PurePosixPath]]) -> list[tuple[Path, str]]:
    """Names without suffix; with it where two would be equal, and with a mark where still so."""
    pairs = list(found)
    plain = Counter(str(name.with_suffix("")).casefold() for _, name in pairs)
    full = Counter(str(name).casefold() for _, name in pairs)
    out = []
    for path, name in pairs:
        short = str(name.with_suffix(""))
        if plain[short.casefold()] > 1:
            short = str(name)
            if full[short.casefold()] > 1:
                short += "-" + hashlib.sha256(str(path).encode()).hexdigest()[:8]
        out.append((path, short))
    return out
