"""napari's own Open, Save, Open Sample and menus, with our files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_prelabel.formats import FORMATS
from napari_prelabel.gui import commands
from napari_prelabel.gui.launch import launch
from napari_prelabel.gui.layers import io
from napari_prelabel.gui.opening import DockFrame
from napari_prelabel.values.errors import FileFormatError
from napari_prelabel.values.vocabulary import Vocabulary

from gui_steps import MODELS, run, wait  # isort: skip

WORDS = Vocabulary.parse("tree [#00ff00]: oak\nsky")
IDS = np.array([[0, 1, 1], [2, 2, 1]], np.uint8)


def attributes(**more):
    told = {"classes": WORDS.to_dict(), "image": "photo.jpg", "record": {"method": "freecp"}}
    return {"metadata": {"prelabel": told}, "scale": (0.5, 0.5), **more}


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (commands.write_png, "x.png"),
        (commands.write_tiff, "x.tif"),
        (commands.write_coco, "x.json"),
    ],
)
def test_saved_labels_open_again_as_they_were(write, name, tmp_path, viewer):
    path = str(tmp_path / name)
    assert path in write(path, IDS, attributes())
    write(path, IDS, attributes())  # napari asked before overwriting
    reader = commands.get_reader(path)
    ((data, told, kind),) = reader(path)
    assert kind == "labels"
    np.testing.assert_array_equal(data, IDS)
    layer = viewer.add_labels(data, **told)
    assert list(layer.features["name"]) == ["unlabelled", "tree", "sky"]
    np.testing.assert_allclose(layer.colormap.color_dict[1], [0, 1, 0, 1], atol=1e-6)


def test_pixel_size_and_record_survive_in_tiff(tmp_path):
    path = str(tmp_path / "x.tif")
    commands.write_tiff(path, IDS, attributes(units=("um", "um")))
    ((_, told, _),) = io.read(path)
    assert told["scale"] == (0.5, 0.5)
    assert told["units"] == ("um", "um")
    assert told["metadata"]["prelabel"]["record"] == {"method": "freecp"}


def test_a_layer_of_an_earlier_version_keeps_its_record(tmp_path):
    told = attributes()
    ours = told["metadata"]["prelabel"]
    ours["run"] = ours.pop("record")
    path = str(tmp_path / "x.tif")
    commands.write_tiff(path, IDS, told)
    ((_, back, _),) = io.read(path)
    assert back["metadata"]["prelabel"]["record"] == {"method": "freecp"}


def test_a_stack_goes_into_a_tiff_but_not_into_a_png(tmp_path):
    stack = np.stack([IDS, IDS])
    commands.write_tiff(str(tmp_path / "x.tif"), stack, attributes(scale=(1, 0.5, 0.5)))
    ((data, told, _),) = io.read(str(tmp_path / "x.tif"))
    np.testing.assert_array_equal(data, stack)
    assert len(told["scale"]) == 3
    with pytest.raises(FileFormatError, match="holds one plane only"):
        commands.write_png(str(tmp_path / "x.png"), stack, attributes())


def test_labels_of_other_plugins_can_be_saved(tmp_path):
    path = str(tmp_path / "x.png")
    features = {"index": [0, 1], "name": ["none", "cell"]}
    commands.write_png(path, IDS, {"features": features})
    ((_, told, _),) = io.read(path)
    assert told["features"]["name"] == ["unlabelled", "cell", "label 2"]
    commands.write_png(path, np.zeros_like(IDS), {})
    ((data, _, _),) = io.read(path)
    assert not data.any()


def test_other_peoples_files_are_left_alone(tmp_path):
    Image.fromarray(IDS).save(tmp_path / "photo.png")
    (tmp_path / "x.json").write_text("{}")
    (tmp_path / "x.tif").write_bytes(b"no tiff")
    for name in ("photo.png", "x.json", "x.tif", "absent.png", "x.txt"):
        assert commands.get_reader(str(tmp_path / name)) is None
    assert commands.get_reader([str(tmp_path / "photo.png")]) is None


def test_only_a_look_tells_our_files(tmp_path, monkeypatch):
    written = {}
    for write, name in ((commands.write_tiff, "x.tif"), (commands.write_coco, "x.json")):
        written[name] = write(str(tmp_path / name), IDS, attributes())[0]

    def never(*_):
        raise AssertionError("the pixels were read")

    for name, one in FORMATS.items():
        monkeypatch.setitem(FORMATS, name, replace(one, read=never))
    monkeypatch.setattr(tifffile.TiffFile, "asarray", never)
    assert all(io.ours(path) for path in written.values())
    coco = {"images": [], "annotations": [], "categories": []}
    (tmp_path / "other.json").write_text(json.dumps(coco))
    assert not io.ours(tmp_path / "other.json")
    # The table beside a PNG is someone else's.
    Image.fromarray(IDS).save(tmp_path / "photo.png")
    (tmp_path / "photo.labels.json").write_text("{}")
    assert not io.ours(tmp_path / "photo.png")
    (tmp_path / "folder.json").mkdir()
    assert not io.ours(tmp_path / "folder.json")


def test_saving_over_a_coco_file_replaces_it(tmp_path):
    path = str(tmp_path / "x.json")
    commands.write_coco(path, IDS, attributes())
    told = {"classes": Vocabulary.parse("sea").to_dict(), "image": "other.jpg"}
    commands.write_coco(path, np.minimum(IDS, 1), {"metadata": {"prelabel": told}})
    ((_, attributes_, _),) = io.read(path)
    assert attributes_["metadata"]["prelabel"]["image"] == "other.jpg"
    assert {p.name for p in tmp_path.iterdir()} - {".prelabel.lock"} == {"x.json"}


def test_a_coco_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "x.json"
    commands.write_coco(str(path), IDS, attributes())
    before = path.read_bytes()
    wrong = {"prelabel": {"classes": WORDS.to_dict(), "record": {"x": float("nan")}}}
    with pytest.raises(FileFormatError, match="plain JSON"):
        commands.write_coco(str(path), IDS, {"metadata": wrong})
    assert path.read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} - {".prelabel.lock"} == {"x.json"}


@pytest.mark.parametrize("key", ["scene-1", "scene-2", "scene-3", "scene-stack"])
def test_samples_bring_an_image_and_its_words(viewer, key):
    (layer,) = viewer.open_sample("napari-prelabel", key)
    assert layer.rgb
    assert layer.ndim == (3 if key == "scene-stack" else 2)
    assert len(Vocabulary.parse(layer.metadata["prelabel_vocabulary"]).classes) > 10


def test_the_menus_open_one_dock(viewer):
    commands.open_dock(viewer)
    commands.open_dock(viewer)
    docks = [w for w in viewer.window.dock_widgets.values() if isinstance(w, DockFrame)]
    assert len(docks) == 1
    commands.export_labels(viewer)
    assert "run first" in docks[0].dock.exporter.receipt.text()


def test_launch_shows_images_labels_and_words(qapp, tmp_path):
    pixels = np.zeros((2, 3, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "second.png")
    viewer = launch([pixels, tmp_path / "second.png"], WORDS, [IDS, None], block=False)
    try:
        names = [layer.name for layer in viewer.layers]
        assert names == ["image 1", "image 1 labels", "second"]
        (frame,) = viewer.window.dock_widgets.values()
        dock = frame.dock
        assert dock.words.vocabulary.names == ("tree", "sky")
        assert dock.place.layer.name == "image 1"
        shown = viewer.layers["image 1 labels"]
        np.testing.assert_array_equal(shown.data, IDS)
        assert [row.pixels for row in dock.table.classes.rows] == [3, 2]
        shown.brush_size = 1
        shown.paint((0, 0), 2)
        dock.models.apply(MODELS)
        run(dock)
        assert shown.data.tolist() == [[2, 1, 1], [1, 1, 1]]  # the stroke stays, the rest is new
        dock.exporter.folder.setText(str(tmp_path))
        dock.export()
        wait(lambda: dock.exporter.button.isEnabled())
        assert (tmp_path / "image 1.png").exists()
    finally:
        viewer.close()
