"""FORMS: what the dock says of each method. Its fields follow from the method's settings."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..values.declare import Setting, declared
from ..values.job import FreeCP, Nerve, ReME


@dataclass(frozen=True, slots=True)
class Form:
    """What the dock shows while a method is chosen.

    parameters : field of the Job that holds its settings, "" when it has none of its own.
    default : their standard values. rows : which of the rows that methods share apply.
    """

    title: str
    help: str
    parameters: str = ""
    default: Any = None
    rows: frozenset[str] = frozenset()

    def fields(self) -> Iterator[tuple[str, Setting]]:
        """(dotted name, setting) of what is asked for, in the order of the declaration."""
        for name, told in _settings(self.default):
            if told.shown:
                yield name, told

    def kept(self, values: Any) -> list[str]:
        """What a job says beside that, where it is not the standard: "title: value" each."""
        return [
            f"{told.title}: {'none' if value is None else value}"
            for name, told in _settings(values)
            if not told.shown and (value := value_of(values, name)) != told.default
        ]


def _settings(values: Any, inside: str = "") -> Iterator[tuple[str, Setting]]:
    for told in declared(type(values)) if values is not None else ():
        name = inside + told.name
        if hasattr(told.kind, "__pydantic_fields__"):
            yield from _settings(getattr(values, told.name), f"{name}.")
        else:
            yield name, told


_CLIP = frozenset({"base", "logit_scale", "windows", "precision"})

FORMS: Mapping[str, Form] = {
    "freecp": Form(
        "FreeCP",
        "Takes the base's map, drops words that are not in the picture, and settles words that "
        "look alike.",
        "freecp",
        FreeCP(),
        _CLIP,
    ),
    "nerve": Form(
        "NERVE",
        "Carries the base's map along what a diffusion model sees as one thing, to its edges. "
        "Slow for the first time on an image; other words are quick.",
        "nerve",
        Nerve(),
        _CLIP,
    ),
    "base": Form(
        "Base alone",
        "Fast. Every pixel takes the word that fits it best. Good for a short list of words that "
        "are all in the picture.",
        rows=_CLIP | {"min_score"},
    ),
    "reme": Form(
        "ReME: learn from corrections",
        "Compares every piece of the picture with a reference set, made from images that you "
        "corrected.",
        "reme",
        ReME(),
        frozenset({"reference", "precision"}),
    ),
}


def value_of(values: Any, name: str) -> Any:
    """A setting, or a setting of a setting, by its dotted name."""
    for part in name.split("."):
        values = getattr(values, part)
    return values
