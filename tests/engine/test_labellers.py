"""METHODS: every method has its row and its two steps; what a job needs is asked in one place."""

import ast
import inspect
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

import napari_prelabel
from napari_prelabel.values.job import FreeCP, Job, Reference
from napari_prelabel.values.methods import METHODS, Needs
from napari_prelabel.values.vocabulary import Vocabulary

WORDS = Vocabulary.parse("tree")
ROOT = Path(napari_prelabel.__file__).parent


def test_every_method_has_a_row_and_every_row_what_it_names():
    assert set(METHODS) == {"base", "freecp", "nerve", "reme"}
    names = {f.name for f in fields(Job)}
    for name, row in METHODS.items():
        assert row.title
        assert row.help.endswith(".")
        assert (ROOT.parents[1] / row.page).is_file(), name
        assert row.applies <= names
        assert not row.field or getattr(Job(WORDS), row.field) == row.settings


@pytest.mark.parametrize(
    ("job", "wanted"),
    [
        (Job(WORDS, "base"), Needs()),
        (Job(WORDS, "freecp"), Needs(attention=True)),
        (
            Job(WORDS, "freecp", freecp=FreeCP(source="diffusion")),
            Needs(diffusion=True, attention=True),
        ),
        (Job(WORDS, "base", freecp=FreeCP(source="diffusion")), Needs()),
        (Job(WORDS, "nerve"), Needs(diffusion=True)),
        (Job(WORDS, "reme", reference=Reference("x")), Needs(clip=False, reference=True)),
    ],
)
def test_what_a_job_needs(job, wanted):
    assert job.needs == wanted


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_ours_is_one_module_with_two_steps(name):
    module = import_module(f"napari_prelabel.engine.labellers.{name}")
    assert [*inspect.signature(module.see).parameters] == ["job", "bench"]
    assert [*inspect.signature(module.label).parameters] == ["job", "seen", "bench"]


def test_nobody_else_asks_whether_a_job_needs_the_diffusion_model():
    for room in ("gui", "cli", "engine"):
        for path in sorted((ROOT / room).rglob("*.py")):
            if path.parent.name == "labellers":
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Compare) and ast.unparse(node.left).endswith(".source"):
                    assert "'diffusion'" not in ast.unparse(node), path


def test_the_table_is_read_without_torch():
    code = "import sys, napari_prelabel.values.methods; print('torch' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
