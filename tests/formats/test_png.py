import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from napari_prelabel.formats import FORMATS, LabelImage, Options, export, one_image, png
from napari_prelabel.formats.png import read_png, table_path, write_png
from napari_prelabel.values.errors import FileFormatError
from napari_prelabel.values.vocabulary import Class, Vocabulary


def test_pillow_reads_back_ids_and_colours(image, tmp_path):
    receipt = export([image], tmp_path, "png")
    with Image.open(tmp_path / "img.png") as picture:
        assert picture.mode == "P"
        values = np.asarray(picture)
        colours = np.reshape(picture.getpalette(), (-1, 3))
    assert np.array_equal(values, np.where(image.ids == 65535, 255, image.ids))
    assert colours[:4].tolist() == [
        [0, 0, 0],
        [0xE6, 0x19, 0x4B],
        [0x87, 0xCE, 0xEB],
        [0xFF, 0xE1, 0x19],
    ]
    assert colours[255].tolist() == [224, 224, 192]
    assert receipt.exact
    assert receipt.paths == (tmp_path / "img.png", tmp_path / "img.labels.json")
    assert {row.id: row.written for row in receipt.classes}[65535] == 5


def test_the_table_names_every_class(image, tmp_path):
    export([image], tmp_path, "png")
    table = json.loads((tmp_path / "img.labels.json").read_text(encoding="utf-8"))
    assert table["ignore"] == 255
    assert table["image"] == "img.jpg"
    assert table["classes"][0]["synonyms"] == ["trees", "oak"]
    assert [(c["id"], c["name"], c["colour"]) for c in table["classes"]] == [
        (1, "tree", "#e6194b"),
        (2, "sky", "#87ceeb"),
        (3, "µ-field", "#ffe119"),
    ]


def test_round_trip(image, tmp_path):
    export([image], tmp_path, "png")
    (back,) = read_png(tmp_path / "img.png")
    assert np.array_equal(back.ids, image.ids)
    assert back.vocabulary.digest == image.vocabulary.digest
    assert (back.scale, back.unit, back.source) == ((0.5, 0.25), "µm", "img.jpg")
    assert back.record == {"method": "freecp", "n": 1}


def test_many_classes_are_written_in_sixteen_bits_with_a_sentence(tmp_path):
    vocabulary = Vocabulary(tuple(Class(i, f"c{i}") for i in range(1, 301)))
    ids = np.array([[0, 300], [255, 65535]], np.uint16)
    receipt = export([LabelImage(ids, vocabulary, "many")], tmp_path, "png")
    assert receipt.exact
    assert "16-bit grey" in receipt.lines()[-1]
    with Image.open(tmp_path / "many.png") as picture:
        assert picture.mode.startswith("I")
        assert np.array_equal(np.asarray(picture), ids)
    assert np.array_equal(read_png(tmp_path / "many.png")[0].ids, ids)


def test_254_classes_still_fit_a_palette(tmp_path):
    vocabulary = Vocabulary(tuple(Class(i, f"c{i}") for i in range(1, 255)))
    ids = np.array([[254, 65535]], np.uint16)
    export([LabelImage(ids, vocabulary, "many")], tmp_path, "png")
    assert np.array_equal(read_png(tmp_path / "many.png")[0].ids, ids)


def test_nothing_is_overwritten_unasked(image, tmp_path):
    export([image], tmp_path, "png")
    before = (tmp_path / "img.png").read_bytes(), (tmp_path / "img.labels.json").read_bytes()
    with pytest.raises(FileFormatError, match="exists already: tick Replace files that exist"):
        export([image], tmp_path, "png")
    assert before == (
        (tmp_path / "img.png").read_bytes(),
        (tmp_path / "img.labels.json").read_bytes(),
    )
    assert export([image], tmp_path, "png", Options(overwrite=True)).exact


def test_stacks_become_one_file_a_plane(vocabulary, tmp_path):
    stack = LabelImage(np.ones((3, 4, 5), np.uint16), vocabulary, "s", "s.tif")
    receipt = export([stack], tmp_path, "png")
    assert receipt.images == 3
    assert (tmp_path / "s_t0002.png").exists()
    with pytest.raises(FileFormatError, match=r"holds one .Y, X. map"):
        write_png([stack], tmp_path / "x.png", Options())


def test_other_peoples_grey_png_needs_a_vocabulary(vocabulary, tmp_path):
    path = tmp_path / "other.png"
    Image.fromarray(np.array([[0, 1], [3, 255]], np.uint8)).save(path)
    with pytest.raises(FileFormatError, match=r"no other\.labels\.json beside it"):
        read_png(path)
    (back,) = FORMATS["png"].read(path, vocabulary)
    assert back.ids.tolist() == [[0, 1], [3, 65535]]


def test_damaged_and_foreign_files_get_one_sentence(image, vocabulary, tmp_path):
    export([image], tmp_path, "png")
    whole = (tmp_path / "img.png").read_bytes()
    cases = {
        "cut.png": (whole[: len(whole) // 2], "damaged or no PNG"),
        "head.png": (whole[:20], "damaged or no PNG"),
        "text.png": (b"hello", "damaged or no PNG"),
        "empty.png": (b"", "damaged or no PNG"),
    }
    for name, (data, sentence) in cases.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(FileFormatError, match=sentence):
            read_png(tmp_path / name, vocabulary)
    with pytest.raises(FileFormatError, match="is not there"):
        read_png(tmp_path / "nowhere.png", vocabulary)
    Image.new("RGB", (2, 2), "red").save(tmp_path / "rgb.png")
    with pytest.raises(FileFormatError, match="colour picture"):
        read_png(tmp_path / "rgb.png", vocabulary)
    Image.fromarray(np.full((2, 2), 9, np.uint8)).save(tmp_path / "nine.png")
    with pytest.raises(FileFormatError, match="holds id 9, but its table has 3 classes"):
        read_png(tmp_path / "nine.png", vocabulary)


def test_our_own_limit_of_pixels_holds_on_both_ways(monkeypatch, image, vocabulary, tmp_path):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow's, below what we write
    assert export([image], tmp_path, "png").exact
    monkeypatch.setattr(png, "MAX_PLANE", 203)
    monkeypatch.setattr(one_image, "MAX_PLANE", 203)
    with pytest.raises(FileFormatError, match=r"204 pixels, more than the 203 .*write a TIFF"):
        export([image], tmp_path / "other", "png")
    with pytest.raises(FileFormatError, match=r"204 pixels, more than the 203"):
        read_png(tmp_path / "img.png", vocabulary)
    assert not (tmp_path / "other").exists()


def test_too_little_memory_is_not_called_damage(monkeypatch, image, tmp_path):
    def no_memory(*_args):
        raise MemoryError

    export([image], tmp_path, "png")
    monkeypatch.setattr(png, "PngImageFile", no_memory)
    with pytest.raises(FileFormatError, match="does not fit into memory"):
        read_png(tmp_path / "img.png")


def test_somebody_elses_table_is_not_replaced_unasked(image, tmp_path):
    beside = tmp_path / "img.labels.json"
    beside.write_text("theirs", encoding="utf-8")
    with pytest.raises(FileFormatError, match=r"img\.labels\.json exists already"):
        export([image], tmp_path, "png")
    assert [p.name for p in tmp_path.iterdir()] == [beside.name]
    assert beside.read_text(encoding="utf-8") == "theirs"


def test_a_png_that_fails_leaves_the_old_pair(image, tmp_path, monkeypatch):
    export([image], tmp_path, "png")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*_args, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    renamed = replace(image, vocabulary=Vocabulary.parse("a\nb\nc"))
    with pytest.raises(FileFormatError, match="free some space"):
        export([renamed], tmp_path, "png", Options(overwrite=True))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_table_of_another_export_is_refused(image, vocabulary, tmp_path):
    export([image], tmp_path, "png")
    old = (tmp_path / "img.png").read_bytes()
    renamed = replace(image, vocabulary=Vocabulary.parse("a\nb\nc"))
    export([renamed], tmp_path, "png", Options(overwrite=True))
    (tmp_path / "img.png").write_bytes(old)
    with pytest.raises(FileFormatError, match="two different exports"):
        read_png(tmp_path / "img.png")
    assert np.array_equal(read_png(tmp_path / "img.png", vocabulary)[0].ids, image.ids)


def test_a_png_saved_again_by_another_tool_is_still_read(image, tmp_path):
    export([image], tmp_path, "png")
    with Image.open(tmp_path / "img.png") as picture:
        plain = Image.fromarray(np.asarray(picture))
    plain.save(tmp_path / "img.png")
    assert np.array_equal(read_png(tmp_path / "img.png")[0].ids, image.ids)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t.update(format="x"), "is not a table of classes"),
        (lambda t: t.update(schema=99), "schema 99"),
        (lambda t: t.update(shape=[1, 1]), "describes a map of"),
        (lambda t: t.update(image="../../etc/passwd"), "outside its own folder"),
        (lambda t: t.update(image="/etc/passwd"), "outside its own folder"),
        (lambda t: t.update(image="a\0.png"), "no file name"),
        (lambda t: t.update(image=7), "which is no file name"),
        (lambda t: t.update(classes=[{"id": 2, "name": "a"}]), "must run 1, 2, 3"),
        (lambda t: t.update(classes="abc"), "Type at least one class"),
        (lambda t: t["classes"].pop(), "holds id 3"),
        (lambda t: t["classes"][0].update(name=5), "a name must be text"),
        (lambda t: t.update(scale=[1]), "scale must be two lengths"),
        (lambda t: t.update(scale=[float("inf"), 1]), "scale must be two lengths"),
        (lambda t: t.update(scale=[float("nan"), 1]), "scale must be two lengths"),
        (lambda t: t.update(scale=[10**400, 1]), "scale must be two lengths"),
        (lambda t: t.update(scale=[1, 10**-320]), "scale must be two lengths"),
        (lambda t: t.update(image="."), "which is no file name"),
        (lambda t: t.update(image="./"), "which is no file name"),
        (lambda t: t.update(image="\ud800.png"), "which is no file name"),
        (lambda t: t.update(scale="x"), "scale must be two lengths"),
    ],
)
def test_hostile_tables_get_one_sentence(change, sentence, image, tmp_path):
    export([image], tmp_path, "png")
    path = table_path(tmp_path / "img.png")
    table = json.loads(path.read_text(encoding="utf-8"))
    change(table)
    path.write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(FileFormatError, match=sentence):
        read_png(tmp_path / "img.png")


@pytest.mark.parametrize("text", [b"{", b"[" * 100_000, b"\xff\xfe\x00", b"[1, 2]"])
def test_what_is_no_json_table_gets_one_sentence(text, image, tmp_path):
    export([image], tmp_path, "png")
    table_path(tmp_path / "img.png").write_bytes(text)
    with pytest.raises(FileFormatError, match=r"no valid JSON|not a table"):
        read_png(tmp_path / "img.png")


def test_a_table_that_is_a_folder_gets_one_sentence(image, tmp_path):
    export([image], tmp_path, "png")
    table_path(tmp_path / "img.png").unlink()
    table_path(tmp_path / "img.png").mkdir()
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_png(tmp_path / "img.png")


def test_the_record_must_be_plain_json(vocabulary, tmp_path):
    image = LabelImage(np.ones((2, 2), np.uint16), vocabulary, "a", record={"x": object()})
    with pytest.raises(FileFormatError, match="not plain JSON"):
        export([image], tmp_path, "png")


def test_a_plain_png_that_fails_leaves_the_old_pair(image, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    write_png([image], path, Options())
    monkeypatch.setattr(Image.Image, "save", _full)
    with pytest.raises(FileFormatError):
        png.write_plain(image.ids, path)
    monkeypatch.undo()
    (back,) = read_png(path)
    assert back.vocabulary.names == image.vocabulary.names
    png.write_plain(image.ids, path)
    assert not table_path(path).exists()


def _full(*_, **__):
    raise OSError(28, "No space left on device")
