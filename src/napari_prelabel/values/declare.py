"""How settings are declared: one line each, from which limits, sentences, JSON and forms follow."""

import functools
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar, Union, dataclass_transform, get_args, get_origin

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked
from pydantic.fields import FieldInfo

from .errors import JobError

_T = TypeVar("_T")
# A number is a number, not a text that looks like one; true is no 1; there is no infinity.
_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "none",
}
_SWITCH = {"true": True, "false": False, "yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class Ask:
    """How a setting is asked for in a form; one without it stands in job files alone.

    step : of a number. words : what the options of a choice are called, in their order.
    zero : what 0 means where it is no number like the others. suffix : behind the number.
    first : seen without unfolding.
    """

    step: float = 0.05
    words: tuple[str, ...] = ()
    zero: str = ""
    suffix: str = ""
    first: bool = False


@dataclass(frozen=True, slots=True)
class Among:
    """Options of a choice that are known only when they are asked for."""

    options: Callable[[], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it is declared.

    name : of the field. kind : its type without None. options : of a choice, else ().
    low, high : limits of a number, included; `above` : but for the lower one. optional : None is a
        value, too.
    """

    name: str
    title: str
    description: str
    kind: Any
    default: Any
    options: tuple[str, ...]
    low: float | None
    high: float | None
    above: bool
    optional: bool
    ask: Ask | None

    def limits(self) -> str:
        """The limits as a sentence goes on after "must"."""
        if self.above:
            return f"be above {self.low:,} and at most {self.high:,}"
        zero = f" ({self.ask.zero})" if self.ask and self.ask.zero else ""
        return f"lie between {self.low:,}{zero} and {self.high:,}"


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def settings(name: str) -> Callable[[type[_T]], type[_T]]:
    """Make a class of annotated fields a frozen, checked value; `name` stands in its errors.

    A value outside its declaration raises JobError when it is made, with the setting's dotted name.
    """

    def declared(cls: type[_T]) -> type[_T]:
        made: Any = checked(frozen=True, slots=True, config=_STRICT)(cls)
        plain = made.__init__

        @functools.wraps(plain)
        def init(self: Any, *args: Any, **kwargs: Any) -> None:
            try:
                plain(self, *args, **kwargs)
            except ValidationError as error:
                raise refusal(made, error, name) from error

        made.__init__ = init
        result: type[_T] = made
        return result

    return declared


def declared(cls: Any) -> Iterator[Setting]:
    """The settings of a declared class, in their order."""
    for name, info in cls.__pydantic_fields__.items():
        yield _setting(name, info)


def setting(cls: Any, name: str) -> Setting:
    """A setting by its dotted name; "proposals.finest" is a setting of a setting."""
    head, _, tail = name.partition(".")
    found = _setting(head, cls.__pydantic_fields__[head])
    return setting(found.kind, tail) if tail else found


def said(cls: Any, name: str, text: str) -> Any:
    """What was typed for a setting, "none" where it may be none; what is wrong stays a text."""
    told = setting(cls, name)
    if told.optional and text == "none":
        return None
    kinds: dict[Any, Callable[[str], Any]] = {int: int, float: float, bool: _SWITCH.__getitem__}
    try:
        return kinds.get(told.kind, str)(text)
    except (ValueError, KeyError):
        return text


def changed(values: _T, given: Mapping[str, Any]) -> _T:
    """Settings with some of them replaced at once, by their dotted names; the others stay.

    Raises JobError for what does not fit.
    """
    told: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        head, _, tail = name.partition(".")
        if tail:
            inner.setdefault(head, {})[tail] = value
        else:
            told[head] = value
    told |= {head: changed(getattr(values, head), some) for head, some in inner.items()}
    made: _T = replace(values, **told)  # type: ignore[type-var]
    return made


def read(cls: type[_T], text: str, name: str = "") -> _T:
    """A declared value from JSON; raises JobError by the dotted name of what is wrong."""
    try:
        return TypeAdapter(cls).validate_json(text)
    except ValidationError as error:
        raise refusal(cls, error, name) from error


def refusal(cls: Any, error: ValidationError, name: str = "") -> JobError:
    """pydantic's first complaint as one sentence that names the setting and what it takes."""
    first = error.errors()[0]
    return _refusal(cls, first, list(first["loc"]), name)


def _refusal(cls: Any, error: Any, path: list[Any], name: str) -> JobError:
    fields, (part, *inside) = cls.__pydantic_fields__, path
    key = [*fields, part][part] if isinstance(part, int) else part
    if key not in fields:
        return _stranger(name, key, list(fields))
    told = _setting(key, fields[key])
    name = f"{name}.{key}" if name else key
    if inside and hasattr(told.kind, "__pydantic_fields__"):
        return _refusal(told.kind, error, inside, name)
    wanted = f"be {_kind(told)}" if inside else _wanted(told, error)
    return JobError(name, f"{name} must {wanted}.")


def _stranger(where: str, name: Any, known: list[str]) -> JobError:
    inside = f"{where}: " if where else ""
    told = f"{inside}unknown setting {name!r}; there are {', '.join(known)}."
    return JobError(f"{where}.{name}" if where else str(name), told)


def _wanted(told: Setting, error: Any) -> str:
    value = error["input"]
    if error["type"] in ("missing", "missing_argument"):
        return "be given"
    if told.options:
        return f"be one of {', '.join(told.options)}: {value!r}"
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    whole = told.kind is not int or isinstance(value, int)
    if told.low is not None and number and whole:
        return f"{told.limits()}, not {value!r}"
    return f"be {_kind(told)}, not {value!r}"


def _kind(told: Setting) -> str:
    kinds = get_args(told.kind)
    if get_origin(told.kind) is tuple:
        many = "a list of " if kinds[-1] is ... else f"a list of {len(kinds)} "
        pairs = "pairs of " if get_args(kinds[0]) else ""
        each = (get_args(kinds[0]) or kinds)[0]
        what = many + pairs + ("whole numbers" if each is int else "numbers")
    else:
        what = _KINDS.get(told.kind, "a group of settings")
    return f"{what} or none" if told.optional else what


def _setting(name: str, info: FieldInfo) -> Setting:
    kinds = [info.annotation]
    if get_origin(info.annotation) in (Union, types.UnionType):
        kinds = list(get_args(info.annotation))
    kind = next(k for k in kinds if k is not type(None))
    limits = {
        word: getattr(rule, word)
        for rule in info.metadata
        for word in ("ge", "gt", "le")
        if hasattr(rule, word)
    }
    among = next((rule.options() for rule in info.metadata if isinstance(rule, Among)), ())
    return Setting(
        name,
        info.title or "",
        info.description or "",
        kind,
        info.get_default(call_default_factory=True),
        get_args(kind) if get_origin(kind) is Literal else tuple(among),
        limits.get("ge", limits.get("gt")),
        limits.get("le"),
        "gt" in limits,
        type(None) in kinds,
        next((rule for rule in info.metadata if isinstance(rule, Ask)), None),
    )
