"""Reference sets: what is added comes back, whatever else happens to the folder."""

import errno
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from reference_sets import ENCODER, WIDTH, addition, digest, png, small_set

from napari_prelabel.formats import atomic
from napari_prelabel.reference import commit, store
from napari_prelabel.reference.manifest import HISTORY, read_manifest
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.reference.values import EncoderId, Label, Metric, with_position
from napari_prelabel.values.errors import EncoderMismatch, FileFormatError, ReferenceSetError


def dense(held, **steps):
    return held.links(**steps).toarray().astype(int).tolist()


def test_what_is_added_comes_back(tmp_path):
    made = small_set(tmp_path / "set")
    held = ReferenceSet.open(made.folder)
    a, b = addition("a"), addition("b")
    assert (held.n_segments, held.n_images, held.n_labels) == (6, 2, 3)
    assert held.labels() == (
        Label(0, "tree", "tree", (), 4), Label(1, "sky", "sky", (), 2),
        Label(2, "oak", "oak", (), 2),
    )  # fmt: skip
    assert dense(held) == [[1, 0, 0], [0, 1, 0], [1, 0, 1]] * 2
    np.testing.assert_allclose(held.rows([5, 0]), [b.embeddings[2], a.embeddings[0]], atol=1e-3)
    assert held.thumbnail(4) == b.thumbnails[1]
    assert held.image_rows(digest("b")).tolist() == [3, 4, 5]
    assert held.image_rows(digest("c")).tolist() == []
    assert held.sources() == (a.source, b.source)
    (record,) = held.records([5])
    assert record.segment == b.segments[2]
    assert (record.source, record.words, record.enabled) == (b.source, ("tree", "oak"), True)
    assert held.rows_of("Tree").tolist() == [0, 2, 3, 5]
    assert held.encoder == ENCODER
    assert held.text is None


def test_blocks_are_memory_mapped_and_in_the_order_of_the_rows(tmp_path):
    held = small_set(tmp_path / "set")
    blocks = list(held.blocks())
    assert [start for start, _ in blocks] == [0]
    assert isinstance(blocks[0][1], np.memmap)
    assert blocks[0][1].dtype == np.float16
    np.testing.assert_array_equal(np.concatenate([b for _, b in blocks]), held.rows(range(6)))


def test_an_image_that_is_there_is_replaced(tmp_path):
    held = small_set(tmp_path / "set", "a", "b", "c")
    held.add([addition("b", ("car",))])
    assert [s.name for s in held.sources()] == ["a", "c", "b"]
    assert held.links().shape == (7, 4)
    assert held.records([6])[0].words == ("car",)
    assert [(start, len(rows)) for start, rows in held.blocks()] == [(0, 3), (3, 3), (6, 1)]
    assert held.counts.segments == held.n_segments == 7


def test_links_leave_images_and_switched_rows_out(tmp_path):
    held = small_set(tmp_path / "set")
    held.switch([1], False)
    assert dense(held) == [[1, 0, 0], [0, 0, 0], [1, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert dense(held, without={digest("b")})[3:] == [[0, 0, 0]] * 3
    assert not held.records([1])[0].enabled
    held.switch([1], True)
    assert dense(held)[1] == [0, 1, 0]


def test_switches_stay_with_their_segments_when_rows_move(tmp_path):
    held = small_set(tmp_path / "set")
    held.switch([4], False)
    held.remove([digest("a")])
    assert [r.enabled for r in held.records(range(3))] == [True, False, True]
    held.remove([digest("b")])
    held.add([addition("b")])
    assert held.records([1])[0].enabled


def test_the_digest_tells_what_answers_and_nothing_else(tmp_path):
    one, two = small_set(tmp_path / "one"), small_set(tmp_path / "two")
    assert one.digest == two.digest
    seen = {one.digest}
    for change in (
        lambda: one.switch([0], False),
        lambda: one.declare({"tree": ("pine",)}),
        lambda: one.put_metric(Metric(np.zeros(WIDTH), np.eye(WIDTH))),
        lambda: one.remove([digest("a")]),
        lambda: one.add([addition("c")]),
    ):
        change()
        assert one.digest not in seen
        seen.add(one.digest)


def test_one_step_back_and_forth(tmp_path):
    held = small_set(tmp_path / "set")
    before = held.digest
    held.add([addition("c")])
    after = held.digest
    held.undo()
    assert (held.digest, held.n_images) == (before, 2)
    held.undo()
    assert (held.digest, held.n_images) == (after, 3)
    np.testing.assert_allclose(held.rows([6])[0], addition("c").embeddings[0], atol=1e-3)


def test_several_changes_can_be_one_step(tmp_path):
    held = small_set(tmp_path / "set")
    before = held.digest
    with held.one_step():
        held.add([addition("c")])
        held.switch([0], False)
        held.add([addition("d")])
    held.undo()
    assert held.digest == before
    assert ReferenceSet.open(held.folder).n_images == 2
    held.undo()
    assert held.n_images == 4


def test_what_another_process_changed_is_not_undone(tmp_path):
    held = small_set(tmp_path / "set")
    held.add([addition("c")])
    ReferenceSet.open(held.folder).add([addition("d")])
    with pytest.raises(ReferenceSetError, match="was changed elsewhere since"):
        held.undo()
    assert ReferenceSet.open(held.folder).n_images == 4
    held.refresh()
    held.undo()
    assert held.n_images == 3


def test_nothing_to_undo_in_a_new_set(tmp_path):
    held = ReferenceSet.create(tmp_path / "set", ENCODER)
    with pytest.raises(ReferenceSetError, match="nothing to undo"):
        held.undo()


def test_an_empty_set_answers_nothing(tmp_path):
    held = ReferenceSet.create(tmp_path / "set", ENCODER, EncoderId("clip", "b" * 64, 4), "mine")
    assert held.links().shape == (0, 0)
    assert list(held.blocks()) == []
    assert held.rows([]).shape == (0, WIDTH)
    assert held.class_stats() == ()
    assert (held.name, held.text) == ("mine", EncoderId("clip", "b" * 64, 4))


def test_an_image_without_segments_is_kept(tmp_path):
    held = small_set(tmp_path / "set")
    none = replace(
        addition("e"), embeddings=np.empty((0, WIDTH), np.float32), segments=(), thumbnails=()
    )
    held.add([none])
    assert held.sources()[-1].name == "e"
    assert held.image_rows(digest("e")).tolist() == []
    assert held.links().shape == (6, 3)


def test_merge_takes_the_later_review(tmp_path):
    ours = small_set(tmp_path / "ours", "a", "b")
    theirs = ReferenceSet.create(tmp_path / "theirs", ENCODER)
    theirs.add([addition("b", ("car",), reviewed="2026-01-01"), addition("c")])
    theirs.add([addition("a", ("bus",))])
    theirs.switch(theirs.image_rows(digest("c"))[:1], False)
    theirs.declare({"car": ("auto",)})
    ours.merge(theirs)
    words = {s.name: ours.records(ours.image_rows(s.hash))[0].words for s in ours.sources()}
    assert words == {"a": ("tree",), "b": ("car",), "c": ("tree",)}
    assert not ours.records(ours.image_rows(digest("c")))[0].enabled
    assert {e.phrase: e.synonyms for e in ours.labels()}["car"] == ("auto",)


def test_sets_of_other_encoders_or_kinds_are_not_merged(tmp_path):
    ours = small_set(tmp_path / "ours")
    other = ReferenceSet.create(tmp_path / "other", EncoderId("dinov2b", "b" * 64, 8))
    with pytest.raises(EncoderMismatch, match=r"made with texture .* not with dinov2b"):
        ours.merge(other)
    placed = ReferenceSet.create(tmp_path / "placed", ENCODER, position=True)
    with pytest.raises(ReferenceSetError, match="keeping positions"):
        ours.merge(placed)


def test_positions_widen_the_rows(tmp_path):
    held = ReferenceSet.create(tmp_path / "set", ENCODER, position=True)
    assert (held.position, held.width) == (True, WIDTH + 2)
    given = addition("a")
    boxes = [s.box for s in given.segments]
    rows = with_position(given.embeddings, boxes, given.source.size)
    held.add([replace(given, embeddings=rows)])
    want = np.array([*given.embeddings[0], 2 / 20 - 0.5, 2.5 / 30 - 0.5])
    np.testing.assert_allclose(held.rows([0])[0], want / np.linalg.norm(want), atol=1e-3)


def test_declared_synonyms_add_up(tmp_path):
    held = small_set(tmp_path / "set")
    held.declare({"tree": ("pine", "Tree")})
    held.declare({"TREE": ("fir", "pine"), "sky": ()})
    assert held.labels()[0].synonyms == ("pine", "fir")


def test_words_that_differ_in_case_are_one_label(tmp_path):
    held = ReferenceSet.create(tmp_path / "set", ENCODER)
    held.add([addition("a", ("Traffic  light",)), addition("b", ("traffic light",))])
    assert [(e.phrase, e.count) for e in held.labels()] == [("Traffic  light", 2)]


def test_class_stats_count_per_root(tmp_path):
    held = small_set(tmp_path / "set")
    held.switch([0], False)
    stats = {s.word: s for s in held.class_stats()}
    assert (stats["tree"].segments, stats["tree"].images, stats["tree"].off) == (4, 2, 1)
    assert (stats["oak"].segments, stats["oak"].images, stats["oak"].off) == (2, 2, 0)


def test_roots_that_differ_in_case_are_one_class(tmp_path):
    held = small_set(tmp_path / "set", "a")
    red = addition("b", ("red tree",), ("Tree",))
    segments = tuple(
        replace(s, roots=(r,)) for s, r in zip(red.segments, ("Tree", "TREE"), strict=True)
    )
    held.add([replace(red, segments=segments)])
    held.declare({"Tree": ["fir"]})
    told = {s.word: s for s in held.class_stats()}
    assert sorted(told) == ["oak", "sky", "tree"]
    assert (told["tree"].segments, told["tree"].images) == (4, 2)
    assert told["tree"].synonyms == ("fir",)
    assert len(held.rows_of("TREE")) == 4


def test_counts_tell_licences(tmp_path):
    held = ReferenceSet.create(tmp_path / "set", ENCODER)
    held.add([addition("a", licence="CC0"), addition("b", licence="CC0"), addition("c")])
    assert held.counts.licences == {"": 1, "CC0": 2}


def test_the_metric_is_kept(tmp_path):
    held = small_set(tmp_path / "set")
    matrix = np.arange(WIDTH * 2, dtype=np.float32).reshape(WIDTH, 2)
    held.put_metric(Metric(np.ones(WIDTH, np.float32), matrix))
    again = ReferenceSet.open(held.folder).metric
    np.testing.assert_array_equal(again.matrix, matrix)
    held.put_metric(None)
    assert held.metric is None


@pytest.mark.parametrize(
    "metric",
    [
        Metric(np.ones(3), np.ones((WIDTH, 2))),
        Metric(np.ones(WIDTH), np.ones((3, 2))),
        Metric(np.ones(WIDTH), np.full((WIDTH, 2), np.nan)),
    ],
)
def test_metrics_that_do_not_fit_are_refused(tmp_path, metric):
    held = small_set(tmp_path / "set")
    with pytest.raises(ReferenceSetError, match="needs a finite mean"):
        held.put_metric(metric)


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ({"embeddings": np.ones((3, 2), np.float32)}, r"not \(3, 2\)"),
        ({"embeddings": np.full((3, WIDTH), np.nan, np.float32)}, "not finite"),
        ({"embeddings": np.full((3, WIDTH), 1e9, np.float32)}, "not finite"),
        ({"thumbnails": ()}, "and 0"),
    ],
)
def test_additions_that_do_not_fit_are_refused(tmp_path, fault, sentence):
    held = small_set(tmp_path / "set")
    with pytest.raises(ReferenceSetError, match=sentence):
        held.add([replace(addition("c"), **fault)])
    assert ReferenceSet.open(held.folder).n_images == 2


def test_sources_and_roots_are_checked(tmp_path):
    held, good = small_set(tmp_path / "set"), addition("c")
    with pytest.raises(ReferenceSetError, match="its hash is not"):
        held.add([replace(good, source=replace(good.source, hash="../x"))])
    for fault, sentence in (
        ({"roots": ("a", "b")}, "roots"),
        ({"box": (3, 0, 3, 4)}, "box"),
        ({"area": 0}, "box"),
        ({"area": 10**9}, "box"),
    ):
        segments = (replace(good.segments[0], **fault), *good.segments[1:])
        with pytest.raises(ReferenceSetError, match=sentence):
            held.add([replace(good, segments=segments)])


def test_names_that_no_manifest_holds_are_refused(tmp_path, monkeypatch):
    held = small_set(tmp_path / "set")
    with pytest.raises(ReferenceSetError, match="over 1000 characters"):
        held.add([addition("c", licence="x" * 1001)])
    with pytest.raises(ReferenceSetError, match="shorten it"):
        ReferenceSet.create(tmp_path / "other", ENCODER, name="x" * 1001)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert ReferenceSet.create(".", ENCODER).name == "here"


def test_a_set_that_is_discarded_leaves_other_files(tmp_path):
    held = small_set(tmp_path / "set")
    (held.folder / "notes.txt").write_text("mine")
    held.discard()
    assert [p.name for p in (tmp_path / "set").iterdir()] == ["notes.txt"]
    small_set(tmp_path / "other").discard()
    assert not (tmp_path / "other").exists()


def test_rows_that_are_not_there_are_refused(tmp_path):
    held = small_set(tmp_path / "set")
    with pytest.raises(ReferenceSetError, match="rows 0 to 5"):
        held.rows([6])


def test_sets_are_only_made_in_empty_folders(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"x")
    with pytest.raises(ReferenceSetError, match="not empty"):
        ReferenceSet.create(tmp_path / "photos", ENCODER)
    with pytest.raises(ReferenceSetError, match="is a file"):
        ReferenceSet.create(tmp_path / "photos" / "a.jpg", ENCODER)


def test_another_generation_is_read_when_asked(tmp_path):
    held = small_set(tmp_path / "set")
    other = ReferenceSet.open(held.folder)
    other.add([addition("c")])
    assert held.n_images == 2
    np.testing.assert_array_equal(held.rows(range(6)), other.rows(range(6)))
    held.refresh()
    assert held.n_images == 3


def test_a_set_that_grew_elsewhere_is_no_damage(tmp_path):
    held = small_set(tmp_path / "set")
    other = ReferenceSet.open(held.folder)
    for number in range(2 * commit.TOGETHER):  # joins the shards that `held` has open
        other.add([addition(f"image {number}")])
    assert held.rows(range(6)).shape == (6, WIDTH)
    for ask in (held.labels, lambda: held.records([0]), lambda: held.thumbnail(0)):
        with pytest.raises(ReferenceSetError, match=r"was changed elsewhere: open it again"):
            ask()
    held.refresh()
    assert len(held.records(range(held.n_segments))) == 3 * held.n_images


def test_a_change_starts_from_the_newest_generation(tmp_path):
    held = small_set(tmp_path / "set")
    other = ReferenceSet.open(held.folder)
    other.remove([digest("a")])
    held.switch([3], False)  # row 3 of the old generation: the first of b
    assert held.n_images == 1
    assert [r.enabled for r in held.records(range(3))] == [False, True, True]


def test_a_long_change_elsewhere_is_told(tmp_path, monkeypatch):
    held = small_set(tmp_path / "set")
    monkeypatch.setattr(store, "PATIENCE", 0.05)
    with held._locked(), pytest.raises(ReferenceSetError, match="Another process"):
        ReferenceSet.open(held.folder).add([addition("c")])


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    held = small_set(tmp_path / "set")
    (tmp_path / "precious").write_text("mine")
    (held.folder / store.LOCK).unlink(missing_ok=True)
    (held.folder / store.LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(ReferenceSetError, match="is a link"):
        held.add([addition("c")])
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_read_only_folder_is_told(tmp_path, monkeypatch):
    held = small_set(tmp_path / "set")

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(store.filelock.FileLock, "acquire", refuse)
    with pytest.raises(ReferenceSetError, match=r"cannot be written .*nothing was changed"):
        held.add([addition("c")])
    assert ReferenceSet.open(held.folder).n_images == 2


@pytest.mark.parametrize("at", range(1, 7))
def test_a_full_disk_loses_nothing(tmp_path, monkeypatch, at):
    held = small_set(tmp_path / "set")
    fill, calls = atomic._fill, []

    def fail(part, content):
        calls.append(part)
        if len(calls) == at:
            raise OSError(errno.ENOSPC, "No space left on device")
        fill(part, content)

    monkeypatch.setattr(atomic, "_fill", fail)
    with pytest.raises(FileFormatError, match="No space left"):
        held.add([addition("c")])
    monkeypatch.undo()
    again = ReferenceSet.open(held.folder)
    assert again.n_images == 2
    again.add([addition("d")])
    assert not list(held.folder.glob("*.part"))
    assert again.n_images == 3


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ReferenceSetError, match="cannot be written"):
        ReferenceSet.create(tmp_path / "file" / "set", ENCODER)


def test_files_are_ours_by_name_and_others_stay(tmp_path):
    held = small_set(tmp_path / "set")
    (held.folder / "notes.txt").write_text("mine")
    for name in ("c", "d", "e"):
        held.add([addition(name)])
    assert (held.folder / "notes.txt").exists()
    past = held._now.manifest.previous
    named = {*held._now.manifest.files(), "manifest.json", ".lock", "notes.txt"}
    named |= set(read_manifest(held.folder, HISTORY.format(past)).files())
    assert {p.name for p in held.folder.iterdir()} <= named


def test_pictures_that_segments_share_are_stored_once(tmp_path):
    held = ReferenceSet.create(tmp_path / "set", ENCODER)
    held.add([replace(addition("a"), thumbnails=(png(),) * 3)])
    (path,) = held.folder.glob("catalogue-*.sqlite")
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT count(*) FROM picture").fetchone() == (1,)
    database.close()
    assert held.thumbnails([0, 2]) == (png(), png())


def test_places_need_a_box_for_every_row():
    with pytest.raises(Exception, match="do not belong together"):
        with_position(np.ones((2, 3), np.float32), [(0, 0, 1, 1)], (4, 4))
