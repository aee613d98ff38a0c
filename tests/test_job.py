"""Job: what decides a result; JSON both ways; every refusal names the field."""

import json
import pickle
from dataclasses import replace

import pytest

from napari_prelabel.values.errors import FileFormatError, JobError
from napari_prelabel.values.job import Display, FreeCP, Job, Progress, Reference, Windows
from napari_prelabel.values.vocabulary import Vocabulary

WORDS = Vocabulary.parse("tree: oak\nsky\n- haze")
JOB = Job(
    WORDS,
    base="gem",
    windows=Windows(224, 224, 112),
    freecp=FreeCP(overlap="paper", rp_threshold=0.2),
    region=(0, 1, 20, 30),
)


def test_json_and_pickle_round_trips():
    assert Job.from_json(JOB.to_json()) == JOB
    assert pickle.loads(pickle.dumps(JOB)) == JOB
    assert Job.from_json(Job(WORDS).to_json()).digest == Job(WORDS).digest


def test_a_job_of_before_there_was_a_display_is_read():
    old = json.loads(JOB.to_json())
    del old["display"]
    assert Job.from_json(json.dumps(old)) == JOB
    shown = replace(JOB, display=Display(((0.5, 2), (1, 3.25)), (4, 0)))
    assert Job.from_json(shown.to_json()) == shown
    assert shown.to_dict()["display"] == {"limits": [[0.5, 2], [1, 3.25]], "channels": [4, 0]}


@pytest.mark.parametrize(
    ("display", "field"),
    [
        ((((1, 1),),), "display.limits"),
        ((((2, 1),),), "display.limits"),
        ((((0, float("nan")),),), "display.limits"),
        ((((0, 1),) * 4,), "display.channels"),
        (((), (0, 1, 2, 3)), "display.channels"),
        (((), (-1,)), "display.channels"),
    ],
)
def test_a_display_that_no_image_has_is_refused(display, field):
    with pytest.raises(JobError, match="display") as caught:
        Display(*display)
    assert caught.value.field == field


def test_the_digest_changes_with_every_setting():
    variants = [
        JOB,
        replace(JOB, base="sclip"),
        replace(JOB, method="base"),
        replace(JOB, windows=None),
        replace(JOB, freecp=FreeCP()),
        replace(JOB, region=None),
        replace(JOB, models="vitb16"),
        replace(JOB, precision="bfloat16"),
        replace(JOB, display=Display(((0, 9),))),
        replace(JOB, display=Display((), (1,))),
        replace(JOB, vocabulary=Vocabulary.parse("tree\nsky")),
    ]
    assert len({v.digest for v in variants}) == len(variants)


@pytest.mark.parametrize(
    ("change", "field", "part"),
    [
        ({"method": "magic"}, "method", "must be one of base, freecp"),
        ({"base": "resnet"}, "base", "must be one of"),
        ({"precision": "int8"}, "precision", "must be one of"),
        ({"min_score": float("nan")}, "min_score", "between 0 and 1"),
        ({"logit_scale": 0.0}, "logit_scale", "above 0"),
        ({"region": (5, 5, 5, 9)}, "region", "is empty"),
        ({"region": (5, 5)}, "region", "a list of 4 whole numbers or none"),
        ({"windows": 7}, "windows", "a group of settings or none, not 7"),
        ({"nerve": None}, "nerve", "a group of settings, not None"),
    ],
)
def test_settings_out_of_range_are_refused(change, field, part):
    with pytest.raises(JobError, match=part) as caught:
        replace(Job(WORDS), **change)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("make", "field", "part"),
    [
        (lambda: FreeCP(overlap="iou"), "freecp.overlap", "code, paper"),
        (lambda: FreeCP(rp_threshold=2), "freecp.rp_threshold", "between 0 and 1"),
        (lambda: FreeCP("yes"), "freecp.redundancy", "true or false, not 'yes'"),
        (lambda: Reference("a", "b", "c"), "reference.2", "unknown setting 2; there are folder"),
        (lambda: FreeCP(speed=1), "freecp.speed", "unknown setting 'speed'; there are redundancy"),
        (lambda: Windows(448, 224, 300), "windows", "leave gaps"),
        (lambda: Windows(-1), "windows.short_side", "between 0 \\(own size\\) and"),
        (lambda: Reference(), "reference.folder", "must be given"),
        (lambda: Job(), "vocabulary", "must be given"),
    ],
)
def test_settings_of_a_group_out_of_range_are_refused(make, field, part):
    with pytest.raises(JobError, match=part) as caught:
        make()
    assert caught.value.field == field


def _edited(**changes):
    return json.dumps(json.loads(JOB.to_json()) | changes)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "not JSON"),
        ("[]", "schema None"),
        (_edited(schema=99), "schema 99"),
        (_edited(colour="red"), "unknown setting 'colour'"),
        (_edited(freecp={"speed": 3}), "freecp: unknown setting 'speed'"),
        (_edited(windows={"crop": "wide"}), "windows.crop must be a whole number, not 'wide'"),
        (_edited(windows={"crop": 9, "stride": 10}), "leave gaps"),
        (_edited(windows=7), "windows"),
        (_edited(region=[1, 2]), "region"),
        (_edited(models=5), "models"),
        (_edited(nerve={"alpha": "0.5"}), "nerve.alpha must be a number, not '0.5'"),
        (_edited(nerve={"alpha": float("nan")}), "nerve.alpha must lie between 0 and 1, not nan"),
        (_edited(nerve={"steps": True}), "nerve.steps must be a whole number, not True"),
        (_edited(reme={"proposals": {"kind": "x"}}), "reme.proposals.kind must be one of adaptive"),
        (_edited(reme={"proposals": {"speed": 1}}), "reme.proposals: unknown setting 'speed'"),
    ],
)
def test_a_bad_job_file_is_refused_with_its_name(text, part):
    with pytest.raises(FileFormatError, match=part):
        Job.from_json(text)


def test_progress_is_a_value():
    assert Progress("encode", 1, 4) == Progress("encode", 1, 4)
