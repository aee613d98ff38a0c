"""A format that has a row in FORMATS is in the export box, and napari opens and saves it."""

import json

import numpy as np
import pytest
from toy_format import TOY

from napari_prelabel.formats import FORMATS
from napari_prelabel.gui import commands
from napari_prelabel.gui.layers import io

from gui_steps import labels, wait  # isort: skip


@pytest.fixture(autouse=True)
def _toy(monkeypatch):
    monkeypatch.setitem(FORMATS, "toy", TOY)


def test_the_export_box_offers_it_with_its_options(done, viewer, tmp_path):
    box = done.exporter
    offered = [box.format.itemText(i) for i in range(box.format.count())]
    assert offered == [f.title for f in FORMATS.values()]
    assert offered[-1] == "Toy, for tests"
    assert "Toy: ids as lines of text. Pixels may be lost" in box.format.toolTip()
    box.format.choose("toy")
    spaces = box.fields["toy"]["spaces"]
    assert spaces.native.isVisibleTo(box)
    assert spaces.told.title == "Spaces"
    spaces.value = 0
    box.folder.setText(str(tmp_path))
    done.export()
    wait(lambda: "read back" in box.receipt.text())
    text = (tmp_path / "ramp.toy").read_text(encoding="utf-8")
    assert '\n"format"' in text
    np.testing.assert_array_equal(json.loads(text)["ids"], labels(viewer).data)


def test_napari_saves_and_opens_it(tmp_path):
    ids = np.eye(4, dtype=np.uint16)
    (path,) = commands.write_toy(str(tmp_path / "x"), ids, {})
    assert path == str(tmp_path / "x.toy")
    ((data, told, _),) = commands.get_reader(path)(path)
    np.testing.assert_array_equal(data, ids)
    assert list(told["features"]["name"]) == ["unlabelled", "label 1"]
    assert io.ours(path) is TOY
    with pytest.raises(AttributeError, match="write_bmp"):
        commands.write_bmp  # noqa: B018
