"""A folder of label files: which image has which of them, and which names are free in it.

Labels belong to an image by what their table says, never by their name alone. The command line
and the dock ask the same folder, so they name files alike.
"""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..values.errors import FileFormatError
from ..values.names import Names, distinct, key, mark_of, names_of, plane_source, safe, stack_name
from ..values.vocabulary import Vocabulary
from . import Format, export, named, target
from .atomic import alone
from .subject import Subject, file_content
from .values import LabelImage, Options, Receipt

State = Literal["new", "there", "part", "changed"]


@dataclass(frozen=True, slots=True)
class Claim:
    """An image that wants files of labels.

    names : how it and its files may be called.
    place : digits of its path, "" for an image of no file.
    content : gives SHA-256 of the image, "" where it cannot be read; asked only where needed.
    """

    names: Names
    place: str
    content: Callable[[], str]

    def owns(self, subject: Subject | None) -> Literal["", "same", "changed"]:
        """Whether labels are of this very image, or of another content at its path."""
        if subject is None or subject.image not in self.names.sources:
            return ""
        at_its_path = bool(self.place) and subject.place == self.place
        if not subject.content and self.place and subject.place not in ("", self.place):
            return ""
        if subject.content in ("", self.content()) or (at_its_path and not self.content()):
            return "same"
        return "changed" if at_its_path else ""


def claim_of_picture(names: Names, mark: str, path: Path) -> Claim:
    """The claim of an image file that is called so; `mark` has digits of its path."""
    return Claim(names, mark, functools.cache(lambda: file_content(path)))


def claim_of_file(path: Path) -> Claim:
    """The claim of an image file that was named or opened by itself; its path is absolute."""
    mark = mark_of(str(path))
    return claim_of_picture(names_of(path.name, path.parent.name, mark), mark, path)


def claim_of_part(path: Path, name: str, content: str) -> Claim:
    """The claim of one channel or series of an image file; `name` is its layer's, `content` has
    digits of its pixels."""
    told = mark_of(f"{content} {name}") + mark_of(f"{name} {content}")
    mark = mark_of(f"{path} {told}")
    own = name if name.startswith(path.stem) else f"{path.stem} {name}"
    parted = own.removesuffix(path.suffix).replace("/", "_")
    return Claim(names_of(f"{parted}{path.suffix}", path.parent.name, mark), mark, lambda: told)


def claim_of_array(name: str, content: str) -> Claim:
    """The claim of an image without a file; `content` has digits of its pixels."""
    outputs = (safe(name), safe(name, f"-{content[:8]}"), safe(name, f"-{content}"))
    return Claim(Names(outputs, tuple(f"{o}.png" for o in outputs)), "", lambda: content)


@dataclass(frozen=True, slots=True)
class Spot:
    """Where the labels of an image go.

    name : of its files, relative, without suffix.
    source : how the labels name the image.
    state : "new"; "there", all of them written; "part", not all or damaged; "changed", those of
        an earlier content of the image.
    subject : of the labels that are there.
    foreign : the file of another image, or of none, that keeps a nicer name from this one.
    """

    claim: Claim
    name: str
    source: str
    state: State = "new"
    subject: Subject | None = None
    foreign: Path | None = None


@dataclass(frozen=True, slots=True)
class _Held:
    """Labels that lie at a name: theirs in full, their subject, whether they are undamaged."""

    name: str
    subject: Subject | None
    whole: bool


class OutFolder:
    """The files of one format in a folder. Raises FileFormatError for those of other classes
    where all images share a file."""

    def __init__(self, folder: Path, format_name: str, vocabulary: Vocabulary) -> None:
        self.folder, self._vocabulary = folder, vocabulary
        self._format: Format = named(format_name)
        self._listed: dict[Path, dict[str, set[str]]] = {}
        self._seen: dict[str, list[_Held]] = {}
        self._sources: frozenset[str] = frozenset()
        if self.one_file:
            for entry, subject in self._in_file().items():
                for name in {entry, subject.image}:
                    self._seen.setdefault(name, []).append(_Held(entry, subject, True))

    @property
    def one_file(self) -> bool:
        """Whether all images share a file."""
        return bool(self._format.file)

    def file(self, name: str) -> Path:
        """The file that holds the labels of this name."""
        return target(self.folder, self._format.name, name)

    def assign(self, claims: Sequence[Claim]) -> list[Spot]:
        """A place for the labels of each image, all different, none of them another's.

        What was written for an image before keeps its name. The others get the nicest name that
        nobody wants or has, whatever their order.
        """
        spots = self._known(claims)
        one_file = self.one_file

        def free(number: int, name: str) -> bool:
            return not self._held(name) or number in spots

        outputs, sources = [], []
        for number, claim in enumerate(claims):
            spot = spots.get(number)
            outputs.append((spot.name,) if spot and not one_file else claim.names.outputs)
            sources.append((spot.source,) if spot else claim.names.sources)
        if one_file:
            names = distinct(outputs)
            images = distinct(sources, free, same=str)
        else:
            others = [self._others(claim) for claim in claims]
            names = distinct(outputs, free)
            images = distinct(sources, lambda n, source: source not in others[n], same=str)
        self._sources = frozenset(images)
        chosen = zip(claims, names, images, strict=True)
        return [
            replace(spots[n], name=name, source=image)
            if n in spots
            else Spot(claim, name, image, foreign=self._foreign(claim))
            for n, (claim, name, image) in enumerate(chosen)
        ]

    def write(
        self, items: Sequence[tuple[Spot, Sequence[LabelImage]]], options: Options
    ) -> Receipt:
        """Write labels to their spots; what is there of the same image stays unless overwritten.

        items : each image's map or stack, or its planes where these differ in size.

        Raises FileFormatError when a file of another image has come into the way meanwhile.
        """
        with alone(self.folder):
            return self._write(items, options)

    def _write(
        self, items: Sequence[tuple[Spot, Sequence[LabelImage]]], options: Options
    ) -> Receipt:
        known = self._in_file() if self.one_file else None
        wanted: list[LabelImage] = []
        outdated: list[str] = []
        for spot, images in items:
            pieces = self._pieces(spot, images)
            overwrite = options.overwrite
            wanted += [p for p in pieces if self._wanted(spot.claim, p, overwrite, known)]
            if overwrite:
                outdated += self._outdated(spot, pieces)
        options = replace(options, overwrite=True)
        name = self._format.name
        receipt = export(wanted, self.folder, name, options) if wanted else Receipt()
        return replace(receipt, notices=(*receipt.notices, *outdated))

    def _outdated(self, spot: Spot, pieces: Sequence[LabelImage]) -> list[str]:
        """A sentence about labels that an image has from when it had other planes. They stay: who
        pruned a stack may want them."""
        one_file = self.one_file
        held = self._held(spot.source if one_file else spot.name)
        written = {p.source if one_file else key(p.name) for p in pieces}
        names = [h.name for h in held if spot.claim.owns(h.subject)]
        old = [n for n in names if (n if one_file else key(n)) not in written]
        if not old:
            return []
        file = old[0] if one_file else self.file(old[0]).name
        more = f" and {len(old) - 1} more" if len(old) > 1 else ""
        return [
            f"Labels of {spot.source} from before it changed stay in {file}{more}: delete what you "
            "do not need."
        ]

    def moved(self, spot: Spot) -> tuple[str, ...]:
        """A sentence where another's file keeps the labels of an image from their nicest name."""
        if spot.foreign is None:
            return ()
        return (
            f"{spot.foreign.name} is not of the image {spot.source}, whose labels are therefore in "
            f"{self.file(spot.name).name}.",
        )

    def _known(self, claims: Sequence[Claim]) -> dict[int, Spot]:
        """Spots of the images that have labels here, by their number.

        Where two images are alike, and so are their names, that at the recorded path comes first.
        """
        found: dict[int, Spot] = {}
        taken: set[str] = set()
        for at_its_path in (True, False):
            for number, claim in enumerate(claims):
                if number in found:
                    continue
                for spot in self._own(claim):
                    here = spot.subject is not None and spot.subject.place == claim.place
                    at = spot.source if self.one_file else spot.name
                    if at not in taken and (here or not at_its_path):
                        found[number] = spot
                        taken.add(at)
                        break
        return found

    def _own(self, claim: Claim) -> Iterator[Spot]:
        """Spots where labels of this very image lie."""
        names = claim.names.sources if self.one_file else claim.names.outputs
        for name in names:
            held = self._held(name)
            owned = [claim.owns(h.subject) for h in held]
            if not held or not all(owned):
                continue
            subject = held[0].subject
            assert subject is not None
            state: State = "there" if _complete(held) else "part"
            if "changed" in owned:
                state = "changed"
            # The name as it is written there, which may differ in case.
            output = stack_name(held[0].name) if subject.plane else held[0].name
            yield Spot(claim, output or name, subject.image, state, subject)

    def _held(self, name: str) -> list[_Held]:
        """What lies at a name: labels of it, of its planes, and files that are no labels."""
        if self.one_file:
            return self._seen.get(name, [])
        if name not in self._seen:
            folder, _, leaf = name.rpartition("/")
            inner = f"{folder}/" if folder else ""
            stems = sorted(self._stems(self.folder / folder).get(key(leaf), ()))
            self._seen[name] = [_Held(f"{inner}{s}", *self._look(f"{inner}{s}")) for s in stems]
        return self._seen[name]

    def _look(self, name: str) -> tuple[Subject | None, bool]:
        """The subject of the file of this name, and whether the file is whole."""
        path = self.file(name)
        subjects = list(self._format.subjects(path, self._vocabulary).values())
        return (subjects[0] if subjects else None), self._format.whole(path)

    def _stems(self, folder: Path) -> dict[str, set[str]]:
        """Names in a folder that have files of the format, by what equal names have in common;
        those of planes stand at their stack's as well."""
        if folder not in self._listed:
            found: dict[str, set[str]] = {}
            for file in os.listdir(folder) if folder.is_dir() else ():
                for suffix in (self._format.suffix, *self._format.beside):
                    if file.lower().endswith(suffix):
                        stem = file[: -len(suffix)]
                        for name in {stem, stack_name(stem) or stem}:
                            found.setdefault(key(name), set()).add(stem)
            self._listed[folder] = found
        return self._listed[folder]

    def _others(self, claim: Claim) -> set[str]:
        """How other images are called whose labels have a name that this one might have."""
        held = [h for name in claim.names.outputs for h in self._held(name)]
        return {h.subject.source for h in held if h.subject and not claim.owns(h.subject)}

    def _foreign(self, claim: Claim) -> Path | None:
        first = claim.names.sources[0] if self.one_file else claim.names.outputs[0]
        held = self._held(first)
        return self.file(held[0].name) if held and not self.one_file else None

    def _pieces(self, spot: Spot, images: Sequence[LabelImage]) -> list[LabelImage]:
        """The maps of an image, stacks cut into planes where the format holds none."""
        stacks = self._format.stacks
        pieces = [piece for i in images for piece in ([i] if stacks else i.planes())]
        counts = [piece.plane[1] for piece in pieces if piece.plane]
        if not counts:
            return pieces
        source = self._stack_source(spot, counts[0])
        return [
            replace(p, source=plane_source(source, p.plane[0])) if p.plane else p for p in pieces
        ]

    def _stack_source(self, spot: Spot, count: int) -> str:
        """A file name for a stack whose planes are called as no image is."""
        if spot.subject is not None:
            return spot.source
        at = spot.claim.names.sources.index(spot.source)
        for name in spot.claim.names.sources[at:]:
            planes = {plane_source(name, number) for number in range(count)}
            known = self._seen if self.one_file else ()
            if not any(p in self._sources or p in known for p in planes):
                return name
        return spot.source

    def _wanted(
        self, claim: Claim, piece: LabelImage, overwrite: bool, known: dict[str, Subject] | None
    ) -> bool:
        """Whether a piece is to be written, by what lies in its place at this moment.

        known : what the one file for all images holds, None where each has its own.
        """
        path = self.file(piece.name)
        if known is not None:
            subject, whole = known.get(piece.source), True
            there = subject is not None
        else:
            stem = path.name.removesuffix(self._format.suffix)
            beside = (path.with_name(f"{stem}{end}") for end in self._format.beside)
            there = any(file.exists() for file in (path, *beside))
            subject, whole = self._look(piece.name) if there else (None, False)
        owned = claim.owns(subject)
        if there and not owned:
            raise FileFormatError(
                path, f"{path} is not of this image and stays as it is: choose another folder."
            )
        return overwrite or owned != "same" or not whole

    def _in_file(self) -> dict[str, Subject]:
        return self._format.subjects(self.file(""), self._vocabulary)


def export_one(
    image: LabelImage, claim: Claim, folder: Path, format_name: str, options: Options
) -> Receipt:
    """Write the labels of one image as a batch of it alone would; what is there of another image
    is never replaced, what is there of this one only if `options.overwrite`.

    Raises FileFormatError.
    """
    out = OutFolder(folder, format_name, image.vocabulary)
    (spot,) = out.assign([claim])
    if spot.state in ("there", "changed") and not options.overwrite:
        path = out.file(spot.name)
        raise FileFormatError(
            path,
            f"{path.name} exists already and has labels of this image: tick Replace files that "
            "exist, or choose another folder.",
        )
    if spot.state == "part":  # what an export that was cut off left is older than these labels
        options = replace(options, overwrite=True)
    image = replace(
        image, name=spot.name, source=spot.source, content=claim.content(), place=claim.place
    )
    receipt = out.write([(spot, [image])], options)
    return replace(receipt, notices=(*receipt.notices, *out.moved(spot)))


def _complete(held: Sequence[_Held]) -> bool:
    """Whether labels are all there: of the plain image, or of every plane of a stack."""
    whole = [h.subject.plane for h in held if h.whole and h.subject is not None]
    if None in whole:
        return True
    count = max((plane[1] for plane in whole if plane), default=0)
    return bool(count) and {plane[0] for plane in whole if plane} >= set(range(count))
