import json

import pytest

from napari_prelabel.jobs import (
    choose,
    counts_from_zero,
    description_note,
    job_of,
    job_with,
    read_size,
    vocabulary_of,
)
from napari_prelabel.models.catalog import bundle_of
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.reference.values import EncoderId
from napari_prelabel.values.errors import FileFormatError, JobError, VocabularyError
from napari_prelabel.values.job import Job, ReME
from napari_prelabel.values.vocabulary import Vocabulary


@pytest.mark.parametrize(
    ("text", "names", "background"),
    [
        ("tree, sky", ("tree", "sky"), ()),
        ("tree", ("tree",), ()),
        ("tree: oak, fir; sky; - shadow", ("tree", "sky"), ("shadow",)),
        ("tree\nsky\n- a, b", ("tree", "sky"), ("a", "b")),
        ("tree, fir; sky: heaven, skies; - a, b", ("tree", "fir", "sky"), ("a", "b")),
        ("traffic light,sky", ("traffic light", "sky"), ()),
        ('"chest, of drawers", "a; b"; sky', ("chest, of drawers", "a; b", "sky"), ()),
    ],
)
def test_words_on_the_command_line(text, names, background):
    found = vocabulary_of(text)
    assert (found.names, found.background) == (names, background)


@pytest.mark.parametrize(
    ("text", "names", "zero"),
    [
        ("0 background\n1 tree\n2 sky", ("background", "tree", "sky"), True),
        ("0 background, tree, sky", ("background", "tree", "sky"), True),
        ("1 tree: oak; 2. sky; - shadow", ("tree", "sky"), False),
        ("0) sky", ("sky",), True),
        ("tree, 2 doors", ("tree", "2 doors"), None),
        ("3 doors, 5 doors", ("3 doors", "5 doors"), None),
        ("0 grass, 2 sky", ("0 grass", "2 sky"), "gap"),
        ("7 up, 0 sugar", ("7 up", "0 sugar"), None),
        ("1 euro coin, 2 euro coin", ("1 euro coin", "2 euro coin"), None),
        ("2, 3", ("2", "3"), None),
        ("tree, sky", ("tree", "sky"), None),
        ("voc20", None, None),
    ],
)
def test_ids_before_the_names_are_no_part_of_them(text, names, zero):
    assert names is None or vocabulary_of(text).names == names
    if zero == "gap":
        with pytest.raises(FileFormatError, match="not one after the other from 0 or 1"):
            counts_from_zero(text)
    else:
        assert counts_from_zero(text) is zero


@pytest.mark.parametrize(
    ("content", "zero"),
    [
        ([{"id": 1, "name": "tree"}, {"id": 0, "name": "background"}], True),
        ({"categories": [{"id": 1, "name": "tree"}, {"id": 2, "name": "sky"}]}, False),
        ([{"id": 0, "name": "_background_"}, {"id": 1, "name": "tree"}], False),
        ({"labels": [{"name": "tree"}]}, None),
        ({"names": ["tree"]}, None),
        (Vocabulary.parse("tree").to_dict(), None),
    ],
)
def test_categories_tell_their_ids(tmp_path, content, zero):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(content))
    assert counts_from_zero(str(path)) is zero
    path.write_text('[{"id": 1, "name": "tree"}, {"id": 3, "name": "sky"}]')
    assert vocabulary_of(str(path)).names == ("tree", "sky")
    with pytest.raises(FileFormatError, match="numbered 1, 3"):
        counts_from_zero(str(path))


def test_words_too_long_for_a_file_name_are_words():
    names = [f"kind {n} of tree" for n in range(300)]
    assert vocabulary_of(", ".join(names)).names == tuple(names)
    assert vocabulary_of("; ".join(names[:40])).names == tuple(names[:40])


def test_presets_and_files(tmp_path):
    assert len(vocabulary_of("voc20").classes) == 20
    (tmp_path / "c.csv").write_text("name\ntree\n")
    assert vocabulary_of(str(tmp_path / "c.csv")).names == ("tree",)
    with pytest.raises(FileFormatError, match="cannot be read"):
        vocabulary_of(str(tmp_path / "gone.txt"))
    with pytest.raises(VocabularyError):
        vocabulary_of("")


def test_a_job_takes_the_bundles_recommendation_unless_told():
    bundle = bundle_of("demo")
    job = job_of("tree", None)
    assert (job.models, job.method, job.base) == ("demo", bundle.method, bundle.base)
    job = job_of("tree", None, None, {"method": "base", "base": "gem", "precision": None})
    assert (job.method, job.base, job.precision) == ("base", "gem", "float32")
    assert job_of("tree", None, None, {"models": "rn50x16"}).method == "base"


def test_a_job_file_with_settings_over_it(tmp_path):
    path = tmp_path / "job.json"
    path.write_text(Job(Vocabulary.parse("tree"), min_score=0.5).to_json(), encoding="utf-8")
    job = job_of(None, path, None, {"method": "base"})
    assert (job.method, job.min_score, job.vocabulary.names) == ("base", 0.5, ("tree",))


def test_descriptions_are_filed_under_their_classes(tmp_path):
    path = tmp_path / "d.json"
    path.write_text('{"Tree": ["tall", "green"], "other": ["x"]}', encoding="utf-8")
    job = job_of("tree, sky", None, path)
    assert job.vocabulary.classes[0].descriptions == ("tall", "green")
    for wrong in ('["a"]', '{"tree": "tall"}', '{"tree": [1]}'):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(FileFormatError, match="needs the form"):
            job_of("tree", None, path)


def test_names_in_a_description_file_that_are_no_class_are_told(tmp_path):
    path = tmp_path / "d.json"
    words = vocabulary_of("tree, sky")

    def note(text):
        path.write_text(text, encoding="utf-8")
        return description_note(words, path)

    assert note('{"Tree": ["tall"], "sky": ["blue"]}') == "2 classes are described by d.json."
    assert note('{"tree": ["tall"], "lake": ["wet"]}') == (
        "1 class is described by d.json; 1 of its names belongs to no class: lake."
    )
    assert note('{"lake": ["wet"], "Lake": ["wet"], "sea": ["salt"]}') == (
        "0 classes are described by d.json; 2 of its names belong to no class: Lake, sea."
    )
    many = "{" + ", ".join(f'"n{i}": ["x"]' for i in range(20)) + "}"
    assert note(many).endswith(
        "20 of its names belong to no class: n0, n1, n2, n3, n4, n5, n6, n7 and 12 more."
    )


def test_what_makes_no_job(tmp_path):
    for classes, file in ((None, None), ("tree", tmp_path / "job.json")):
        with pytest.raises(JobError, match="either --classes or --job"):
            job_of(classes, file)
    with pytest.raises(FileFormatError, match="cannot be read"):
        job_of(None, tmp_path / "job.json")
    with pytest.raises(JobError, match="method must be one of"):
        job_with(Vocabulary.parse("tree"), {"method": "magic"})
    with pytest.raises(JobError, match="format must be one of a, b: 'c'"):
        choose("format", "c", ("a", "b"))
    assert choose("format", "a", ("a", "b")) == "a"


def test_sizes():
    assert read_size("448x600") == (448, 600)
    assert read_size(" 64 X 32 ") == (64, 32)
    for wrong in ("448", "448x", "10x600", "-3x40", "axb"):
        with pytest.raises(JobError, match="written like 448x600"):
            read_size(wrong)


def test_a_set_brings_what_suits_its_encoder(tmp_path):
    texture = ReferenceSet.create(tmp_path / "a", EncoderId("texture", "d", 3))
    other = ReferenceSet.create(tmp_path / "b", EncoderId("dinov2l", "d", 3))
    job = job_of("tree", None, reference=texture.folder)
    assert (job.method, job.reme.top_k, job.reme.temperature) == ("reme", 100, 0.1)
    assert job.reference.digest == texture.digest
    assert job_of("tree", None, reference=other.folder).reme == ReME()
    kept = job_of("tree", None, settings={"method": "base"}, reference=other.folder)
    assert kept.method == "base"
