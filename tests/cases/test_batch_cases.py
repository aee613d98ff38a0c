"""Whole folders through `prelabel run`: nothing is lost, no image takes another's labels.

Every picture has one grey of its own, so that its labels are one class of its own, and whoever
reads them back (Pillow, tifffile, pycocotools) sees whose they are.
"""

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tifffile
from brightness import Brightness
from PIL import Image
from pycocotools.coco import COCO
from typer.testing import CliRunner

from napari_prelabel import batch, cli
from napari_prelabel.formats import FORMATS, atomic, table
from napari_prelabel.models import catalog
from napari_prelabel.values.errors import MissingExtra, ModelError, RunFailed, WorkerDied

# pycocotools' own decode() is not yet written for NumPy 2.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.skipif(os.name == "nt", reason="makes names that Windows has not"),
]
WORDS = "a, b, c, d, e, f, g, h"
KINDS = list(FORMATS)


@pytest.fixture
def prelabel(monkeypatch):
    """Runs the command without models; `.runner` keeps the jobs it did."""
    runner = Brightness(notices=())
    monkeypatch.setattr(cli.screen, "engine", lambda _: runner)
    monkeypatch.setattr(catalog, "installed", lambda name: name == "demo-clip")
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments):
        given = ["run", *map(str, arguments), "--classes", WORDS, "--method", "base"]
        runner.jobs.clear()
        result = CliRunner().invoke(cli.app, given)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
        return result

    call.runner = runner
    return call


def grey(number):
    """The grey that becomes class `number` of eight."""
    return 32 * (number - 1) + 12


def paint(path, number):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    form = {".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".webp": "WEBP"}[path.suffix.lower()]
    Image.new("RGB", (8, 6), (grey(number),) * 3).save(path, form)
    return path


def paint_stack(path, *numbers):
    planes = np.stack([np.full((6, 8), grey(n), np.uint8) for n in numbers])
    tifffile.imwrite(path, planes, photometric="minisblack", metadata={"axes": "TYX"})


def found(out, kind):
    """{image as its labels name it: class of its pixels}, read by others' programs."""
    if kind == "coco":
        return found_coco(out / "instances.json")
    seen = {}
    for path in sorted(out.rglob("*.png" if kind == "png" else "*.tif")):
        if kind == "png":
            with Image.open(path) as picture:
                ids = np.asarray(picture)
            beside = path.with_name(f"{path.stem}.labels.json")
            told = json.loads(beside.read_text(encoding="utf-8"))
        else:
            with tifffile.TiffFile(path) as file:
                ids, told = file.asarray(), json.loads(file.pages[0].description)
        for plane in ids.reshape(-1, *ids.shape[-2:]):
            assert (plane == plane[0, 0]).all()
        planes = tuple(int(p[0, 0]) for p in ids.reshape(-1, *ids.shape[-2:]))
        assert told["image"] not in seen
        seen[told["image"]] = planes[0] if len(planes) == 1 else planes
    return seen


def found_coco(path):
    with contextlib.redirect_stdout(None):
        dataset = COCO(str(path))
    names = [i["file_name"] for i in dataset.imgs.values()]
    assert len(set(names)) == len(names)
    seen = {}
    for number, info in dataset.imgs.items():
        ids = np.zeros((info["height"], info["width"]), int)
        for one in dataset.imgToAnns[number]:
            ids[dataset.annToMask(one).astype(bool)] = one["category_id"]
        assert (ids == ids[0, 0]).all()
        seen[info["file_name"]] = int(ids[0, 0])
    return seen


def names_are_fit(out):
    """Output names as Windows and macOS take them, and no two that these take for one."""
    seen = set()
    for path in out.rglob("*"):
        name = path.name
        if name == atomic.LOCK:
            continue
        assert not set(name) & set('<>:"/\\|?*')
        assert name.isprintable()
        assert name[0] != "."
        assert name[-1] not in ". "
        assert name.split(".")[0].upper() not in {"CON", "NUL", "AUX", "PRN", "COM1"}
        assert len(name.encode()) <= 255
        folded = unicodedata.normalize("NFC", str(path.relative_to(out)).casefold())
        assert path.is_dir() or folded not in seen
        seen.add(folded)


LONG = "n" * 300
NFC, NFD = "\u00e9t\u00e9", "e\u0301te\u0301"
# Names of one folder, that must not meet: {file: class of its pixels}.
FOLDERS = {
    "suffixes": {"a.jpg": 1, "a.png": 2, "a.jpg.png": 3, "a.png.png": 4, "a.tif": 5},
    "case": {"a.png": 1, "A.png": 2, "a.PNG": 3, "Straße.png": 4, "STRASSE.png": 5},
    "accents": {f"{NFC}.png": 1, f"{NFD}.png": 2, f"{NFC.upper()}.png": 3},
    "long": {
        f"{LONG[:234]}.png": 1, f"{LONG[:238]}.png": 2, f"{LONG[:251]}.png": 3,
        f"{LONG[:251]}.jpg": 4, f"{LONG[:250]}x.png": 5, f"{'é' * 125}.png": 6,
    },
    "windows": {
        "a:b.png": 1, "a\\b.png": 2, "a_b.png": 3, "a. .png": 4, "a.  .png": 5, "a?b.png": 6,
        "C:\\b.png": 7, "a\nb.png": 8,
    },
    "devices": {"con.png": 1, "CON.png": 2, "nul.tar.png": 3, "_con.png": 4, "com1.jpg": 5},
    "bytes": {
        os.fsdecode(b"caf\xe9.png"): 1, os.fsdecode(b"caf\xe8.png"): 2, "caf%E9.png": 3,
        "café.png": 4,
    },
    "marks": {"[red]x.png": 1, "-rf.png": 2, "a%20b.png": 3, "$(x).png": 4, "\x1b[2Ja.png": 5},
    "folders": {
        "x/a.png": 1, "X/a.png": 2, "x_/a.png": 3, "x./a.png": 4, "x /a.png": 5, "a.png": 6,
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("files", FOLDERS.values(), ids=FOLDERS)
def test_every_image_of_a_folder_has_labels_of_its_own(files, kind, prelabel, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    for name, number in files.items():
        paint(source / name, number)
    result = prelabel(source, "--out", out, "--format", kind)
    assert result.exit_code == 0, result.output
    assert sorted(found(out, kind).values()) == sorted(files.values())
    names_are_fit(out)
    before = contents(out)
    again = prelabel(source, "--out", out, "--format", kind)
    assert again.exit_code == 0
    assert prelabel.runner.jobs == []
    assert contents(out) == before
    prelabel(source, "--out", out, "--format", kind, "--overwrite")
    assert len(prelabel.runner.jobs) == len(files)
    assert sorted(contents(out)) == sorted(before)
    assert sorted(found(out, kind).values()) == sorted(files.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("files", FOLDERS.values(), ids=FOLDERS)
def test_images_that_come_one_by_one_keep_their_labels(files, kind, prelabel, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    for name, number in files.items():
        paint(source / name, number)
        before = contents(out)
        result = prelabel(source, "--out", out, "--format", kind)
        assert result.exit_code == 0, result.output
        assert len(prelabel.runner.jobs) == 1
        if kind != "coco":
            assert before.items() <= contents(out).items()
    assert sorted(found(out, kind).values()) == sorted(files.values())
    names_are_fit(out)


def contents(folder):
    files = (p for p in folder.rglob("*") if p.is_file() and p.name != atomic.LOCK)
    return {p: p.read_bytes() for p in files}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("first", ["stack", "plane", "both"])
def test_a_stack_beside_an_image_called_as_its_plane(first, kind, prelabel, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    if first != "plane":
        paint_stack(source / "a.tif", 4, 5)
    if first != "stack":
        paint(source / "a_t0000.png", 1)
        paint(source / "a_t0001.tif", 2)
    assert prelabel(source, "--out", out, "--format", kind).exit_code == 0
    paint_stack(source / "a.tif", 4, 5)
    paint(source / "a_t0000.png", 1)
    paint(source / "a_t0001.tif", 2)
    assert prelabel(source, "--out", out, "--format", kind).exit_code == 0
    seen = list(found(out, kind).values())
    assert sorted(seen, key=str) == ([(4, 5), 1, 2] if kind == "tiff" else [1, 2, 4, 5])
    assert prelabel(source, "--out", out, "--format", kind).exit_code == 0
    assert prelabel.runner.jobs == []


@pytest.mark.parametrize("kind", ["png", "coco"])
def test_a_stack_that_was_cut_off_is_finished(kind, prelabel, tmp_path):
    out = tmp_path / "out"
    paint_stack(tmp_path / "a.tif", 4, 5, 6)
    prelabel(tmp_path / "a.tif", "--out", out, "--format", kind)
    if kind == "png":
        (out / "a_t0001.png").unlink()
        Image.new("L", (8, 6), 8).save(out / "a_t0000.png")  # a correction by another program
    else:
        drop_last(out / "instances.json")
    prelabel(tmp_path / "a.tif", "--out", out, "--format", kind)
    assert len(prelabel.runner.jobs) == 3
    assert list(found(out, kind).values()) == ([8, 5, 6] if kind == "png" else [4, 5, 6])


def drop_last(path):
    document = json.loads(path.read_text(encoding="utf-8"))
    gone = document["images"].pop()["id"]
    document["annotations"] = [a for a in document["annotations"] if a["image_id"] != gone]
    path.write_text(json.dumps(document), encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("together", [True, False])
def test_one_name_in_two_folders(together, kind, prelabel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paint("x/DSC0001.jpg", 1)
    paint("y/DSC0001.jpg", 2)
    paint("z/y/DSC0001.jpg", 3)
    for folders in [["x", "y", "z/y"]] if together else [["y"], ["x"], ["z/y"], ["x", "y", "z/y"]]:
        result = prelabel(*folders, "--out", "out", "--format", kind)
        assert result.exit_code == 0, result.output
    seen = found(tmp_path / "out", kind)
    assert sorted(seen.values()) == [1, 2, 3]
    if together:
        assert seen["x/DSC0001.jpg"] == 1


@pytest.mark.parametrize("kind", KINDS)
def test_labels_in_the_way_are_never_replaced(kind, prelabel, tmp_path):
    """Others' files at the name of the output, with the option and without."""
    source, out = tmp_path / "in", tmp_path / "out"
    paint(source / "a.jpg", 1)
    paint(tmp_path / "other" / "a.jpg", 7)
    prelabel(tmp_path / "other", "--out", out, "--format", kind)
    if kind != "coco":
        paint(out / ("b.png" if kind == "png" else "b.tif"), 8)
        paint(source / "b.jpg", 2)
    before = contents(out)
    for options in ([], ["--overwrite"]):
        result = prelabel(source, "--out", out, "--format", kind, *options)
        assert result.exit_code == 0
        if kind != "coco":
            assert before.items() <= contents(out).items()
        if kind != "coco" and not options:
            assert "whose labels are therefore in a.jpg." in result.stdout
            assert "is not of the image b.jpg" in result.stdout
    if kind != "coco":
        (out / ("b.png" if kind == "png" else "b.tif")).unlink()
    seen = sorted(found(out, kind).values())
    assert seen == ([1, 7] if kind == "coco" else [1, 2, 7])


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_that_changed_is_told_and_labelled_anew_when_asked(kind, prelabel, tmp_path):
    image, out = paint(tmp_path / "a.png", 1), tmp_path / "out"
    prelabel(image, "--out", out, "--format", kind)
    paint(image, 2)
    result = prelabel(image, "--out", out, "--format", kind)
    assert result.exit_code == 1
    assert "made before the image changed: --overwrite labels it anew" in result.stderr
    assert found(out, kind) == {"a.png": 1}
    assert prelabel(image, "--out", out, "--format", kind, "--overwrite").exit_code == 0
    assert found(out, kind) == {"a.png": 2}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("before", "after"), [((1,), (4, 5)), ((4, 5, 6), (1, 2)), ((4, 5), (1,))])
def test_an_image_that_changed_its_planes_tells_what_is_left(
    before, after, kind, prelabel, tmp_path
):
    image, out = tmp_path / "a.tif", tmp_path / "out"
    for planes in (before, after):
        paint_stack(image, *planes) if len(planes) > 1 else paint(image, *planes)
        result = prelabel(image, "--out", out, "--format", kind, "--overwrite")
        assert result.exit_code == 0
    left = {(1,): 1, (4, 5, 6): 1, (4, 5): 2}[before]
    told = "Labels of a.tif from before it changed stay in" in result.stdout
    seen = list(found(out, kind).values())
    if kind == "tiff":  # one file for a stack of any length
        assert not told
        assert seen == [after if len(after) > 1 else after[0]]
    else:
        assert told
        assert len(seen) == len(after) + left


def test_images_and_labels_that_moved_together_are_known(prelabel, tmp_path):
    paint(tmp_path / "one" / "in" / "a.png", 1)
    prelabel(tmp_path / "one" / "in", "--out", tmp_path / "one" / "out")
    shutil.move(tmp_path / "one", tmp_path / "two")
    assert prelabel(tmp_path / "two" / "in", "--out", tmp_path / "two" / "out").exit_code == 0
    assert prelabel.runner.jobs == []


def test_labels_of_other_classes_are_there_and_told(prelabel, tmp_path):
    image, out = paint(tmp_path / "a.png", 1), tmp_path / "out"
    prelabel(image, "--out", out)
    result = CliRunner().invoke(
        cli.app, ["run", str(image), "--out", str(out), "--classes", "x, y", "--method", "base"]
    )
    assert result.exit_code == 0
    assert "a.png was there already, with other classes" in result.stdout


@pytest.mark.parametrize("lost", ["a.png", "a.labels.json"])
def test_half_an_output_is_made_whole(lost, prelabel, tmp_path):
    image, out = paint(tmp_path / "a.jpg", 3), tmp_path / "out"
    prelabel(image, "--out", out)
    (out / lost).unlink()
    assert prelabel(image, "--out", out).exit_code == 0
    assert len(prelabel.runner.jobs) == 1
    if lost == "a.labels.json":  # a PNG that nobody knows stays
        (out / "a.png").unlink()
    assert found(out, "png") == {"a.jpg": 3}


def test_labels_beside_the_photos_are_no_photos(prelabel, tmp_path):
    for name, number in {"a.png": 1, "b.jpg": 2}.items():
        paint(tmp_path / name, number)
    assert prelabel(tmp_path, "--out", tmp_path).exit_code == 0
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["a.png", "a.png.png", "b.png"]
    assert prelabel(tmp_path, "--out", tmp_path).exit_code == 0
    assert prelabel.runner.jobs == []
    named = prelabel(tmp_path / "b.png", tmp_path / "a.png", "--out", tmp_path / "out")
    assert named.exit_code == 1
    assert "These are labels, not an image" in named.stderr


def test_a_folder_of_labels_only_is_told(prelabel, tmp_path):
    prelabel(paint(tmp_path / "in" / "a.png", 1), "--out", tmp_path / "labels")
    result = prelabel(tmp_path / "labels", "--out", tmp_path / "again")
    assert result.exit_code == 2
    assert "holds label files of napari-prelabel only" in result.stderr


class Panic(BaseException):
    """As extensions in Rust raise it."""


class Mute(Exception):
    def __str__(self):
        raise ValueError


ERRORS = [
    ModuleNotFoundError("No module named 'zstd'", name="zstd"), ImportError("no"),
    ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package"), NotImplementedError(),
    RuntimeError("bad\nnews"), MemoryError(), RecursionError("deep"), Panic("index out of bounds"),
    UnicodeEncodeError("utf-8", "\udce9", 0, 1, "surrogates not allowed"), KeyError("x"),
    AssertionError(), Mute(), StopIteration("x"), PermissionError(errno.EACCES, "denied"),
    OSError("no reason"), RunFailed("odd"),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("where", ["read", "run", "write"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
def test_whatever_one_image_raises_the_others_are_done(
    error, where, kind, prelabel, tmp_path, monkeypatch
):
    for number, name in enumerate("abc", start=1):
        paint(tmp_path / "in" / f"{name}.png", number)
    break_at(where, error, monkeypatch)
    result = prelabel(tmp_path / "in", "--out", tmp_path / "out", "--format", kind)
    assert result.exit_code == 1, result.output
    told = [line for line in result.stderr.splitlines() if line.startswith("b.png: ")]
    assert len(told) == 1
    assert len(told[0]) <= 310
    assert found(tmp_path / "out", kind) == {"a.png": 1, "c.png": 3}
    assert "failed" in result.stdout


def break_at(where, error, monkeypatch):
    """Have b.png raise an error while it is read, labelled or written."""

    def thrower(*_, **__):
        raise error

    if where == "read":
        real = batch.read_image
        monkeypatch.setattr(
            batch, "read_image", lambda path: thrower() if path.name == "b.png" else real(path)
        )
    elif where == "run":
        run = Brightness.run

        def broken(self, job, image):
            if image[0, 0, 0] == grey(2):
                if isinstance(error, StopIteration):
                    next(iter(()))
                raise error
            return (yield from run(self, job, image))

        monkeypatch.setattr(Brightness, "run", broken)
    else:
        dump = table.to_table

        def to_table(image, *rest):
            return thrower() if "b.png" in image.source else dump(image, *rest)

        for module in ("png", "tiff"):
            monkeypatch.setattr(f"napari_prelabel.formats.{module}.to_table", to_table)
        entry = FORMATS["coco"].write.__globals__["_image_entry"]
        monkeypatch.setattr(
            "napari_prelabel.formats.coco._image_entry",
            lambda image, number: thrower() if image.source == "b.png" else entry(image, number),
        )


@pytest.mark.parametrize(
    "error", [ModelError("demo", "The weights are gone."), WorkerDied(), MissingExtra("x", "y")]
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_of_the_run_ends_it_and_keeps_the_rest(
    error, kind, prelabel, tmp_path, monkeypatch
):
    for number, name in enumerate("abc", start=1):
        paint(tmp_path / "in" / f"{name}.png", number)
    break_at("run", error, monkeypatch)
    result = prelabel(tmp_path / "in", "--out", tmp_path / "out", "--format", kind)
    assert result.exit_code == 2
    assert str(error) in result.stderr
    assert found(tmp_path / "out", kind) == {"a.png": 1}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_is_full_ends_the_run_in_a_sentence(
    number, kind, prelabel, tmp_path, monkeypatch
):
    for n, name in enumerate("abc", start=1):
        paint(tmp_path / "in" / f"{name}.png", n)
    monkeypatch.setattr(batch, "FLUSH_SECONDS", 0.0)
    monkeypatch.setattr(batch, "_SHARE", 0.0)
    fsync, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > 1 + (2 if kind == "png" else 1):
            raise OSError(number, os.strerror(number))
        fsync(handle)

    monkeypatch.setattr(atomic.os, "fsync", full)
    result = prelabel(tmp_path / "in", "--out", tmp_path / "out", "--format", kind)
    assert result.exit_code == 2
    assert f"cannot be written ({os.strerror(number)})" in result.stderr
    assert "written" in result.stdout
    assert found(tmp_path / "out", kind) == {"a.png": 1}
    assert [p.name for p in (tmp_path / "out").glob(".*")] in ([], [atomic.LOCK])


def test_a_place_that_takes_no_files_is_told_before_the_first_run(prelabel, tmp_path):
    image = paint(tmp_path / "a.png", 1)
    (tmp_path / "out").write_bytes(b"a file")
    result = prelabel(image, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
    assert prelabel.runner.jobs == []


def test_a_missing_codec_is_told_in_a_sentence(prelabel, tmp_path, monkeypatch):
    paint(tmp_path / "in" / "a.png", 1)
    (tmp_path / "in" / "b.tif").write_bytes(_zstd())
    monkeypatch.setattr(tifffile.TIFF, "DECOMPRESSORS", _NoCodec())
    result = prelabel(tmp_path / "in", "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "b.tif: " in result.stderr
    assert found(tmp_path / "out", "png") == {"a.png": 1}


class _NoCodec:
    def __getitem__(self, key):
        raise KeyError(f"{key} requires the 'imagecodecs' package")


def _zstd():
    path = Path(__file__).parent / "data" / "zstd.tif"
    return path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_links_have_labels_of_their_own_and_bad_ones_are_told(kind, prelabel, tmp_path):
    source, out = tmp_path / "in", tmp_path / "out"
    paint(source / "a.png", 1)
    blob = paint(tmp_path / "blob.png", 2).rename(tmp_path / "blob")
    for name, to in {"b.png": blob, "c.png": blob, "d.png": "nowhere", "e.png": "e.png"}.items():
        (source / name).symlink_to(to)
    os.mkfifo(tmp_path / "pipe.png")
    for _ in range(2):
        result = prelabel(
            source, tmp_path / "pipe.png", tmp_path / "gone.png", "--out", out, "--format", kind
        )
        assert result.exit_code == 1
        assert "d.png: It is a link to nowhere, which is not there." in result.stderr
        assert "e.png: It is a link to e.png" in result.stderr
        assert "pipe.png: It is no file" in result.stderr
        assert "gone.png: It is not there: check its spelling." in result.stderr
    assert prelabel.runner.jobs == []
    assert found(out, kind) == {"a.png": 1, "b.png": 2, "c.png": 2}


def test_names_that_the_terminal_lacks_end_nothing(tmp_path):
    """The real command in a terminal of ASCII, a broken image with a hostile name among others."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"no image")
    (tmp_path / "in" / "日本.png").write_bytes(b"no image")
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from brightness import Brightness; "
        "from napari_prelabel import cli; cli.screen.engine = lambda _: Brightness(); cli.app()"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parents[1]), "run", "in"]
    result = subprocess.run(
        [*command, "--out", "out", "--classes", "a", "--method", "base"],
        cwd=tmp_path, capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "COLUMNS": "200"},
    )  # fmt: skip
    told = result.stderr.decode("ascii")
    assert result.returncode == 1, told
    assert "caf%E9.png: " in told
    assert "\\u65e5\\u672c.png: " in told
    assert "Traceback" not in told


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_that_write_one_folder_lose_no_image(kind, tmp_path):
    """Fifty images: twenty of each process alone, ten of both."""
    for number in range(50):
        image = Image.new("RGB", (8, 6), (grey(number % 8 + 1),) * 3)
        path = tmp_path / ("one" if number < 20 else "two" if number < 40 else "both")
        path.mkdir(exist_ok=True)
        image.save(path / f"{number:02}.png")
    code = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); from brightness import Brightness; "
        "from napari_prelabel import batch, cli; cli.screen.engine = lambda _: Brightness(); "
        "batch.FLUSH_SECONDS = batch._SHARE = 0.0; cli.app()"
    )
    given = ["--out", "out", "--classes", WORDS, "--method", "base", "--format", kind]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(Path(__file__).parents[1]), "run", *folders, *given],
            cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        for folders in (["one", "both"], ["both", "two"])
    ]  # fmt: skip
    for process in started:
        told, _ = process.communicate(timeout=240)
        assert process.returncode == 0, told.decode(errors="replace")
    wanted = {f"{number:02}.png": number % 8 + 1 for number in range(50)}
    assert found(tmp_path / "out", kind) == wanted


def test_a_folder_that_another_process_holds_is_told(prelabel, tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "PATIENCE", 0.2)
    image, out = paint(tmp_path / "a.png", 1), tmp_path / "out"
    out.mkdir()
    code = (
        "import sys, filelock; held = filelock.FileLock(sys.argv[1]).acquire(); print(flush=True); "
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", f"{code}sys.stdin.read()", str(out / atomic.LOCK)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with holder:
        holder.stdout.readline()
        result = prelabel(image, "--out", out)
        holder.stdin.close()
    assert result.exit_code == 1
    assert "Another process has been writing into" in result.stderr
    assert prelabel(image, "--out", out).exit_code == 0
