"""An option of the command line for every setting of jobs and formats, as it is declared."""

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

import typer

from ..formats import all_options
from ..values.declare import Setting, declared
from ..values.job import Job
from ..values.methods import METHODS

# What other options ask for: --classes, --reference, --channels; a region is of one image alone.
_ASKED_ELSEWHERE = ("vocabulary", "reference", "display", "region", "other")
# Options that stand beside the name; more are told in the help, where lines break at spaces.
_MOST = 4


def settings() -> Iterator[tuple[str, Setting, str]]:
    """(dotted name, setting, panel of the help) of all that has an option, in their order."""
    for told in declared(Job):
        if told.name not in _ASKED_ELSEWHERE:
            yield from _inside(told.name, told, "")
    for method, row in METHODS.items():
        if row.settings is not None and not row.field:
            for told in declared(type(row.settings)):
                yield from _inside(f"{method}.{told.name}", told, f"Settings of {row.title}")


def _inside(name: str, told: Setting, panel: str) -> Iterator[tuple[str, Setting, str]]:
    if not hasattr(told.kind, "__pydantic_fields__"):
        yield name, told, panel
        return
    for inner in declared(told.kind):
        yield from _inside(f"{name}.{inner.name}", inner, panel or f"Settings of {told.title}")


def option_of(name: str) -> str:
    """ "nerve.score_threshold" -> "--nerve-score-threshold"."""
    return f"--{name.replace('.', '-').replace('_', '-')}"


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose `settings` takes the settings of a job that were given, as texts by dotted
    name."""
    return with_options(command, settings())


def with_format_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose `own` takes the options of formats of label files that were given."""
    rows = (
        (name, told, f"Options of --format {', '.join(f.name for f in formats)}")
        for name, (told, formats) in all_options().items()
    )
    return with_options(command, rows, "own")


def with_options(
    command: Callable[..., None],
    rows: Iterable[tuple[str, Setting, str]],
    into: str = "settings",
) -> Callable[..., None]:
    """The same for rows of (dotted name, setting, panel of the help), taken by parameter `into`."""
    asked = {name.replace(".", "_"): (name, told, panel) for name, told, panel in rows}

    @functools.wraps(command)
    def run(**given: Any) -> None:
        told = {name: given.pop(key) for key, (name, _, _) in asked.items()}
        given[into] = {name: text for name, text in told.items() if text is not None}
        command(**given)

    plain = inspect.signature(command)
    own = [p for p in plain.parameters.values() if p.name != into]
    made = [*own, *(_parameter(key, *row) for key, row in asked.items())]
    run.__signature__ = plain.replace(parameters=made)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in made} | {"return": None}
    return run


def _parameter(key: str, name: str, told: Setting, panel: str) -> inspect.Parameter:
    some = f" One of {', '.join(told.options)}." if len(told.options) > _MOST else ""
    option = typer.Option(
        option_of(name),
        help=f"{told.title}. {told.description}{some}",
        metavar=_values(told),
        rich_help_panel=panel or None,
        show_default=False,
    )
    kind: Any = Annotated[str | None, option]
    return inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _values(told: Setting) -> str:
    """What the setting takes, as a help page says it."""
    if told.options:
        return "|".join(told.options) if len(told.options) <= _MOST else "NAME"
    if told.kind in (int, float):
        return f"{told.low}..{told.high}"
    return "true|false" if told.kind is bool else "TEXT"
