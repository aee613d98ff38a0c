"""Job: everything that decides a result, as one frozen value; Progress: where a run stands."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, PlainValidator

from .bases import Base
from .declare import Among, Ask, read, settings
from .errors import FileFormatError, JobError
from .methods import METHODS, TAKEN, Needs
from .retrieval import Proposals, Reference, ReME
from .settings import Display, FreeCP, Nerve, Unit, Windows
from .vocabulary import Vocabulary

__all__ = [
    "BASES",
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

Precision = Literal["float32", "bfloat16", "float16"]
Stage = Literal[
    "models", "text", "encode", "score", "purify", "decide",
    "diffusion", "walk", "segment", "retrieve", "learn", "evaluate",
]  # fmt: skip

BASES: tuple[str, ...] = get_args(Base)
PRECISIONS: tuple[str, ...] = get_args(Precision)
SCHEMA = 1


def _vocabulary(value: Any) -> Vocabulary:
    """A vocabulary, or what a job file holds of one; raises VocabularyError."""
    return value if isinstance(value, Vocabulary) else Vocabulary.from_dict(value)


def _method(name: str) -> str:
    if name not in METHODS:
        raise ValueError(name)
    return name


@settings("")
class Job:
    """One request for a label map. Equal jobs on equal pixels give equal label maps."""

    vocabulary: Annotated[
        Vocabulary,
        PlainValidator(_vocabulary),
        Field(title="Words", description="Classes with their synonyms, and background words."),
    ]
    method: Annotated[
        str,
        AfterValidator(_method),
        Field(title="Method", description="How the map is made."),
        Among(lambda: sorted(METHODS)),
        Ask(),
    ] = "freecp"
    base: Annotated[
        Base,
        Field(title="Base", description="What CLIP's last block gives: the map it starts from."),
        Ask(),
    ] = "sclip"
    models: Annotated[
        str, Field(title="Models", description="Bundle of models: see 'prelabel models'.")
    ] = "demo"
    windows: Annotated[
        Windows | None,
        Field(title="Windows", description="How the image is cut; none takes the models' own."),
    ] = None
    freecp: Annotated[
        FreeCP, Field(title="FreeCP", description="Settings of the method freecp.")
    ] = field(default_factory=FreeCP)
    logit_scale: Annotated[
        float | None,
        Field(
            gt=0,
            le=1_000_000,
            title="Sharpness",
            description="Scale of the scores before the softmax (logit scale): higher makes the "
            "best word win more clearly; none takes the models' own.",
        ),
        Ask(5.0, zero="the models' own"),
    ] = None
    min_score: Annotated[
        Unit,
        Field(
            title="Least score",
            description="Base alone with background words: less sure pixels stay unlabelled "
            "(0 to 1).",
        ),
        Ask(),
    ] = 0.0
    region: Annotated[
        tuple[int, int, int, int] | None,
        Field(
            title="Region",
            description="(y0, x0, y1, x1), half-open rectangle in pixels; none is the whole image.",
        ),
    ] = None
    precision: Annotated[
        Precision,
        Field(
            title="Arithmetic",
            description="Of the encoder: float32 is the reference; the others help on a GPU.",
        ),
        Ask(words=("exact (float32)", "faster (bfloat16)", "faster (float16)")),
    ] = "float32"
    nerve: Annotated[Nerve, Field(title="NERVE", description="Settings of the method nerve.")] = (
        field(default_factory=Nerve)
    )
    reme: Annotated[ReME, Field(title="ReME", description="Settings of the method reme.")] = field(
        default_factory=ReME
    )
    reference: Annotated[
        Reference | None,
        Field(
            title="Reference set",
            description="What ReME retrieves from; its folder is where it lies, not what it is.",
        ),
    ] = None
    display: Annotated[
        Display,
        Field(title="Values", description="How the image becomes the 8 bits that models see."),
    ] = field(default_factory=Display)

    other: Annotated[
        Any,
        Field(
            title="Settings",
            description="Of a method that has no field of its own, as of other packages; their "
            "standard where none are given.",
        ),
    ] = None

    def __post_init__(self) -> None:
        row = METHODS[self.method]
        object.__setattr__(self, "other", row.other(self.method, self.other))
        if self.region is not None:
            y0, x0, y1, x1 = self.region
            if not (0 <= y0 < y1 and 0 <= x0 < x1):
                raise JobError(
                    "region", f"The region {self.region} is empty: draw a larger rectangle."
                )
        if self.needs.reference and self.reference is None:
            who = row.title.partition(":")[0]
            raise JobError(
                "reference",
                f"{who} needs a reference set: choose one, or make one from what you corrected.",
            )

    @property
    def settings(self) -> Any:
        """The settings of its method, None for a method without any."""
        return getattr(self, METHODS[self.method].field or "other")

    @property
    def needs(self) -> Needs:
        """What must be there before it can run; the dock, the command line and the engine ask."""
        return METHODS[self.method].needs(self.settings)

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
        told = {"schema": SCHEMA} | {
            f.name: self.vocabulary.to_dict() if f.name == "vocabulary" else _plain(self, f.name)
            for f in fields(self)
        }
        other = told.pop("other")
        return told if other is None else told | {self.method: other}

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
        body = {k: v for k, v in data.items() if k != "schema"}
        name = body.get("method")
        if name not in body or name in TAKEN:
            name = None
        if name is not None and name in METHODS and not METHODS[name].field:
            body["other"] = body.pop(name)
        try:
            return read(cls, json.dumps(body))
        except JobError as error:
            raise FileFormatError(source, f"{source}: {error}") from error


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
