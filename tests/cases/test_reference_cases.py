"""One bad image never ends a batch, where sets are made and images described, with real files."""

import os
import shutil
import struct

import numpy as np
import pytest
from brightness import Brightness, finish
from PIL import Image
from typer.testing import CliRunner

from napari_prelabel import cli, report
from napari_prelabel.engine.embed import Looker
from napari_prelabel.models import captioner
from napari_prelabel.reference.captions import read_captions
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.values.errors import ModelError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="makes names that Windows has not")
# A TIFF of 2 x 2 pixels whose compression, 60000, nobody knows.
NO_CODEC = struct.pack(
    "<2sHIH" + "HHII" * 8 + "I4s", b"II", 42, 8, 8,
    *(256, 3, 1, 2), *(257, 3, 1, 2), *(258, 3, 1, 8), *(259, 3, 1, 60000), *(262, 3, 1, 1),
    *(273, 4, 1, 110), *(278, 3, 1, 2), *(279, 4, 1, 4), 0, b"abcd",
)  # fmt: skip
STRANGE = os.fsdecode(b"caf\xe9.png")


@pytest.fixture
def folders(tmp_path):
    """Two good pairs, one of them of a name that is no UTF-8, among bad images and bad labels."""
    images, labels = tmp_path / "images", tmp_path / "labels"
    images.mkdir()
    labels.mkdir()
    for seed, name in enumerate(("a.png", STRANGE, "size.png", "text.png")):
        picture, ids = scene(seed)
        picture.save(images / name)
        ids.save(labels / name)
    shutil.copy(labels / "a.png", labels / "codec.png")
    shutil.copy(labels / "a.png", labels / "broken.png")
    (images / "codec.tif").write_bytes(NO_CODEC)
    (images / "broken.png").write_bytes((images / "a.png").read_bytes()[:90])
    Image.new("L", (9, 9)).save(labels / "size.png")
    (labels / "text.png").write_bytes(b"no picture")
    return tmp_path


def scene(seed):
    rng = np.random.default_rng(seed)
    image = np.empty((36, 50, 3), np.uint8)
    image[:18], image[18:] = (60, 170, 60), (40, 70, 190)
    image += rng.integers(0, 20, image.shape, np.uint8)
    ids = np.ones((36, 50), np.uint8)
    ids[18:] = 2
    return Image.fromarray(image), Image.fromarray(ids)


def call(*arguments):
    done = CliRunner().invoke(cli.app, list(map(str, arguments)))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert "Traceback" not in done.output
    return done


def reference(command, root, *more):
    where = ("--images", root / "images", "--labels", root / "labels")
    return call("reference", command, root / "set", *where, "--classes", "grass, water", *more)


def names_of(root):
    return {source.name for source in ReferenceSet.open(root / "set").sources()}


def test_bad_images_are_told_and_the_others_learnt(folders, monkeypatch):
    done = reference("build", folders)
    assert done.exit_code == 1, done.output
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 4
    for name in ("codec.tif", "broken.png", "size.png", "text.png"):
        assert sum(name in line for line in errors) == 1
    assert all(len(line) < 320 for line in errors)
    assert "4 of 6 images cannot be used and are left out." in done.stderr
    assert names_of(folders) == {"a", "caf%E9"}
    # Once more, and now a model chokes on one that is read well.
    for name in ("codec", "broken", "size", "text"):
        (folders / "labels" / f"{name}.png").unlink()
    choke(monkeypatch, RuntimeError("index 7 is out\nof bounds"))
    done = reference("add", folders)
    assert done.exit_code == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert line.startswith("error: a: The image cannot be learnt from (RuntimeError: index 7")
    assert "1 images could not be learnt" in done.stdout
    (folders / "labels" / STRANGE).unlink()
    done = reference("add", folders)
    assert done.exit_code == 2
    assert "error: a: The image cannot be learnt from" in done.stderr
    choke(monkeypatch, ModelError("texture", "The weights are gone."))
    assert "error: The weights are gone." in reference("add", folders).stderr
    assert names_of(folders) == {"a", "caf%E9"}


def choke(monkeypatch, error):
    """Have the encoder fail on the image a."""
    first = np.asarray(scene(0)[0])
    real = Looker.features

    def features(self, image, name):
        if np.array_equal(image, first):
            raise error
        return real(self, image, name)

    monkeypatch.setattr(Looker, "features", features)


class Told:
    """A captioner that cannot say anything of pictures 9 pixels wide."""

    def caption(self, image):
        if image.shape[1] == 9:
            raise RuntimeError("CUDA error: device-side assert")
        if image.shape[1] == 8:
            raise KeyboardInterrupt
        return "Green grass beside the water."


def test_bad_images_are_told_and_the_others_captioned(folders, monkeypatch):
    monkeypatch.setattr(captioner, "load_captioner", lambda *_: Told())
    images, out = folders / "images", folders / "captions.jsonl"
    Image.new("RGB", (9, 9)).save(images / "choke.png")
    done = call("reference", "caption", images, "--out", out)
    assert done.exit_code == 1
    for name in ("codec.tif: ", "broken.png: ", "choke.png: The image cannot be captioned"):
        assert sum(line.startswith(name) for line in done.stderr.splitlines()) == 1
    assert "3 images could not be captioned" in done.stdout
    read = read_captions(out, images)
    assert read.faults == ()
    assert {c.name for c in read.images} == {"a.png", STRANGE, "size.png", "text.png"}
    done = call("reference", "caption", images, "--out", out)
    assert done.exit_code == 2
    assert "exists already" in done.stderr
    # What was done before the person stopped it is kept.
    Image.new("RGB", (8, 9)).save(images / "z.png")
    done = call("reference", "caption", images, "--out", folders / "cut.jsonl")
    assert done.exit_code == 130
    assert len(read_captions(folders / "cut.jsonl", images).images) == 4


class Chokes(Brightness):
    """Fails on the scenes of these numbers, with one method."""

    def __init__(self, *numbers):
        super().__init__()
        self._bad = [report.sample_scenes(3).samples[n].image for n in numbers]

    def run(self, job, image):
        if job.method == "nerve" and any(np.array_equal(image, bad) for bad in self._bad):
            raise RuntimeError("bad news")
        return (yield from super().run(job, image))


def test_a_scene_that_fails_does_not_end_the_demo(tmp_path, monkeypatch):
    monkeypatch.setattr(cli.screen, "engine", lambda _: Chokes(1))
    monkeypatch.setattr(cli.screen, "check_models", lambda *_: None)
    done = call("demo", "--out", tmp_path, "--no-window", "--limit", 3)
    assert done.exit_code == 1
    assert "scene-02: The image cannot be labelled (RuntimeError: bad news)" in done.stderr
    page = (tmp_path / report.PAGE).read_text(encoding="utf-8")
    assert "scene-03" in page
    with pytest.raises(RuntimeError, match="bad news"):
        finish(report.run_demo(Chokes(0, 1, 2), report.sample_scenes(3), tmp_path))
