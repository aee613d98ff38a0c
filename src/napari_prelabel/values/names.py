"""What files of labels are called: safe on every system, short enough, one name an image.

An image has several names that it may be called by, the nicest first; `distinct` gives each image
of a batch the first that no other image wants. Nothing here looks at a disk.
"""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

# Bytes of a name: with the number of a plane and ".labels.json" behind it 255 are not exceeded.
LONGEST = 234
_FORBIDDEN = {ord(c): "_" for c in '<>:"/\\|?*'} | dict.fromkeys((*range(32), 127), "_")
_DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    f"{port}{n}" for port in ("COM", "LPT") for n in "123456789¹²³"
}
_PLANE = re.compile(r"(.*)_t\d{4,}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Names:
    """How an image may be called, the nicest first.

    outputs : of its files of labels: relative, without suffix, fit for every system.
    sources : of the image itself, as its labels name it: relative, with suffix, any characters.
    """

    outputs: tuple[str, ...]
    sources: tuple[str, ...]


def names_of(relative: str, root: str, mark: str) -> Names:
    """The names of the image `relative` (folders parted by "/") of a folder called `root`.

    mark : hexadecimal digits that no other image has; names of last resort end in them.
    """
    folder, _, leaf = relative.rpartition("/")
    stem, dot, suffix = leaf.rpartition(".")
    if not stem.strip("."):
        stem, dot, suffix = leaf, "", ""
    inner = f"{folder}/" if folder else ""
    outer = f"{root}/{inner}" if root else inner
    outputs = [
        _output(inner, stem),
        _output(inner, leaf),
        _output(outer, stem),
        _output(outer, leaf),
        _output(inner, stem, f"-{mark[:8]}"),
        _output(inner, stem, f"-{mark}"),
    ]
    sources = [
        f"{inner}{leaf}",
        f"{outer}{leaf}",
        f"{inner}{stem}-{mark[:8]}{dot}{suffix}",
        f"{inner}{stem}-{mark}{dot}{suffix}",
    ]
    return Names(tuple(dict.fromkeys(outputs)), tuple(dict.fromkeys(map(written, sources))))


def _output(folder: str, leaf: str, tail: str = "") -> str:
    return "/".join([*(safe(part) for part in folder.split("/")[:-1]), safe(leaf, tail)])


def safe(part: str, tail: str = "") -> str:
    """A part of a path as every system takes it, with `tail` behind it; never hidden."""
    plain = written(part).translate(_FORBIDDEN)
    kept = plain.rstrip(" .")
    plain = kept + "_" * (len(plain) - len(kept))
    if plain.startswith("."):
        plain = f"_{plain[1:]}"
    if not plain or plain.partition(".")[0].rstrip(" ").upper() in _DEVICES:
        plain = f"_{plain}"
    return _short(plain, LONGEST - len(tail)) + tail


def _short(part: str, longest: int) -> str:
    whole = part.encode()
    if len(whole) <= longest:
        return part
    cut = whole[: longest - 9].decode(errors="ignore").rstrip(" .")
    return f"{cut}-{hashlib.sha256(whole).hexdigest()[:8]}"


def written(name: str) -> str:
    """A file name as text: bytes of it that are no UTF-8 become "%E9"."""
    return "".join(
        f"%{ord(c) - 0xDC00 if 0xDC80 <= ord(c) <= 0xDCFF else ord(c):02X}"
        if "\ud800" <= c <= "\udfff"
        else c
        for c in name
    )


def mark_of(path: str) -> str:
    """32 hexadecimal digits that tell one path from all others, without showing it."""
    return hashlib.sha256(path.encode(errors="surrogatepass")).hexdigest()[:32]


def key(name: str) -> str:
    """What names have in common that some system takes for one: case, and how accents are put."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", name).casefold())


def plane_name(name: str, number: int) -> str:
    """The name of one plane of a stack."""
    return f"{name}_t{number:04d}"


def plane_source(source: str, number: int) -> str:
    """The file name of one plane of a stack: its number stands before the suffix."""
    stem, dot, suffix = source.rpartition(".")
    return f"{plane_name(stem, number)}{dot}{suffix}" if dot else plane_name(source, number)


def stack_name(name: str) -> str | None:
    """The name of the stack that a name would be a plane of, None if of none."""
    found = _PLANE.fullmatch(name)
    return found[1] if found else None


def distinct(
    wanted: Sequence[Sequence[str]],
    free: Callable[[int, str], bool] = lambda _number, _name: True,
    same: Callable[[str], Hashable] = key,
) -> list[str]:
    """One name an image out of those it may have: the first that no other image comes to.

    free : whether an image, by its number, may have a name.
    same : what names must not have in common. A name that would be a plane of another image's is
        taken as well.

    The order of the images makes no difference: all that meet in a name go on to their next.
    """
    level = [0] * len(wanted)

    def movable(number: int) -> bool:
        return level[number] + 1 < len(wanted[number])

    while True:
        for number, names in enumerate(wanted):
            while movable(number) and not free(number, names[level[number]]):
                level[number] += 1
        chosen = [names[at] for names, at in zip(wanted, level, strict=True)]
        common = Counter(map(same, chosen))
        meeting = [
            number
            for number, name in enumerate(chosen)
            if movable(number) and (common[same(name)] > 1 or _is_plane(name, common, same))
        ]
        if not meeting:
            return chosen
        for number in meeting:
            level[number] += 1


def _is_plane(name: str, common: Counter[Hashable], same: Callable[[str], Hashable]) -> bool:
    stack = stack_name(name)
    return stack is not None and same(stack) in common
