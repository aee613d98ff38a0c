"""`prelabel evaluate`: methods compared on a person's own labelled images."""

import json
import shutil

import numpy as np
import pytest
from brightness import Brightness, by_brightness
from PIL import Image
from typer.testing import CliRunner

from napari_prelabel import cli
from napari_prelabel.formats import LabelImage, Options, export
from napari_prelabel.models import catalog
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.reference.values import EncoderId
from napari_prelabel.values.labels import HUMAN, MODEL
from napari_prelabel.values.samples import sample_path
from napari_prelabel.values.vocabulary import Vocabulary

WORDS = "dark, middle, bright, piano"


def run(*arguments, code=0):
    done = CliRunner().invoke(cli.app, [str(a) for a in arguments])
    assert done.exit_code == code, done.output + repr(done.exception)
    return " ".join(done.output.split())


@pytest.fixture
def runner(monkeypatch):
    """In place of the models: classes by brightness."""
    runner = Brightness()
    monkeypatch.setattr(cli.screen, "engine", lambda _: runner)
    return runner


@pytest.fixture
def folders(tmp_path):
    """Three images whose masks are right for all but the first row."""
    for folder in ("photos", "masks"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    for name in "abc":
        image = rng.integers(20, 236, (12, 10, 3), np.uint8)
        ids = by_brightness(image, 4).astype(np.uint8)
        ids[0] = 1
        save(tmp_path, name, image, ids)
    return tmp_path


def save(root, name, image, ids):
    Image.fromarray(image).save(root / "photos" / f"{name}.png")
    Image.fromarray(ids.astype(np.uint8)).save(root / "masks" / f"{name}.png")


def evaluate(root, *more, classes=WORDS, code=0):
    """What is printed, and the figures."""
    file = root / "figures.json"
    file.unlink(missing_ok=True)
    where = ("--images", root / "photos", "--masks", root / "masks", "--json", file)
    named = ("--classes", classes) if classes else ()
    told = run("evaluate", *where, *named, *more, code=code)
    return told, json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def test_every_method_on_sample_scenes(tmp_path):
    """The demo models through the real command, and a set that was learnt from other scenes."""
    for part, folder in (("images", "photos"), ("masks", "masks")):
        (tmp_path / folder).mkdir()
        for name in ("scene-06.png", "scene-18.png"):
            shutil.copy(sample_path("scenes", part, name), tmp_path / folder / name)
    words = sample_path("vocabularies", "scenes.txt")
    learn = sample_path("learn")
    run("reference", "build", tmp_path / "set", "--images", learn / "images",
        "--labels", learn / "masks", "--classes", words, "--device", "cpu")  # fmt: skip
    told, figures = evaluate(
        tmp_path, "--methods", "base,freecp,nerve,reme", "--reference", tmp_path / "set",
        "--device", "cpu", classes=words,
    )  # fmt: skip
    rows = {row["method"]: row for row in figures["rows"]}
    assert [(r["method"], r["base"]) for r in figures["rows"]] == [
        ("base", "clearclip"), ("freecp", "clearclip"), ("nerve", "clearclip"), ("reme", "-"),
    ]  # fmt: skip
    assert "2 images" in told
    for row in rows.values():
        assert set(row["image_miou"]) == {"scene-06", "scene-18"}
        assert row["pixels_to_fix"] == pytest.approx(100 - row["pixel_accuracy"], abs=0.011)
        assert row["miou"] == pytest.approx(np.mean(list(row["class_iou"].values())), abs=0.01)
        low, high = row["interval"]
        assert low <= high
        assert row["method"] in told
    assert rows["base"]["miou"] > 30
    assert rows["freecp"]["gain"] == pytest.approx(
        rows["freecp"]["miou"] - rows["base"]["miou"], abs=0.011
    )
    assert all(name in told for name in rows["base"]["class_iou"])
    assert figures["models"] == "demo"
    assert figures["notes"] == []


def test_figures_are_those_of_the_masks(runner, folders):
    _, figures = evaluate(folders, "--methods", "base,freecp", "--bases", "sclip,gem")
    assert [(r["method"], r["base"]) for r in figures["rows"]] == [
        ("base", "sclip"), ("freecp", "sclip"), ("base", "gem"), ("freecp", "gem"),
    ]  # fmt: skip
    wrong = 0
    for name in "abc":
        truth = np.asarray(Image.open(folders / "masks" / f"{name}.png"))
        image = np.asarray(Image.open(folders / "photos" / f"{name}.png"))
        count = int((by_brightness(image, 4) != truth).sum())
        wrong += count
        assert figures["rows"][0]["image_pixels_to_fix"][name] == count
    assert figures["rows"][0]["pixels_to_fix"] == pytest.approx(100 * wrong / 360, abs=0.01)
    assert len(runner.jobs) == 3 * 4
    assert {"images": 3, "failed": {}, "device": "cpu"}.items() <= figures.items()


@pytest.mark.usefixtures("runner")
def test_the_rule_for_absent_classes_is_named_and_chosen(folders):
    classes = "dark, bright"
    for name in "abc":
        image = np.asarray(Image.open(folders / "photos" / f"{name}.png"))
        save(folders, name, image, np.ones(image.shape[:2]))
    told, skip = evaluate(folders, classes=classes)
    assert "classes without a true pixel are left out (--absent skip)" in told
    told, mmseg = evaluate(folders, "--absent", "mmseg", classes=classes)
    assert "predicted alone counts 0 (--absent mmseg)" in told
    assert (skip["absent_classes"], mmseg["absent_classes"]) == ("skip", "mmseg")
    assert list(skip["rows"][0]["class_iou"]) == ["dark"]
    assert mmseg["rows"][0]["miou"] == pytest.approx(skip["rows"][0]["miou"] / 2, abs=0.01)


@pytest.mark.usefixtures("runner")
def test_one_bad_image_is_told_and_the_others_are_done(folders):
    image = np.full((12, 10, 3), (255, 0, 0), np.uint8)
    save(folders, "d", image, np.ones((12, 10)))
    save(folders, "e", image[:5], np.ones((12, 10)))
    told, figures = evaluate(folders, code=1)
    assert "d: The image is too red." in told
    assert "e.png has 10 x 12 pixels, e.png 10 x 5" in told
    assert figures["failed"] == {"d": "The image is too red."}
    assert figures["unusable"] == 1
    assert figures["images"] == 3
    assert all(list(row["image_miou"]) == ["a", "b", "c"] for row in figures["rows"])


@pytest.mark.usefixtures("runner")
def test_nothing_is_left(folders):
    for name in "abc":
        save(folders, name, np.full((12, 10, 3), (255, 0, 0), np.uint8), np.ones((12, 10)))
    told, figures = evaluate(folders, code=2)
    assert "The image is too red." in told
    assert figures is None
    for name in "abc":
        save(folders, name, np.zeros((12, 10, 3), np.uint8), np.zeros((12, 10)))
    assert "No image has a labelled pixel: label one" in evaluate(folders, code=2)[0]


@pytest.mark.usefixtures("runner")
def test_what_a_reader_of_the_figures_must_know_is_told(folders):
    save(folders, "b", np.zeros((12, 10, 3), np.uint8), np.zeros((12, 10)))
    told, figures = evaluate(folders, "--limit", 2)
    assert "Left out, for nothing is labelled in them: b." in told
    assert "there are no intervals" in told
    assert figures["rows"][0]["interval"] is None
    assert figures["rows"][1]["gain_interval"] is None
    for name in "abc":
        image = np.asarray(Image.open(folders / "photos" / f"{name}.png"))
        save(folders, name, image, np.arange(120).reshape(12, 10) % 2)
    told, figures = evaluate(folders, classes="tree")
    assert "'tree' is the only class and takes every pixel" in told
    assert figures["rows"][0]["pixel_accuracy"] == 100
    told, figures = evaluate(folders, classes="tree; - ground")
    assert "only class" not in told
    assert figures["rows"][0]["pixel_accuracy"] == 50


@pytest.mark.usefixtures("runner")
def test_tables_beside_the_masks_name_the_classes(folders):
    shutil.rmtree(folders / "masks")
    ids = np.ones((12, 10), np.uint16)
    for names, words in (("ab", "dark\nbright"), ("c", "dark\nlight")):
        images = [LabelImage(ids, Vocabulary.parse(words), name) for name in names]
        export(images, folders / "masks", "png", Options(overwrite=True))
    told, figures = evaluate(folders, classes=None, code=1)
    assert "c has other classes than the images before it" in told
    assert figures["images"] == 2
    assert list(figures["rows"][0]["class_iou"]) == ["dark"]


@pytest.mark.usefixtures("runner")
def test_what_only_a_model_said_is_no_truth(folders):
    shutil.rmtree(folders / "masks")
    whose = np.full((12, 10), MODEL, np.uint8)
    whose[:3] = HUMAN
    words = Vocabulary.parse("dark\nlight")
    image = LabelImage(np.ones((12, 10), np.uint16), words, "a", provenance=whose)
    export([image], folders / "masks", "png", Options())
    counted = {}
    for more in ((), ("--mine-only",)):
        _, figures = evaluate(folders, *more, classes="dark, light")
        row = figures["rows"][0]
        counted[more] = row["image_pixels_to_fix"]["a"] / row["pixels_to_fix"] * 100
    assert counted == {(): pytest.approx(120, abs=1), ("--mine-only",): pytest.approx(30, abs=1)}


def test_images_of_the_reference_set_are_told(folders, monkeypatch):
    run("reference", "build", folders / "set", "--images", folders / "photos",
        "--labels", folders / "masks", "--classes", WORDS, "--device", "cpu")  # fmt: skip
    monkeypatch.setattr(cli.screen, "engine", lambda _: Brightness())
    told, figures = evaluate(folders, "--methods", "reme", "--reference", folders / "set")
    assert "The reference set was made from a, b, c, too" in told
    assert "'prelabel reference evaluate' labels each image from the others" in told
    assert figures["reference"] == str(folders / "set")
    told, _ = evaluate(folders, "--methods", "base", "--reference", folders / "set")
    assert "was made from" not in told


def test_missing_models_are_told_before_the_first_run(runner, folders, monkeypatch):
    monkeypatch.setattr(catalog, "installed", lambda _: False)
    held = ReferenceSet.create(folders / "set", EncoderId("dinov2b", "a" * 64, 6))
    told, figures = evaluate(
        folders, "--methods", "base,nerve,reme", "--models", "vitb16", "--reference", held.folder,
        code=2,
    )  # fmt: skip
    assert "prelabel models fetch openai-vitb16" in told
    assert "is not installed: run 'prelabel models fetch dinov2b'" in told
    assert (figures, runner.jobs) == (None, [])
    monkeypatch.setattr(catalog, "installed", lambda name: name != "sd21-base")
    told, _ = evaluate(folders, "--methods", "base,nerve", "--models", "vitb16", code=2)
    assert "prelabel models fetch sd21-base" in told


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (("--methods", "magic"), "'magic' is no method: choose among base, freecp, nerve"),
        (("--methods", ","), "at least one"),
        (("--bases", "magic"), "base must be one of"),
        (("--absent", "drop"), "absent must be one of skip, mmseg"),
        (("--methods", "base,reme"), "reme answers from a reference set: give it by --reference"),
        (("--models", "rn50x16"), "'rn50x16' cannot do freecp"),
        (("--models", "nothing"), "nothing"),
        (("--descriptions", "none.json"), "none.json"),
        (("--masks", "nowhere"), "nowhere is no folder"),
    ],
)
def test_errors_are_one_sentence(runner, folders, more, sentence):
    told, figures = evaluate(folders, *more, code=2)
    assert sentence in told
    assert (figures, runner.jobs) == (None, [])


def test_descriptions_reach_the_jobs(runner, folders):
    file = folders / "told.json"
    file.write_text('{"dark": ["no light"]}', encoding="utf-8")
    evaluate(folders, "--descriptions", file)
    assert runner.jobs[0].vocabulary.classes[0].descriptions == ("no light",)
