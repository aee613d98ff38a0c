"""What docs/extend.md promises: a base and a method are two files of the source, and are found."""

import json

import numpy as np
import pytest
from grown import Grown
from PIL import Image


@pytest.fixture
def grown(tmp_path):
    return Grown(tmp_path)


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 255, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def test_a_dense_base_is_two_files(grown, picture, tmp_path):
    grown.add("values/bases.py", '"bare", ', before='"maskclip_residual", "maskclip_bare"')
    grown.add(
        "values/bases.py",
        '    "bare": BaseRow("Toy", "Tokens as they are."),\n',
        before='    "maskclip_residual": BaseRow(',
    )
    grown.add(
        "methods/dense.py",
        "def bare(trunk: Trunk, tower: Tower) -> Tensor:\n    return maskclip(trunk, tower)\n\n\n",
        before="BASES: dict[str, Callable",
    )
    grown.add(
        "methods/dense.py", '    "bare": bare,\n',
        before='    "maskclip_residual": maskclip_residual,',
    )  # fmt: skip
    assert len(grown.files) == 2
    offered = grown.offered()
    assert offered["bases"]["bare"] == "Toy"
    assert "bare" in offered["run"]
    for base in ("bare", "maskclip"):
        grown.prelabel(
            "run", picture, "--out", tmp_path / base, "--classes", "sky, sea", "--method", "base",
            "--base", base,
        )  # fmt: skip
    same = [np.asarray(Image.open(tmp_path / b / "noise.png")) for b in ("bare", "maskclip")]
    np.testing.assert_array_equal(*same)


ROW = """    "flat": Method(
        "One word", "One for all.", "x", lambda _: Needs(clip=False), settings=Flat(),
    ),
"""
SETTINGS = """from typing import Annotated
from pydantic import Field
from .declare import Ask, settings


@settings("flat")
class Flat:
    word: Annotated[
        int, Field(ge=1, le=9, title="Number of the word", description="From 1."), Ask(1)
    ] = 1


"""
STEPS = """import numpy as np
from ...values.labels import LabelMap


def see(job, bench):
    yield from ()


def label(job, seen, bench):
    yield from ()
    ids = np.full(bench.size, job.settings.word, np.uint16)
    return LabelMap(ids, np.ones(bench.size, np.float16), np.zeros_like(ids), job.vocabulary)
"""


def test_a_method_of_ours_is_two_files(grown, picture, tmp_path):
    grown.add("values/methods.py", SETTINGS, before="_OURS: Mapping[str, Method] = {")
    grown.add("values/methods.py", ROW, before='    "base": Method(\n')
    grown.add("engine/labellers/flat.py", STEPS)
    assert len(grown.files) == 2
    offered = grown.offered()
    assert offered["methods"]["flat"] == "One word"
    assert "flat.word" in offered["fields"]
    assert "--flat-word" in offered["run"]
    grown.prelabel(
        "run", picture, "--out", tmp_path / "out", "--classes", "sky, sea", "--method", "flat",
        "--flat-word", "2", "--save-job", tmp_path / "job.json",
    )  # fmt: skip
    assert (np.asarray(Image.open(tmp_path / "out" / "noise.png")) == 2).all()
    assert json.loads((tmp_path / "job.json").read_text("utf-8"))["flat"] == {"word": 2}
