"""METHODS: what each method is and needs, as a table: ours, and those that other packages bring.

It stands beneath the jobs, whose files name a method and its settings. What a method does stands in
`engine.labellers`, or where its row says, and is imported late: reading the table loads no models.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .declare import read
from .errors import JobError
from .retrieval import ReME
from .settings import FreeCP, Nerve

GROUP = "napari_prelabel.methods"
# What jobs and their files call something else; tests compare it with the fields of a Job.
TAKEN = frozenset(
    ("schema", "vocabulary", "base", "models", "windows", "logit_scale", "min_score", "region",
     "precision", "reference", "display", "method", "other")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be there before a job can run.

    clip, diffusion : these models of the job's bundle. attention : a CLIP whose layers attend, as
        those of a ResNet do not. reference : the job's reference set, which brings its own encoder.
    """

    clip: bool = True
    diffusion: bool = False
    reference: bool = False
    attention: bool = False


# Settings of a Job that methods may heed.
_CLIP = frozenset({"base", "logit_scale", "windows", "precision"})


@dataclass(frozen=True, slots=True)
class Method:
    """One way to make a label map.

    title, help : for a person who chooses. page : of the docs, or an address.
    needs : asked of the method's settings. applies : which of the Job's other fields it heeds.
    settings : its standard settings, an object of a class that `declare.settings` made; None for a
        method that has none. field : of the Job that holds them; "" where `Job.other` does.
    doing : the module with its two steps, see and label; "" for that of its name in
        engine.labellers. package : who brings it, name and version; "" for ours.
    """

    title: str
    help: str
    page: str
    needs: Callable[[Any], Needs] = lambda _: Needs()
    applies: frozenset[str] = frozenset()
    settings: Any = None
    field: str = ""
    doing: str = ""
    package: str = ""

    def other(self, name: str, value: Any) -> Any:
        """What `Job.other` is to hold for this method, from what it was given.

        None and settings of another method give the standard ones. Raises JobError.
        """
        standard = None if self.field else self.settings
        if standard is None or isinstance(value, type(standard)):
            return None if standard is None else value
        if value is None or hasattr(type(value), "__pydantic_fields__"):
            return standard
        if not isinstance(value, Mapping):
            raise JobError(name, f"{name} must be a group of settings, not {value!r}.")
        return read(type(standard), json.dumps(value), name)


_OURS: Mapping[str, Method] = {
    "freecp": Method(
        "FreeCP",
        "Takes the base's map, drops words that are not in the picture, and settles words that "
        "look alike.",
        "docs/methods/freecp.md",
        lambda freecp: Needs(attention=True, diffusion=freecp.source == "diffusion"),
        _CLIP,
        FreeCP(),
        "freecp",
    ),
    "nerve": Method(
        "NERVE",
        "Carries the base's map along what a diffusion model sees as one thing, to its edges. "
        "Slow for the first time on an image; other words are quick.",
        "docs/methods/nerve.md",
        lambda _: Needs(diffusion=True),
        _CLIP,
        Nerve(),
        "nerve",
    ),
    "base": Method(
        "Base alone",
        "Fast. Every pixel takes the word that fits it best. Good for a short list of words that "
        "are all in the picture.",
        "docs/methods/bases.md",
        applies=_CLIP | {"min_score"},
    ),
    "reme": Method(
        "ReME: learn from corrections",
        "Compares every piece of the picture with a reference set, made from images that you "
        "corrected.",
        "docs/methods/reme.md",
        lambda _: Needs(clip=False, reference=True),
        frozenset({"reference", "precision"}),
        ReME(),
        "reme",
    ),
}


class _Methods(Mapping[str, Method]):
    """Ours first; other packages are imported when a name is none of ours, or all are asked for."""

    def __getitem__(self, name: str) -> Method:
        return _OURS[name] if name in _OURS else _found()[0][name]

    def __iter__(self) -> Iterator[str]:
        return iter({**_OURS, **_found()[0]})

    def __len__(self) -> int:
        return len({**_OURS, **_found()[0]})


METHODS: Mapping[str, Method] = _Methods()


def left_out() -> tuple[str, ...]:
    """A sentence for every method of another package that cannot be used, and why."""
    return _found()[1]


@cache
def _found() -> tuple[Mapping[str, Method], tuple[str, ...]]:
    """Methods that installed packages name under GROUP, and what is told of those left out."""
    rows: dict[str, Method] = {}
    told = []
    for point in entry_points(group=GROUP):
        brought = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
        try:
            rows[point.name] = replace(_loaded(point, rows), package=brought)
        except (Exception, SystemExit) as error:  # whatever a stranger's code does
            why = str(error) if isinstance(error, _Refused) else f"{type(error).__name__}: {error}"
            told.append(f"The method {point.name!r} of {brought} is left out: {why}.")
    return rows, tuple(told)


class _Refused(Exception):
    """Why a method cannot be taken."""


def _loaded(point: EntryPoint, rows: Mapping[str, Method]) -> Method:
    if not re.fullmatch("[a-z][a-z0-9_]*", point.name):
        raise _Refused("its name must be small letters, digits and underscores")
    if point.name in _OURS or point.name in TAKEN:
        raise _Refused("napari-prelabel uses that name itself")
    if point.name in rows:
        raise _Refused(f"{rows[point.name].package} brings one of that name")
    row = point.load()
    if not isinstance(row, Method) or not row.doing:
        raise _Refused(f"{point.value} is no Method that names the module of its steps")
    if row.settings is not None and not hasattr(type(row.settings), "__pydantic_fields__"):
        raise _Refused("its settings are not declared by values.declare.settings")
    return replace(row, field="")
