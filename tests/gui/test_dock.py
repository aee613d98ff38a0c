"""The dock as a person uses it: a real window, a real worker process, an engine without models."""

import json

import dask.array as da
import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_prelabel.gui.layers.result import ResultLayer
from napari_prelabel.gui.prelabel.class_table import COLOUR, LOCK, NAME, SHOW
from napari_prelabel.gui.prelabel.words_menu import open_filter
from napari_prelabel.values.job import Job
from napari_prelabel.values.labels import HUMAN

from gui_steps import WORDS, labels, press, run, wait  # isort: skip


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
    wait(lambda: "1 of 1" in dock.described.text())
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
    assert dock.described.text() == "Described: 1 of 2 classes."
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


def test_what_was_said_of_one_image_is_not_said_of_the_next(done, viewer):
    done.words.set_text("dark\nnotice")
    run(done)
    assert done.bar.notices.texts
    viewer.add_image(np.zeros((9, 9), np.uint8), name="other")
    assert not done.bar.notices.texts
    assert not done.bar.stage.text()


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
    camera = viewer.scene.camera
    camera.center, camera.zoom = (0, 30, 20), 3 * camera.zoom
    wait(lambda: image.corner_pixels[1, 1] < 79 and image.corner_pixels[0, 0] > 0)
    y0, x0, y1, x1 = dock.job().region
    assert 15 < y0 < y1 < 45
    assert 0 <= x0 < 20 < x1 < 79
    assert abs((y0 + y1) / 2 - 30) <= 1  # about the centre of the canvas
    run(dock)
    inside = np.zeros((60, 80), bool)
    inside[y0:y1, x0:x1] = True
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


def test_a_slice_that_cannot_be_read_does_not_end_the_others(dock, viewer):
    layer = stack_of(viewer, 4)
    data = layer.data

    def read(block, block_info=None):
        at = block_info[None]["array-location"][0][0]
        if at in (1, 2):
            raise OSError("a bad sector")
        return data[at : at + 1]

    layer._data = da.zeros(data.shape, np.uint8, chunks=(1, 30, 40)).map_blocks(
        read, dtype=np.uint8, meta=np.zeros((0, 0, 0), np.uint8)
    )
    dock.words.set_text(WORDS)
    dock.place.region.choose("slices")
    run(dock)
    assert (labels(viewer).data > 0).all(axis=(1, 2)).tolist() == [True, False, False, True]
    (told,) = [text for text in dock.bar.notices.texts if "bad sector" in text]
    assert told.startswith("Not labelled, slices 1, 2: ")


def test_the_current_slice_alone_is_labelled(dock, viewer):
    stack_of(viewer)
    dock.words.set_text(WORDS)
    viewer.dims.set_current_step(0, 1)
    run(dock)
    assert (labels(viewer).data > 0).any(axis=(1, 2)).tolist() == [False, True, False]


def test_cancel_between_slices_keeps_what_is_done(dock, viewer):
    stack_of(viewer, 16)
    viewer.dims.set_current_step(0, 0)
    dock.words.set_text(WORDS)
    dock.place.region.choose("slices")
    dock.bar.run_button.click()
    wait(lambda: dock.session.task.done >= 1)
    dock.bar.cancel_button.click()
    wait(lambda: not dock.session.running)
    finished = (labels(viewer).data > 0).all(axis=(1, 2))
    assert 1 <= finished.sum() < 16
    assert f"Cancelled after {finished.sum()} of 16" in dock.bar.notices.texts[0]


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
    press(viewer, Qt.Key.Key_R)
    wait(lambda: not dock.session.running)
    assert labels(viewer).data.any()
    press(viewer, Qt.Key.Key_U)
    assert not labels(viewer).data.any()
    dock.undo_run()
    assert "no run to undo" in dock.bar.notices.texts[0]
