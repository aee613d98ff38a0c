"""The command line's options for settings: one each, named and described by its declaration."""

import json

import pytest
import typer
from typer.testing import CliRunner

from napari_prelabel.cli import app
from napari_prelabel.cli.settings import option_of, settings, with_settings
from napari_prelabel.values.declare import declared
from napari_prelabel.values.errors import JobError
from napari_prelabel.values.job import FreeCP, Nerve, Proposals, ReME, Windows

RUN = typer.main.get_command(app).commands["run"]
OPTIONS = {name: option for option in RUN.params for name in option.opts}


def test_every_setting_has_the_option_that_its_name_says():
    names = {name for name, _, _ in settings()}
    for inside, group in (
        ("windows", Windows), ("freecp", FreeCP), ("nerve", Nerve), ("reme", ReME),
        ("reme.proposals", Proposals),
    ):  # fmt: skip
        assert {f"{inside}.{t.name}" for t in declared(group)} - {"reme.proposals"} <= names
    for name, told, _ in settings():
        option = OPTIONS[option_of(name)]
        assert option.help.startswith(f"{told.title}. {told.description}")
        for word in told.options:
            assert word in option.metavar.split("|") or f" {word}" in option.help


def test_an_option_is_written_as_its_setting_with_dashes():
    assert option_of("reme.proposals.min_size") == "--reme-proposals-min-size"


def test_what_was_given_reaches_the_command_by_dotted_name():
    got = []
    small = typer.Typer()
    small.command()(with_settings(lambda *, settings: got.append(settings)))
    words = ["--nerve-alpha", "0.5", "--freecp-ambiguity", "no", "--method", "nerve"]
    assert CliRunner().invoke(small, words).exit_code == 0
    assert got == [{"method": "nerve", "nerve.alpha": "0.5", "freecp.ambiguity": "no"}]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--nerve-alpha", "2"], "nerve.alpha must lie between 0 and 1, not 2.0."),
        (["--nerve-steps", "few"], "nerve.steps must be a whole number, not 'few'."),
        (["--method", "magic"], "method must be one of base, freecp, nerve, reme: 'magic'."),
        (["--windows-crop", "32"], "stride must lie between 1 and the window's side 32, not 64"),
    ],
)
def test_a_value_that_a_setting_does_not_take_ends_in_its_sentence(tmp_path, words, told):
    given = ["run", str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), "--classes", "tree"]
    ended = CliRunner().invoke(app, given + words)
    assert ended.exit_code == 2
    assert told in ended.output.replace("\n", " ")


def test_settings_given_by_dotted_name_make_the_job():
    from napari_prelabel.jobs import job_with
    from napari_prelabel.models.catalog import bundle_of
    from napari_prelabel.values.vocabulary import Vocabulary

    words = Vocabulary.parse("tree")
    given = {"nerve.alpha": "0.25", "windows.crop": "96", "windows.stride": "48",
             "reme.proposals.kind": "slic", "nerve.timestep": "none"}  # fmt: skip
    job = job_with(words, given)
    bundle = bundle_of("demo")
    assert job.nerve == Nerve(alpha=0.25, beta=bundle.nerve.beta, steps=bundle.nerve.steps)
    assert job.windows == Windows(bundle.windows.short_side, 96, 48)
    assert job.reme.proposals == Proposals("slic")
    again = job_with(words, {"windows.stride": "24"}, job)
    assert again.windows == Windows(bundle.windows.short_side, 96, 24)
    assert json.loads(again.to_json())["nerve"]["alpha"] == 0.25
    with pytest.raises(JobError, match="must be a number, not 'much'"):
        job_with(words, {"nerve.alpha": "much"}, job)
