"""The SQLite file of a shard: images, segments, phrases, thumbnails; written once, then read."""

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .arrays import check_regular, damaged
from .values import ORIGINS, Addition, Segment, Source

_TABLES = {
    "image": (
        "CREATE TABLE image (id INTEGER PRIMARY KEY, hash TEXT NOT NULL, name TEXT NOT NULL, "
        "height INTEGER NOT NULL, width INTEGER NOT NULL, author TEXT NOT NULL, "
        "reviewed TEXT NOT NULL, licence TEXT NOT NULL, start INTEGER NOT NULL, "
        "count INTEGER NOT NULL) STRICT"
    ),
    "segment": (
        "CREATE TABLE segment (row INTEGER PRIMARY KEY, y0 INTEGER NOT NULL, x0 INTEGER NOT NULL, "
        "y1 INTEGER NOT NULL, x1 INTEGER NOT NULL, area INTEGER NOT NULL, origin TEXT NOT NULL) "
        "STRICT"
    ),
    "label": (
        "CREATE TABLE label (id INTEGER PRIMARY KEY, phrase TEXT NOT NULL, root TEXT NOT NULL) "
        "STRICT"
    ),
    "thumbnail": (
        "CREATE TABLE thumbnail (row INTEGER PRIMARY KEY, picture INTEGER NOT NULL) STRICT"
    ),
    "picture": "CREATE TABLE picture (id INTEGER PRIMARY KEY, png BLOB NOT NULL) STRICT",
}
_IMAGE = "SELECT hash, name, height, width, author, reviewed, licence, start, count FROM image"
# No value of ours is longer: a damaged length must not ask for memory.
_LONGEST = 1 << 24
_AT_ONCE = 500
_HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Run:
    """The rows of one image in a shard: `count` from `start` on."""

    source: Source
    start: int
    count: int


def build(
    additions: Sequence[Addition],
    labels: Sequence[tuple[str, str]],
) -> bytes:
    """The bytes of a catalogue; labels are (phrase, root) in the order of their columns."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        for statement in _TABLES.values():
            connection.execute(statement)
        start = 0
        pictures: dict[bytes, int] = {}
        for number, addition in enumerate(additions):
            s = addition.source
            count = len(addition.segments)
            connection.execute(
                "INSERT INTO image VALUES (?,?,?,?,?,?,?,?,?,?)",
                (number, s.hash, s.name, *s.size, s.author, s.reviewed, s.licence, start, count),
            )
            connection.executemany(
                "INSERT INTO segment VALUES (?,?,?,?,?,?,?)",
                (
                    (row, *segment.box, segment.area, segment.origin)
                    for row, segment in enumerate(addition.segments, start)
                ),
            )
            connection.executemany(
                "INSERT INTO thumbnail VALUES (?,?)",
                (
                    (row, pictures.setdefault(png, len(pictures)))
                    for row, png in enumerate(addition.thumbnails, start)
                ),
            )
            start += count
        connection.executemany(
            "INSERT INTO label VALUES (?,?,?)", ((i, *told) for i, told in enumerate(labels))
        )
        connection.executemany(
            "INSERT INTO picture VALUES (?,?)", ((i, png) for png, i in pictures.items())
        )
        connection.commit()
        return connection.serialize()


@contextlib.contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads; every SQLite fault becomes a ReferenceSetError."""
    check_regular(path)
    connection = None
    try:
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA query_only = ON")
        yield connection
    except sqlite3.Error as error:
        raise damaged(path, "is no database of ours") from error
    finally:
        if connection is not None:
            connection.close()


def runs(path: Path, images: int, rows: int, labels: int) -> tuple[Run, ...]:
    """The images of a shard, in the order of their rows.

    Raises ReferenceSetError unless the tables are ours and as long as promised, and the rows of
    the images follow each other.
    """
    with reading(path) as connection:
        _check(connection, path, rows, labels)
        told = connection.execute(f"{_IMAGE} ORDER BY id LIMIT ?", (images + 1,)).fetchall()
    found = tuple(
        Run(Source(h, name, (height, width), author, reviewed, licence), start, count)
        for h, name, height, width, author, reviewed, licence, start, count in told
    )
    at = 0
    for run in found:
        if not is_hash(run.source.hash) or min(run.source.size) < 1:
            raise damaged(path, "names an image wrongly")
        if run.start != at or run.count < 0:
            raise damaged(path, "has images whose segments do not follow each other")
        at += run.count
    if len(found) != images or at != rows:
        raise damaged(path, f"does not hold {images:,} images of {rows:,} segments")
    return found


def _check(connection: sqlite3.Connection, path: Path, rows: int, labels: int) -> None:
    found = connection.execute("SELECT name, sql FROM sqlite_master").fetchall()
    if dict(found) != _TABLES:
        raise damaged(path, "has other tables than a reference set")
    for table, column, wanted in (
        ("segment", "row", rows),
        ("thumbnail", "row", rows),
        ("label", "id", labels),
    ):
        first, last = (f"(SELECT {of}({column}) FROM {table})" for of in ("min", "max"))
        wanted_ends = (0, wanted - 1) if wanted else (None, None)
        if connection.execute(f"SELECT {first}, {last}").fetchone() != wanted_ends:
            raise damaged(path, f"does not hold {wanted:,} entries of {table}")


def is_hash(text: str) -> bool:
    """Whether a text is a SHA-256 in lower-case hexadecimal digits."""
    return isinstance(text, str) and _HASH.fullmatch(text) is not None


def has_pixels(segment: Segment) -> bool:
    """Whether a segment's box and area can be true together."""
    y0, x0, y1, x1 = segment.box
    return 0 <= y0 < y1 and 0 <= x0 < x1 and 0 < segment.area <= (y1 - y0) * (x1 - x0)


def labels(path: Path, count: int) -> list[tuple[str, str]]:
    """(phrase, root) of every column."""
    with reading(path) as connection:
        found = connection.execute(
            "SELECT phrase, root FROM label ORDER BY id LIMIT ?", (count,)
        ).fetchall()
    return list(found)


def segments(path: Path, rows: Sequence[int]) -> dict[int, Segment]:
    """The segments of these rows, without their words."""
    query = "SELECT row, y0, x0, y1, x1, area, origin FROM segment WHERE row IN ({})"
    found = {}
    with reading(path) as connection:
        for row, y0, x0, y1, x1, area, origin in _select(connection, query, rows):
            if origin not in ORIGINS:
                raise damaged(path, "has a segment with an origin of its own")
            found[row] = Segment((y0, x0, y1, x1), area, (), origin)
            if not has_pixels(found[row]):
                raise damaged(path, "has a segment with a box of other pixels")
    return found


def thumbnails(path: Path, rows: Sequence[int]) -> dict[int, bytes]:
    """The PNG files of these rows; segments that share a picture share its bytes."""
    with reading(path) as connection:
        query = "SELECT row, picture FROM thumbnail WHERE row IN ({})"
        shown = dict(_select(connection, query, rows))
        wanted = sorted(set(shown.values()))
        found = dict(_select(connection, "SELECT id, png FROM picture WHERE id IN ({})", wanted))
    return {row: found[picture] for row, picture in shown.items() if picture in found}


def _select(connection: sqlite3.Connection, query: str, keys: Sequence[int]) -> Iterator[Any]:
    for start in range(0, len(keys), _AT_ONCE):
        some = list(keys[start : start + _AT_ONCE])
        yield from connection.execute(query.format(",".join("?" * len(some))), some)
