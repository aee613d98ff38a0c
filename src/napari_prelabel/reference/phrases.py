"""Noun phrases of a caption: nouns with their modifiers, and their root nouns.

docs/methods/reme.md#pairing

spaCy finds them where it and its model `en_core_web_sm` are installed. Otherwise words are tagged
by TextBlob, whose lexicon comes with it, and phrases are chunked here by rules for captions:
short sentences in the present tense, without questions.
"""

import re
import unicodedata
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from ..values.errors import JobError, MissingExtra

SPACY_MODEL = "en_core_web_sm"


@dataclass(frozen=True, slots=True)
class Phrase:
    """text : lower case, no article, the root at its end in the singular; root : that noun."""

    text: str
    root: str


Extract = Callable[[str], tuple[Phrase, ...]]
Tagged = tuple[str, str]

_NOUNS = {"NN", "NNS", "NNP", "NNPS"}
_VERBS = {"VB", "VBD", "VBG", "VBN", "VBP", "VBZ"}
_OPENERS = {"DT", "PDT", "PRP$", "WP$", "POS", "CD"}
_HELPERS = set("is are was were be been has have had does do can will may might".split())
_BEFORE_NOUNS = {"", "IN", "RP", "JJ", "DT", "PRP$"}
_ENDS = {"", "IN", "CC", ",", "TO", "VBZ", "VBP", "MD", "WDT"}
_SINGULAR = {"a", "an", "this", "that", "each", "every", "one", "another"}
# Words that count or point; the tagger calls most of them adjectives.
_COUNTERS = set(
    "several many few fewer some various multiple numerous other own same such all each both "
    "another more most much less any every either certain entire whole different".split()
)
# Said of place or amount, not of a thing: each is read as one preposition or article.
_FIXED = {
    "near": (
        "in front of|on top of|next to|close to|in between|along with|such as|as well as|due to|"
        "because of|out of|on either side of|in the middle of|in the center of|in the centre of|"
        "(?:to|on|at|in|along|towards?) the (?:far )?"
        "(?:left|right|top|bottom|upper|lower|left-hand|right-hand)(?: (?:side|part|corner))?"
        "(?: of(?: the (?:image|picture|photo|scene|frame))?)?"
    ),
    "some": (
        "a lot of|lots of|a couple of|a few|a number of|plenty of|a variety of|dozens of|"
        "hundreds of|a pair of|a bunch of|a piece of"
    ),
    "": "each other|one another|at least|at most|overall|of course",
}
_FIXED_FORMS = [(re.compile(rf"\b(?:{form})\b"), f" {word} ") for word, form in _FIXED.items()]
_TAGS = {"near": "IN", "beside": "IN", "with": "IN", "like": "IN", "there": "EX", "some": "DT"}
# Plural in form only, or the same in both numbers.
_ALIKE = set(
    "clothes scissors pants trousers shorts jeans glasses sunglasses goggles binoculars tongs "
    "pliers stairs headquarters series species sheep fish deer cattle news".split()
)
_POSSESSIVE = re.compile(r"(\w)['’]s\b|(\w)s['’](?=\s)")
_LATIN = re.compile(r"[blnprt]uses$")  # buses, walruses; not houses
_WORD = re.compile(r"[^\W\d_][\w'’-]*$")


def extractor(name: str = "auto") -> Extract:
    """A function from a caption to its noun phrases, each once, in order.

    name : "spacy", "rules", or "auto" for spaCy where it is installed with its model.

    Raises JobError for another name, MissingExtra where "spacy" is not installed.
    """
    if name not in ("auto", "spacy", "rules"):
        raise JobError("phrases", f"There is no phrase finder {name!r}: auto, spacy or rules.")
    if name == "rules" or (name == "auto" and not has_spacy()):
        return by_rules
    if not has_spacy():
        raise MissingExtra(
            f"spaCy with {SPACY_MODEL}",
            f"pip install spacy && python -m spacy download {SPACY_MODEL}",
        )
    import spacy

    model = spacy.load(SPACY_MODEL, exclude=["ner"])
    return lambda caption: by_spacy(model, caption)


def has_spacy() -> bool:
    """Whether spaCy and its small English model are installed."""
    return find_spec("spacy") is not None and find_spec(SPACY_MODEL) is not None


def by_spacy(model: Callable[[str], Any], caption: str) -> tuple[Phrase, ...]:
    """Phrases of a caption by a spaCy pipeline with parser and lemmatiser."""
    found = []
    for chunk in model(_plain(caption)).noun_chunks:
        root = chunk.root
        if root.pos_ not in ("NOUN", "PROPN"):
            continue
        words = [
            token.text
            for token in chunk
            if token.i < root.i
            and token.pos_ in ("ADJ", "NOUN", "PROPN", "VERB", "ADV", "CCONJ", "PUNCT")
            and token.dep_ != "poss"
            and token.text not in _COUNTERS
        ]
        found.append(_phrase(words, root.lemma_.lower()))
    return _unique(found)


def by_rules(caption: str) -> tuple[Phrase, ...]:
    """Phrases of a caption by TextBlob's tagger and the rules of this module."""
    text = _POSSESSIVE.sub(r"\1\2 's ", _plain(caption))
    for form, word in _FIXED_FORMS:
        text = form.sub(word, text)
    found = []
    for sentence in re.split(r"[.!?;:()\[\]\"“”\n]+", text):
        for part in sentence.split(" 's "):
            found += [_spoken(chunk) for chunk in _chunks(_corrected(_tagged(part)))]
    return _unique(found)


def singular(noun: str) -> str:
    """The singular of a plural noun: "leaves" to "leaf", "scissors" as it is."""
    from textblob.en.inflect import singularize

    head, hyphen, last = noun.rpartition("-")
    if last in _ALIKE or last.endswith(("ss", "us", "is")):
        return noun
    if _LATIN.search(last):
        return noun.removesuffix("es")
    return head + hyphen + str(singularize(last))


def _plain(caption: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", caption).lower().split())


def _tagged(text: str) -> list[Tagged]:
    """Words with their Penn tags."""
    from textblob.en import tag

    _read_lexicon()
    return [(word, _TAGS.get(word, kind)) for word, kind in tag(text)]


@cache
def _read_lexicon() -> None:
    """Let the tagger read its files, of which it leaves one to be closed by the interpreter."""
    from textblob.en import tag

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        tag("a word")


def _corrected(words: list[Tagged]) -> list[Tagged]:
    """Tags as captions use the words: what follows an article names a thing, and so on."""
    out: list[Tagged] = []
    for index, (word, kind) in enumerate(words):
        before = out[-1][1] if out else ""
        after, then = (*(k for _, k in words[index + 1 : index + 3]), "", "")[:2]
        if word in _COUNTERS:
            kind = "DT"
        elif _names_a_thing([k for _, k in out], kind, after, then):
            kind = "NN"
        elif kind in ("VB", "VBP", "VBZ") and before in _BEFORE_NOUNS and word not in _HELPERS:
            kind = "NNS" if kind == "VBZ" else "NN"
        elif kind in ("VBN", "VBD", "VBG") and _modifies(kind, before, after):
            kind = "JJ"
        elif _acts(out, kind, after):
            kind = "VBP"
        out.append((word, kind))
    return out


def _names_a_thing(before: list[str], kind: str, after: str, then: str) -> bool:
    """ "a brolly", "a drawing of", "fir and woodland": otherwise no noun would stand there."""
    if kind not in ("RB", "FW", "JJ", "UH", *_VERBS) or after not in _ENDS:
        return False
    if kind == then == "JJ" and after == "CC":  # "a black and white cat"
        return False
    if before[-1:] == ["CC"]:
        return before[-2:-1] in (["NN"], ["NNS"]) and kind in ("JJ", "VB")
    opener = next((k for k in reversed(before) if k != "JJ"), "")
    return opener in ("DT", "PDT", "PRP$") and before[-1] in (opener, "JJ")


def _modifies(kind: str, before: str, after: str) -> bool:
    """ "a cropped photo", "with broken windows": a participle before the noun it is said of."""
    opens = before in (*_OPENERS, "JJ", "") or (before in ("IN", "CC", ",") and kind != "VBG")
    return opens and after in (*_NOUNS, "JJ", "VBN", "VBG")


def _acts(out: list[Tagged], kind: str, after: str) -> bool:
    """ "the image features a man", "mountains rise above": a verb that was taken for a noun."""
    before = out[-1][1] if out else ""
    if before not in _NOUNS or kind not in _NOUNS:
        return False
    if kind == "NNS":
        return after in (*_OPENERS, "PRP", "JJ", "VBN", "VBG")
    first = next((w for w, k in reversed(out) if k not in (*_NOUNS, "JJ")), "")
    return before == "NNS" and first not in _SINGULAR and after in (*_OPENERS, "IN", "RB", "")


def _chunks(words: Iterable[Tagged]) -> Iterator[list[Tagged]]:
    """Runs of modifiers and nouns, each ending in its root noun."""
    chunk: list[Tagged] = []
    pending: list[Tagged] = []  # an "and" that may join two adjectives
    for word, kind in [*words, ("", "")]:
        nouns = bool(chunk) and chunk[-1][1] in _NOUNS
        if kind == "CC" and chunk and not nouns and not pending:
            pending = [(word, kind)]
        elif kind in ("JJ", "JJR", "JJS") and not nouns:
            chunk, pending = [*chunk, *pending, (word, kind)], []
        elif kind in _NOUNS and not pending:
            chunk = [*chunk, (word, kind)]
        else:
            if nouns:
                yield chunk
            starts = kind in _NOUNS or kind in ("JJ", "JJR", "JJS")
            chunk, pending = [(word, kind)] if starts else [], []


def _spoken(chunk: list[Tagged]) -> Phrase | None:
    *before, (noun, kind) = chunk
    words = [word for word, _ in before]
    return _phrase(words, singular(noun) if kind in ("NNS", "NNPS") else noun)


def _phrase(modifiers: list[str], root: str) -> Phrase | None:
    """None where the root is no word, such as a number or a single letter."""
    root = root.strip("-'’")
    if len(root) < 2 or not _WORD.match(root):
        return None
    kept = [word for word in modifiers if _WORD.match(word)]
    while kept and kept[0] in ("and", "or"):
        kept = kept[1:]
    return Phrase(" ".join([*kept, root]), root)


def _unique(found: Iterable[Phrase | None]) -> tuple[Phrase, ...]:
    return tuple(dict.fromkeys(phrase for phrase in found if phrase is not None))
