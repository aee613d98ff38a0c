"""napari's own Open and Save with the plugin installed: as without it for all that is not ours."""

import json
import warnings

import numpy as np
import pytest
import tifffile
from napari._qt.dialogs import qt_reader_dialog
from napari.layers import Image as Picture
from napari.layers import Labels
from napari.plugins import _npe2
from napari.settings import get_settings
from npe2 import PluginManager
from PIL import Image
from qtpy.QtCore import QMimeData, QUrl

from napari_prelabel.gui import commands
from napari_prelabel.gui.layers import opened
from napari_prelabel.gui.reference.dock import ReferenceDock
from napari_prelabel.values.errors import FileFormatError
from napari_prelabel.values.vocabulary import Vocabulary

from gui_steps import wait  # isort: skip

WORDS = Vocabulary.parse("tree [#00ff00]: oak\nsky [#0000ff]")
IDS = np.tile(np.array([[0, 1, 1], [2, 2, 1]], np.uint8), (20, 20))
OURS = {"metadata": {"prelabel": {"classes": WORDS.to_dict(), "image": "photo.jpg"}}}
BIG = np.arange(60_000).reshape(200, 300)


@pytest.fixture(autouse=True)
def _no_dialog(monkeypatch):
    """A question about readers fails the test; preferences are put back."""

    def never(self, *_, **__):
        raise AssertionError(f"napari asks: {self.findChildren(qt_reader_dialog.QLabel)[0].text()}")

    monkeypatch.setattr(qt_reader_dialog.QtReaderDialog, "exec_", never)
    plugins = get_settings().plugins
    before = dict(plugins.extension2reader)
    yield
    plugins.extension2reader = before


@pytest.fixture
def foreign(tmp_path):
    """Files of other people, one beside a table that is not ours."""
    folder = tmp_path / "foreign"
    folder.mkdir()
    grey = np.arange(200, dtype=np.uint8).reshape(10, 20)
    Image.fromarray(grey).save(folder / "a.png")
    Image.fromarray(np.dstack([grey] * 3)).save(folder / "b.png")
    Image.fromarray(grey).save(folder / "c.labels.png")
    Image.fromarray(grey).convert("P").save(folder / "d.png")
    (folder / "d.labels.json").write_text('{"names": ["x"]}')
    tifffile.imwrite(folder / "e.tif", grey.astype(np.uint16))
    tifffile.imwrite(folder / "f.TIFF", np.stack([grey] * 2).astype(np.int32))
    tifffile.imwrite(folder / "g.ome.tif", np.stack([grey] * 2))
    return folder


@pytest.fixture
def exported(tmp_path):
    """Our own labels in every format."""
    folder = tmp_path / "ours"
    folder.mkdir()
    for write, name in (
        (commands.write_png, "a.png"),
        (commands.write_tiff, "b.tif"),
        (commands.write_coco, "instances.json"),
    ):
        write(str(folder / name), IDS, OURS)
    return folder


def qt_open(viewer, *paths, stack=False):
    viewer.window._qt_viewer._qt_open([str(p) for p in paths], stack=stack)


def alone(viewer, paths, stack=False):
    """What napari's own reader brings for the same files."""
    made = viewer.open([str(p) for p in paths], plugin="napari", stack=stack)
    facts = [(type(x), np.asarray(x.data), x.name.split(" [")[0]) for x in made]
    viewer.layers.clear()
    return facts


def same(viewer, expected):
    assert [type(x) for x in viewer.layers] == [kind for kind, _, _ in expected]
    for layer, (_, data, name) in zip(viewer.layers, expected, strict=True):
        np.testing.assert_array_equal(layer.data, data)
        assert layer.name == name
        assert layer.source.reader_plugin == "napari"


@pytest.mark.parametrize("docked", [False, True])
def test_other_peoples_files_open_as_without_the_plugin(viewer, request, foreign, docked):
    if docked:
        request.getfixturevalue("dock")
    files = sorted(p for p in foreign.iterdir() if p.suffix != ".json")
    for path in files:
        assert list(_npe2.get_readers(path)) == ["napari"], "nobody else is offered"
        expected = alone(viewer, [path])
        qt_open(viewer, path)
        same(viewer, expected)
        viewer.layers.clear()
        viewer.open(path, plugin=None)
        same(viewer, expected)
        viewer.layers.clear()
    expected = alone(viewer, files)
    qt_open(viewer, *files)
    same(viewer, expected)
    viewer.layers.clear()
    expected = alone(viewer, [foreign / "a.png"] * 2, stack=True)
    qt_open(viewer, *[foreign / "a.png"] * 2, stack=True)
    same(viewer, expected)


def test_dropped_files_and_folders_open_as_without_the_plugin(viewer, foreign, tmp_path):
    class Drop:
        def mimeData(self):
            told = QMimeData()
            told.setUrls([QUrl.fromLocalFile(str(foreign / "a.png"))])
            return told

        def modifiers(self):
            return 0

    qt_viewer = viewer.window._qt_viewer
    qt_viewer.dropEvent(Drop())
    assert viewer.layers["a"].source.reader_plugin == "napari"
    viewer.layers.clear()
    folder = tmp_path / "planes"
    folder.mkdir()
    for name in ("1.png", "2.png"):
        (folder / name).write_bytes((foreign / "a.png").read_bytes())
    expected = alone(viewer, [folder])
    qt_open(viewer, folder)
    same(viewer, expected)


@pytest.mark.parametrize("name", ["map.geojson", "cells.json", "annotations.json"])
def test_other_peoples_json_is_not_ours(viewer, tmp_path, name):
    path = tmp_path / name
    path.write_text(json.dumps({"type": "FeatureCollection", "features": []}))
    assert _npe2.get_readers(path) == {}
    with pytest.raises(Exception, match="No plugin found") as told:
        qt_open(viewer, path)
    assert type(told.value).__name__ == "NoAvailableReaderError"


def test_a_preference_of_an_earlier_version_is_no_obstacle(viewer, foreign, pool):
    plugins = get_settings().plugins
    plugins.extension2reader = {"*.png": "napari-prelabel", "*.tif": "napari"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        qt_open(viewer, foreign / "a.png")
    assert isinstance(viewer.layers["a"], Picture)
    viewer.window.add_dock_widget(ReferenceDock(viewer, lambda: pool), name="Reference")
    assert plugins.extension2reader == {"*.tif": "napari"}
    qt_open(viewer, foreign / "b.png")  # pytest would fail on napari's warning


def ours(layer, shape=IDS.shape):
    assert isinstance(layer, Labels)
    assert layer.data.shape == shape
    assert list(layer.features["name"]) == ["unlabelled", "tree", "sky"]
    np.testing.assert_allclose(layer.colormap.color_dict[1], [0, 1, 0, 1], atol=1e-6)
    return True


@pytest.mark.parametrize("name", ["a.labels.json", "instances.json"])
def test_our_tables_open_as_labels_in_a_bare_napari(viewer, exported, name):
    qt_open(viewer, exported / name)
    assert ours(viewer.layers[0])
    np.testing.assert_array_equal(viewer.layers[0].data, IDS)


@pytest.mark.parametrize("name", ["a.png", "b.tif"])
def test_our_pictures_become_labels_where_a_dock_is_open(dock, viewer, exported, name, image):
    qt_open(viewer, exported / name)
    assert dock.place.layer is image, "the picture of labels is never the image to label"
    wait(lambda: isinstance(viewer.layers[-1], Labels))
    assert [type(x) for x in viewer.layers] == [Picture, Labels]
    assert ours(viewer.layers[-1])
    assert viewer.layers.selection.active is viewer.layers[-1]


def test_our_pictures_become_labels_when_the_dock_opens(viewer, exported, foreign, pool):
    qt_open(viewer, exported / "a.png", exported / "b.tif", foreign / "a.png")
    assert all(isinstance(x, Picture) for x in viewer.layers)
    viewer.window.add_dock_widget(ReferenceDock(viewer, lambda: pool), name="Reference")
    wait(lambda: [type(x) for x in viewer.layers] == [Labels, Labels, Picture])
    assert [x.name for x in viewer.layers] == ["a", "b", "a [1]"]


def test_pictures_that_are_not_one_map_stay_pictures(dock, viewer, exported):
    qt_open(viewer, exported / "a.png", exported / "a.png", stack=True)
    broken = exported / "b.tif"
    broken.write_bytes(broken.read_bytes().replace(b'"classes"', b'"closets"'))
    qt_open(viewer, broken)
    wait(lambda: all(map(opened.is_picture, viewer.layers)))
    assert [x.ndim for x in viewer.layers] == [3, 2]


def test_labels_are_opened_by_name_whatever_their_suffix(viewer, exported, foreign, monkeypatch):
    moved = exported / "all.json"
    (exported / "instances.json").rename(moved)
    names = [str(exported / "b.tif"), str(moved), str(foreign / "a.png"), str(foreign / "no.xyz")]
    monkeypatch.setattr(opened.QFileDialog, "getOpenFileNames", lambda *_: (names, ""))
    said = []
    monkeypatch.setattr(opened, "show_warning", said.append)
    commands.open_labels(viewer)
    assert len(viewer.layers) == 2
    assert all(map(ours, viewer.layers))
    assert "has no a.labels.json beside it" in said[0]
    assert "is no label file" in said[1]


# Saving

FOREIGN = {
    "int64": BIG.astype(np.int64),
    "above 65,534": (BIG + 70_000).astype(np.int32),
    "negative": BIG.astype(np.int32) - 5,
    "60,000 ids": BIG.astype(np.uint16),
    "a stack": np.stack([IDS, IDS]),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("name", ["x.tif", "x.tiff", "x.npz", "x"])
def test_other_labels_are_saved_as_without_the_plugin(viewer, tmp_path, kind, name):
    layer = viewer.add_labels(FOREIGN[kind], name="cells")
    with_us, without = tmp_path / "with", tmp_path / "without"
    for folder in (with_us, without):
        folder.mkdir()
    written = layer.save(str(with_us / name))
    layer.save(str(without / name), plugin="napari")
    assert [p.name for p in with_us.iterdir()] == [p.name for p in without.iterdir()]
    assert written == [str(p) for p in with_us.iterdir()]
    for a, b in zip(with_us.iterdir(), without.iterdir(), strict=True):
        if a.suffix == ".npz":
            np.testing.assert_array_equal(np.load(a)["arr_0"], np.load(b)["arr_0"])
        else:
            assert a.read_bytes() == b.read_bytes()


def test_many_layers_are_saved_into_a_folder_as_without_the_plugin(viewer, tmp_path):
    viewer.add_labels(FOREIGN["int64"], name="cells")
    viewer.add_labels(FOREIGN["negative"], name="nuclei")
    names = sorted(p.rsplit("/")[-1] for p in viewer.layers.save(str(tmp_path / "all")))
    assert names == ["cells.tif", "nuclei.tif"]


def filters(viewer):
    """Writers as napari's dialog lists them."""
    return {w.display_name: w for w in _npe2.file_extensions_string_for_layers(viewer.layers)[1]}


@pytest.mark.parametrize("chosen", ["Indexed PNG with names", "TIFF with names", "COCO JSON"])
@pytest.mark.parametrize("layer", ["ours", "foreign"])
def test_the_suffix_decides_whatever_filter_was_chosen(viewer, tmp_path, chosen, layer):
    if layer == "ours":
        viewer.add_labels(IDS, name="x", metadata=OURS["metadata"])
    else:
        viewer.add_labels(IDS, name="x")
    begins = {".tif": b"II*\0", ".png": b"\x89PNG", ".json": b"{", ".npz": b"PK"}
    for suffix, head in begins.items():
        path = tmp_path / f"x{suffix}"
        assert str(path) in viewer.layers.save(str(path), _writer=filters(viewer)[chosen])
        assert path.read_bytes().startswith(head)
    (bare, *_) = viewer.layers.save(str(tmp_path / "v1.2"), _writer=filters(viewer)[chosen])
    suffix = {"Indexed PNG with names": ".png", "TIFF with names": ".tif", "COCO JSON": ".json"}
    assert bare == str(tmp_path / f"v1.2{suffix[chosen]}")


def test_png_holds_what_fits_and_says_what_does_not(viewer, tmp_path):
    path = tmp_path / "x.png"
    layer = viewer.add_labels(FOREIGN["60,000 ids"])
    commands.write_png(str(path), IDS, OURS)
    layer.save(str(path))
    np.testing.assert_array_equal(np.asarray(Image.open(path)), BIG)
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"], "the table of other labels is gone"
    for kind in ("above 65,534", "negative"):
        with pytest.raises(FileFormatError, match="holds ids from 0 to 65535"):
            viewer.add_labels(FOREIGN[kind]).save(str(path))
    with pytest.raises(FileFormatError, match="one plane only"):
        viewer.add_labels(np.stack([BIG, BIG])).save(str(path))
    (tmp_path / "y.labels.json").write_text('{"somebody": "else"}')
    with pytest.raises(FileFormatError, match="is no table of ours"):
        viewer.add_labels(IDS).save(str(tmp_path / "y.png"))


def test_our_labels_keep_their_names_in_every_format(viewer, tmp_path):
    layer = viewer.add_labels(IDS, name="x", metadata=OURS["metadata"])
    for name in ("x.png", "y.tif", "z.coco.json"):
        layer.save(str(tmp_path / name))
    viewer.layers.clear()
    qt_open(viewer, tmp_path / "x.labels.json", tmp_path / "z.coco.json")
    opened.open_labels(viewer, [str(tmp_path / "y.tif")])
    assert all(map(ours, viewer.layers))


def test_our_writers_name_no_suffix_before_napari_does():
    manifest = PluginManager.instance().get_manifest("napari-prelabel")
    assert manifest.contributions.writers[0].filename_extensions[0] == ".tif"
