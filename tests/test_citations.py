"""Every pointer from source, tests and docs into docs/ leads to an anchor that is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
CODE = [
    p
    for folder in ("src", "tests", "benchmarks")
    for p in sorted((ROOT / folder).rglob("*.py"))
    if p != Path(__file__)
]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
CITED = re.compile(r"docs/[\w/-]+\.md(?:#[\w-]+)?")
LINK = re.compile(r"\]\(([^)\s]*\.md)?(#[\w-]+)?\)")
# A page outside the repository, or a reading without its page: no reader can look them up.
BARE = re.compile(r"(?<![\w/-])methods\.md|(?<![\w#])R(?:1[0-5]|[1-9])(?!\w)")


def anchors(page):
    """Explicit anchors of a page, and those that its headings get."""
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r'<a id="([\w-]+)"></a>', text))
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return named | {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


def lost(page, anchor):
    """What is missing of a pointer, "" when it leads somewhere."""
    if not page.is_file():
        return f"no page {page.relative_to(ROOT)}"
    if anchor and anchor.removeprefix("#") not in anchors(page):
        return f"no {anchor} in {page.relative_to(ROOT)}"
    return ""


@pytest.mark.parametrize("path", CODE, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_citations_of_the_code_lead_to_an_anchor(path):
    text = path.read_text(encoding="utf-8")
    for cited in CITED.findall(text):
        page, _, anchor = cited.partition("#")
        assert not lost(ROOT / page, anchor), cited
    bare = BARE.findall(text)
    assert not bare, f"cite {bare} as docs/methods/PAGE.md#anchor"


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for page, anchor in LINK.findall(text):
        assert not lost((path.parent / page).resolve() if page else path, anchor), page + anchor
    assert not re.search(r"(?<![\w/-])methods\.md", text)


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda p: p.stem)
def test_an_anchor_stands_once(page):
    named = re.findall(r'<a id="([\w-]+)"></a>', page.read_text(encoding="utf-8"))
    assert len(named) == len(set(named))


def test_the_code_cites_every_page_of_a_method():
    text = "".join(p.read_text(encoding="utf-8") for p in CODE)
    for page in ("bases", "freecp", "nerve", "reme"):
        assert f"docs/methods/{page}.md#" in text


def test_what_is_missing_is_told():
    assert lost(DOCS / "none.md", "") == "no page docs/none.md"
    assert lost(DOCS / "methods" / "reme.md", "r99") == "no r99 in docs/methods/reme.md"
    assert not lost(DOCS / "methods" / "reme.md", "r4")
    assert BARE.findall("as methods.md 3.7 and (R4) say; docs/methods/reme.md#r4") == [
        "methods.md",
        "R4",
    ]
