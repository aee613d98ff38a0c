"""A method of another package: found, asked for, run in a worker, told of when it is broken."""

import json
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
from outside import installed, on_path, pretended
from PIL import Image

from napari_prelabel.engine.engine import Engine
from napari_prelabel.values import methods
from napari_prelabel.values.errors import FileFormatError, JobError, RunFailed
from napari_prelabel.values.job import SCHEMA, Job
from napari_prelabel.values.methods import METHODS, Needs, left_out
from napari_prelabel.values.steps import finish
from napari_prelabel.values.vocabulary import Vocabulary

WORDS = Vocabulary.parse("red\nblue")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    return installed(tmp_path_factory.mktemp("outside"))


@pytest.fixture
def found(monkeypatch):
    """Puts folders on the path, and takes in what is registered there."""

    def look(*folders):
        for folder in folders:
            monkeypatch.syspath_prepend(str(folder))
        methods._found.cache_clear()

    yield look
    monkeypatch.undo()
    methods._found.cache_clear()


@pytest.fixture
def picture(tmp_path):
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, :15, 0] = 255
    pixels[:, 15:, 2] = 200
    Image.fromarray(pixels).save(tmp_path / "two.png")
    return tmp_path / "two.png"


def test_names_that_jobs_use_are_taken():
    assert {f.name for f in fields(Job)} | {"schema"} == methods.TAKEN | {"freecp", "nerve", "reme"}


def test_a_job_holds_the_settings_of_its_method(found, site):
    found(site)
    assert left_out() == ()
    row = METHODS["colours"]
    assert row.package == "prelabel-colours 0.1"
    job = Job(WORDS, "colours")
    assert job.settings.softness == 50
    assert job.needs == Needs(clip=False)
    told = json.loads(job.to_json())
    assert told["colours"] == {"softness": 50.0}
    assert "other" not in told
    told["colours"]["softness"] = 20.0
    again = Job.from_json(json.dumps(told))
    assert again.settings.softness == 20
    assert again.digest != job.digest
    assert Job.from_json(again.to_json()) == again
    told["colours"]["softness"] = 0.5
    with pytest.raises(FileFormatError, match=r"colours\.softness must lie between 1 and 500"):
        Job.from_json(json.dumps(told))
    with pytest.raises(JobError, match="colours must be a group of settings, not 5"):
        Job(WORDS, "colours", other=5)


def test_jobs_of_our_methods_are_as_they_were(found, site):
    before = Job(WORDS).to_json(), Job(WORDS).digest
    found(site)
    assert (Job(WORDS).to_json(), Job(WORDS).digest) == before
    assert Job(WORDS, other=Job(WORDS, "colours").other).other is None


def test_settings_are_given_by_their_dotted_name(found, site):
    from napari_prelabel.jobs import job_with

    found(site)
    job = job_with(WORDS, {"method": "colours", "colours.softness": "20"})
    assert job.settings.softness == 20
    with pytest.raises(JobError, match=r"colours\.softness is a setting of the method col"):
        job_with(WORDS, {"method": "base", "colours.softness": "20"})
    with pytest.raises(JobError, match=r"colours\.softness must be a number, not 'much'"):
        job_with(WORDS, {"method": "colours", "colours.softness": "much"})


def test_bundles_and_comparisons_offer_it(found, site):
    from napari_prelabel.models.catalog import BUNDLES

    found(site)
    assert all("colours" in bundle.methods for bundle in BUNDLES.values())


def test_without_the_package_its_jobs_say_which_method_is_missing():
    text = json.dumps({"schema": SCHEMA, "vocabulary": WORDS.to_dict(), "method": "colours",
                       "colours": {"softness": 2.0}})  # fmt: skip
    with pytest.raises(FileFormatError, match=r"method must be one of base, .*: 'colours'"):
        Job.from_json(text)


def test_the_command_line_runs_it_and_names_its_options(site, picture, tmp_path):
    def prelabel(*words):
        code = "import sys; from napari_prelabel.cli import app; sys.exit(app())"
        return subprocess.run(
            [sys.executable, "-c", code, *map(str, words)], env=on_path(site) | {"COLUMNS": "200"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    assert "--colours-softness" in prelabel("run", "--help").stdout
    out = tmp_path / "out"
    ended = prelabel("run", picture, "--out", out, "--classes", "red, blue", "--method", "colours",
                     "--colours-softness", "20", "--save-job", tmp_path / "job.json")  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    ids = np.asarray(Image.open(out / "two.png"))
    assert (ids == np.where(np.arange(30) < 15, 1, 2)).all()
    assert json.loads((tmp_path / "job.json").read_text())["colours"] == {"softness": 20.0}
    record = json.loads((out / "two.labels.json").read_text())["record"]
    assert record["package"] == "prelabel-colours 0.1"


def test_a_worker_process_runs_it(site, found, monkeypatch):
    from napari_prelabel.worker.pool import Pool

    found(site)
    monkeypatch.setenv("PYTHONPATH", on_path(site)["PYTHONPATH"])
    image = np.zeros((8, 9, 3), np.uint8)
    image[:, 4:] = (0, 0, 255)
    image[:, :4] = (255, 0, 0)
    with Pool() as pool:
        labels = pool.submit(Job(WORDS, "colours"), image).result(200)
        assert (labels.ids == np.where(np.arange(9) < 4, 1, 2)).all()
        assert labels.record["package"] == "prelabel-colours 0.1"
        wrong = Job(Vocabulary.parse("no such colour"), "colours")
        with pytest.raises(RunFailed, match=r"colours of prelabel-colours 0\.1: ValueError"):
            pool.submit(wrong, image).result(200)


GOOD = "from napari_prelabel.values.methods import Method\nROW = Method('A', 'b.', 'c', {})"


@pytest.mark.parametrize(
    ("name", "value", "code", "why"),
    [
        ("fast", "broken_a:ROW", "import nowhere_to_be_found", "ModuleNotFoundError: No module"),
        ("fast", "broken_b:ROW", "raise SystemExit('bye')", "SystemExit: bye"),
        ("fast", "broken_c:ROW", "", "AttributeError"),
        ("fast", "broken_d:ROW", "ROW = 5", "is no Method that names the module of its steps"),
        ("fast", "broken_e:ROW", GOOD.format(""), "is no Method that names the module"),
        ("fast", "broken_f:ROW", GOOD.format("settings=5, doing='x'"), "settings are not declared"),
        ("freecp", "broken_g:ROW", "", "napari-prelabel uses that name itself"),
        ("windows", "broken_h:ROW", "", "napari-prelabel uses that name itself"),
        ("Fast-One", "broken_i:ROW", "", "small letters, digits and underscores"),
    ],
)
def test_what_cannot_be_used_is_told_and_passed_over(tmp_path, found, name, value, code, why):
    pretended(tmp_path, name, value, code)
    found(tmp_path)
    assert set(METHODS) == {"base", "freecp", "nerve", "reme"}
    (sentence,) = left_out()
    module = value.partition(":")[0]
    assert sentence.startswith(f"The method {name!r} of {module} 1.0 is left out: ")
    assert why in sentence
    assert METHODS["freecp"].package == ""


def test_the_second_of_a_name_is_passed_over(tmp_path, found, site):
    code = GOOD.format("doing='x'")
    pretended(tmp_path, "colours", "another:ROW", code)
    found(site, tmp_path)
    (sentence,) = left_out()
    assert "brings one of that name" in sentence
    assert "colours" in METHODS


def test_the_command_line_says_what_is_left_out(tmp_path):
    pretended(tmp_path, "fast", "broken:ROW", "import nowhere_to_be_found")
    code = "import sys; from napari_prelabel.cli import app; sys.exit(app())"
    ended = subprocess.run(
        [sys.executable, "-c", code, "run", "--help"], env=on_path(tmp_path), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert "The method 'fast' of broken 1.0 is left out: ModuleNotFoundError" in ended.stderr


SMALL = """
import numpy as np
from napari_prelabel.values.labels import LabelMap, decide
from napari_prelabel.values.methods import Method, Needs
ROW = Method("Small", "Four pixels.", "x", lambda _: Needs(clip=False), doing="small")
def see(job, bench):
    yield from ()
def label(job, seen, bench):
    yield from ()
    return LabelMap(*decide(np.ones((1, 2, 2), np.float32)), job.vocabulary)
"""


def test_a_map_of_another_size_is_not_taken(tmp_path, found):
    pretended(tmp_path, "small", "small:ROW", SMALL)
    found(tmp_path)
    engine = Engine("cpu", 0)
    with pytest.raises(RunFailed, match=r"small of small 1\.0: ValueError: a label map of \(2, "):
        finish(engine.run(Job(WORDS, "small"), np.zeros((8, 9, 3), np.uint8)))
