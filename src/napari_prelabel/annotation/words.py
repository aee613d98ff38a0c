"""One vocabulary after another: a name stays with its pixels, whatever its id becomes."""

from ..values.vocabulary import IGNORE, UNLABELLED, Class, Vocabulary, key
from .history import KEPT, plain


def carry(old: Vocabulary, new: Vocabulary, used: set[int]) -> tuple[Vocabulary, dict[int, int]]:
    """The new vocabulary with those old classes behind it that pixels still use.

    Returns it with `old id -> new id`; a name and its colour stay with its pixels, whatever its id
    becomes.
    """
    new = new.dressed_as(old)
    mapping: dict[int, int] = {UNLABELLED: UNLABELLED, IGNORE: IGNORE}
    taken = {key(word) for c in new.classes for word in c.queries}
    taken |= {key(word) for word in new.background}
    known = {key(plain(c.name)): c for c in new.classes}
    named = {c.id: c for c in old.classes}
    extra: list[Class] = []
    for i in sorted((used | set(named)) - set(mapping)):
        was = named.get(i, Class(i, f"label {i}"))
        same = new.find(was.name) or known.get(key(plain(was.name)))
        if same is None and i in used:
            name = was.name if key(was.name) not in taken else f"{was.name}{KEPT}"
            colour = "#{:02x}{:02x}{:02x}".format(*was.rgb)
            same = Class(len(new.classes) + len(extra) + 1, name, colour=colour)
            known[key(plain(name))] = same
            extra.append(same)
        mapping[i] = UNLABELLED if same is None else same.id
    joined = Vocabulary((*new.classes, *extra), new.background) if extra else new
    return joined, {a: b for a, b in mapping.items() if a != b}
