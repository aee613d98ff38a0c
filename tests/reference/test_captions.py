"""The sidecar file of captions: what is read, what is refused, in which words."""

import json

import pytest

from napari_prelabel.reference import captions
from napari_prelabel.reference.captions import Captioned, read_captions
from napari_prelabel.values.errors import FileFormatError


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "images"
    place.mkdir()
    for name in ("a.png", "b.jpg", "caf\u00e9.png"):
        (place / name).write_bytes(b"")
    (place / "deep").mkdir()
    (place / "deep" / "c.png").write_bytes(b"")
    (tmp_path / "secret.png").write_bytes(b"")
    return place


def sidecar(tmp_path, *lines):
    path = tmp_path / "captions.jsonl"
    text = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(text), encoding="utf-8")
    return path


def test_captions_of_the_folders_images(tmp_path, folder):
    path = sidecar(
        tmp_path,
        {"image": "b.jpg", "caption": " a boat ", "licence": "CC0", "score": 3},
        "",
        {"image": "a.png", "caption": "a cow"},
        {"image": "b.jpg", "caption": "a pier", "licence": "MIT", "author": "Ann"},
        {"image": "cafe\u0301.png", "caption": "a cup"},
    )
    found = read_captions(path, folder)
    assert found.faults == ()
    assert found.images == (
        Captioned(folder / "b.jpg", "b.jpg", ("a boat", "a pier"), "CC0", "Ann"),
        Captioned(folder / "a.png", "a.png", ("a cow",)),
        Captioned(folder / "caf\u00e9.png", "caf\u00e9.png", ("a cup",)),
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{broken", "no valid JSON"),
        ("[1, 2]", "no object in braces"),
        ({"caption": "a cow"}, "'image' must be text, not None"),
        ({"image": "a.png", "caption": 3}, "'caption' must be text, not 3"),
        ({"image": "a.png", "caption": "  "}, "'caption' must be text"),
        ({"image": "a.png", "caption": "a cow", "licence": ["x"]}, "'licence' must be text"),
        ({"image": "z.png", "caption": "a cow"}, "no image 'z.png' in the folder"),
        ({"image": "../secret.png", "caption": "a cow"}, "give the file's plain name"),
        ({"image": "deep/c.png", "caption": "a cow"}, "give the file's plain name"),
        ({"image": "deep", "caption": "a cow"}, "no image 'deep'"),
    ],
)
def test_each_bad_line_has_its_sentence(tmp_path, folder, line, sentence):
    path = sidecar(tmp_path, {"image": "a.png", "caption": "a cow"}, line)
    found = read_captions(path, folder)
    assert [c.name for c in found.images] == ["a.png"]
    assert len(found.faults) == 1
    assert found.faults[0].startswith("line 2: ")
    assert sentence in found.faults[0]


def test_absolute_names_are_never_opened(tmp_path, folder):
    line = {"image": str(tmp_path / "secret.png"), "caption": "a cow"}
    with pytest.raises(FileFormatError, match="no caption of an image"):
        read_captions(sidecar(tmp_path, line), folder)


def test_bytes_that_are_no_text_are_a_bad_line(tmp_path, folder):
    path = sidecar(tmp_path, {"image": "a.png", "caption": "a cow"})
    path.write_bytes(path.read_bytes() + b'\n{"image": "\xff\xfe"}\n')
    assert "no valid JSON" in read_captions(path, folder).faults[0]


def test_a_file_without_a_good_line_is_refused(tmp_path, folder):
    with pytest.raises(FileFormatError, match="no caption of an image"):
        read_captions(sidecar(tmp_path), folder)


def test_too_many_bad_lines_are_another_format(tmp_path, folder):
    good = {"image": "a.png", "caption": "a cow"}
    with pytest.raises(FileFormatError, match="over 100 bad lines, the first line 2"):
        read_captions(sidecar(tmp_path, good, *["image,caption"] * 101), folder)
    assert len(read_captions(sidecar(tmp_path, good, *["no"] * 100), folder).faults) == 100


def test_a_line_without_end_is_refused(tmp_path, folder, monkeypatch):
    monkeypatch.setattr(captions, "MAX_LINE", 40)
    with pytest.raises(FileFormatError, match=r"Line 2 of .* is over 64 kB"):
        read_captions(sidecar(tmp_path, "{}", "x" * 100), folder)


def test_a_file_or_folder_that_is_not_there(tmp_path, folder):
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_captions(tmp_path / "none.jsonl", folder)
    with pytest.raises(FileFormatError, match="choose a folder"):
        read_captions(sidecar(tmp_path, "{}"), tmp_path / "none")
