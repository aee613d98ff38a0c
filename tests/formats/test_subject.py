"""What the labels of an image tell of where they come from."""

import json

import numpy as np
import pytest

from napari_prelabel.formats import FORMATS, LabelImage, Options
from napari_prelabel.formats.folder import Claim, OutFolder, claim_of_array, export_one
from napari_prelabel.formats.subject import subject_of
from napari_prelabel.formats.table import KIND

PLANES = np.stack([np.full((4, 5), n, np.uint16) for n in (1, 2)])


@pytest.mark.parametrize("classes", [5, "tree", None, {"name": "tree"}, [3, None]])
def test_a_table_whose_classes_are_no_list_names_none(classes, tmp_path):
    subject = subject_of({"format": KIND, "image": "a.jpg", "classes": classes}, tmp_path)
    assert subject is not None
    assert subject.classes == ()


def test_a_damaged_table_in_the_folder_ends_nothing(vocabulary, tmp_path):
    table = {"format": KIND, "image": "a.jpg", "classes": 5}
    (tmp_path / "a.labels.json").write_text(json.dumps(table))
    (spot,) = OutFolder(tmp_path, "png", vocabulary).assign([_claim()])
    assert spot.state == "new"


def test_an_export_after_one_that_was_cut_off_writes_every_plane(vocabulary, tmp_path):
    def export(ids):
        export_one(LabelImage(ids, vocabulary, "s"), _claim(), tmp_path, "png", Options())

    export(PLANES)
    (last,) = tmp_path.glob("*_t0001.png")
    last.unlink()
    export(PLANES[::-1])
    found = [FORMATS["png"].read(p, None)[0].ids for p in sorted(tmp_path.glob("*.png"))]
    np.testing.assert_array_equal(found, PLANES[::-1])


def _claim() -> Claim:
    return claim_of_array("s", "0" * 64)
