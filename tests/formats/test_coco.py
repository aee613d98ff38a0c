import json
from dataclasses import replace

import numpy as np
import pytest
from pycocotools.coco import COCO

from napari_prelabel.formats import FORMATS, LabelImage, Options, coco, coco_read, export
from napari_prelabel.formats.coco import CocoOptions, read_coco, write_coco
from napari_prelabel.formats.outlines import outlines
from napari_prelabel.values.errors import FileFormatError
from napari_prelabel.values.vocabulary import Vocabulary

# pycocotools' own decode() is not yet written for NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def opened(path, capsys):
    dataset = COCO(str(path))
    capsys.readouterr()
    return dataset


def painted(dataset, image_id):
    info = dataset.imgs[image_id]
    ids = np.zeros((info["height"], info["width"]), int)
    for annotation in dataset.imgToAnns[image_id]:
        ids[dataset.annToMask(annotation).astype(bool)] = annotation["category_id"]
    return ids


@pytest.mark.parametrize("segmentation", ["auto", "rle"])
@pytest.mark.parametrize("annotation", ["region", "class"])
def test_pycocotools_sees_what_was_on_the_screen(segmentation, annotation, image, tmp_path, capsys):
    options = Options(own=CocoOptions(segmentation, annotation))
    receipt = export([image], tmp_path, "coco", options)
    dataset = opened(tmp_path / "instances.json", capsys)
    assert np.array_equal(painted(dataset, 1), np.where(image.ids == 65535, 0, image.ids))
    assert receipt.exact
    assert receipt.overlaps == 0
    for record in dataset.anns.values():
        mask = dataset.annToMask(record)
        assert record["area"] == mask.sum()
        assert record["iscrowd"] == 0
        rows, columns = np.nonzero(mask)
        x, y, w, h = record["bbox"]
        assert (x, y) == (columns.min(), rows.min())
        assert (x + w, y + h) == (columns.max() + 1, rows.max() + 1)
    assert [(c["id"], c["name"]) for c in dataset.cats.values()] == [
        (1, "tree"),
        (2, "sky"),
        (3, "µ-field"),
    ]
    assert len(dataset.anns) == (3 if annotation == "class" else 5)


def test_auto_draws_polygons_only_where_they_are_exact(image, tmp_path):
    export([image], tmp_path, "coco")
    document = json.loads((tmp_path / "instances.json").read_text(encoding="utf-8"))
    forms = {
        (a["category_id"], a["area"]): type(a["segmentation"]) for a in document["annotations"]
    }
    assert forms == {(1, 41): dict, (2, 8): dict, (3, 1): list, (2, 29): dict}
    assert document["licenses"] == []
    assert "license" not in document["images"][0]


def test_polygons_report_what_they_lose(image, tmp_path):
    receipt = export([image], tmp_path, "coco", Options(own=CocoOptions("polygons")))
    assert not receipt.exact
    rows = {row.name: row for row in receipt.classes}
    assert (rows["sky"].gained, rows["sky"].holes_lost) == (1, 1)
    # The islands in the holes are smaller and take their pixels back.
    assert (rows["tree"].lost, rows["tree"].gained) == (0, 0)
    assert receipt.overlaps == 9
    assert "claimed twice" in receipt.lines()[-1]


def test_round_trip_with_synonyms_background_and_ignored_pixels(image, tmp_path):
    export([image], tmp_path, "coco")
    (back,) = read_coco(tmp_path / "instances.json")
    assert np.array_equal(back.ids, image.ids)
    assert back.vocabulary.digest == image.vocabulary.digest
    assert (back.name, back.source) == ("img", "img.jpg")
    assert back.record == {"method": "freecp", "n": 1}
    assert (back.scale, back.unit) == ((0.5, 0.25), "µm")


def test_files_grow_image_by_image(image, tmp_path):
    export([image], tmp_path, "coco")
    path = tmp_path / "instances.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    document["images"][0]["theirs"] = {"kept": True}
    path.write_text(json.dumps(document), encoding="utf-8")
    other = replace(image, ids=np.ones((4, 5), np.uint16), name="b/c", source="b/c.jpg")
    receipt = export([other, replace(other, source="d.jpg")], tmp_path, "coco")
    assert receipt.images == 2
    document = json.loads(path.read_text(encoding="utf-8"))
    assert [i["file_name"] for i in document["images"]] == ["img.jpg", "b/c.jpg", "d.jpg"]
    assert document["images"][0]["theirs"] == {"kept": True}
    numbers = [a["id"] for a in document["annotations"]]
    assert len(set(numbers)) == len(numbers) == 7
    assert [i.source for i in read_coco(path)] == ["img.jpg", "b/c.jpg", "d.jpg"]


def test_an_image_is_replaced_only_when_asked(image, tmp_path):
    export([image, replace(image, source="other.jpg")], tmp_path, "coco")
    before = (tmp_path / "instances.json").read_bytes()
    changed = replace(image, ids=np.full(image.ids.shape, 2, np.uint16))
    with pytest.raises(FileFormatError, match=r"already holds img\.jpg: tick Replace files"):
        export([changed], tmp_path, "coco")
    assert (tmp_path / "instances.json").read_bytes() == before
    export([changed], tmp_path, "coco", Options(overwrite=True))
    back = {i.source: i for i in read_coco(tmp_path / "instances.json")}
    assert (back["img.jpg"].ids == 2).all()
    assert np.array_equal(back["other.jpg"].ids, image.ids)


def test_a_file_of_other_classes_is_left_alone(image, tmp_path):
    export([image], tmp_path, "coco")
    swapped = Vocabulary.parse("sky\ntree\nµ-field")
    with pytest.raises(FileFormatError, match="made with other classes"):
        export(
            [replace(image, vocabulary=swapped, source="new.jpg")],
            tmp_path,
            "coco",
            Options(overwrite=True),
        )


def test_what_cannot_share_a_file_is_refused(image, vocabulary, tmp_path):
    path = tmp_path / "x.json"
    with pytest.raises(FileFormatError, match="one vocabulary and a name each"):
        write_coco([image, image], path, Options())
    with pytest.raises(FileFormatError, match="COCO holds"):
        write_coco([], path, Options())
    stack = LabelImage(np.ones((2, 3, 4), np.uint16), vocabulary, "s")
    with pytest.raises(FileFormatError, match="COCO holds"):
        write_coco([stack], path, Options())
    assert export([stack], tmp_path, "coco").images == 2


def test_maps_without_a_class_are_written(vocabulary, tmp_path):
    image = LabelImage(np.zeros((3, 4), np.uint16), vocabulary, "none")
    assert export([image], tmp_path, "coco").exact


def foreign():
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "height": 4, "width": 6}],
        "categories": [{"id": 90, "name": "dog"}, {"id": 17, "name": "cat"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 17,
                "segmentation": [[0, 0, 6, 0, 6, 4, 0, 4]],
                "area": 24,
            },
            {
                "id": 2,
                "image_id": 7,
                "category_id": 90,
                "segmentation": {"size": [4, 6], "counts": [4, 4, 16]},
            },
        ],
    }


def written(document, tmp_path):
    path = tmp_path / "theirs.json"
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def test_other_peoples_files_are_read_by_name(tmp_path):
    path = written(foreign(), tmp_path)
    (image,) = read_coco(path)
    assert image.vocabulary.names == ("cat", "dog")
    expected = np.ones((4, 6), int)
    expected[:, 1] = 2
    assert image.ids.tolist() == expected.tolist()
    (named,) = FORMATS["coco"].read(path, Vocabulary.parse("bird\nDog\ncat"))
    assert np.unique(named.ids).tolist() == [2, 3]
    with pytest.raises(FileFormatError, match="class 'dog', which the vocabulary lacks"):
        read_coco(path, Vocabulary.parse("cat"))


def edit(*keys, value):
    def change(document):
        for key in keys[:-1]:
            document = document[key]
        document[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (edit("images", value=5), "needs the lists"),
        (edit("annotations", value=[3]), "needs the lists"),
        (edit("images", 0, "id", value="x"), "must be a whole number"),
        (edit("images", 0, "id", value=True), "must be a whole number"),
        (edit("images", 0, "file_name", value="../../x.jpg"), "outside its own folder"),
        (edit("images", 0, "file_name", value="/x.jpg"), "outside its own folder"),
        (edit("images", 0, "height", value=-4), "the height of a.jpg must be a whole"),
        (edit("images", 0, "height", value=10**12), "are read"),
        (edit("images", 0, "width", value=0), "are read"),
        (edit("annotations", 1, "id", value=1), "two entries of annotations"),
        (edit("annotations", 0, "image_id", value=8), "image 8, which is not listed"),
        (edit("annotations", 0, "category_id", value=5), "category 5, which is not listed"),
        (edit("categories", 0, "name", value=None), "category 90 has no name"),
        (edit("categories", 0, "name", value="cat"), "stands twice"),
        (edit("categories", value=[]), "at least one class"),
        (edit("annotations", 0, "segmentation", value=None), "neither run lengths nor polygons"),
        (edit("annotations", 0, "segmentation", value=[]), "neither run lengths nor polygons"),
        (edit("annotations", 0, "segmentation", value=[[1, 2, 3, 4]]), "three corners"),
        (edit("annotations", 0, "segmentation", value=["abcdef"]), "three corners"),
        (edit("annotations", 0, "segmentation", value=[[0, 0, 1, 0, 1, "x"]]), "no number"),
        (edit("annotations", 0, "segmentation", value=[[0, 0, 1, 0, 1, 1e9]]), "far outside"),
        (edit("annotations", 0, "segmentation", value=[[0, 0, 1, 0, 1, 10**400]]), "no number"),
        (edit("images", 0, "file_name", value="."), "which is no file name"),
        (edit("images", 0, "prelabel", value={"scale": [10**400, 1]}), "scale must be two lengths"),
        (edit("annotations", 0, "segmentation", value=[[0, 0, 1e9, 0, 1, 1]]), "far outside"),
        (edit("annotations", 1, "segmentation", "size", value=[6, 4]), r"size is \[6, 4\]"),
        (edit("annotations", 1, "segmentation", "counts", value=None), "no run lengths"),
        (edit("annotations", 1, "segmentation", "counts", value=[10**15]), "cover"),
        (edit("annotations", 1, "segmentation", "counts", value="zzzz"), "cannot be drawn"),
        (edit("images", 0, "prelabel", value={"ignore": [[1]]}), "the ignored region"),
        (edit("images", 0, "prelabel", value={"scale": [0, 1]}), "scale must be two lengths"),
        (
            edit("prelabel", value={"format": "napari-prelabel labels", "classes": 3}),
            "Type at least one class",
        ),
    ],
)
def test_hostile_files_get_one_sentence(change, sentence, tmp_path):
    document = foreign()
    change(document)
    with pytest.raises(FileFormatError, match=sentence):
        read_coco(written(document, tmp_path))


def test_infinite_corners_are_no_numbers(tmp_path):
    document = foreign()
    document["annotations"][0]["segmentation"] = [[0, 0, float("inf"), 0, 1, 1]]
    with pytest.raises(FileFormatError, match="no number"):
        read_coco(written(document, tmp_path))


def test_a_file_without_classes_gets_a_sentence(tmp_path):
    document = foreign() | {"categories": [], "annotations": []}
    with pytest.raises(FileFormatError, match="at least one class"):
        read_coco(written(document, tmp_path))


def test_our_table_must_fit_the_categories(image, tmp_path):
    export([image], tmp_path, "coco")
    document = json.loads((tmp_path / "instances.json").read_text(encoding="utf-8"))
    document["categories"][0]["name"] = "bush"
    assert read_coco(written(document, tmp_path))[0].vocabulary.names == ("bush", "sky", "µ-field")


def test_a_file_that_grew_large_is_not_opened_whole_but_still_grows(image, tmp_path, monkeypatch):
    path = tmp_path / "instances.json"
    export([image], tmp_path, "coco")
    monkeypatch.setattr(coco_read, "MAX_FILE", image.ids.size)
    assert len(read_coco(path)) == 1
    assert export([replace(image, source="b.jpg")], tmp_path, "coco").exact
    with pytest.raises(FileFormatError, match=r"408 pixels, more than the 204 .*several files"):
        read_coco(path)


def test_an_image_beyond_the_limit_is_not_written(image, tmp_path, monkeypatch):
    monkeypatch.setattr(coco, "MAX_PLANE", 203)
    with pytest.raises(FileFormatError, match="204 pixels, more than the 203"):
        export([image], tmp_path, "coco")
    assert list(tmp_path.iterdir()) == []


def test_a_box_has_the_outline_of_any_other_region(tmp_path):
    ids = np.zeros((9, 12), np.uint16)
    ids[2:5, 3:9], ids[7, 0] = 1, 1
    export([LabelImage(ids, Vocabulary.parse("tree"), "a")], tmp_path, "coco")
    found = json.loads((tmp_path / "instances.json").read_text())["annotations"]
    for entry, (y, x, height, width) in zip(found, [(2, 3, 3, 6), (7, 0, 1, 1)], strict=True):
        (wanted,) = outlines(np.ones((height, width), bool))
        shifted = np.reshape(wanted, (-1, 2)) + np.array([x, y])
        assert entry["segmentation"] == [shifted.ravel().tolist()]
