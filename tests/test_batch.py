import numpy as np
import pytest
import tifffile
from brightness import Brightness, by_brightness, finish
from PIL import Image

from napari_prelabel import batch
from napari_prelabel.batch import BatchStep, Outcome, run_batch
from napari_prelabel.formats import FORMATS, Options
from napari_prelabel.images.find import find_images
from napari_prelabel.values.errors import FileFormatError, ModelError
from napari_prelabel.values.job import Job
from napari_prelabel.values.labels import MODEL
from napari_prelabel.values.vocabulary import Vocabulary

JOB = Job(Vocabulary.parse("dark\nmiddle\nbright"), "base")


@pytest.fixture
def folder(tmp_path):
    """Three images, one of them damaged and one too red, and a stack of two planes."""
    rng = np.random.default_rng(0)
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a", "b"):
        Image.fromarray(rng.integers(0, 256, (6, 7, 3), np.uint8)).save(source / f"{name}.png")
    (source / "broken.png").write_bytes(b"no image")
    red = np.zeros((3, 4, 3), np.uint8)
    red[0, 0] = 255, 0, 0
    Image.fromarray(red).save(source / "red.png")
    stack = rng.integers(0, 256, (2, 6, 7), np.uint8)
    tifffile.imwrite(source / "stack.tif", stack, metadata={"axes": "TYX"})
    return source


def ran(folder, out, format_name="png", runner=None, job=JOB, **options):
    pictures = find_images([str(folder)])
    steps = run_batch(runner or Brightness(), job, pictures, out, format_name, Options(**options))
    events, receipt = finish(steps)
    return {e.picture.name: e for e in events if isinstance(e, Outcome)}, receipt


@pytest.mark.parametrize("format_name", FORMATS)
def test_broken_images_are_told_and_the_others_go_on(format_name, folder, tmp_path):
    outcomes, receipt = ran(folder, tmp_path / "out", format_name)
    assert {n: o.state for n, o in outcomes.items()} == {
        "a": "written",
        "b": "written",
        "broken": "failed",
        "red": "failed",
        "stack": "written",
    }
    assert "damaged or no image" in outcomes["broken"].sentence
    assert outcomes["red"].sentence == "The image is too red."
    assert outcomes["a"].notices == ("These labels mean nothing.",)
    assert receipt.exact
    assert receipt.images == (3 if format_name == "tiff" else 4)


def test_labels_are_those_of_the_runner(folder, tmp_path):
    ran(folder, tmp_path / "out")
    with Image.open(folder / "a.png") as picture:
        expected = by_brightness(np.asarray(picture), 3)
    (back,) = FORMATS["png"].read(tmp_path / "out" / "a.png", None)
    assert np.array_equal(back.ids, expected)
    assert (back.source, back.record["method"]) == ("a.png", "base")


@pytest.mark.parametrize("format_name", FORMATS)
def test_all_pixels_are_the_models_in_one_word(format_name, folder, tmp_path):
    ran(folder, tmp_path / "out", format_name)
    chosen = FORMATS[format_name]
    files = [p for p in (tmp_path / "out").iterdir() if p.suffix == chosen.suffix]
    files = [p for p in files if chosen.recognises(p)]
    assert len(files) == {"png": 4, "tiff": 3, "coco": 1}[format_name]
    for file in files:
        for image in chosen.read(file, None):
            assert image.provenance.shape == image.ids.shape
            assert (image.provenance == MODEL).all()
    assert not list((tmp_path / "out").glob("*.prov"))


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_second_batch_goes_on_where_the_first_stopped(format_name, folder, tmp_path):
    ran(folder, tmp_path / "out", format_name)
    runner = Brightness()
    outcomes, receipt = ran(folder, tmp_path / "out", format_name, runner)
    assert [n for n, o in outcomes.items() if o.state == "skipped"] == ["a", "b", "stack"]
    assert receipt.images == 0
    assert len(runner.jobs) == 1
    outcomes, _ = ran(folder, tmp_path / "out", format_name, overwrite=True)
    assert [n for n, o in outcomes.items() if o.state == "written"] == ["a", "b", "stack"]


@pytest.mark.parametrize("format_name", FORMATS)
def test_what_is_finished_is_on_disk_when_a_batch_is_stopped(format_name, folder, tmp_path):
    class Stopped(Brightness):
        def run(self, job, image):
            if len(self.jobs) == 1:
                raise KeyboardInterrupt
            return (yield from super().run(job, image))

    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        ran(folder, out, format_name, Stopped())
    outcomes, _ = ran(folder, out, format_name)
    assert [n for n, o in outcomes.items() if o.state == "skipped"] == ["a"]


def test_one_file_is_written_now_and_then(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "FLUSH_SECONDS", 0.0)
    pictures = find_images([str(folder)])
    steps = run_batch(Brightness(), JOB, pictures, tmp_path / "out", "coco", Options())
    for event in steps:
        if isinstance(event, Outcome) and event.picture.name == "b":
            break
    assert (tmp_path / "out" / "instances.json").exists()
    steps.close()


def test_steps_tell_image_plane_and_stage(folder, tmp_path):
    pictures = find_images([str(folder / "stack.tif")])
    events, _ = finish(run_batch(Brightness(), JOB, pictures, tmp_path, "tiff", Options()))
    steps = [e for e in events if isinstance(e, BatchStep)]
    assert [(s.plane, s.planes) for s in steps if s.progress is None] == [(0, 2), (1, 2)]
    assert {s.progress.stage for s in steps if s.progress} == {"encode"}
    (back,) = FORMATS["tiff"].read(tmp_path / "stack.tif", None)
    assert back.ids.shape == (2, 6, 7)


def test_an_error_that_is_no_images_own_ends_the_batch(folder, tmp_path):
    class Broken(Brightness):
        def run(self, job, image):
            yield from ()
            self.jobs.append((job, image))
            raise ModelError("demo", "The weights are gone.")

    with pytest.raises(ModelError, match="weights are gone"):
        ran(folder, tmp_path / "out", runner=Broken())


def test_a_coco_file_of_other_classes_stops_before_the_work(folder, tmp_path):
    ran(folder, tmp_path / "out", "coco")
    runner = Brightness()
    other = Job(Vocabulary.parse("x\ny"), "base")
    with pytest.raises(FileFormatError, match="made with other classes"):
        ran(folder, tmp_path / "out", "coco", runner, other)
    assert runner.jobs == []


@pytest.mark.parametrize("overwrite", [False, True])
def test_an_image_is_never_replaced_by_its_own_labels(overwrite, folder):
    before = (folder / "a.png").read_bytes()
    outcomes, _ = ran(folder, folder, overwrite=overwrite)
    assert outcomes["a"].state == "written"
    assert outcomes["a"].notices[0] == (
        "a.png is not of the image a.png, whose labels are therefore in a.png.png."
    )
    assert (folder / "a.png").read_bytes() == before
    (back,) = FORMATS["png"].read(folder / "a.png.png", None)
    assert back.source == "a.png"


def test_labels_are_not_labelled_again(folder, tmp_path):
    ran(folder, tmp_path / "out")
    outcomes, _ = ran(tmp_path / "out", tmp_path / "again")
    assert outcomes
    assert all(o.state == "failed" for o in outcomes.values())
    assert all("These are labels" in o.sentence for o in outcomes.values())
