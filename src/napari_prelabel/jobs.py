"""A job from what a person typed on the command line: words, files, names of settings."""

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .formats.table import read_json
from .formats.vocabulary_files import SUFFIXES, Listed, follow, numbered, read_listed
from .models.catalog import bundle_of, recommended
from .reference.store import ReferenceSet
from .values import presets
from .values.declare import changed, said
from .values.encoder import Encoder
from .values.errors import FileFormatError, JobError
from .values.job import Job, Reference
from .values.methods import METHODS
from .values.vocabulary import Vocabulary, key

DEFAULT_MODELS = "demo"
# Names that a sentence lists before it only counts.
_NAMED = 8


def vocabulary_of(classes: str) -> Vocabulary:
    """A class file, a preset's name, or the words themselves.

    Words stand one a line or apart by `;`, as in the dock; where no `:` begins synonyms and no
    dash background words, commas part classes. Ids before the names, "0 background, 1 tree", are
    no part of them. Raises VocabularyError and FileFormatError.
    """
    return _listed(classes).vocabulary


def counts_from_zero(classes: str) -> bool | None:
    """Whether the first class is told to have id 0, for label maps; None where no ids are told.

    Told are ids before the names, before all of them or a 0 before the first, and those of a file's
    columns, keys and categories. Raises FileFormatError for ids with gaps, and as `vocabulary_of`.
    """
    ids = _listed(classes).ids
    if ids is None:
        return None
    if not follow(ids):
        raise FileFormatError(
            classes.partition("\n")[0],
            f"The classes are numbered {', '.join(map(str, ids[:_NAMED]))} and not one after the "
            "other from 0 or 1: give a line for every id in between, too.",
        )
    return ids[0] == 0


def _listed(classes: str) -> Listed:
    path = Path(classes)
    if "\n" not in classes and (_is_file(path) or path.suffix.lower() in SUFFIXES):
        return read_listed(path)
    if classes in presets.PRESETS:
        return Listed(presets.load(classes))
    lines = _broken_at(";", classes).split("\n")
    plain = (line if ":" in line or line.lstrip().startswith("-") else _broken_at(",", line)
             for line in lines)  # fmt: skip
    return numbered(Vocabulary.parse("\n".join(plain)))


def _broken_at(sign: str, text: str) -> str:
    """The text with line breaks in place of a sign, quoted words left whole."""
    return re.sub(rf'("(?:[^"\n]|"")*")|{sign}', lambda found: found[1] or "\n", text)


def _is_file(path: Path) -> bool:
    """Whether there is a file of this name; no for words too long to be one."""
    with contextlib.suppress(OSError):
        return path.is_file()
    return False


def job_of(
    classes: str | None,
    file: Path | None,
    descriptions: Path | None = None,
    settings: Mapping[str, str | None] | None = None,
    reference: Path | None = None,
) -> Job:
    """The job of a file or of classes, with the settings that are not None put over it.

    reference : folder of a reference set; without a method it means ReME.
    """
    settings = dict(settings or {})
    if reference is not None and file is None:
        settings["method"] = settings.get("method") or "reme"
    if reference is not None and classes is None and file is None:
        raise JobError("vocabulary", f"Give --classes too: {_known(reference)}.")
    if (classes is None) == (file is None):
        raise JobError("vocabulary", "Give either --classes or --job.")
    if file is not None:
        job = _read_job(file)
        job = job_with(job.vocabulary, settings, job, reference)
    else:
        assert classes is not None
        job = job_with(vocabulary_of(classes), settings, None, reference)
    if descriptions is not None:
        told = job.vocabulary.with_descriptions(read_descriptions(descriptions))
        job = replace(job, vocabulary=told)
    return job


def _known(reference: Path) -> str:
    """A sentence on the words of a reference set, the most frequent first."""
    held = ReferenceSet.open(reference)
    words = [e.phrase for e in sorted(held.labels(), key=lambda e: -e.count)]
    more = f" and {len(words) - _NAMED} more" if len(words) > _NAMED else ""
    told = ", ".join(words[:_NAMED]) or "no word yet"
    return f"the reference set {held.name} knows {told}{more}"


def description_note(vocabulary: Vocabulary, descriptions: Path) -> str:
    """A sentence: how many classes the file describes, and which of its names are no class."""
    told = read_descriptions(descriptions)
    used = {c.name for c in map(vocabulary.find, told) if c is not None}
    strangers = list({key(name): name for name in told if vocabulary.find(name) is None}.values())
    what = "1 class is" if len(used) == 1 else f"{len(used)} classes are"
    sentence = f"{what} described by {descriptions.name}"
    if not strangers:
        return f"{sentence}."
    names = ", ".join(strangers[:_NAMED])
    if len(strangers) > _NAMED:
        names += f" and {len(strangers) - _NAMED} more"
    belong = "belongs" if len(strangers) == 1 else "belong"
    return f"{sentence}; {len(strangers)} of its names {belong} to no class: {names}."


def job_with(
    vocabulary: Vocabulary,
    settings: Mapping[str, str | None],
    job: Job | None = None,
    reference: Path | None = None,
) -> Job:
    """A job with the settings that are not None; without a job, the bundle's recommended ones.

    settings : by their dotted names, "nerve.alpha"; texts are read as what the setting takes.
    """
    given: dict[str, Any] = {
        k: _said(k, v) if isinstance(v, str) else v for k, v in settings.items() if v is not None
    }
    if reference is not None:
        held = ReferenceSet.open(reference)
        given["reference"] = Reference(str(reference), held.digest)
        if job is None:
            given["reme"] = recommended(Encoder.parse(held.encoder.name))
    if job is not None:
        return _with(replace(job, vocabulary=vocabulary), given)
    bundle = bundle_of(given.get("models", DEFAULT_MODELS))
    start: dict[str, Any] = {
        "models": DEFAULT_MODELS,
        "method": bundle.method,
        "base": bundle.base,
        "freecp": bundle.freecp,
        "nerve": bundle.nerve,
    }
    whole = {k: v for k, v in given.items() if "." not in k}
    return _with(Job(vocabulary, **(start | whole)), given)


def _with(job: Job, given: Mapping[str, Any]) -> Job:
    """The job with settings by dotted name; windows left to its models start as theirs."""
    if job.windows is None and any(name.startswith("windows.") for name in given):
        models = given.get("models", job.models)
        job = replace(job, windows=bundle_of(models).windows)
    ours = {name: value for name, value in given.items() if _other(name) is None}
    others = {name: value for name, value in given.items() if name not in ours}
    job = changed(job, ours)
    for name in others:
        method = name.partition(".")[0]
        if method != job.method:
            raise JobError(name, f"{name} is a setting of the method {method}, not {job.method}.")
    told = {name.partition(".")[2]: value for name, value in others.items()}
    return replace(job, other=changed(job.other, told)) if told else job


def _other(name: str) -> Any:
    """The class of settings that a dotted name is one of, where no field of a Job holds them."""
    method, _, inside = name.partition(".")
    row = METHODS[method] if inside and method in METHODS else None
    return type(row.settings) if row is not None and not row.field else None


def _said(name: str, text: str) -> Any:
    """What was typed for a setting by its dotted name."""
    kind = _other(name)
    return said(Job, name, text) if kind is None else said(kind, name.partition(".")[2], text)


def with_channels(job: Job, text: str | None) -> Job:
    """The job with channels such as "3,2,1", counted from 0; JobError for another text."""
    if text is None:
        return job
    if not re.fullmatch(r"\s*\d{1,4}(\s*,\s*\d{1,4}){0,2}\s*", text):
        raise JobError(
            "channels",
            "--channels takes one to three channels counted from 0, with commas between them, such "
            f"as 3,2,1, not {text!r}.",
        )
    chosen = tuple(int(n) for n in text.split(","))
    return replace(job, display=replace(job.display, channels=chosen))


def choose(name: str, value: str, options: Sequence[str]) -> Any:
    """The value, if it is one of the options; JobError names them otherwise."""
    if value not in options:
        raise JobError(name, f"{name} must be one of {', '.join(options)}: {value!r}.")
    return value


def read_size(text: str) -> tuple[int, int]:
    """(height, width) from text such as 448x600; JobError for another or for less than 32."""
    found = re.fullmatch(r"\s*(\d{1,5})\s*[xX×]\s*(\d{1,5})\s*", text)
    if not found or min(int(n) for n in found.groups()) < 32:
        raise JobError("size", f"A size is written like 448x600, at least 32x32, not {text!r}.")
    return int(found.group(1)), int(found.group(2))


def _read_job(path: Path) -> Job:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(path, f"{path} cannot be read: {error}.") from error
    return Job.from_json(text, path)


def read_descriptions(path: Path) -> dict[str, list[str]]:
    """Describing sentences by class name, from JSON; raises FileFormatError."""
    data = read_json(path)
    plain = isinstance(data, dict) and all(
        isinstance(v, list) and all(isinstance(s, str) for s in v) for v in data.values()
    )
    if not plain:
        raise FileFormatError(
            path, f'{path} needs the form {{"class": ["a sentence", "another"]}}.'
        )
    return dict(data)
