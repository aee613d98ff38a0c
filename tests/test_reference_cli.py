"""`prelabel reference`: every command once, on small files, with its sentences."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from napari_prelabel.cli import app
from napari_prelabel.formats import LabelImage, export
from napari_prelabel.reference.metric import fit_set
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.values.labels import HUMAN
from napari_prelabel.values.vocabulary import Vocabulary

SENTENCE = 2


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    for folder in ("images", "labels"):
        (root / folder).mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        border = int(rng.integers(12, 25))
        image = np.empty((36, 50, 3), np.uint8)
        image[:border], image[border:] = (60, 170, 60), (40, 70, 190)
        image = (image + rng.integers(-20, 20, image.shape)).clip(0, 255).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        ids = np.zeros(image.shape[:2], np.uint8)
        ids[border:] = 1
        Image.fromarray(ids).save(root / "labels" / f"{name}.png")
    return root


@pytest.fixture(scope="module")
def built(pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "lake"
    reference("build", folder, *files(pictures), "--licence", "CC0", "--author", "Ada")
    return folder


def files(pictures, classes="grass, water", *rest):
    where = ("--images", pictures / "images", "--labels", pictures / "labels")
    return (*where, "--classes", classes, "--from-zero", *rest)


def reference(command, *arguments, code=0):
    done = CliRunner().invoke(app, ["reference", command, *map(str, arguments)])
    assert done.exit_code == code, done.output + repr(done.exception)
    return " ".join(done.output.split())


def test_a_set_is_built_and_told(built, tmp_path):
    told = reference("info", built, "--json", tmp_path / "info.json")
    assert "lake" in told
    assert "3 images: CC0" in told
    facts = json.loads((tmp_path / "info.json").read_text())
    assert [c["word"] for c in facts["classes"]] == ["grass", "water"]
    assert facts["counts"]["images"] == 3
    assert facts["encoder"]["name"] == "texture"
    assert facts["cleaned"] is None


def test_a_set_is_not_built_twice(built, pictures):
    assert "is a reference set already" in reference(
        "build", built, *files(pictures), code=SENTENCE
    )


def test_a_set_is_measured(built, pictures, tmp_path):
    told = reference(
        "evaluate", built, *files(pictures), "--limit", 2, "--json", tmp_path / "e.json"
    )
    assert "2 images, percent" in told
    figures = json.loads((tmp_path / "e.json").read_text())
    assert [row["name"] for row in figures["rows"]] == ["nothing", "set"]
    assert set(figures["per_image"]) == {"a", "b"}


def test_a_set_is_extended_cleaned_undone_and_merged(built, pictures, tmp_path):
    folder = tmp_path / "set"
    told = reference("build", folder, *files(pictures, "lawn, lake"), "--name", "mine")
    assert "of 3 images" in told
    assert "of 3 images" in reference("add", folder, *files(pictures))  # the same ones again
    held = ReferenceSet.open(folder)
    assert {e.phrase for e in held.labels()} == {"grass", "water"}
    assert "outliers" in reference("clean", folder, "--drop", "0.2", "--keep", "grass")
    assert held.digest != ReferenceSet.open(folder).digest
    assert "Cleaning dropped" in reference("info", folder)
    reference("undo", folder)
    assert held.digest == ReferenceSet.open(folder).digest
    reference("clean", folder, "--drop", "0.2")
    before = ReferenceSet.open(folder)
    assert "was not cleaned" not in reference("merge", folder, built)  # of the same images, earlier
    before.refresh()
    before.remove([s.hash for s in before.sources()[1:]])
    before.put_metric(fit_set(before))
    told = reference("merge", folder, built)
    assert "mine holds" in told
    assert "was not cleaned" in told
    merged = ReferenceSet.open(folder)
    assert not np.array_equal(merged.metric.matrix, before.metric.matrix)
    merged.undo()
    assert merged.digest == before.digest
    assert "must be one of" in reference("clean", folder, "--outliers", "some", code=SENTENCE)


def test_captions_name_plain_images(pictures, tmp_path):
    lines = [{"image": "a.png", "caption": "Green grass beside the blue water."}]
    (tmp_path / "told.jsonl").write_text("\n".join(map(json.dumps, lines)))
    where = ("--images", pictures / "images", "--captions", tmp_path / "told.jsonl")
    told = reference("build", tmp_path / "set", *where, "--licence", "CC0")
    assert "of 1 images" in told
    assert "of 1 images" in reference("add", tmp_path / "set", *where, "--author", "Ada")
    assert ReferenceSet.open(tmp_path / "set").sources()[0].author == "Ada"
    assert "green grass" in {e.phrase for e in ReferenceSet.open(tmp_path / "set").labels()}
    told = reference("build", tmp_path / "no", *where, *files(pictures)[2:], code=SENTENCE)
    assert "leave --labels, --classes and --from-zero away" in told
    told = reference("add", tmp_path / "set", *files(pictures), "--text", "demo", code=SENTENCE)
    assert "--text counts with --captions only" in told
    pairs = ("--images", pictures / "images", "--labels", pictures / "masks", "--crops")
    told = reference("add", tmp_path / "set", *pairs, code=SENTENCE)
    assert "--crops counts with --captions only" in told
    told = reference("build", tmp_path / "other", *pairs, code=SENTENCE)
    assert "--crops counts with --captions only" in told
    assert "segments" in reference("add", tmp_path / "set", *where, "--crops")
    reference("add", tmp_path / "set", *files(pictures))
    assert "1 images stay as they were corrected" in reference("add", tmp_path / "set", *where)


def test_faults_of_the_files_are_sentences(pictures, tmp_path):
    folder = tmp_path / "set"
    only = files(pictures)[:2]
    assert "Give --labels" in reference("build", folder, *only, code=SENTENCE)
    told = reference("build", folder, *files(pictures, "grass"), code=SENTENCE)
    assert told.count("name all of them") == 3
    assert not folder.exists()
    where = files(pictures)[:4]
    assert "with --classes 'sky, tree'" in reference("build", folder, *where, code=SENTENCE)
    assert "There is no reference set" in reference("info", folder, code=SENTENCE)


def test_a_class_file_with_a_background_of_id_0(pictures, tmp_path):
    classes = tmp_path / "classes.txt"
    classes.write_text("0 background\n1 water\n")
    where = (*files(pictures)[:4], "--classes", classes)
    told = reference("build", tmp_path / "set", *where)
    assert "numbered from 0, and so are ids" in told
    words = {e.phrase for e in ReferenceSet.open(tmp_path / "set").labels()}
    assert words == {"background", "water"}
    told = reference("evaluate", tmp_path / "set", *where)
    assert "3 images, percent" in told
    classes.write_text("1 water\n")
    told = reference("build", tmp_path / "no", *where, "--from-zero", code=SENTENCE)
    assert "numbered from 1: leave --from-zero away" in told


def test_what_only_a_model_said_is_left_out(pictures, tmp_path):
    words = Vocabulary.parse("water\ngrass")
    for name in ("a", "b"):
        with Image.open(pictures / "labels" / f"{name}.png") as picture:
            ids = np.where(np.asarray(picture), 1, 2).astype(np.uint16)
        owners = np.zeros(ids.shape, np.uint8)
        owners[:, :25] = HUMAN
        image = LabelImage(ids, words, name, f"{name}.png", provenance=owners)
        export([image], tmp_path / "labels", "tiff")
    (tmp_path / "labels" / "b.tif.prov").unlink()
    where = ("--images", pictures / "images", "--labels", tmp_path / "labels")
    told = reference("build", tmp_path / "set", *where, "--mine-only")
    assert "note: b.tif.prov, which says whose its pixels are, is missing" in told
    words = {e.phrase for e in ReferenceSet.open(tmp_path / "set").labels()}
    assert words == {"water", "grass"}


def test_background_words_are_told_to_name_no_pixels(pictures, tmp_path):
    classes = tmp_path / "classes.txt"
    classes.write_text("water\n- grass\n")
    where = (*files(pictures)[:4], "--classes", classes)
    told = reference("build", tmp_path / "set", *where, "--unlabelled-is-background")
    assert "nothing is learnt of id 0" in told
    words = {e.phrase for e in ReferenceSet.open(tmp_path / "set").labels()}
    assert words == {"water", "background"}
    told = reference("evaluate", tmp_path / "set", *where)
    assert "nothing is learnt" not in told
    assert "3 images, percent" in told


def test_many_faults_are_counted_and_empty_labels_told(pictures, tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for number in range(12):
        image = Image.open(pictures / "images" / "a.png")
        image.save(tmp_path / "images" / f"{number}.png")
        wrong = np.full((36, 50), 7, np.uint8)
        Image.fromarray(wrong).save(tmp_path / "labels" / f"{number}.png")
    told = reference("build", tmp_path / "set", *files(tmp_path), code=SENTENCE)
    assert told.count("holds id 7") == 10
    assert "and so for 2 more images" in told
    for path in (tmp_path / "labels").iterdir():
        Image.fromarray(np.zeros((36, 50), np.uint8)).save(path)
    told = reference("build", tmp_path / "set", *files(tmp_path)[:6], code=SENTENCE)
    assert "no region of at least 4 pixels has a label that counts" in told


def test_a_run_without_words_is_told_those_of_the_set(built, pictures, tmp_path):
    arguments = ["run", pictures / "images", "--out", tmp_path / "out", "--reference", built]
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == SENTENCE
    assert sorted(done.output.partition(" knows ")[2].strip(".\n ").split(", ")) == [
        "grass",
        "water",
    ]
