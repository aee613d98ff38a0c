"""Vocabulary: typed text <-> classes with stable ids, synonyms, background words and colours.

One class a line::

    tree: trees, oak          # a class and its synonyms
    sky [#87ceeb]             # a class with its own colour
    - reflection, shadow      # background words: they compete, but give no label
    "12:30": "half, past"     # signs in quotes are part of a word; "" is one quote there

Names are the identity. Ids run 1, 2, ... in the order of the lines; 0 is unlabelled.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .colours import BLACK, default_colour, distinct, rgb_of
from .errors import VocabularyError

UNLABELLED = 0
IGNORE = 65535
MAX_CLASSES = 65534
MAX_WORD = 200

_DASHES = "-\u2013\u2212"
_COMMENT = re.compile(r"(^|\s)#(?![0-9a-fA-F]{6}\])")
_COLOUR = re.compile(r"\[\s*(#[0-9a-fA-F]{6})\s*\]\s*$")
# A word in quotes: from where a word may begin to where it must end.
_QUOTED = re.compile(
    rf'((?:^\s*(?:[{_DASHES}]\s+)?|[:,]\s*))"((?:[^"]|"")+)"(?=\s*(?:$|[:,]|\[\s*#|#))'
)
# Signs inside quotes, as characters that Unicode keeps for uses like this one.
_SIGNS = f':,#[]"{_DASHES}'
_HIDDEN = {ord(sign): chr(0xFDD0 + at) for at, sign in enumerate(_SIGNS)}
_SHOWN = {ord(hidden): chr(sign) for sign, hidden in _HIDDEN.items()}


@dataclass(frozen=True, slots=True)
class Class:
    """One class: id, name, further names it is searched by, colour, describing sentences.

    dress : the colour it wears in a vocabulary where it has none of its own, and keeps in the next
        one if that is free; no part of what the class is.
    """

    id: int
    name: str
    synonyms: tuple[str, ...] = ()
    colour: str = ""
    descriptions: tuple[str, ...] = ()
    dress: str = field(default="", repr=False, compare=False)

    @property
    def queries(self) -> tuple[str, ...]:
        """The words the models are asked for: the name first, then its synonyms."""
        return (self.name, *self.synonyms)

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Colour as three values 0..255."""
        return rgb_of(self.colour or self.dress or default_colour(self.id))


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Classes in the order of their ids, and background words.

    No two classes look the same: of two with one colour the later gives its own up, as does a
    class in the black of what is unlabelled, and gets one that is free.
    """

    classes: tuple[Class, ...]
    background: tuple[str, ...] = ()
    _by_name: Mapping[str, Class] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        if not self.classes:
            raise VocabularyError("Type at least one class name, one a line.")
        if len(self.classes) > MAX_CLASSES:
            raise VocabularyError(f"At most {MAX_CLASSES} classes fit into a label map.")
        if [c.id for c in self.classes] != list(range(1, len(self.classes) + 1)):
            raise VocabularyError("Class ids must run 1, 2, 3 ... in the order of the lines.")
        seen: dict[str, str] = {}
        for owner, word in self._words():
            _take(seen, word, owner)
        object.__setattr__(self, "classes", _dressed(self.classes))
        object.__setattr__(self, "_by_name", {key(c.name): c for c in self.classes})

    def _words(self) -> Iterator[tuple[str, str]]:
        for c in self.classes:
            for word in c.queries:
                yield c.name, word
        for word in self.background:
            yield "the background words", word

    @classmethod
    def parse(cls, text: str) -> "Vocabulary":
        """Read the typed text; raises VocabularyError with the number of the line at fault."""
        classes: list[Class] = []
        background: list[str] = []
        seen: dict[str, str] = {}
        for number, raw in enumerate(text.splitlines(), start=1):
            line = _clean(_COMMENT.split(_QUOTED.sub(_hidden, raw), maxsplit=1)[0])
            if not line:
                continue
            try:
                if line[0] in _DASHES and (len(line) == 1 or line[1].isspace()):
                    words = _split(line[1:], "a background word is missing after the dash")
                    for word in words:
                        _take(seen, word, "the background words")
                    background += words
                else:
                    entry = _parse_class(line, len(classes) + 1)
                    for word in entry.queries:
                        _take(seen, word, entry.name)
                    _check_colour(entry, classes)
                    classes.append(entry)
            except VocabularyError as error:
                raise VocabularyError(str(error), number, raw) from None
        return cls(tuple(classes), tuple(background))

    def to_text(self) -> str:
        """The text that parses back to this vocabulary (descriptions are kept in their file)."""
        lines = []
        for c in self.classes:
            colour = f" [{c.colour}]" if c.colour else ""
            synonyms = f": {', '.join(map(typed, c.synonyms))}" if c.synonyms else ""
            lines.append(f"{typed(c.name)}{colour}{synonyms}")
        lines += [f"- {typed(word)}" for word in self.background]
        return "\n".join(lines) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "classes": [
                {
                    "name": c.name,
                    "synonyms": list(c.synonyms),
                    "colour": c.colour,
                    "descriptions": list(c.descriptions),
                }
                for c in self.classes
            ],
            "background": list(self.background),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Vocabulary":
        """Inverse of to_dict; raises VocabularyError when a name is missing or not text."""
        try:
            classes = tuple(
                Class(
                    number,
                    _word(entry["name"]),
                    tuple(_word(w) for w in entry.get("synonyms", ())),
                    _colour(entry.get("colour", "")),
                    tuple(str(s) for s in entry.get("descriptions", ())),
                )
                for number, entry in enumerate(data["classes"], start=1)
            )
            return cls(classes, tuple(_word(w) for w in data.get("background", ())))
        except (KeyError, TypeError, AttributeError) as error:
            raise VocabularyError(
                f"The vocabulary's JSON lacks {error}: it needs a list 'classes' of objects "
                "with a 'name'."
            ) from error

    @property
    def digest(self) -> str:
        """Hex SHA-256 over everything that decides a result; colours are dress and left out."""
        data = self.to_dict()
        for entry in data["classes"]:
            del entry["colour"]
        text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.classes)

    def find(self, name: str) -> Class | None:
        """The class of this name, whatever its case."""
        return self._by_name.get(key(name))

    def with_descriptions(self, sentences: Mapping[str, Sequence[str]]) -> "Vocabulary":
        """Give each class the sentences filed under its name; others are left alone."""
        filed = {
            key(name): tuple(s.strip() for s in told if s.strip())
            for name, told in sentences.items()
        }
        return replace(
            self,
            classes=tuple(
                replace(c, descriptions=filed.get(key(c.name), c.descriptions))
                for c in self.classes
            ),
        )

    def with_colours(self, colours: Mapping[str, str]) -> "Vocabulary":
        """Give classes other colours, `name -> #rrggbb`; others give way to them."""
        given = {_colour(c) for c in colours.values()}
        return replace(
            self,
            classes=tuple(
                replace(c, colour=_colour(colours[c.name]))
                if c.name in colours
                else replace(c, colour="" if c.colour in given else c.colour)
                for c in self.classes
            ),
        )

    def dressed_as(self, other: "Vocabulary") -> "Vocabulary":
        """The same classes, which keep the colours that they wear in another vocabulary."""
        worn = {key(c.name): "#{:02x}{:02x}{:02x}".format(*c.rgb) for c in other.classes}
        kept = (replace(c, dress=worn.get(key(c.name), "")) for c in self.classes)
        return replace(self, classes=tuple(kept))

    def palette(self) -> list[tuple[int, int, int]]:
        """RGB of ids 0..len(classes); id 0 is black."""
        return [(0, 0, 0), *(c.rgb for c in self.classes)]


def typed(word: str) -> str:
    """A word as `Vocabulary.parse` reads it back: in quotes where it holds signs."""
    signs = any(sign in word for sign in ':,"') or _COMMENT.search(word) or _COLOUR.search(word)
    if not signs and word[:1] not in _DASHES:
        return word
    return '"' + word.replace('"', '""') + '"'


def key(word: str) -> str:
    """The form in which two words are compared: NFKC, case folded, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", word).casefold().split())


def _hidden(found: re.Match[str]) -> str:
    return found[1] + found[2].replace('""', '"').translate(_HIDDEN)


def _clean(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).replace("\ufeff", "").split())


def _parse_class(line: str, number: int) -> Class:
    head, colon, tail = line.partition(":")
    found = _COLOUR.search(head)
    name = _word(head[: found.start()] if found else head)
    if name[0] in _DASHES:
        told = f"write '- {name[1:]}', with a space, for a background word"
        raise VocabularyError(f"{told}; a class name cannot begin with a dash")
    if "," in name:
        raise VocabularyError(
            f"write one class a line, or 'name: synonym, synonym' for synonyms: {name!r}; a name "
            "with a comma stands in quotes"
        )
    synonyms = _split(tail, f"a synonym is missing after '{name}:'") if colon else []
    return Class(
        number, name.translate(_SHOWN), tuple(synonyms), found.group(1).lower() if found else ""
    )


def _check_colour(entry: Class, others: Sequence[Class]) -> None:
    """Raise VocabularyError for a typed colour that another class, or the unlabelled, has."""
    owner = "what has no label" if entry.colour == BLACK else ""
    owner = next((c.name for c in others if entry.colour and c.colour == entry.colour), owner)
    if owner:
        raise VocabularyError(f"{entry.colour} is the colour of {owner}: choose another")


def _dressed(classes: tuple[Class, ...]) -> tuple[Class, ...]:
    """The classes with a colour each that no other has."""
    own, worn = [c.colour for c in classes], [c.dress for c in classes]
    if not any(own) and not any(worn):
        return classes  # the default colours do not repeat
    found = distinct(own, worn)
    return tuple(
        replace(c, colour=c.colour if c.colour == colour else "", dress=colour)
        for c, colour in zip(classes, found, strict=True)
    )


def _split(text: str, missing: str) -> list[str]:
    words = [_clean(part) for part in text.split(",")]
    if not all(words):
        raise VocabularyError(missing)
    return [_word(word).translate(_SHOWN) for word in words]


def _word(text: object) -> str:
    if not isinstance(text, str):
        raise VocabularyError(f"a name must be text, not {text!r}")
    word = _clean(text)
    if not word:
        raise VocabularyError("a class name is missing before the colon")
    if len(word) > MAX_WORD:
        raise VocabularyError(f"a name may have at most {MAX_WORD} characters: {word[:30]}...")
    if any(unicodedata.category(ch) == "Cc" for ch in word):
        raise VocabularyError(f"a name holds an unprintable character: {word!r}")
    return word


def _colour(text: str) -> str:
    if text and not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        raise VocabularyError(f"a colour is written like #87ceeb, not {text!r}")
    return text.lower()


def _take(seen: dict[str, str], word: str, owner: str) -> None:
    other = seen.setdefault(key(word), "")
    if other:
        both = owner if other == owner else f"{other} and {owner}"
        raise VocabularyError(f"{word!r} stands twice, under {both}: keep one")
    seen[key(word)] = owner
