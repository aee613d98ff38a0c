"""Settings are declared once: all say what they are, old jobs open, nothing says limits twice."""

import ast
import json
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter

import napari_prelabel
from napari_prelabel.values import declare
from napari_prelabel.values.errors import FileFormatError
from napari_prelabel.values.job import (
    Display,
    FreeCP,
    Job,
    Nerve,
    Proposals,
    Reference,
    ReME,
    Windows,
)

ROOT = Path(napari_prelabel.__file__).parent
GROUPS = (Windows, FreeCP, Nerve, ReME, Proposals, Reference, Display, Job)
DECLARED = [told for group in GROUPS for told in declare.declared(group)]
JOBS = Path(__file__).parent / "data" / "jobs"
DIGESTS = json.loads((JOBS / "digests.json").read_text("utf-8"))


@pytest.mark.parametrize("told", DECLARED, ids=lambda told: told.name)
def test_every_setting_says_what_it_is_and_numbers_have_limits(told):
    assert told.title
    assert told.description.endswith(".")
    if told.kind in (int, float):
        assert told.low is not None
        assert told.high is not None
        if told.default is not None:
            assert told.low <= told.default <= told.high
    if told.options and told.ask and told.ask.words:
        assert len(told.ask.words) == len(told.options)


def test_a_setting_of_a_setting_is_found_by_its_dotted_name():
    assert declare.setting(Job, "reme.proposals.finest").title == "Finest segments"
    assert declare.setting(Job, "nerve.timestep").optional


def test_dotted_names_change_some_settings_at_once_and_leave_the_others():
    values = declare.changed(ReME(top_k=4), {"proposals.finest": 9, "temperature": 0.5})
    assert values == replace(ReME(top_k=4), temperature=0.5, proposals=Proposals(finest=9))
    walk = declare.changed(Nerve(alpha=1.0), {"form": "exact", "alpha": 0.5})
    assert walk == Nerve(alpha=0.5, form="exact")


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("nerve.alpha", "0.5", 0.5),
        ("nerve.steps", "7", 7),
        ("nerve.timestep", "none", None),
        ("nerve.stretch", "yes", True),
        ("freecp.ambiguity", "false", False),
        ("reme.proposals.kind", "slic", "slic"),
        ("nerve.steps", "7.5", "7.5"),
        ("nerve.stretch", "perhaps", "perhaps"),
        ("nerve.alpha", "none", "none"),
    ],
)
def test_what_is_typed_becomes_a_setting_or_stays_a_text_that_is_refused(name, text, value):
    assert declare.said(Job, name, text) == value
    assert type(declare.said(Job, name, text)) is type(value)


@pytest.mark.parametrize("name", DIGESTS)
def test_a_job_written_before_the_declarations_opens_and_is_written_the_same(name):
    text = (JOBS / f"{name}.json").read_text("utf-8")
    job = Job.from_json(text)
    assert job.to_json() == text
    assert job.digest == DIGESTS[name]
    assert TypeAdapter(Job).validate_json(text.replace('"schema": 1,', "", 1)) == job


def test_a_job_file_without_words_says_so():
    with pytest.raises(FileFormatError, match=r"job\.json: vocabulary must be given"):
        Job.from_json('{"schema": 1}')


def test_the_old_jobs_differ_from_the_defaults_in_every_setting_that_a_job_holds():
    told = {name: Job.from_json((JOBS / f"{name}.json").read_text("utf-8")) for name in DIGESTS}
    for name in ("freecp", "nerve", "reme"):
        ours, group = getattr(told[name], name), {"freecp": FreeCP, "nerve": Nerve, "reme": ReME}
        same = {s.name for s in declare.declared(group[name]) if getattr(ours, s.name) == s.default}
        assert same <= {"ambiguity"}, name


def test_a_whole_number_is_the_number_it_is():
    assert Nerve(alpha=1) == Nerve(alpha=1.0)
    assert Job.from_json(_with(Nerve(alpha=1))).digest == _job(Nerve(alpha=1.0)).digest


def _job(nerve):
    return Job(Job.from_json((JOBS / "default.json").read_text("utf-8")).vocabulary, nerve=nerve)


def _with(nerve):
    return _job(nerve).to_json()


def test_no_second_class_of_settings_and_no_second_limit_stands_in_the_source():
    """No class but the declared ones has four of a method's settings as its own fields."""
    names = [{t.name for t in declare.declared(g)} for g in (FreeCP, Nerve, ReME, Proposals)]
    for path in sorted(ROOT.rglob("*.py")):
        if path.parent.name == "values":
            continue
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                fields = {
                    f.target.id
                    for f in node.body
                    if isinstance(f, ast.AnnAssign) and isinstance(f.target, ast.Name)
                }
                assert all(len(fields & known) < 4 for known in names), f"{path}: {node.name}"
