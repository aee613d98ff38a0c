"""manifest.json: what a set holds and which files it consists of.

Files are named by numbers, `embeddings-000012.npy`, and the manifest holds the numbers alone: no
text in it is ever used as a path.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ..values.errors import ReferenceSetError
from .arrays import check_regular, damaged

MANIFEST = "manifest.json"
KIND = "napari-prelabel reference set"
SCHEMA = 1
MAX_BYTES = 64 << 20
_STRICT = ConfigDict(extra="forbid", strict=True)

Count = Annotated[int, Field(ge=0, lt=2**48)]
Serial = Annotated[int, Field(ge=1, lt=2**48)]
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
LONGEST = 1000
Short = Annotated[str, Field(max_length=LONGEST)]

SHARD = ("embeddings-{:06d}.npy", "pointers-{:06d}.npy", "columns-{:06d}.npy",
         "catalogue-{:06d}.sqlite")  # fmt: skip
STATE = "state-{:06d}.json"
CLEANING = ("cleaning-{:06d}.json", "dropped-{:06d}.npy", "added-{:06d}.npy")
METRIC = ("mean-{:06d}.npy", "matrix-{:06d}.npy")
HISTORY = "manifest-{:06d}.json"
OURS = re.compile(
    r"(embeddings|pointers|columns|dropped|added|mean|matrix)-\d{6,}\.npy"
    r"|catalogue-\d{6,}\.sqlite|(state|cleaning|manifest)-\d{6,}\.json"
)
PARTS = re.compile(rf"\.({OURS.pattern}|manifest\.json)\.[0-9a-f]{{32}}\.part")


@dataclass(frozen=True, slots=True)
class StoredEncoder:
    """An encoder as the manifest names it."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    name: Short
    digest: Short
    width: Annotated[int, Field(ge=1, le=65536)]


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """A shard's files and their sizes; `removed` are the indices of images that left the set."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    serial: Serial
    rows: Count
    links: Count
    labels: Count
    images: Count
    digest: Hex
    removed: tuple[Count, ...] = ()


@dataclass(frozen=True, slots=True)
class StateEntry:
    """The file of switches and declared synonyms."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    serial: Serial
    digest: Hex


@dataclass(frozen=True, slots=True)
class CleaningEntry:
    """The files of a cleaning's results and how many pairs they name."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    serial: Serial
    dropped: Count
    added: Count
    digest: Hex


@dataclass(frozen=True, slots=True)
class MetricEntry:
    """The files of the whitening and the width that rows have after it."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    serial: Serial
    width: Annotated[int, Field(ge=1, le=65536)]
    digest: Hex


@dataclass(frozen=True, slots=True)
class CountEntry:
    """Segments and images, and the images under each licence."""

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    segments: Count = 0
    images: Count = 0
    licences: dict[Short, Count] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """One generation of a set; `serial` is the highest number of any file so far.

    previous : number of the file with the generation before, which `undo` goes back to.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    name: Short
    encoder: StoredEncoder
    text: StoredEncoder | None = None
    position: bool = False
    kind: Short = KIND
    schema: Count = SCHEMA
    generation: Serial = 1
    serial: Count = 0
    created: Short = ""
    changed: Short = ""
    counts: CountEntry = field(default_factory=CountEntry)
    shards: tuple[ShardEntry, ...] = ()
    state: StateEntry | None = None
    cleaning: CleaningEntry | None = None
    metric: MetricEntry | None = None
    previous: Serial | None = None

    @property
    def width(self) -> int:
        """Length of a stored row."""
        return self.encoder.width + (2 if self.position else 0)

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all that decides an answer, whatever the files are called."""
        data = asdict(self)
        told = {name: data[name] for name in ("encoder", "text", "position")}
        told["shards"] = [[s.digest, list(s.removed)] for s in self.shards]
        for name in ("state", "cleaning", "metric"):
            told[name] = data[name] and data[name]["digest"]
        text = json.dumps(told, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_bytes(self) -> bytes:
        return (json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n").encode()

    def files(self) -> Iterator[str]:
        """Names of all files of this generation but the manifest itself."""
        for shard in self.shards:
            yield from (name.format(shard.serial) for name in SHARD)
        for entry, names in (
            (self.state, (STATE,)),
            (self.cleaning, CLEANING),
            (self.metric, METRIC),
        ):
            if entry is not None:
                yield from (name.format(entry.serial) for name in names)
        if self.previous is not None:
            yield HISTORY.format(self.previous)


def read_manifest(folder: Path, name: str = MANIFEST) -> Manifest:
    """The manifest of a folder; raises ReferenceSetError with one sentence when it is none."""
    path = folder / name
    if not path.exists() and not path.is_symlink():
        raise ReferenceSetError(
            folder,
            f"There is no reference set in {folder} (no {name}): choose the folder of one, or "
            "make a set first.",
        )
    data = read_json(path)
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise ReferenceSetError(
            path, f"{path} is no manifest of a reference set: choose the folder of one."
        )
    if (schema := data.get("schema")) != SCHEMA:
        told = schema if isinstance(schema, int) else "unknown"
        raise ReferenceSetError(
            path,
            f"The reference set {folder.name} has schema {told}, this version reads {SCHEMA}: "
            "update napari-prelabel, or make the set again.",
        )
    manifest: Manifest = validated(Manifest, data, path)
    serials = [s.serial for s in manifest.shards]
    if len(set(serials)) != len(serials):
        raise damaged(path, "names a shard twice")
    return manifest


def read_json(path: Path) -> Any:
    """JSON of a file of ours, at most 64 MB; raises ReferenceSetError."""
    if check_regular(path) > MAX_BYTES:
        raise damaged(path, "is too large")
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(path, "holds no JSON") from error


def validated(kind: Any, data: Any, path: Path) -> Any:
    """Plain JSON values as `kind`; raises ReferenceSetError naming the first wrong field."""
    try:
        return TypeAdapter(kind).validate_json(json.dumps(data))
    except (ValidationError, ValueError) as error:
        where = ""
        if isinstance(error, ValidationError):
            where = ".".join(str(part) for part in error.errors()[0]["loc"])[:80]
        raise damaged(path, f"has a wrong {where or 'value'}") from error
