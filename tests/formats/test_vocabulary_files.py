import json

import pytest

from napari_prelabel.formats.vocabulary_files import read_vocabulary, write_vocabulary
from napari_prelabel.values.errors import FileFormatError
from napari_prelabel.values.job import Job


@pytest.mark.parametrize("suffix", [".txt", ".csv", ".json", ".JSON"])
def test_round_trip(suffix, vocabulary, tmp_path):
    path = tmp_path / f"v{suffix}"
    write_vocabulary(path, vocabulary)
    assert read_vocabulary(path) == vocabulary
    with pytest.raises(FileFormatError, match="exists already"):
        write_vocabulary(path, vocabulary)
    write_vocabulary(path, vocabulary, overwrite=True)


def test_json_keeps_descriptions(vocabulary, tmp_path):
    told = vocabulary.with_descriptions({"tree": ["a tall plant"]})
    write_vocabulary(tmp_path / "v.json", told)
    assert read_vocabulary(tmp_path / "v.json") == told


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("classes.txt", "tree\nsky\n"),
        ("labels.txt", "__ignore__\n_background_\ntree\nsky\n"),
        ("voc.names", "tree\nsky\n"),
        ("bom.txt", "\ufefftree\nsky"),
        ("data.yaml", "train: a\nnames: [tree, sky]\n"),
        ("data.yml", "names:\n  1: sky\n  0: tree\n"),
        ("cvat.json", '[{"name": "tree", "color": "#800000", "attributes": []}, {"name": "sky"}]'),
        ("coco.json", '{"categories": [{"id": 9, "name": "sky"}, {"id": 2, "name": "tree"}]}'),
        ("names.json", '["_background_", "tree", "sky"]'),
        ("plain.csv", "name\ntree\nsky\n"),
        ("full.csv", "id, name, color\n1, tree, #800000\n2, sky,\n"),
    ],
)
def test_other_tools_class_files_are_read(name, content, tmp_path):
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_vocabulary(tmp_path / name).names == ("tree", "sky")


def test_a_job_brings_its_vocabulary(vocabulary, tmp_path):
    (tmp_path / "job.json").write_text(Job(vocabulary).to_json(), encoding="utf-8")
    assert read_vocabulary(tmp_path / "job.json") == vocabulary


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.txt", "tree\ntree", r"a\.txt: line 2: 'tree' stands twice"),
        ("a.txt", "", "Type at least one class"),
        ("a.csv", "words\ntree", "needs a first line with the column 'name'"),
        ("a.csv", "", "needs a first line"),
        ("a.csv", "id,name\n2,tree\n2,sky", "must be whole numbers, each once"),
        ("a.csv", "id,name\nx,tree", "must be whole numbers, each once"),
        ("a.csv", "id,name\n1,", "a class name is missing"),
        ("a.csv", "name,colour\ntree,red", "a colour is written like"),
        ("a.csv", "name\n" + "x" * 200_000, "is no table"),
        ("a.json", "{", "no valid JSON"),
        ("a.json", "{}", "has no classes"),
        ("a.json", "7", "has no classes"),
        ("a.json", "[1]", "1 is no class name"),
        ("a.json", '{"classes": [{}]}', "lacks 'name'"),
        ("a.yaml", "names: [", "no valid YAML"),
        ("a.yaml", "names: {a: b}", "no list 'names'"),
        ("a.yaml", "- a", "no list 'names'"),
        ("a.doc", "<a/>", r"must end in \.txt, \.names"),
        ("a.xml", "<View><Label", "no valid XML"),
        ("a.xml", "<View><Choice value='tree'/></View>", "has no classes: it needs <Label"),
        ("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><Label value="&b;"/>', "declares entities"),
        ("a.json", '{"label_config": "<View>"}', "no valid XML"),
        ("a.txt", "tr\udc80ee", "is no UTF-8 text"),
    ],
)
def test_wrong_files_get_one_sentence(name, content, sentence, tmp_path):
    (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(FileFormatError, match=sentence):
        read_vocabulary(tmp_path / name)


def test_files_that_cannot_be_read_or_written_get_one_sentence(vocabulary, tmp_path):
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_vocabulary(tmp_path / "nowhere.txt")
    (tmp_path / "latin.txt").write_bytes(b"\xe9t\xe9")
    with pytest.raises(FileFormatError, match="no UTF-8 text"):
        read_vocabulary(tmp_path / "latin.txt")
    with pytest.raises(FileFormatError, match=r"is written as \.txt, \.csv, \.json"):
        write_vocabulary(tmp_path / "v.yaml", vocabulary)


def test_json_is_plain_utf8(vocabulary, tmp_path):
    write_vocabulary(tmp_path / "v.json", vocabulary)
    assert "µ-field" in (tmp_path / "v.json").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "v.json").read_bytes())["background"] == ["reflection", "shadow"]


def nested(first, again):
    """YAML of few lines in which every level holds the one before many times."""
    levels = [f"a{i}: &a{i} " + again.replace("*", f"*a{i - 1}") for i in range(1, 25)]
    return "\n".join([f"a0: &a0 {first}", *levels, "names: [*a24]"])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (nested("[x]", "[*, *, *, *]"), "is no class name"),
        (nested("{x: 1}", "{<<: [*, *, *, *]}"), "is no class name"),
        (f"names: [0x{'F' * 6000}]", "at most 200 characters"),
    ],
    ids=["aliases", "merges", "number"],
)
@pytest.mark.timeout(20)
def test_small_files_that_hold_endless_things_get_one_short_sentence(content, sentence, tmp_path):
    (tmp_path / "a.yaml").write_text(content, encoding="utf-8")
    with pytest.raises(FileFormatError, match=sentence) as caught:
        read_vocabulary(tmp_path / "a.yaml")
    assert len(str(caught.value)) < len(str(tmp_path)) + 500


def test_colours_of_a_web_page_are_taken_and_others_left(tmp_path):
    config = """<View><Image name="image" value="$image"/>
      <BrushLabels name="tag" toName="image">
        <Label value="tree" background="rgba(0, 128, 0, 0.7)"/>
        <Label value="sky" background="Blue"/>
        <Label value="Café &amp; bar" background="#FFA39E"/>
        <Label value="sea" background="var(--x)"/>
      </BrushLabels><RectangleLabels name="box" toName="image"><Label value="tree"/>
      </RectangleLabels></View>"""
    (tmp_path / "a.xml").write_text(config, encoding="utf-8")
    found = read_vocabulary(tmp_path / "a.xml")
    assert found.names == ("tree", "sky", "Café & bar", "sea")
    assert [c.colour for c in found.classes] == ["#008000", "#0000ff", "#ffa39e", ""]
    (tmp_path / "a.json").write_text(json.dumps({"id": 3, "label_config": config}))
    assert read_vocabulary(tmp_path / "a.json") == found
