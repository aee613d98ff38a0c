"""Class lists as other tools write them: the dock and the command line read each alike."""

import codecs
import json
from pathlib import Path

import pytest

from napari_prelabel.formats import FORMATS
from napari_prelabel.gui.prelabel.words_menu import read_words
from napari_prelabel.jobs import counts_from_zero, vocabulary_of
from napari_prelabel.values.errors import FileFormatError
from napari_prelabel.values.vocabulary import Vocabulary

DATA = Path(__file__).parent / "data"
TWO = ("tree", "sky")
LABEL_STUDIO = '<View><Labels><Label value="tree"/><Label value="sky" alias="s"/></Labels></View>'


def categories(*entries, annotations=()):
    listed = [{"id": i, "name": n, "supercategory": s} for i, n, s in entries]
    return json.dumps({"categories": listed, "images": [], "annotations": list(annotations)})


# (name, content, names in order, whether ids begin at 0)
LISTS = [
    # Numbers before names: ids where all count up, else part of the names.
    ("ids.txt", "0 tree\n1 sky\n", TWO, True),
    ("ids.txt", "1. tree\n2. sky\n", TWO, False),
    ("ids.txt", "0: tree\n1: sky\n", TWO, True),
    ("ids.txt", "0,tree\n1,sky\n", TWO, True),
    ("ids.txt", "0\ttree\r\n1\tsky\r\n", TWO, True),
    ("ids.names", "1 tree: oak\n2 sky\n", TWO, False),
    ("coins.txt", "1 cent\n2 cent\n5 cent\n", ("1 cent", "2 cent", "5 cent"), None),
    ("doors.txt", "1 door\n2 doors\n", ("1 door", "2 doors"), None),
    ("drinks.txt", "7 up\nwater\n", ("7 up", "water"), None),
    ("digits.txt", "0\n1\n2\n", ("0", "1", "2"), None),
    ("3d.txt", "3D print\n2D print\n", ("3D print", "2D print"), None),
    # YAML's scalars are names as they are written.
    ("y.yaml", "names: [yes, no, on, off, null, ~]", ("yes", "no", "on", "off", "null", "~"), None),
    ("n.yaml", "names: [007, 1e3, 0x10, 1_000]", ("007", "1e3", "0x10", "1_000"), None),
    ("d.yml", "names: [2024-01-01, .5, true]", ("2024-01-01", ".5", "true"), None),
    ("k.yaml", "names: {'1': sky, '0': tree}", TWO, True),
    ("k.yaml", "names:\n  1: tree\n  2: sky\n", TWO, False),
    ("k.yaml", "names:\n  0: tree\n  10: sky\n", TWO, "gap"),
    ("r.yaml", "train: ../train\nnc: 2\nnames: ['tree', 'sky']\nroboflow:\n  x: 1\n", TWO, None),
    # Tables.
    ("s.csv", "id;name;colour\n1;tree;#00ff00\n2;sky;\n", TWO, False),
    ("s.csv", "name;synonyms\ntree;oak, fir\nsky;\n", TWO, None),
    ("t.csv", "id\tname\n0\ttree\n1\tsky\n", TWO, True),
    ("b.csv", "0,tree\n1,sky\n", TWO, True),
    ("o.csv", "ID, Name\n2, sky\n1, tree\n", TWO, False),
    ("g.csv", "id,name\n1,tree\n5,sky\n", TWO, "gap"),
    ("c.csv", "class\ntree\nsky\n", TWO, None),
    # JSON of COCO, Roboflow, CVAT, Label Studio, LabelMe.
    ("c.json", categories((1, "sky", "none"), (0, "tree", "none")), TWO, True),
    ("r.json", categories((0, "all", "none"), (1, "tree", "all"), (2, "sky", "all")), TWO, False),
    ("p.json", categories((1, "person", "person"), (2, "dog", "animal")), ("person", "dog"), False),
    (
        "u.json",
        categories((0, "a", "none"), (1, "b", "a"), annotations=[{"category_id": 0}]),
        ("a", "b"),
        True,
    ),
    ("n.json", '{"names": {"1": "sky", "0": "tree"}}', TWO, True),
    ("s.json", '{"classes": ["tree", "sky"]}', TWO, None),
    ("l.json", '[{"name": "tree", "color": "#ff0000"}, {"name": "sky", "color": "#ff0000"}]', TWO,
     None),
    ("notes.json", '{"categories": [{"id": 0, "name": "tree"}, {"id": 1, "name": "sky"}]}', TWO,
     True),
    # XML of Label Studio's labelling interface and of CVAT's annotations.
    ("ls.xml", LABEL_STUDIO, TWO, None),
    ("ls.json", json.dumps({"label_config": LABEL_STUDIO}), TWO, None),
    ("cvat.xml", '<?xml version="1.0" encoding="utf-8"?>\n<annotations><meta><task><labels><label>'
     "<name>tree</name><color>#00ff00</color></label><label><name>sky</name></label></labels></task>"
     '</meta><image id="0"/></annotations>', TWO, None),
    ("m.txt", "__ignore__\n_background_\ntree\nsky\n", TWO, None),
]  # fmt: skip


def both(path: Path) -> tuple[str, ...]:
    """The names that the dock shows, which the command line reads, too."""
    shown = Vocabulary.parse(read_words(path).text)
    read = vocabulary_of(str(path))
    assert shown == read
    return read.names


@pytest.mark.parametrize(("name", "content", "names", "zero"), LISTS)
def test_both_ways_read_a_list_alike(tmp_path, name, content, names, zero):
    path = tmp_path / name
    path.write_bytes(content.encode())
    assert both(path) == names
    if zero == "gap":
        with pytest.raises(FileFormatError, match="not one after the other from 0 or 1"):
            counts_from_zero(str(path))
    else:
        assert counts_from_zero(str(path)) is zero


@pytest.mark.parametrize(
    "encoded",
    [
        codecs.BOM_UTF8 + "bäum\r\nsky\r\n".encode(),
        codecs.BOM_UTF16_LE + "bäum\r\nsky\r\n".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "bäum\nsky".encode("utf-16-be"),
        "bäum\r\nsky\r\n".encode("utf-16-le"),
        "bäum\nsky".encode("utf-16-be"),
    ],
)
@pytest.mark.parametrize("suffix", [".txt", ".csv", ".json", ".yaml"])
def test_any_unicode_is_read(tmp_path, encoded, suffix):
    if suffix != ".txt":
        mark = encoded[:2]
        text = {".csv": "name\nbäum\nsky\n", ".json": '["bäum", "sky"]',
                ".yaml": "names: [bäum, sky]"}[suffix]  # fmt: skip
        if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            encoded = text.encode("utf-16")
        else:
            encoded = text.encode({b"b\0": "utf-16-le", b"\0b": "utf-16-be"}.get(mark, "utf-8-sig"))
    path = tmp_path / f"words{suffix}"
    path.write_bytes(encoded)
    assert both(path) == ("bäum", "sky")


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("words_roboflow.json", ("fish", "lake")),
        ("words_coins.txt", ("1 euro coin", "2 euro coin")),
        ("words_numbers.yaml", ("2146", "21008", "007")),
        ("words_yesno.yaml", ("no", "yes")),
    ],
)
def test_files_that_went_wrong(name, names):
    assert both(DATA / name) == names


def test_labels_of_a_file_with_an_unused_root_are_read(tmp_path):
    square = [[0, 0, 2, 0, 2, 2, 0, 2]]
    document = json.loads((DATA / "words_roboflow.json").read_text())
    document["images"] = [{"id": 0, "file_name": "a.jpg", "height": 4, "width": 4}]
    document["annotations"] = [
        {"id": 0, "image_id": 0, "category_id": 2, "segmentation": square, "iscrowd": 0}
    ]
    path = tmp_path / "_annotations.coco.json"
    path.write_text(json.dumps(document))
    (image,) = FORMATS["coco"].read(path, None)
    assert image.vocabulary.names == ("fish", "lake")
    assert (image.ids == 2).sum() == 4


def test_words_of_other_scripts_are_read_without_a_mark(tmp_path):
    path = tmp_path / "words.txt"
    for encoding in ("utf-16-le", "utf-16-be"):
        path.write_bytes("树\n天空\n".encode(encoding))
        assert both(path) == ("树", "天空")
    path.write_bytes("# of the wood\ntree\nsky\n".encode("utf-16-le"))
    assert read_words(path).text == "# of the wood\ntree\nsky\n"
