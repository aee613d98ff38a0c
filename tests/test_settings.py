"""Settings of NERVE and ReME inside a job: limits, JSON both ways, what the digest depends on."""

import json
from dataclasses import replace

import pytest

from napari_prelabel.values.errors import FileFormatError, JobError
from napari_prelabel.values.job import Job, Nerve, Reference, ReME
from napari_prelabel.values.vocabulary import Vocabulary

WORDS = Vocabulary.parse("tree\nsky")


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        (Nerve, {"alpha": 1.1}, "nerve.alpha"),
        (Nerve, {"alpha": -0.1}, "nerve.alpha"),
        (Nerve, {"beta": 1.1}, "nerve.beta"),
        (Nerve, {"steps": -1}, "nerve.steps"),
        (Nerve, {"radius": 0}, "nerve.radius"),
        (Nerve, {"lowest": 0}, "nerve.lowest"),
        (Nerve, {"temperature": 0.0}, "nerve.temperature"),
        (Nerve, {"weighting": "none"}, "nerve.weighting"),
        (Nerve, {"radius": 1.5}, "nerve.radius must be a whole number, not 1.5"),
        (Nerve, {"steps": None}, "nerve.steps must be a whole number, not None"),
        (Nerve, {"timestep": 10.5}, "nerve.timestep must be a whole number or none, not 10.5"),
        (Nerve, {"alpha": True}, "nerve.alpha must be a number, not True"),
        (Nerve, {"temperature": "warm"}, "nerve.temperature must be a number, not 'warm'"),
        (Nerve, {"cleaned": "sum"}, "nerve.cleaned"),
        (Nerve, {"cleanup": "x"}, "nerve.cleanup must be a number or none, not 'x'"),
        (Nerve, {"stretch": "no"}, "nerve.stretch must be true or false, not 'no'"),
        (
            Nerve,
            {"alpha": 1.0, "form": "exact"},
            "nerve.alpha must be below 1 with form 'exact'",
        ),
        (
            Nerve,
            {"alpha": 1.0, "form": "series"},
            "nerve.alpha must be below 1 with form 'series', or",
        ),
        (ReME, {"temperature": float("nan")}, "reme.temperature"),
        (ReME, {"text_temperature": -1.0}, "reme.text_temperature"),
        (ReME, {"top_k": -1}, "reme.top_k"),
        (ReME, {"exponent": 2.0}, "reme.exponent"),
        (ReME, {"weighting": "rank"}, "reme.weighting"),
    ],
)
def test_a_setting_outside_its_limits_is_refused_by_name(kind, given, told):
    with pytest.raises(JobError, match=told) as caught:
        kind(**given)
    assert caught.value.field == told.split()[0]


@pytest.mark.parametrize(
    "settings",
    [Nerve(alpha=1), Nerve(alpha=1.0, steps=0), Nerve(cleanup=0, timestep=0), Nerve(timestep=999)],
)
def test_settings_at_their_limits_are_taken(settings):
    assert Job(WORDS, nerve=settings).nerve == settings


def test_reme_without_a_reference_set_is_refused_with_the_cure():
    with pytest.raises(JobError, match="choose one, or make one"):
        Job(WORDS, method="reme")


def test_a_job_with_all_settings_goes_through_json():
    job = Job(
        WORDS,
        method="reme",
        nerve=Nerve(alpha=0.5, weighting="row"),
        reme=ReME(top_k=30, normalise="column"),
        reference=Reference("sets/mine", "ab" * 32),
    )
    assert Job.from_json(job.to_json()) == job


def test_a_job_of_before_a_setting_means_what_it_meant():
    told = json.loads(Job(WORDS, method="nerve", nerve=Nerve(cleanup=0.2)).to_json())
    del told["nerve"]["cleaned"]
    assert Job.from_json(json.dumps(told)).nerve == Nerve(cleanup=0.2, cleaned="mean")


@pytest.mark.parametrize("name", ["nerve", "reme", "reference"])
def test_an_unknown_setting_of_a_method_is_named(name):
    text = (
        Job(WORDS, reference=Reference("x"))
        .to_json()
        .replace(f'"{name}": {{', f'"{name}": {{"speed": 1,')
    )
    with pytest.raises(FileFormatError, match="unknown setting 'speed'"):
        Job.from_json(text)


def test_the_digest_names_the_set_and_not_where_it_lies():
    job = Job(WORDS, method="reme", reference=Reference("here", "1"))
    assert job.digest == replace(job, reference=Reference("there", "1")).digest
    assert job.digest != replace(job, reference=Reference("here", "2")).digest
    assert job.digest != replace(job, reme=ReME(top_k=5)).digest
