import json
import re

import numpy as np
import pytest
from brightness import Brightness, finish
from PIL import Image

from napari_prelabel import report
from napari_prelabel.formats.png import read_png
from napari_prelabel.models.catalog import bundle_of
from napari_prelabel.values.job import Reference
from napari_prelabel.values.vocabulary import Vocabulary

METHODS = bundle_of("demo").methods


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    steps, results = finish(report.run_demo(Brightness(), report.sample_scenes(2), folder))
    return folder, steps, results


def test_every_scene_is_run_with_every_method(demo):
    _, steps, results = demo
    assert steps == [("10 corrected scenes", "reme")] + [
        (scene, method) for scene in ("scene-01", "scene-02") for method in METHODS
    ]
    assert len(steps) == report.count("demo", 2)
    assert [len(r) for r in results.methods.values()] == [2] * len(METHODS)


def test_reme_learns_from_scenes_that_no_sample_repeats(tmp_path):
    runner = Brightness()
    finish(report.run_demo(runner, report.sample_scenes(1), tmp_path))
    assert len(runner.learnt.pairs) == 10
    assert all(pair.name.startswith("train-") for pair in runner.learnt.pairs)
    (job,) = (j for j in runner.jobs if j.method == "reme")
    assert job.reference == Reference(runner.learnt.folder, "d1")


def test_labels_and_overlays_are_files(demo):
    folder, _, results = demo
    for method in METHODS:
        (back,) = read_png(folder / "labels" / method / "scene-01.png")
        assert np.array_equal(back.ids, results.methods[method][0].labels.ids)
        with Image.open(folder / "overlays" / f"scene-01-{method}.png") as picture:
            assert picture.size == back.ids.shape[::-1]


def test_the_page_needs_nothing_else_and_says_what_was_measured(demo):
    folder, _, results = demo
    page = (folder / report.PAGE).read_text(encoding="utf-8")
    assert page.count("<figure>") == 2 * (2 + len(METHODS))
    assert not re.findall(r"""(?:src|href)=['"](?:https?:)?//""", page)
    for link in re.findall(r"href='([^']+)'", page):
        assert (folder / link).is_file()
    for row in report.table(results):
        assert all(value in page for value in row)
    assert "These labels mean nothing." in page
    assert "$" not in page


def test_figures_are_percent_and_per_image(demo):
    folder, _, results = demo
    figures = json.loads((folder / report.FIGURES).read_text(encoding="utf-8"))
    assert [row["method"] for row in figures["rows"]] == list(METHODS)
    for row in figures["rows"]:
        assert set(row["image_miou"]) == {"scene-01", "scene-02"}
        assert 0 <= row["miou"] <= 100
    assert len(next(report.table(results))) == len(report.HEAD)


def test_a_second_demo_replaces_the_first(demo):
    folder, _, _ = demo
    finish(report.run_demo(Brightness(), report.sample_scenes(1), folder))


def test_names_are_escaped(demo, tmp_path):
    _, _, _ = demo
    evil = Brightness(notices=("<script>alert(1)</script>",))
    finish(report.run_demo(evil, report.sample_scenes(1), tmp_path))
    assert "<script>" not in (tmp_path / report.PAGE).read_text(encoding="utf-8")


def test_overlay_mixes_colours_and_marks_borders():
    vocabulary = Vocabulary.parse("a [#ff0000]\nb [#0000ff]")
    ids = np.array([[0, 1, 1], [0, 1, 2], [65535, 65535, 65535]], np.uint16)
    image = np.full((3, 3, 3), 100, np.uint8)
    shown = report.overlay(image, ids, vocabulary, strength=0.5)
    assert shown[0, 0].tolist() == [100, 100, 100]
    assert shown[0, 2].tolist() == [178, 50, 50]
    assert shown[1, 2].max() < 128
    assert shown[2, 2].tolist() == [45, 45, 45]


def test_what_napari_is_given(demo):
    _, _, results = demo
    given = report.for_napari(results)
    assert given["names"] == ["scene-01", "scene-02"]
    assert len(given["vocabulary"].classes) == 32
    assert [i.shape[:2] for i in given["images"]] == [ids.shape for ids in given["labels"]]
