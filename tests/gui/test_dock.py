"""The dock as a person uses it: a real window, a real worker process, an engine without models."""

import json
import os

import numpy as np
import pytest
from napari.layers import Labels
from qtpy.QtCore import QEvent, Qt, QTimer

from napari_prelabel.gui import dock as dock_module
from napari_prelabel.gui import remember, run_bar
from napari_prelabel.gui.class_table import COLOUR, LOCK, NAME, SHOW
from napari_prelabel.gui.result import ResultLayer
from napari_prelabel.gui.runner import Runner
from napari_prelabel.gui.words_menu import open_filter
from napari_prelabel.job import FreeCP, Job, Progress, Windows
from napari_prelabel.labels import HUMAN
from napari_prelabel.vocabulary import Vocabulary

from gui_steps import MODELS, run, wait  # isort: skip

WORDS = "dark\nbright"


def labels(viewer):
    return viewer.layers["ramp [prelabel]"]


@pytest.fixture
def done(dock, image):
    """The dock after a first run with two words."""
    dock.words.set_text(WORDS)
    run(dock)
    return dock


def tick(dock, number, column, on):
    model = dock.table.classes
    state = Qt.CheckState.Checked if on else Qt.CheckState.Unchecked
    model.setData(model.index(number, column), state, Qt.ItemDataRole.CheckStateRole)


# Words


def test_a_wrong_line_is_named_beside_the_box_and_nothing_pops_up(dock):
    dock.words.set_text("tree\nsky, sea")
    assert dock.words.message.text().startswith("Line 2: ")
    assert not dock.words.message.isHidden()
    dock.words.set_text("tree\nsky")
    assert dock.words.message.isHidden()


def test_the_table_follows_the_words(dock):
    dock.words.set_text("tree: oak\nsky [#0000ff]\n- haze")
    model = dock.table.classes
    assert [r.entry.name for r in model.rows] == ["tree", "sky"]
    assert model.data(model.index(1, COLOUR), Qt.ItemDataRole.DecorationRole).name() == "#0000ff"
    assert "oak" in model.data(model.index(0, NAME), Qt.ItemDataRole.ToolTipRole)
    assert model.data(model.index(0, SHOW), Qt.ItemDataRole.CheckStateRole) == Qt.CheckState.Checked


def test_ticks_and_colours_stay_with_their_names(dock):
    dock.words.set_text(WORDS)
    tick(dock, 1, LOCK, True)
    dock.table.classes.set_colour(1, "#123456")
    dock.words.set_text("new\nbright\ndark")
    assert dock.table.classes.locked == {"bright"}
    assert dock.table.classes.colours["bright"] == "#123456"


def test_a_preset_fills_the_box(dock):
    texts = [a.text() for a in dock.lists.menu().actions()]
    dock.lists.menu().actions()[texts.index("Cityscapes, 19 classes")].trigger()
    assert len(dock.words.vocabulary.classes) == 19


def test_words_go_to_a_file_and_back(dock, tmp_path):
    dock.words.set_text("tree: oak\n- haze")
    for name, text in (("w.txt", "tree: oak\n- haze"), ("w.csv", "tree: oak\n- haze\n")):
        dock.lists.save.emit(str(tmp_path / name))
        wait((tmp_path / name).exists)
        dock.words.set_text("x")
        dock.lists.load(tmp_path / name)
        wait(lambda text=text: dock.words.text == text)
    dock.describe({"tree": ["a tall tree"]})
    dock.lists.save.emit(str(tmp_path / "w.json"))
    wait((tmp_path / "w.json").exists)
    dock.words.set_text("x")
    dock.describe({})
    dock.lists.load(tmp_path / "w.json")
    wait(lambda: dock.described.text().startswith("1 of 1"))
    assert dock.words.text == "tree: oak\n- haze\n"


def test_words_of_other_programs_are_understood(dock, tmp_path):
    files = {
        "data.yaml": "names: {0: car, 1: road}",
        "labels.txt": "__ignore__\n_background_\ncar\nroad\n",
        "cvat.json": json.dumps([{"name": "car", "color": "#ff0000"}, {"name": "road"}]),
    }
    texts = ["car\nroad\n", "car\nroad\n", "car [#ff0000]\nroad\n"]
    for (name, content), text in zip(files.items(), texts, strict=True):
        (tmp_path / name).write_text(content)
        dock.words.set_text("x")
        dock.lists.load(tmp_path / name)
        wait(lambda text=text: dock.words.text == text)
    assert all(f"*{s}" in open_filter() for s in (".txt", ".csv", ".yaml", ".json"))


def test_words_that_cannot_be_saved_are_a_sentence(dock, tmp_path):
    dock.words.set_text("a, b")
    dock.lists.save.emit(str(tmp_path / "w.csv"))
    wait(lambda: dock.bar.notices.texts)
    assert "need a correction first" in dock.bar.notices.texts[0]
    (tmp_path / "full").write_text("no folder")
    dock.bar.say()
    dock.lists.save.emit(str(tmp_path / "full" / "w.txt"))
    wait(lambda: dock.bar.notices.texts)
    assert "cannot be written" in dock.bar.notices.texts[0]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("w.txt", "a\na", "stands twice"),
        ("w.json", "{", "no valid JSON"),
        ("no.txt", None, "read"),
    ],
)
def test_a_list_that_cannot_be_read_is_a_sentence(dock, tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_text(content)
    dock.lists.load(tmp_path / name)
    wait(lambda: dock.bar.notices.texts)
    assert sentence in dock.bar.notices.texts[0]


def test_descriptions_reach_the_job(dock, image, tmp_path):
    dock.words.set_text(WORDS)
    (tmp_path / "d.json").write_text(json.dumps({"Dark": ["a dark place"]}))
    dock.lists.load_sentences(tmp_path / "d.json")
    wait(lambda: not dock.described.isHidden())
    assert dock.job().vocabulary.find("dark").descriptions == ("a dark place",)
    assert dock.described.text() == "1 of 2 classes have descriptions."
    (tmp_path / "d.json").write_text("[1]")
    dock.lists.load_sentences(tmp_path / "d.json")
    wait(lambda: dock.bar.notices.texts)
    assert "needs the form" in dock.bar.notices.texts[0]


# Runs


@pytest.mark.parametrize(
    ("words", "sentence"), [("", "Type at least one word"), ("a, b", "need a correction first")]
)
def test_a_run_that_cannot_start_says_why(dock, image, words, sentence):
    dock.words.set_text(words)
    dock.run()
    assert not dock.session.running
    assert sentence in dock.bar.notices.texts[0]


def test_a_run_without_an_image_says_so(dock):
    dock.words.set_text(WORDS)
    dock.run()
    assert "Open an image first" in dock.bar.notices.texts[0]


def test_a_run_makes_a_named_coloured_layer_over_the_image(done, viewer, image):
    layer = labels(viewer)
    assert set(np.unique(layer.data)) == {1, 2}
    assert layer.data[0, 0] == 1
    assert layer.data[0, -1] == 2
    assert list(layer.features["name"]) == ["unlabelled", "dark", "bright"]
    assert layer.metadata["prelabel"]["image"] == "ramp"
    assert Job.from_json(json.dumps(layer.metadata["prelabel"]["job"])).vocabulary.names == (
        "dark",
        "bright",
    )
    counts = [row.pixels for row in done.table.classes.rows]
    assert sum(counts) == layer.data.size
    assert done.bar.stage.text() == "Done."


def test_running_again_updates_the_same_layer_and_says_what_changed(done, viewer):
    run(done)
    assert "Nothing changed" in done.results.changed.text()
    done.words.set_text("dark\nmiddle\nbright")
    run(done)
    assert len(viewer.layers) == 2
    assert "→ middle" in done.results.changed.text()
    assert labels(viewer).data.max() == 3


def test_strokes_survive_runs_and_undo_takes_back_one(done, viewer):
    layer = labels(viewer)
    before = layer.data.copy()
    layer.brush_size = 7
    layer.paint((30, 70), 1)
    drawn = layer.data.copy()
    assert (drawn != before).any()
    done.words.set_text("bright\ndark")  # ids swap; the names stay with the strokes
    run(done)
    human = ResultLayer.of(layer).annotation.provenance == HUMAN
    assert human.any()
    assert (layer.data[human] == 2).all()
    done.results.undo_button.click()
    np.testing.assert_array_equal(layer.data, drawn)
    assert "painted by you" in done.results.kept.text()


def test_painted_pixels_go_only_when_asked(done, viewer):
    layer = labels(viewer)
    before = layer.data.copy()
    layer.paint((30, 70), 1)
    done.results.overwrite.setChecked(True)
    run(done)
    np.testing.assert_array_equal(layer.data, before)


def test_locked_classes_stay(done, viewer):
    tick(done, 0, LOCK, True)
    dark = labels(viewer).data == 1
    done.words.set_text("x\ndark\ny\nz")
    run(done)
    assert (labels(viewer).data[dark] == 2).all()


def test_a_locked_class_stays_locked_when_it_becomes_a_synonym(done, viewer):
    tick(done, 0, LOCK, True)
    dark = labels(viewer).data == 1
    done.words.set_text("bright: dark")
    for _ in range(2):
        run(done)
        names = ResultLayer.of(labels(viewer)).annotation.vocabulary.names
        assert names == ("bright", "dark (kept)")
        assert (labels(viewer).data[dark] == 2).all()
        assert done.table.classes.locked == {"dark (kept)"}
    model = done.table.classes
    assert model.data(model.index(1, NAME), Qt.ItemDataRole.DisplayRole) == "dark (kept)"


def test_cancel_ends_a_run_and_the_next_one_works(dock, image, viewer):
    dock.words.set_text(WORDS)
    dock.bar.run_button.click()
    wait(lambda: dock.bar.bar.value() > 0)
    assert dock.bar.cancel_button.isEnabled()
    assert not dock.bar.run_button.isEnabled()
    assert "window" in dock.bar.stage.text()
    dock.bar.cancel_button.click()
    wait(lambda: not dock.session.running)
    assert "cancelled" in dock.bar.notices.texts[0]
    assert len(viewer.layers) == 1
    run(dock)
    assert labels(viewer).data.max() == 2


def test_an_answer_waits_for_the_end_of_a_stroke(done, viewer):
    layer = labels(viewer)
    layer._begin_stroke()
    layer.paint((30, 70), 1)
    done.words.set_text("only")
    done.run()
    wait(lambda: bool(done.session._inbox))
    assert done.session.running
    layer._commit_stroke()
    wait(lambda: not done.session.running)
    names = ResultLayer.of(layer).annotation.vocabulary.names
    assert names == ("only", "dark")
    assert layer.data[30, 70] == 2


def test_a_dead_worker_is_a_sentence_and_the_next_run_works(done, viewer):
    before = labels(viewer).data.copy()
    done.words.set_text("die")
    run(done)
    assert "worker process stopped" in done.bar.notices.texts[0]
    np.testing.assert_array_equal(labels(viewer).data, before)
    done.words.set_text("alive\nagain")
    run(done)
    assert done.bar.stage.text() == "Done."


def test_live_follows_the_words(done, viewer):
    done.bar.live_box.setChecked(True)
    done.words.set_text("a\nb\nc")
    wait(lambda: labels(viewer).data.max() == 3 and not done.session.running)
    done.words.set_text("a\nb\nc # only a comment")
    wait(lambda: not done.words._quiet.isActive())
    assert not done.session.running
    done.words.set_text("a, ")
    wait(lambda: not done.words._quiet.isActive())
    assert not done.session.running


def test_live_follows_the_image_too(done, viewer, image):
    done.bar.live_box.setChecked(True)
    other = viewer.add_image(image.data, name="other", rgb=True)
    wait(lambda: done.session.result(other) is not None and not done.session.running)
    assert viewer.layers["other [prelabel]"].data.max() == 2


def test_notices_losers_and_nothing_found_are_said(dock, image):
    dock.words.set_text("\n".join(["notice", *"abcdefghij"]))
    image.data = np.zeros_like(image.data)
    run(dock)
    assert dock.bar.notices.texts[0] == "A notice of the engine."
    assert "No pixel took: a, b" in dock.bar.notices.texts[1]
    dock.words.set_text("nothing")
    run(dock)
    assert "Nothing was found" in dock.bar.notices.texts[0]


def test_the_slider_blanks_doubtful_pixels_without_a_run(done, viewer):
    layer = labels(viewer)
    before = layer.data.copy()
    layer.brush_size = 3
    layer.paint((30, 70), 1)
    done.results.slider.setValue(60)  # the fake engine is half sure of class 2
    wait(lambda: not layer.data[0, -1])
    assert layer.data[0, 0] == 1
    assert layer.data[30, 70] == 1
    done.results.slider.setValue(0)
    wait(lambda: layer.data[0, -1] == 2)
    assert (layer.data != before).sum() <= 9


def test_the_slider_is_that_of_the_chosen_image(done, viewer, image):
    done.results.slider.setValue(60)
    wait(lambda: not labels(viewer).data[0, -1])
    viewer.add_image(image.data, name="other", rgb=True)
    assert done.results.slider.value() == 60
    run(done)
    assert not viewer.layers["other [prelabel]"].data[0, -1]
    done.results.slider.setValue(0)
    wait(lambda: viewer.layers["other [prelabel]"].data[0, -1] == 2)
    done.place.image.choose(image)
    assert done.results.percent.text() == "60 %"
    assert not labels(viewer).data[0, -1]


def test_a_class_can_be_painted_before_its_first_run(dock, image, viewer):
    dock.words.set_text(WORDS)
    dock.table.clicked.emit(dock.table.classes.index(1, NAME))
    assert labels(viewer).selected_label == 2
    labels(viewer).brush_size = 5
    labels(viewer).paint((30, 5), 2)
    run(dock)
    assert labels(viewer).data[30, 5] == 2
    assert labels(viewer).data[0, 0] == 1
    dock.words.set_text("dark\nbright\nnew")
    dock.table.clicked.emit(dock.table.classes.index(2, NAME))
    assert labels(viewer).selected_label == 3
    assert list(labels(viewer).features["name"])[3] == "new"


def test_a_class_without_an_image_cannot_be_painted(dock):
    dock.words.set_text(WORDS)
    dock.table.clicked.emit(dock.table.classes.index(1, NAME))
    assert "Open an image first" in dock.bar.notices.texts[0]


def test_hiding_and_picking_classes(done, viewer):
    tick(done, 1, SHOW, False)
    assert labels(viewer).colormap.color_dict[2][3] == 0
    done.table.clicked.emit(done.table.classes.index(1, NAME))
    assert labels(viewer).selected_label == 2
    assert viewer.layers.selection.active is labels(viewer)


def test_a_rectangle_limits_the_run(dock, image, viewer):
    dock.words.set_text(WORDS)
    dock.place.region.choose("rectangle")
    dock.run()
    assert "No rectangle is drawn" in dock.bar.notices.texts[0]
    viewer.add_shapes([[[10, 20], [10, 60], [40, 60], [40, 20]]], shape_type="rectangle")
    run(dock)
    inside = np.zeros((60, 80), bool)
    inside[10:41, 20:61] = True
    np.testing.assert_array_equal(labels(viewer).data > 0, inside)


def test_the_visible_field_limits_the_run(dock, image, viewer):
    dock.words.set_text(WORDS)
    dock.place.region.choose("visible")
    image.corner_pixels = np.array([[10, 20], [39, 59]])
    assert dock.job().region == (10, 20, 40, 60)
    run(dock)
    inside = np.zeros((60, 80), bool)
    inside[10:40, 20:60] = True
    np.testing.assert_array_equal(labels(viewer).data > 0, inside)


def stack_of(viewer, n=3):
    data = np.repeat(np.linspace(0, 255, 40, dtype=np.uint8)[None], 30, 0)
    return viewer.add_image(np.stack([data] * n), name="ramp", contrast_limits=(0, 255))


def test_all_slices_are_one_step(dock, viewer):
    stack_of(viewer)
    dock.words.set_text(WORDS)
    dock.place.region.choose("slices")
    run(dock)
    assert (labels(viewer).data > 0).all()
    dock.undo_run()
    assert not labels(viewer).data.any()


def test_the_current_slice_alone_is_labelled(dock, viewer):
    stack_of(viewer)
    dock.words.set_text(WORDS)
    viewer.dims.set_current_step(0, 1)
    run(dock)
    assert (labels(viewer).data > 0).any(axis=(1, 2)).tolist() == [False, True, False]


def test_cancel_between_slices_keeps_what_is_done(dock, viewer):
    stack_of(viewer, 4)
    viewer.dims.set_current_step(0, 0)
    dock.words.set_text(WORDS)
    dock.place.region.choose("slices")
    dock.bar.run_button.click()
    wait(lambda: dock.session.task.done >= 1)
    dock.bar.cancel_button.click()
    wait(lambda: not dock.session.running)
    finished = (labels(viewer).data > 0).all(axis=(1, 2))
    assert 1 <= finished.sum() < 4
    assert f"Cancelled after {finished.sum()} of 4" in dock.bar.notices.texts[0]


def test_channels_are_offered_for_a_five_channel_image(dock, viewer):
    data = np.zeros((40, 50, 5), np.uint8)
    data[:, 25:, 3] = 255
    viewer.add_image(data, rgb=False, name="ramp")
    assert dock.place.axis.currentData() == 2
    for combo in dock.place.channels:
        combo.choose(3)
    dock.words.set_text(WORDS)
    run(dock)
    assert labels(viewer).data.shape == (40, 50)
    assert labels(viewer).data[0, 0] == 1
    assert labels(viewer).data[0, -1] == 2


def test_an_image_that_cannot_be_read_is_a_sentence(dock, viewer):
    import dask.array as da

    def broken(block):
        raise OSError("the disk is gone")

    lazy = da.zeros((20, 30), chunks=-1, dtype=np.uint8)
    layer = viewer.add_image(lazy, name="lazy", contrast_limits=(0, 255))
    layer._data = lazy.map_blocks(broken, dtype=np.uint8)
    dock.words.set_text(WORDS)
    run(dock)
    assert "could not be read: the disk is gone" in dock.bar.notices.texts[0]


def test_an_image_removed_in_mid_run_does_no_harm(dock, image, viewer):
    dock.words.set_text(WORDS)
    dock.run()
    viewer.layers.remove(image)
    wait(lambda: not dock.session.running)
    assert len(viewer.layers) == 0
    assert dock.place.image.currentText() == "no image is open"


def test_the_chooser_follows_the_layer_list(dock, image, viewer):
    viewer.add_image(np.zeros((5, 6)), name="other", contrast_limits=(0, 1))
    assert dock.place.layer.name == "other"
    image.name = "renamed"
    texts = [dock.place.image.itemText(i) for i in range(dock.place.image.count())]
    assert texts == ["other", "renamed"]
    viewer.layers.remove("other")
    assert dock.place.layer is image


def test_a_sample_brings_its_words_but_not_over_typed_ones(dock, viewer):
    meta = {"prelabel_vocabulary": "lake\nhill"}
    viewer.add_image(np.zeros((5, 6)), metadata=meta, contrast_limits=(0, 1))
    assert dock.words.text == "lake\nhill"
    dock.words.set_text("my own")
    viewer.add_image(np.zeros((5, 6)), metadata=meta, contrast_limits=(0, 1))
    assert dock.words.text == "my own"


def test_keys_on_the_canvas(dock, image, viewer):
    dock.words.set_text(WORDS)
    keys = {str(k): f for k, f in viewer.keymap.items()}
    next(f for k, f in keys.items() if k.lower() == "shift+r")(viewer)
    wait(lambda: not dock.session.running)
    assert labels(viewer).data.any()
    next(f for k, f in keys.items() if k.lower() == "shift+u")(viewer)
    assert not labels(viewer).data.any()
    dock.undo_run()
    assert "no run to undo" in dock.bar.notices.texts[0]


# Settings


def test_every_setting_goes_into_the_job_and_back(dock, image, tmp_path):
    job = Job(
        Vocabulary.parse("a: b\n- c"), method="freecp", base="gem", models=MODELS,
        windows=Windows(320, 160, 80), precision="bfloat16",
        freecp=FreeCP(
            redundancy=False, ambiguity=False, rp_threshold=0.123456789, ap_threshold=1 / 3,
            box_threshold=0.3, refinement="paper", overlap="paper", similarity="paper",
            losers="box", gem_affinity="mean", empty_pixel="base", scope="image",
        ),
        logit_scale=62.5, region=(4, 5, 30, 41),
    )  # fmt: skip
    dock.show_job(job)
    assert dock.job() == job
    dock.save_job(tmp_path / "job.json")
    dock.show_job(Job(Vocabulary.parse("x"), method="base", min_score=0.5, models=MODELS))
    assert dock.job().min_score == 0.5
    assert dock.job().logit_scale is None
    assert dock.job().region is None
    dock.load_job(tmp_path / "job.json")
    assert dock.job() == job
    dock.load_job(tmp_path / "absent.json")
    assert "absent.json" in dock.exporter.receipt.text()


def test_a_rectangle_without_an_image_is_said(dock):
    dock.show_job(Job(Vocabulary.parse("x"), models=MODELS, region=(0, 0, 4, 4)))
    assert "no image is open" in dock.exporter.receipt.text()


def test_numbers_keep_their_digits_and_step_plainly(dock):
    field = dock.method.min_score
    for value, text in ((0.123456789, "0.123456789"), (0.1, "0.1"), (0.0, "0")):
        field.setValue(value)
        assert field.value() == value
        assert field.text() == text
    field.setValue(0.1)
    field.stepBy(1)
    assert field.value() == 0.15
    assert dock.method.logit_scale.text() == "the models' own"


def test_time_left_is_told_where_the_engine_does_not(dock, monkeypatch):
    clock = iter([10.0, 12.0, 13.0, 20.0])
    monkeypatch.setattr(run_bar.time, "monotonic", lambda: next(clock))
    dock.bar.progress(0, 1, Progress("purify", 0, 5))
    assert "left" not in dock.bar.stage.text()
    dock.bar.progress(0, 1, Progress("purify", 1, 5))
    assert "about 8 s left" in dock.bar.stage.text()
    dock.bar.progress(0, 1, Progress("encode", 1, 5, 90.0))
    assert "about 90 s left" in dock.bar.stage.text()
    dock.bar.progress(0, 1, Progress("purify", 3, 5))
    assert "left" not in dock.bar.stage.text()


def test_settings_are_remembered(done, viewer, pool):
    done.bar.live_box.setChecked(True)
    run(done)
    wait(lambda: remember.load() is not None)
    again = dock_module.PrelabelDock(viewer, done.session.runner)
    assert again.words.text == WORDS
    assert again.models.models.currentData() == MODELS
    # A dock that opens computes nothing unasked.
    assert not again.bar.live_box.isChecked()
    again.close()
    again.deleteLater()


def test_a_broken_memory_is_no_matter(viewer, pool, tmp_path):
    path = remember._path()
    path.parent.mkdir()
    path.write_text('{"job": {"schema": 99}}')
    made = dock_module.PrelabelDock(viewer)
    assert made.words.text == ""
    made.close()
    made.deleteLater()


def test_models_that_are_not_there_are_a_sentence(dock, image, monkeypatch, tmp_path):
    monkeypatch.setenv("PRELABEL_MODELS", str(tmp_path))
    dock.words.set_text(WORDS)
    dock.models.apply("vitb16")
    assert not dock.models.get.isHidden()
    assert "to fetch" in dock.models.facts.text()
    dock.run()
    assert "not on this machine yet" in dock.bar.notices.texts[0]


# Export


def test_export_says_what_is_in_the_files(done, viewer, tmp_path):
    done.exporter.folder.setText(str(tmp_path / "out"))
    done.exporter.button.click()
    wait(lambda: done.exporter.button.isEnabled())
    assert "every pixel is as on the screen" in done.exporter.receipt.text()
    assert (tmp_path / "out" / "ramp.png").exists()
    done.exporter.button.click()
    wait(lambda: done.exporter.button.isEnabled())
    assert "exists already" in done.exporter.receipt.text()
    assert os.listdir(tmp_path / "out")


def test_coco_can_be_written_as_asked(done, tmp_path):
    wait(lambda: done.exporter.format.count())
    assert done.exporter.segmentation.parent().isHidden()
    done.exporter.format.choose("coco")
    assert not done.exporter.segmentation.parent().isHidden()
    for how, kind in (("rle", dict), ("polygons", list)):
        done.exporter.segmentation.choose(how)
        done.exporter.annotation.choose("class")
        done.exporter.folder.setText(str(tmp_path / how))
        done.export()
        wait(lambda: done.exporter.button.isEnabled())
        document = json.loads((tmp_path / how / "instances.json").read_text())
        assert [type(a["segmentation"]) for a in document["annotations"]] == [kind, kind]


def test_export_before_a_run_says_so(dock, image):
    dock.export()
    assert "run first" in dock.exporter.receipt.text()


def test_exported_labels_open_again_with_names_and_colours(done, viewer, tmp_path):
    from napari_prelabel.gui.commands import get_reader

    done.exporter.folder.setText(str(tmp_path))
    done.export()
    wait(lambda: done.exporter.button.isEnabled())
    path = str(tmp_path / "ramp.png")
    ((data, attributes, kind),) = get_reader(path)(path)
    assert kind == "labels"
    np.testing.assert_array_equal(data, labels(viewer).data)
    layer = viewer.add_labels(data, **attributes)
    assert list(layer.features["name"]) == ["unlabelled", "dark", "bright"]
    np.testing.assert_allclose(
        layer.colormap.color_dict[2], labels(viewer).colormap.color_dict[2], atol=1e-6
    )


# Closing and opening


def reopen(viewer, pool, qapp):
    qapp.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    made = dock_module.PrelabelDock(viewer, Runner(lambda: pool))
    viewer.window.add_dock_widget(made, name="Pre-label", area="right")
    made.models.apply(MODELS)
    return made


def test_closing_the_dock_ends_its_run_and_leaves_the_viewer_alone(done, image, viewer, qapp):
    layer, session = labels(viewer), done.session
    before = len(viewer.keymap)
    done.words.set_text("a\nb\nc")
    done.run()
    viewer.window.remove_dock_widget(done)
    assert not session.running
    assert not session._retry.isActive()
    assert len(viewer.keymap) == before - 2
    assert not any(timer.isActive() for timer in done.findChildren(QTimer))
    qapp.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    layer.paint((30, 70), 1)
    viewer.add_image(np.zeros((4, 4)), contrast_limits=(0, 1))
    viewer.theme = "light"
    viewer.layers.clear()


def test_another_dock_keeps_its_keys_when_the_first_is_closed(dock, viewer, pool):
    other = dock_module.PrelabelDock(viewer, Runner(lambda: pool))
    before = len(viewer.keymap)
    viewer.window.remove_dock_widget(dock)
    assert len(viewer.keymap) == before
    other.close()
    other.close()  # twice does no harm
    assert len(viewer.keymap) == before - 2
    other.deleteLater()


def test_a_reopened_dock_takes_up_the_layer_and_its_strokes(done, viewer, pool, qapp):
    layer = labels(viewer)
    layer.paint((30, 70), 1)
    viewer.window.remove_dock_widget(done)
    layer.paint((20, 70), 1)  # with no dock open
    again = reopen(viewer, pool, qapp)
    again.words.set_text("bright\ndark")
    assert again.results.undo_button.isEnabled()
    assert sum(r.pixels for r in again.table.classes.rows) == layer.data.size
    run(again)
    assert [x.name for x in viewer.layers] == ["ramp", "ramp [prelabel]"]
    assert layer.data[30, 70] == layer.data[20, 70] == 2
    again.undo_run()
    assert layer.data[30, 70] == 1


@pytest.mark.parametrize("kind", ["png", "tiff", "coco"])
def test_exported_labels_are_taken_up_corrected_and_exported(done, viewer, tmp_path, kind):
    wait(lambda: done.exporter.format.count())
    done.exporter.format.choose(kind)
    done.exporter.folder.setText(str(tmp_path))
    done.export()
    wait(lambda: done.exporter.button.isEnabled())
    viewer.layers.remove("ramp [prelabel]")
    (path,) = [
        p for p in tmp_path.iterdir() if p.name in ("ramp.png", "ramp.tif", "instances.json")
    ]
    (opened,) = viewer.open(path, plugin="napari-prelabel")
    before = opened.data.copy()
    run(done)
    np.testing.assert_array_equal(opened.data, before)  # what was opened is kept
    opened.paint((30, 70), 1)
    done.exporter.folder.setText(str(tmp_path / "again"))
    done.export()
    wait(lambda: done.exporter.button.isEnabled())
    assert "as on the screen" in done.exporter.receipt.text()
    done.words.set_text("bright")
    done.results.overwrite.setChecked(True)
    run(done)
    assert (opened.data == 1).all()
    assert [x for x in viewer.layers if isinstance(x, Labels)] == [opened]
