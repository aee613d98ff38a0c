import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from brightness import Brightness
from PIL import Image
from typer.testing import CliRunner

from napari_prelabel import __version__, cli
from napari_prelabel.formats import FORMATS
from napari_prelabel.models import catalog, fetch
from napari_prelabel.values.job import BASES, Job


@pytest.fixture
def prelabel(monkeypatch):
    """Runs the command without models; `.runner` keeps the jobs."""
    runner = Brightness()
    monkeypatch.setattr(cli.screen, "engine", lambda _: runner)
    monkeypatch.setattr(catalog, "installed", lambda name: name == "demo-clip")
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments, **options):
        result = CliRunner().invoke(cli.app, [str(a) for a in arguments], **options)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    call.runner = runner
    return call


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (6, 7, 3), np.uint8)).save(folder / f"{name}.png")
    return folder


def test_version_and_help(prelabel):
    assert prelabel("--version").stdout == f"prelabel {__version__}\n"
    for command in ([], ["run"], ["demo"], ["models", "fetch"]):
        result = prelabel(*command, "--help")
        assert result.exit_code == 0
        assert "--help" in result.stdout


@pytest.mark.parametrize("base", BASES)
def test_every_base_is_named_by_the_help_and_taken(prelabel, photos, tmp_path, base):
    told = prelabel("run", "--help").stdout
    assert base in told.replace("\n", " ")
    result = prelabel("run", photos, "--classes", "dark", "--method", "base", "--base", base,
                      "--out", tmp_path / "out", "--save-job", tmp_path / "job.json")  # fmt: skip
    assert result.exit_code == 0
    assert Job.from_json((tmp_path / "job.json").read_text()).base == base


def test_the_command_of_the_guide(prelabel, photos, tmp_path):
    result = prelabel(
        "run", photos, "--classes", "dark, bright", "--method", "freecp", "--base", "sclip",
        "--models", "demo", "--out", tmp_path / "out", "--format", "png",
    )  # fmt: skip
    assert result.exit_code == 0
    assert "2 images in 4 files, read back and compared" in result.stdout
    assert result.stdout.count("These labels mean nothing.") == 1
    assert {j.base for j in prelabel.runner.jobs} == {"sclip"}
    (back,) = FORMATS["png"].read(tmp_path / "out" / "a.png", None)
    assert back.vocabulary.names == ("dark", "bright")


def test_a_broken_image_is_one_sentence_and_exit_code_one(prelabel, photos, tmp_path):
    (photos / "broken[1].png").write_bytes(b"")
    result = prelabel("run", photos, "--classes", "dark, bright", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "broken[1].png:" in result.stderr
    assert "Traceback" not in result.output
    assert (tmp_path / "out" / "b.png").exists()


def test_running_again_goes_on(prelabel, photos, tmp_path):
    command = ("run", photos, "--classes", "dark, bright", "--out", tmp_path / "out")
    prelabel(*command)
    result = prelabel(*command)
    assert "--overwrite writes them again" in result.stdout
    assert len(prelabel.runner.jobs) == 2
    prelabel(*command, "--overwrite")
    assert len(prelabel.runner.jobs) == 4


def test_a_job_is_saved_and_taken(prelabel, photos, tmp_path):
    job = tmp_path / "job.json"
    prelabel(
        "run", photos, "--classes", "dark, bright", "--method", "base", "--base", "gem",
        "--out", tmp_path / "one", "--save-job", job,
    )  # fmt: skip
    saved = Job.from_json(job.read_text(encoding="utf-8"))
    assert (saved.method, saved.base) == ("base", "gem")
    result = prelabel(
        "run", photos, "--job", job, "--out", tmp_path / "two", "--format", "coco",
        "--segmentation", "rle", "--annotation", "class", "--precision", "bfloat16",
    )  # fmt: skip
    assert result.exit_code == 0
    assert prelabel.runner.jobs[-1].base == "gem"
    assert prelabel.runner.jobs[-1].precision == "bfloat16"
    document = json.loads((tmp_path / "two" / "instances.json").read_text(encoding="utf-8"))
    assert len(document["annotations"]) == 4


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--classes", "tree\ntree"], "stands twice"),
        ([], "either --classes or --job"),
        (["--classes", "tree", "--format", "bmp"], "choose one of png, tiff, coco"),
        (["--classes", "tree", "--method", "magic"], "method must be one of"),
        (["--classes", "tree", "--segmentation", "x"], "segmentation must be one of"),
        (["--classes", "tree", "--models", "vitb16"], "prelabel models fetch openai-vitb16"),
        (["--classes", "tree", "--models", "nothing"], "There is no bundle 'nothing'"),
        (["--classes", "gone.txt"], "cannot be read"),
        (["--job", "gone.json"], "cannot be read"),
    ],
)
def test_errors_are_one_sentence_and_exit_code_two(arguments, sentence, prelabel, photos, tmp_path):
    result = prelabel("run", photos, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_no_image_is_told(prelabel, tmp_path):
    result = prelabel("run", tmp_path / "no*.png", "--classes", "a", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "holds no image" in result.stderr


def test_a_run_that_finds_nothing_says_so(prelabel, photos, tmp_path, monkeypatch):
    run = Brightness.run

    def blind(self, job, image):
        found = yield from run(self, job, image)
        return replace(found, ids=np.zeros_like(found.ids))

    monkeypatch.setattr(Brightness, "run", blind)
    (photos / "b.png").unlink()
    result = prelabel("run", photos, "--classes", "moon", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "Nothing was found: no pixel took any of the words" in result.stdout
    assert "1 image\n" in result.stdout


def test_control_c_ends_in_a_sentence(prelabel, photos, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(prelabel.runner, "run", stop)
    result = prelabel("run", photos, "--classes", "a", "--out", tmp_path / "out")
    assert result.exit_code == 130
    assert "run the same command to go on" in result.stderr


def test_demo_writes_a_report(prelabel, tmp_path):
    result = prelabel("demo", "--out", tmp_path / "demo", "--no-window", "--limit", 1)
    assert result.exit_code == 0
    assert (tmp_path / "demo" / "report.html").exists()
    assert "report.html" in result.stdout
    # A line for each scene and method, where the output is no terminal, too.
    told = [line for line in result.stderr.splitlines() if " of 5: " in line]
    assert told[0] == "1 of 5: 10 corrected scenes, reme"
    assert told[-1] == "5 of 5: scene-01, reme"
    assert len(told) == 5


def test_demo_opens_napari_when_there_is_a_display(prelabel, tmp_path, monkeypatch):
    from napari_prelabel.gui import launch

    given = []
    monkeypatch.setattr(launch, "launch", lambda **options: given.append(options))
    monkeypatch.setattr(cli.screen, "has_display", lambda: True)
    prelabel("demo", "--out", tmp_path / "demo", "--limit", 1)
    assert given[0]["names"] == ["scene-01"]
    monkeypatch.setattr(cli.screen, "has_display", lambda: False)
    prelabel("demo", "--out", tmp_path / "demo", "--limit", 1)
    assert len(given) == 1


def test_demo_without_a_window_to_open_says_so(prelabel, tmp_path, monkeypatch):
    monkeypatch.setattr(cli.screen, "has_display", lambda: True)
    monkeypatch.setitem(sys.modules, "napari_prelabel.gui.launch", None)
    result = prelabel("demo", "--out", tmp_path / "demo", "--limit", 1)
    assert result.exit_code == 0
    assert "napari-prelabel[gui]" in result.output


def test_displays(monkeypatch):
    for name in ("CI", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    assert not cli.screen.has_display()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert cli.screen.has_display()
    monkeypatch.setenv("CI", "true")
    assert not cli.screen.has_display()
    monkeypatch.delenv("CI")
    monkeypatch.delenv("WAYLAND_DISPLAY")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cli.screen.has_display()


def test_descriptions_of_no_class_are_told(prelabel, photos, tmp_path):
    file = tmp_path / "d.json"
    file.write_text('{"dark": ["no light"], "lake": ["wet"]}', encoding="utf-8")
    result = prelabel(
        "run", photos, "--classes", "dark, bright", "--out", tmp_path / "out",
        "--descriptions", file,
    )  # fmt: skip
    assert result.exit_code == 0
    assert "1 class is described by d.json; 1 of its names belongs to no class: lake." in (
        result.stdout
    )


def test_models_are_listed_and_fetched(prelabel, monkeypatch):
    listed = prelabel("models", "list").stdout
    assert all(name in listed for name in catalog.BUNDLES)
    assert all(name in listed for name in catalog.MODELS)
    assert "Models are fetched to" in listed
    asked = []

    def fetched(name, on_bytes):
        asked.append(name)
        on_bytes(5, 10)

    monkeypatch.setattr(fetch, "fetch", fetched)
    assert "nothing to fetch" in prelabel("models", "fetch", "demo").stdout
    result = prelabel("models", "fetch", "vitb16", input="n\n")
    assert result.exit_code == 1
    assert asked == []
    assert "599 MB" in result.stdout
    assert "licence: MIT, OpenAI" in result.stdout
    assert prelabel("models", "fetch", "dinov2b", "--yes").exit_code == 0
    assert asked == ["dinov2b"]
    asked.clear()
    assert prelabel("models", "fetch", "vitb16", "--yes").exit_code == 0
    assert asked == ["openai-vitb16"]
    assert prelabel("models", "fetch", "nothing").exit_code == 2


def test_the_installed_command_starts_fast_and_without_torch():
    code = (
        "import sys\nfrom napari_prelabel.cli import app\n"
        "try:\n    app(['--version'])\nexcept SystemExit as end:\n"
        "    print(end.code, {'torch', 'napari', 'scipy', 'distributed'} & set(sys.modules))"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert out.stdout.splitlines() == [f"prelabel {__version__}", "0 set()"]


def test_a_real_run_in_a_process_of_its_own(photos, tmp_path):
    command = [
        sys.executable, "-c", "from napari_prelabel.cli import app; app()", "run", str(photos),
        "--classes", "sky, grass", "--out", str(tmp_path / "out"), "--device", "cpu",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "read back and compared: every pixel is as on the screen" in done.stdout
    (back,) = FORMATS["png"].read(tmp_path / "out" / "a.png", None)
    assert back.ids.shape == (6, 7)
