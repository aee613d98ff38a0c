"""Names of outputs: unique and fit for every system, whatever the images are called."""

import os
import re
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_prelabel.values.names import (
    distinct,
    key,
    mark_of,
    names_of,
    plane_name,
    plane_source,
    safe,
    stack_name,
    written,
)

HOSTILE = [
    "a",
    "A",
    "é",
    "e\u0301",
    "ß",
    "ss",
    ".",
    "..",
    " ",
    ":",
    "\\",
    "_",
    "con",
    "NUL",
    "n" * 230,
]
HOSTILE += ["_t0000", "_t00001", "\udce9", "%E9", "*", "\n", "İ", "ﬁ", "-"]
PART = st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=4).map("".join)
SUFFIX = st.sampled_from([".png", ".PNG", ".jpg", ".tif", ""])
LEAF = st.tuples(PART, SUFFIX).map("".join) | st.text(
    st.characters(blacklist_characters="/\0"), min_size=1, max_size=12
)
FILE = st.tuples(st.sampled_from(["", "x/", "X/", "x./", "y/x/"]), LEAF).map("".join)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(["in", "In", ""]), FILE), unique=True, max_size=12))
def test_names_of_any_files_are_distinct_and_fit(files):
    wanted = [names_of(file, root, mark_of(f"/{root}/{file}")) for root, file in files]
    outputs = distinct([n.outputs for n in wanted])
    assert len({key(o) for o in outputs}) == len(files)
    taken = {key(o) for o in outputs}
    for output in outputs:
        assert key(stack_name(output) or "") not in taken
        for part in output.split("/"):
            assert part
            assert not re.search(r'[<>:"\\|?*\0-\x1f\x7f]', part)
            assert part[0] != "."
            assert part[-1] not in " ."
            assert len(plane_name(part, 10**6).encode()) + len(".labels.json") <= 255
    sources = distinct([n.sources for n in wanted], same=str)
    assert len(set(sources)) == len(files)
    assert all(s.encode() for s in sources)


@given(st.permutations(range(6)))
def test_the_order_of_images_makes_no_difference(order):
    files = ["a.png", "a.jpg", "A.png", "a_t0000.png", "b.png", "a.jpg.png"]
    plain = distinct([names_of(f, "", mark_of(f)).outputs for f in files])
    turned = distinct([names_of(files[n], "", mark_of(files[n])).outputs for n in order])
    assert turned == [plain[n] for n in order]


@pytest.mark.parametrize(
    ("file", "output"),
    [
        ("a.jpg", "a"), ("day/a.b.jpg", "day/a.b"), ("a", "a"), (".hidden.png", "_hidden"),
        ("con.jpg", "_con"), ("COM1.x.jpg", "_COM1.x"), ("a:b.png", "a_b"), ("a\\b.png", "a_b"),
        ("a. .png", "a__"), ("x./a.png", "x_/a"), ("..png", "_.png"), ("a\nb.png", "a_b"),
        (os.fsdecode(b"caf\xe9.png"), "caf%E9"), ("日本.png", "日本"), ("console.png", "console"),
    ],
)  # fmt: skip
def test_the_nicest_name_of_a_file(file, output):
    assert names_of(file, "in", "0" * 32).outputs[0] == output


def test_long_names_are_cut_at_a_letter_and_told_apart():
    one, two = "é" * 125 + "x", "é" * 125 + "y"
    assert safe("n" * 234) == "n" * 234
    assert safe(one) != safe(two)
    assert len(safe(one).encode()) <= 234
    assert safe(one).startswith("é" * 100)


def test_planes_and_their_stacks():
    assert plane_name("a", 3) == "a_t0003"
    assert plane_source("x/a.tif", 12345) == "x/a_t12345.tif"
    assert plane_source("a", 0) == "a_t0000"
    assert stack_name("a_t0003") == "a"
    assert stack_name("a_t003") is None


def test_equal_names():
    assert key("É.png") == key(unicodedata.normalize("NFD", "é.png"))
    assert key("a") != key("b")
    assert written("a\ud800") == "a%D800"


def test_a_name_that_is_taken_is_passed_over():
    wanted = [("a", "a.jpg"), ("b",)]
    assert distinct(wanted, lambda number, name: (number, name) != (0, "a")) == ["a.jpg", "b"]
    assert distinct(wanted, lambda *_: False) == ["a.jpg", "b"]
