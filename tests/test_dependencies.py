"""What pyproject.toml declares is what the code imports, and settings name what is there."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DECLARED = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
# Declared, used, and imported by no line of ours.
NOT_IMPORTED = {
    "cryptography": "distributed makes the certificates of a session with it",
    "pyside6": "qtpy finds it",
    "hatchling": "test_wheel runs it",
    "mypy": "make lint runs it",
    "ruff": "make lint runs it",
    "pytest-qt": "pytest finds it",
    "pytest-timeout": "pytest finds it",
    "pytest-xdist": "pytest finds it",
    "pytest-xvfb": "pytest finds it",
}
# Imported where it is: values.errors.MissingExtra says how to get spacy; triton comes with torch.
OPTIONAL = {"spacy", "triton"}
# Distributions that are one choice.
SAME = {"faiss-gpu": "faiss-cpu"}
DISTRIBUTIONS = packages_distributions()


def normal(name):
    """A distribution's name as all spell it alike: "dask[distributed]>=1" is dask."""
    plain = re.split(r"[\[<>=!;~ ]", name)[0]
    plain = re.sub(r"[-_.]+", "-", plain).lower()
    return SAME.get(plain, plain)


def imported(*folders):
    """Modules of others that the files of folders import, by name and by import_module."""
    found = set()
    own = {p.stem for p in ROOT.glob("tests/**/*.py")} | {p.stem for p in ROOT.glob("docs/*.py")}
    for path in (p for folder in folders for p in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module)
            elif isinstance(node, ast.Call) and "import_module" in ast.dump(node.func):
                found |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant)}
    tops = {name.split(".")[0] for name in found if not name.startswith(".")}
    return tops - set(sys.stdlib_module_names) - own - {"napari_prelabel", "benchmarks", "tests"}


def distributions(modules):
    return {normal(d) for m in modules for d in DISTRIBUTIONS.get(m, ())}


def test_every_declared_dependency_is_imported():
    used = distributions(imported("src")) | set(NOT_IMPORTED)
    assert {normal(d) for d in DECLARED} - used == set()


def test_every_dependency_of_the_tests_is_imported():
    used = distributions(imported("tests", "docs", "benchmarks")) | set(NOT_IMPORTED)
    assert {normal(d) for extra in EXTRAS.values() for d in extra} - used == set()


@pytest.mark.parametrize(
    ("folders", "groups"),
    [(("src",), [DECLARED]), (("tests", "docs", "benchmarks"), [DECLARED, *EXTRAS.values()])],
    ids=["src", "tests"],
)
def test_every_import_is_declared(folders, groups):
    known = {normal(d) for group in groups for d in group}
    if "dask" in known:
        known.add("distributed")
    for module in sorted(imported(*folders) - OPTIONAL):
        assert {normal(d) for d in DISTRIBUTIONS.get(module, ())} & known, f"declare {module}"


def test_the_settings_of_the_linters_name_what_is_there():
    for pattern in PROJECT["tool"]["ruff"]["lint"]["per-file-ignores"]:
        assert any(ROOT.glob(pattern)), pattern
    for folder in PROJECT["tool"]["mypy"]["files"]:
        assert (ROOT / folder).is_dir(), folder
    used = imported("src", "benchmarks")
    for override in PROJECT["tool"]["mypy"]["overrides"]:
        for module in (
            [override["module"]] if isinstance(override["module"], str) else override["module"]
        ):
            top = module.split(".")[0]
            assert top in used | {"napari_prelabel"}, module
