"""Vocabulary: typed text to classes and back; each error names its line."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_prelabel.values.errors import VocabularyError
from napari_prelabel.values.vocabulary import Class, Vocabulary, key, typed

TEXT = """\
# what I look for
tree: trees, oak      # a comment
Sky [#87CEEB]

Straße: rue
- reflection, shadow
- lens flare
"""


def test_parse_reads_names_synonyms_colours_and_background_words():
    v = Vocabulary.parse(TEXT)
    assert v.names == ("tree", "Sky", "Straße")
    assert [c.id for c in v.classes] == [1, 2, 3]
    assert v.classes[0].queries == ("tree", "trees", "oak")
    assert v.classes[1].rgb == (0x87, 0xCE, 0xEB)
    assert v.background == ("reflection", "shadow", "lens flare")


def test_text_and_dict_and_pickle_round_trips():
    v = Vocabulary.parse(TEXT).with_descriptions({"TREE": ["a tall plant", " with leaves "]})
    assert v.classes[0].descriptions == ("a tall plant", "with leaves")
    assert Vocabulary.parse(v.to_text()) == Vocabulary.parse(TEXT)
    assert Vocabulary.from_dict(v.to_dict()) == v
    assert pickle.loads(pickle.dumps(v)) == v


def test_names_are_found_whatever_their_case_and_unicode_form():
    v = Vocabulary.parse("caf\u00e9\nStraße")
    assert v.find("CAFE\u0301") == v.classes[0]
    assert v.find("strasse") == v.classes[1]
    assert v.find("tea") is None


def test_crlf_bom_tabs_and_other_dashes_are_harmless():
    v = Vocabulary.parse("\ufefftree:\toak\r\nblue   sky\r\n\u2013 haze\r\n")
    assert v.names == ("tree", "blue sky")
    assert v.background == ("haze",)


def test_a_word_may_contain_a_dash_or_a_hash():
    assert Vocabulary.parse("t-shirt\nC#").names == ("t-shirt", "C#")


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ("tree\nsky\nTREE", 3, "stands twice"),
        ("sky\n-haze", 2, "write '- haze', with a space, for a background word"),
        ("tree: oak\noak", 2, "stands twice, under tree and oak"),
        ("tree: tree", 1, "stands twice, under tree"),
        ("tree\n- Tree", 2, "under tree and the background words"),
        ("tree\n: oak", 2, "class name is missing"),
        ("tree: oak,, elm", 1, "synonym is missing"),
        ("tree:", 1, "synonym is missing"),
        ("tree, sky", 1, "one class a line"),
        ("tree\n-", 2, "background word is missing"),
        ("x" * 201, 1, "at most 200"),
        ("a\x07b", 1, "unprintable"),
    ],
)
def test_errors_name_their_line(text, line, part):
    with pytest.raises(VocabularyError, match=part) as caught:
        Vocabulary.parse(text)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"line {line}: ")
    assert caught.value.text == text.splitlines()[line - 1]


@pytest.mark.parametrize("text", ["", "\n \n# only a comment", "- only background"])
def test_an_empty_vocabulary_is_refused(text):
    with pytest.raises(VocabularyError, match="at least one class"):
        Vocabulary.parse(text)


def test_a_thousand_lines():
    v = Vocabulary.parse("\n".join(f"class {i}: synonym {i}" for i in range(1000)))
    assert len(v.classes) == 1000
    assert v.classes[-1].id == 1000


def test_more_classes_than_a_label_map_holds_are_refused():
    classes = tuple(Class(i, f"c{i}") for i in range(1, 65536))
    with pytest.raises(VocabularyError, match="At most 65534"):
        Vocabulary(classes)


def test_ids_must_follow_the_lines():
    with pytest.raises(VocabularyError, match="1, 2, 3"):
        Vocabulary((Class(2, "a"), Class(1, "b")))


@pytest.mark.parametrize(
    "data",
    [{}, {"classes": [{"title": "a"}]}, {"classes": [{"name": 3}]}, {"classes": 3},
     {"classes": [{"name": "a", "colour": "red"}]}],
)  # fmt: skip
def test_bad_json_is_refused(data):
    with pytest.raises(VocabularyError):
        Vocabulary.from_dict(data)


def test_the_digest_follows_words_not_colours():
    v = Vocabulary.parse("tree\nsky")
    assert v.digest == v.with_colours({"tree": "#112233"}).digest
    assert v.digest != Vocabulary.parse("sky\ntree").digest
    assert v.digest != v.with_descriptions({"tree": ["green"]}).digest


SIGNS = ":,#[]-\u2013\u2212\ufeff"
letters = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters=SIGNS)
words = st.text(letters, min_size=1, max_size=12).filter(lambda w: key(w) and w.split())


@given(st.lists(words, min_size=1, max_size=8, unique_by=key))
def test_any_words_round_trip(names):
    v = Vocabulary.parse("\n".join(names))
    assert Vocabulary.parse(v.to_text()) == v


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('"12:30"', [("12:30",)]),
        ('"chest, of drawers": "a, b", c', [("chest, of drawers", "a, b", "c")]),
        ('"C#" [#87ceeb]: "say ""hi"""', [("C#", 'say "hi"')]),
        ('"-sky"', [("-sky",)]),
        ('"sky [#87ceeb]"', [("sky [#87ceeb]",)]),
        ('"a # b" # a comment', [("a # b",)]),
        ('5" pipe\n17" wheel', [('5" pipe',), ('17" wheel',)]),
        ('"half', [('"half',)]),
    ],
)
def test_signs_in_quotes_are_part_of_a_word(text, names):
    assert [c.queries for c in Vocabulary.parse(text).classes] == names


def test_background_words_may_stand_in_quotes():
    found = Vocabulary.parse('sky\n- "red, green", blue')
    assert found.background == ("red, green", "blue")


_HARD = st.text(
    st.sampled_from(list('ab ,:#"-–[]{}/\\12f;')) | st.characters(), min_size=1, max_size=12
)


@settings(deadline=None)
@given(st.lists(_HARD, min_size=1, max_size=6), st.lists(_HARD, max_size=3))
def test_any_words_come_back_from_their_text(names, background):
    classes = [
        {"name": n, "synonyms": [f"{n}{i}" for i in range(at % 3)]} for at, n in enumerate(names)
    ]
    try:
        made = Vocabulary.from_dict({"classes": classes, "background": background})
    except VocabularyError:
        return
    back = Vocabulary.parse(made.to_text())
    assert back.names == made.names
    assert back.background == made.background
    assert [c.synonyms for c in back.classes] == [c.synonyms for c in made.classes]
    assert Vocabulary.parse("\n".join(map(typed, made.names))).names == made.names
