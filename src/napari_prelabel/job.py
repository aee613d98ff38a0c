"""Job: everything that decides a result, as one frozen value; Progress: where a run stands."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from .errors import FileFormatError, JobError
from .vocabulary import Vocabulary

Method = Literal["base", "freecp"]
Base = Literal["vanilla", "maskclip", "sclip", "clearclip", "gem", "naclip"]
Stage = Literal["models", "text", "encode", "score", "purify", "decide"]

METHODS: tuple[str, ...] = get_args(Method)
BASES: tuple[str, ...] = get_args(Base)
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Windows:
    """How an image is resized and cut (methods.md 2.1); lengths in pixels.

    short_side : resize so that the shorter side has this length, keeping the ratio;
        0 keeps the image's own size.
    crop, stride : side of the square sliding window and its step; crop 0 = the whole image.
    antialias : average the pixels that shrinking skips; the published code does not.
    """

    short_side: int = 448
    crop: int = 384
    stride: int = 112
    antialias: bool = False


@dataclass(frozen=True, slots=True)
class FreeCP:
    """Parameters of FreeCP; defaults are the published code's (methods.md 2.4 to 2.9).

    redundancy, ambiguity : which purification steps run after refinement.
    rp_threshold : redundancy purification keeps a class above this overlap, 0..1.
    ap_threshold : classes whose refined maps overlap at least this much are ambiguous, 0..1.
    box_threshold : share of a map's maximum above which its boxes are drawn, 0..1.
    refinement : "code" (Sinkhorn, squared, boxes) or "paper" (one product with the attention).
    overlap : "code" (products over the plain sum) or "paper" (true IoU).
    similarity : of ambiguous classes, "code" (min over max) or "paper" (IoU of products).
    losers : ambiguous classes that lost are zeroed in the whole "window" or only in the "box".
    gem_affinity : GEM's attention of head 0, as published, or the mean of heads.
    empty_pixel : without background words, a pixel no class holds is class "first" (published)
        or the most probable class of the base ("base").
    scope : purify per "window" (published) or decide the set of classes for the whole "image".
    """

    redundancy: bool = True
    ambiguity: bool = True
    rp_threshold: float = 0.10
    ap_threshold: float = 0.70
    box_threshold: float = 0.40
    refinement: Literal["code", "paper"] = "code"
    overlap: Literal["code", "paper"] = "code"
    similarity: Literal["code", "paper"] = "code"
    losers: Literal["window", "box"] = "window"
    gem_affinity: Literal["head0", "mean"] = "head0"
    empty_pixel: Literal["first", "base"] = "first"
    scope: Literal["window", "image"] = "window"


@dataclass(frozen=True, slots=True)
class Job:
    """One request for a label map. Equal jobs on equal pixels give equal label maps.

    models : name of a bundle in models.catalog.BUNDLES.
    windows : None takes the bundle's own.
    logit_scale : None takes the model's learned scale.
    min_score : pixels below are unlabelled when the vocabulary has background words (base only).
    region : (y0, x0, y1, x1) half-open pixel rectangle of the image, None = all of it.
    precision : arithmetic of the encoder; "float32" is the reference.
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
    precision: Literal["float32", "bfloat16", "float16"] = "float32"

    def __post_init__(self) -> None:
        _check(self)

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all that decides a result: equal for equal jobs on any machine."""
        data = self.to_dict() | {"vocabulary": self.vocabulary.digest}
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
    if isinstance(value, (Windows, FreeCP)):
        return asdict(value)
    return list(value) if isinstance(value, tuple) else value


def _validated(hint: Any, value: Any) -> Any:
    for kind in (Windows, FreeCP):
        if isinstance(value, dict) and kind in (hint, *get_args(hint)):
            if unknown := sorted(set(value) - {f.name for f in fields(kind)}):
                raise TypeError(f"unknown setting {unknown[0]!r}")
            return TypeAdapter(kind).validate_python(value)
    return TypeAdapter(hint).validate_python(value)


def _check(job: Job) -> None:
    _member("method", job.method, METHODS)
    _member("base", job.base, BASES)
    _member("precision", job.precision, ("float32", "bfloat16", "float16"))
    for name in (f.name for f in fields(FreeCP) if get_origin(f.type) is Literal):
        options = get_args(FreeCP.__annotations__[name])
        _member(f"freecp.{name}", getattr(job.freecp, name), options)
    for name in ("rp_threshold", "ap_threshold", "box_threshold"):
        _unit(f"freecp.{name}", getattr(job.freecp, name))
    _unit("min_score", job.min_score)
    if job.logit_scale is not None and not (math.isfinite(job.logit_scale) and job.logit_scale > 0):
        raise JobError("logit_scale", f"logit_scale must be above 0, not {job.logit_scale}.")
    if job.windows is not None:
        _check_windows(job.windows)
    if job.region is not None:
        y0, x0, y1, x1 = job.region
        if not (0 <= y0 < y1 and 0 <= x0 < x1):
            raise JobError("region", f"The region {job.region} is empty: draw a larger rectangle.")


def _check_windows(windows: Windows) -> None:
    if windows.short_side < 0 or windows.crop < 0:
        raise JobError("windows", "short_side and crop must be 0 (off) or a length in pixels.")
    if windows.crop and not 0 < windows.stride <= windows.crop:
        raise JobError(
            "windows",
            f"stride must lie between 1 and the window's side {windows.crop}, "
            f"not {windows.stride}: a larger stride would leave gaps.",
        )


def _member(field_name: str, value: object, options: tuple[str, ...]) -> None:
    if value not in options:
        raise JobError(field_name, f"{field_name} must be one of {', '.join(options)}: {value!r}.")


def _unit(field_name: str, value: float) -> None:
    if not (isinstance(value, (int, float)) and 0 <= value <= 1):
        raise JobError(field_name, f"{field_name} must lie between 0 and 1, not {value!r}.")
