"""The dock's settings, exports, and what stays when it is closed and opened again."""

import json
import os

import napari
import numpy as np
import pytest
import tifffile
from napari.layers import Image, Labels
from PIL import Image as PillowImage
from qtpy.QtCore import QEvent, QTimer

from napari_prelabel.batch import run_batch
from napari_prelabel.formats import FORMATS, LabelImage, Options, export
from napari_prelabel.formats.folder import export_one
from napari_prelabel.gui import remember
from napari_prelabel.gui.export.export_box import label_image
from napari_prelabel.gui.layers import io
from napari_prelabel.gui.layers.from_file import is_part
from napari_prelabel.gui.prelabel import dock as dock_module
from napari_prelabel.gui.run.runner import Runner
from napari_prelabel.images.find import find_images
from napari_prelabel.values.errors import FileFormatError
from napari_prelabel.values.job import FreeCP, Job, Windows
from napari_prelabel.values.vocabulary import Vocabulary

from brightness import Brightness  # isort: skip
from gui_steps import MODELS, WORDS, labels, open_ours, run, wait  # isort: skip


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
    dock.files.save(tmp_path / "job.json")
    dock.show_job(Job(Vocabulary.parse("x"), method="base", min_score=0.5, models=MODELS))
    assert dock.job().min_score == 0.5
    assert dock.job().logit_scale is None
    assert dock.job().region is None
    dock.files.load(tmp_path / "job.json")
    assert dock.job() == job
    dock.files.load(tmp_path / "absent.json")
    assert "absent.json" in dock.exporter.receipt.text()


def test_a_rectangle_without_an_image_is_said(dock):
    dock.show_job(Job(Vocabulary.parse("x"), models=MODELS, region=(0, 0, 4, 4)))
    assert "no image is open" in dock.exporter.receipt.text()


def test_numbers_keep_their_digits_and_step_plainly(dock):
    field = dock.method.shared("min_score").native
    for value, text in ((0.123456789, "0.123456789"), (0.1, "0.1"), (0.0, "0")):
        field.setValue(value)
        assert field.value() == value
        assert field.text() == text
    field.setValue(0.1)
    field.stepBy(1)
    assert field.value() == 0.15
    assert dock.method.shared("logit_scale").native.text() == "the models' own"


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
    assert not dock.models.fetcher.get.isHidden()
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
    assert "tick Replace files that exist" in done.exporter.receipt.text()
    assert os.listdir(tmp_path / "out")


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("kind", list(FORMATS))
def test_another_images_labels_are_never_replaced(replace, kind, done, viewer, tmp_path):
    """Labels of another picture called `ramp`; then this one's, and these once more."""
    wait(lambda: done.exporter.format.count())
    out = tmp_path / "out"
    one = np.ones((3, 4), np.uint16)
    other = LabelImage(one, Vocabulary.parse(WORDS), "ramp", "ramp.png", content="ab" * 32)
    export([other], out, kind)
    before = {p: p.read_bytes() for p in out.iterdir()}
    done.exporter.format.choose(kind)
    done.exporter.folder.setText(str(out))
    done.exporter.replace.setChecked(replace)
    for again in (False, True):
        done.export()
        wait(lambda: done.exporter.button.isEnabled())
        told = done.exporter.receipt.text()
        assert ("exists already" in told) == (again and not replace)
        files = [p for p in out.iterdir() if p.suffix == FORMATS[kind].suffix]
        if kind != "coco":
            assert before.items() <= {p: p.read_bytes() for p in out.iterdir()}.items()
            assert "is not of the image" in told or again
        found = [i for p in files for i in FORMATS[kind].read(p, None)]
        assert sorted(i.ids.shape for i in found) == [(3, 4), labels(viewer).data.shape]


@pytest.mark.parametrize("kind", ["png", "coco"])
def test_layers_of_one_file_have_labels_of_their_own(kind, dock, viewer, tmp_path):
    """Two channels that napari split, with *Replace files that exist*, in turn and once more."""
    wait(lambda: dock.exporter.format.count())
    file, out = tmp_path / "cells.tif", tmp_path / "out"
    ramp = np.repeat(np.linspace(0, 255, 80, dtype=np.uint8)[None], 60, 0)
    planes = np.stack([ramp, ramp[:, ::-1]])
    tifffile.imwrite(file, planes, metadata={"axes": "CYX"}, photometric="minisblack")
    (whole,) = viewer.open(file, plugin="napari")
    source = whole.source
    viewer.layers.clear()
    dock.words.set_text(WORDS)
    dock.exporter.format.choose(kind)
    dock.exporter.folder.setText(str(out))
    dock.exporter.replace.setChecked(True)
    layers = [Image(p, name=f"cells [{n}]", contrast_limits=(0, 255)) for n, p in enumerate(planes)]
    for layer in layers:
        layer._set_source(source)
    for layer in layers:
        viewer.add_layer(layer)
    for layer in layers * 2:
        viewer.layers.selection.active = layer
        wait(lambda layer=layer: dock.place.layer is layer)
        run(dock)
        dock.export()
        wait(lambda: dock.exporter.button.isEnabled())
        assert "as on the screen" in dock.exporter.receipt.text()
    files = [
        p for p in out.iterdir() if p.suffix == FORMATS[kind].suffix and "labels" not in p.name
    ]
    found = [i for p in files for i in FORMATS[kind].read(p, None)]
    assert sorted(int(i.ids[0, 0]) for i in found) == [1, 2]
    assert {i.source for i in found} == {"cells [0].tif", "cells [1].tif"}


@pytest.mark.parametrize("suffix", ["tif", "png", "jpg", "gif"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_stack_of_files_is_not_its_first_file(viewer, tmp_path, suffix, mode):
    files = [str(tmp_path / f"a_{n}.{suffix}") for n in range(3)]
    for file in files:
        PillowImage.new(mode, (20, 10)).save(file)
    (single,) = viewer.open(files[0], plugin="napari")
    assert not is_part(single, [single])
    viewer.layers.clear()
    (stack,) = viewer.open(files, stack=True, plugin="napari")
    assert (stack.source.path, len(stack.data)) == (files[0], 3)
    assert is_part(stack, [stack])


@pytest.mark.parametrize("suffix", ["gif", "png", "tif"])
def test_an_animated_file_is_the_whole_of_it(viewer, tmp_path, suffix):
    frames = [PillowImage.new("RGB", (20, 10), (80 * n, 0, 0)) for n in range(3)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    (layer,) = viewer.open(tmp_path / f"a.{suffix}", plugin="napari")
    assert len(layer.data) == 3
    assert not is_part(layer, [layer])


def test_an_image_file_is_called_in_the_dock_as_on_the_command_line(tmp_path):
    file = tmp_path / "day: 1.x.jpg"
    PillowImage.new("RGB", (8, 6)).save(file, "JPEG")
    job = Job(Vocabulary.parse(WORDS), "base")
    pictures = find_images([str(file)])
    for _ in run_batch(Brightness(), job, pictures, tmp_path / "out", "png", Options()):
        pass
    data = np.zeros((6, 8, 3), np.uint8)
    facts = {"path": str(file), "name": "any", "data": data}
    image, claim = label_image(np.ones((6, 8), np.uint16), job.vocabulary, facts)
    with pytest.raises(FileFormatError, match=r"day_ 1\.x\.png exists already"):
        export_one(image, claim, tmp_path / "out", "png", Options())
    export_one(image, claim, tmp_path / "out", "png", Options(overwrite=True))
    assert sorted(os.listdir(tmp_path / "out"))[1:] == ["day_ 1.x.labels.json", "day_ 1.x.png"]


def test_coco_can_be_written_as_asked(done, tmp_path):
    done.exporter.format.choose("coco")
    fields = done.exporter.fields["coco"]
    assert all(f.native.isVisibleTo(done.exporter) for f in fields.values())
    done.exporter.format.choose("png")
    assert not any(f.native.isVisibleTo(done.exporter) for f in fields.values())
    done.exporter.format.choose("coco")
    for how, kind in (("rle", dict), ("polygons", list)):
        fields["segmentation"].native.choose(how)
        fields["annotation"].native.choose("class")
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


KEYS = {"Shift+R", "Shift+U", "Shift+N", "Shift+S"}


def bound():
    """Those of our keys that the canvas knows."""
    return KEYS & {str(k) for k in napari.Viewer.class_keymap}


def reopen(viewer, pool, qapp):
    qapp.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    made = dock_module.PrelabelDock(viewer, Runner(lambda: pool))
    viewer.window.add_dock_widget(made, name="Pre-label", area="right")
    made.models.apply(MODELS)
    return made


def test_closing_the_dock_ends_its_run_and_leaves_the_viewer_alone(done, image, viewer, qapp):
    layer, session = labels(viewer), done.session
    assert bound() == KEYS
    done.words.set_text("a\nb\nc")
    done.run()
    viewer.window.remove_dock_widget(done)
    assert not session.running
    assert not session._retry.isActive()
    assert not bound()
    assert not any(timer.isActive() for timer in done.findChildren(QTimer))
    qapp.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    layer.paint((30, 70), 1)
    viewer.add_image(np.zeros((4, 4)), contrast_limits=(0, 1))
    viewer.theme = "light"
    viewer.layers.clear()


def test_another_dock_keeps_its_keys_when_the_first_is_closed(dock, viewer, pool):
    other = dock_module.PrelabelDock(viewer, Runner(lambda: pool))
    viewer.window.remove_dock_widget(dock)
    assert bound() == KEYS
    other.close()
    other.close()  # twice does no harm
    assert not bound()
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
    opened = open_ours(viewer, path)
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


def test_ignored_pixels_of_a_file_stay_ignored(dock, image, viewer, tmp_path):
    ids = np.ones((60, 80), np.uint16)
    ids[:, 40:] = 65535
    told = {"metadata": {"prelabel": {"classes": Vocabulary.parse("dark").to_dict()}}}
    io.write("tiff", str(tmp_path / "ramp.tif"), ids, told)
    opened = open_ours(viewer, tmp_path / "ramp.tif")
    dock.words.set_text("x\ndark")
    run(dock)
    assert np.unique(opened.data).tolist() == [2, 65535]
    wait(lambda: dock.exporter.format.count())
    dock.exporter.folder.setText(str(tmp_path / "out"))
    dock.export()
    wait(lambda: dock.exporter.button.isEnabled())
    ((data, attributes, _),) = io.read(str(tmp_path / "out" / "ramp.png"))
    assert np.unique(data).tolist() == [2, 65535]
    assert attributes["features"]["name"] == ["unlabelled", "x", "dark"]
