"""Which settings of a method the dock asks for, and which it only keeps: by their declaration."""

from collections.abc import Iterator
from typing import Any

from ...values.declare import Setting, declared


def asked(settings: Any) -> Iterator[tuple[str, Setting]]:
    """(dotted name, setting) of what the dock asks for, in the order of the declaration."""
    return ((name, told) for name, told in _inside(settings) if told.ask)


def kept(settings: Any) -> list[str]:
    """What settings say beside that, where it is not the standard: "title: value" each."""
    return [
        f"{told.title}: {'none' if value is None else value}"
        for name, told in _inside(settings)
        if not told.ask and (value := value_of(settings, name)) != told.default
    ]


def value_of(settings: Any, name: str) -> Any:
    """A setting, or a setting of a setting, by its dotted name."""
    for part in name.split("."):
        settings = getattr(settings, part)
    return settings


def _inside(settings: Any, where: str = "") -> Iterator[tuple[str, Setting]]:
    for told in declared(type(settings)) if settings is not None else ():
        name = where + told.name
        if hasattr(told.kind, "__pydantic_fields__"):
            yield from _inside(getattr(settings, told.name), f"{name}.")
        else:
            yield name, told
