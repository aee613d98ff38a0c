"""Job: everything that decides a result, as one frozen value; Progress: where a run stands."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from .bases import Base
from .errors import FileFormatError, JobError
from .settings import (
    Display,
    FreeCP,
    Nerve,
    Proposals,
    Reference,
    ReME,
    Windows,
    check,
    check_display,
    check_windows,
    member,
    unit,
)
from .vocabulary import Vocabulary

__all__ = [
    "BASES",
    "METHODS",
    "PRECISIONS",
    "Base",
    "Display",
    "FreeCP",
    "Job",
    "Nerve",
    "Progress",
    "Proposals",
    "ReME",
    "Reference",
    "Windows",
]

Method = Literal["base", "freecp", "nerve", "reme"]
Precision = Literal["float32", "bfloat16", "float16"]
Stage = Literal[
    "models", "text", "encode", "score", "purify", "decide",
    "diffusion", "walk", "segment", "retrieve", "learn", "evaluate",
]  # fmt: skip

METHODS: tuple[str, ...] = get_args(Method)
BASES: tuple[str, ...] = get_args(Base)
PRECISIONS: tuple[str, ...] = get_args(Precision)
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Job:
    """One request for a label map. Equal jobs on equal pixels give equal label maps.

    models : name of a bundle in models.catalog.BUNDLES.
    windows : None takes the bundle's own.
    logit_scale : None takes the model's learned scale.
    min_score : pixels below are unlabelled when the vocabulary has background words (base only).
    region : (y0, x0, y1, x1) half-open pixel rectangle of the image, None = all of it.
    precision : arithmetic of the encoder; "float32" is the reference.
    display : how the values of an image become the 8 bits that the models see.
    reference : the set that ReME retrieves from; its folder is where it lies, not what it is.
    """

    vocabulary: Vocabulary
    method: Method = "freecp"
    base: Base = "sclip"
    models: str = "demo"
    windows: Windows | None = None
    freecp: FreeCP = field(default_factory=FreeCP)
    logit_scale: float | None = None
    min_score: float = 0.0
    region: tuple[int, int, int, int] | None = None
    precision: Precision = "float32"
    nerve: Nerve = field(default_factory=Nerve)
    reme: ReME = field(default_factory=ReME)
    reference: Reference | None = None
    display: Display = field(default_factory=Display)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all that decides a result: equal for equal jobs on any machine."""
        data = self.to_dict() | {
            "vocabulary": self.vocabulary.digest,
            "reference": self.reference and self.reference.digest,
        }
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        return {"schema": SCHEMA} | {
            f.name: self.vocabulary.to_dict() if f.name == "vocabulary" else _plain(self, f.name)
            for f in fields(self)
        }

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, source: Path | str = "job.json") -> "Job":
        """Read a job; raises FileFormatError naming the field that is wrong."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise FileFormatError(source, f"{source} is not JSON: {error}.") from error
        if not isinstance(data, dict) or data.get("schema") != SCHEMA:
            found = data.get("schema") if isinstance(data, dict) else None
            raise FileFormatError(
                source,
                f"{source} has job schema {found!r} but this version reads {SCHEMA}: "
                "save the job again from the dock.",
            )
        return cls._from_dict({k: v for k, v in data.items() if k != "schema"}, source)

    @classmethod
    def _from_dict(cls, data: dict[str, Any], source: Path | str) -> "Job":
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise FileFormatError(source, f"{source} has an unknown setting {unknown[0]!r}.")
        body: dict[str, Any] = {
            "vocabulary": Vocabulary.from_dict(data.pop("vocabulary", {})),
        }
        hints = get_type_hints(cls)
        for name, value in data.items():
            try:
                body[name] = _validated(hints[name], value)
            except ValidationError as error:
                detail = error.errors()[0]
                where = ".".join([name, *(str(p) for p in detail["loc"])])
                raise FileFormatError(source, f"{source}: {where}: {detail['msg']}.") from error
            except TypeError as error:
                raise FileFormatError(source, f"{source}: {name}: {error}.") from error
        return cls(**body)


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a run: `done` of `total` units of `stage`; seconds left if it can be told."""

    stage: Stage
    done: int
    total: int
    seconds_left: float | None = None
    message: str = ""


def _plain(job: Job, name: str) -> Any:
    value = getattr(job, name)
    if is_dataclass(value) and not isinstance(value, type):
        return json.loads(json.dumps(asdict(value)))
    return list(value) if isinstance(value, tuple) else value


def _validated(hint: Any, value: Any) -> Any:
    for kind in (hint, *get_args(hint)):
        if isinstance(value, dict) and is_dataclass(kind):
            _no_strangers(kind, value)
            return TypeAdapter(kind).validate_python(value)
    return TypeAdapter(hint).validate_python(value)


def _no_strangers(kind: Any, value: dict[str, Any]) -> None:
    hints = get_type_hints(kind)
    if unknown := sorted(set(value) - set(hints)):
        raise TypeError(f"unknown setting {unknown[0]!r}")
    for name, inner in value.items():
        if isinstance(inner, dict) and is_dataclass(hints[name]):
            _no_strangers(hints[name], inner)


def _check(job: Job) -> None:
    member("method", job.method, METHODS)
    member("base", job.base, BASES)
    member("precision", job.precision, PRECISIONS)
    for name in ("freecp", "nerve", "reme"):
        check(name, getattr(job, name))
    unit("min_score", job.min_score)
    if job.logit_scale is not None and not (math.isfinite(job.logit_scale) and job.logit_scale > 0):
        raise JobError("logit_scale", f"logit_scale must be above 0, not {job.logit_scale}.")
    check_display(job.display)
    if job.windows is not None:
        check_windows(job.windows)
    if job.region is not None:
        y0, x0, y1, x1 = job.region
        if not (0 <= y0 < y1 and 0 <= x0 < x1):
            raise JobError("region", f"The region {job.region} is empty: draw a larger rectangle.")
    if job.method == "reme" and job.reference is None:
        raise JobError(
            "reference",
            "ReME needs a reference set: choose one, or make one from what you corrected.",
        )
