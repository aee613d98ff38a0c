"""Folders that are broken or meant to break us are refused in one sentence, before any harm."""

import json
import os
import sqlite3
import time

import numpy as np
import pytest
from reference_sets import WIDTH, digest, small_set

from napari_prelabel.reference import manifest as layout
from napari_prelabel.reference import snapshot
from napari_prelabel.reference.clean import clean
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.reference.values import Metric
from napari_prelabel.values.errors import ReferenceSetError
from napari_prelabel.values.retrieval import Cleaning


@pytest.fixture
def folder(tmp_path):
    held = small_set(tmp_path / "set")
    held.switch([0], False)
    return held.folder


def refused(folder, match):
    with pytest.raises(ReferenceSetError, match=match) as caught:
        use(folder)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert len(sentence) < 600


def use(folder):
    held = ReferenceSet.open(folder)
    list(held.blocks())
    held.links()
    held.records(range(held.n_segments))
    held.thumbnails(range(held.n_segments))


def edit(folder, **changes):
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    for name, value in changes.items():
        *outer, last = name.split("__")
        target = data
        for part in outer:
            target = target[int(part) if part.isdigit() else part]
        target[last] = value
    path.write_text(json.dumps(data))


def only(folder, pattern):
    (path,) = folder.glob(pattern)
    return path


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "holds no JSON"),
        ("{", "holds no JSON"),
        ("\x00\xff", "holds no JSON"),
        ("[" * 100_000, "holds no JSON"),
        ("[]", "no manifest of a reference set"),
        ('{"kind": "napari-prelabel reference set"}', "schema unknown"),
    ],
)
def test_manifests_that_are_none(folder, text, match):
    (folder / "manifest.json").write_text(text)
    refused(folder, match)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"schema": 2}, "has schema 2, this version reads 1"),
        ({"schema": "../1"}, "schema unknown"),
        ({"kind": "coco"}, "no manifest of a reference set"),
        ({"shards__0__serial": "../../etc/passwd"}, "wrong shards.0.serial"),
        ({"shards__0__serial": "/etc/passwd"}, "wrong shards.0.serial"),
        ({"shards__0__serial": -1}, "wrong shards.0.serial"),
        ({"shards__0__serial": 10**30}, "wrong shards.0.serial"),
        ({"shards__0__serial": 99}, "embeddings-000099.npy is missing"),
        ({"shards__0__rows": 10**12}, r"does not hold 1,000,000,000,000 x 6 values"),
        ({"shards__0__rows": 5}, "does not hold 5 x 6 values"),
        ({"shards__0__rows": 6.5}, "wrong shards.0.rows"),
        ({"shards__0__links": 10**12}, r"columns.* does not hold 1,000,000,000,000"),
        ({"shards__0__labels": 2}, "links to phrases that are not there"),
        ({"shards__0__labels": 10**12}, "entries of label"),
        ({"shards__0__images": 1}, "does not hold 1 images"),
        ({"shards__0__images": 10**12}, "does not hold 1,000,000,000,000 images"),
        ({"shards__0__removed": [7]}, "images that the manifest removes"),
        ({"shards__0__digest": "x"}, "wrong shards.0.digest"),
        ({"encoder__width": 7}, "does not hold 6 x 7 values"),
        ({"encoder__width": 10**12}, "wrong encoder.width"),
        ({"encoder": None}, "wrong encoder"),
        ({"state__serial": 77}, "state-000077.json is missing"),
        ({"metric": {"serial": 1, "width": 3, "digest": "0" * 64}}, "mean-000001.npy is missing"),
        ({"stranger": 1}, "wrong stranger"),
        ({"name": "x" * 2000}, "wrong name"),
    ],
    ids=str,
)  # fmt: skip
def test_manifests_that_say_what_is_not_so(folder, changes, match):
    edit(folder, **changes)
    refused(folder, match)


def test_a_shard_named_twice(folder):
    data = json.loads((folder / "manifest.json").read_text())
    edit(folder, shards=data["shards"] * 2)
    refused(folder, "names a shard twice")


def test_an_image_held_twice(folder):
    data = json.loads((folder / "manifest.json").read_text())
    for path in list(folder.glob("*-000001.*")):
        if path.suffix != ".json":
            (folder / path.name.replace("000001", "000050")).write_bytes(path.read_bytes())
    edit(folder, shards=[*data["shards"], data["shards"][0] | {"serial": 50}])
    refused(folder, "holds an image twice")


def test_a_huge_manifest_is_not_read(folder, monkeypatch):
    monkeypatch.setattr(layout, "MAX_BYTES", 100)
    refused(folder, "is too large")


def test_a_manifest_that_is_a_folder(folder):
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()
    refused(folder, "is a link or no plain file")


def test_folders_without_a_set(tmp_path):
    refused(tmp_path, "There is no reference set")
    refused(tmp_path / "nowhere", "There is no reference set")


def test_a_file_is_no_set(tmp_path):
    (tmp_path / "file").write_text("x")
    refused(tmp_path / "file", "no reference set")


@pytest.mark.parametrize("name", ["manifest.json", "embeddings-*.npy", "catalogue-*.sqlite"])
def test_links_that_lead_out_are_not_followed(folder, tmp_path, name):
    path = only(folder, name)
    outside = tmp_path / "outside"
    path.rename(outside)
    path.symlink_to(outside)
    refused(folder, "is a link or no plain file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_not_waited_for(folder):
    path = only(folder, "columns-*.npy")
    path.unlink()
    os.mkfifo(path)
    refused(folder, "is a link or no plain file")


@pytest.mark.parametrize(
    "name", ["embeddings-*.npy", "pointers-*.npy", "columns-*.npy", "catalogue-*.sqlite",
             "state-*.json"],
)  # fmt: skip
def test_files_cut_off_missing_or_foreign(folder, name):
    path = only(folder, name)
    whole = path.read_bytes()
    for part in (whole[: len(whole) // 2], whole[:3], b"", b"PK\x03\x04" + whole[4:]):
        path.write_bytes(part)
        refused(folder, "damaged")
    path.unlink()
    refused(folder, "is missing")


def test_arrays_of_other_kinds(folder):
    path = only(folder, "embeddings-*.npy")
    for array in (
        np.zeros((6, WIDTH), np.float64),
        np.zeros((6, WIDTH), ">f2"),
        np.zeros((5, WIDTH + 1), np.float16),
        np.asfortranarray(np.zeros((6, WIDTH), np.float16)),
        np.zeros(6 * WIDTH, np.float16),
    ):
        np.save(path, array)
        refused(folder, "does not hold 6 x 6 values of float16")
    np.save(path, np.array([{"a": print}] * 6, object), allow_pickle=True)
    refused(folder, "does not hold")


def test_a_header_that_asks_for_everything(folder):
    path = only(folder, "embeddings-*.npy")
    for shape in ("(1000000000000, 6)", "(6, 6" + ", 1" * 5000 + ")", "(-6, -6)", "('a', 6)"):
        header = f"{{'descr': '<f2', 'fortran_order': False, 'shape': {shape}, }}".encode()
        header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
        refused(folder, "damaged")
    with path.open("wb") as file:
        np.lib.format.write_array(file, np.zeros((6, WIDTH), np.float16), (2, 0))
    refused(folder, "is no NumPy file")


def test_more_bytes_than_the_header_says(folder):
    path = only(folder, "pointers-*.npy")
    path.write_bytes(path.read_bytes() + b"\0" * 8)
    refused(folder, "is cut off or too long")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_embeddings_that_are_no_numbers(folder, value):
    path = only(folder, "embeddings-*.npy")
    rows = np.load(path)
    rows[4, 2] = value
    np.save(path, rows)
    refused(folder, "holds no numbers")
    with pytest.raises(ReferenceSetError, match="holds no numbers"):
        ReferenceSet.open(folder).rows([4])


@pytest.mark.parametrize(
    ("name", "change", "match"),
    [
        ("pointers-*.npy", lambda a: a[::-1].copy(), "points outside"),
        ("pointers-*.npy", lambda a: np.array([0, 5, 1, *a[3:]]), "points outside"),
        ("pointers-*.npy", lambda a: a + 1, "points outside"),
        ("columns-*.npy", lambda a: a + 3, "phrases that are not there"),
        ("columns-*.npy", lambda a: a - 1, "phrases that are not there"),
    ],
)
def test_links_that_lead_nowhere(folder, name, change, match):
    path = only(folder, name)
    np.save(path, change(np.load(path)))
    refused(folder, match)


@pytest.mark.parametrize(
    ("statement", "match"),
    [
        ("DROP TABLE image", "other tables"),
        ("CREATE TABLE more (a)", "other tables"),
        ("CREATE VIEW shown AS SELECT 1", "other tables"),
        ("CREATE TRIGGER t AFTER INSERT ON image BEGIN SELECT 1; END", "other tables"),
        ("DELETE FROM image WHERE id = 1", "does not hold 2 images"),
        ("UPDATE image SET start = 1", "do not follow each other"),
        ("UPDATE image SET count = -3 WHERE id = 0", "do not follow each other"),
        ("UPDATE image SET hash = '../../etc'", "names an image wrongly"),
        ("UPDATE image SET height = 0", "names an image wrongly"),
        ("DELETE FROM segment WHERE row = 5", "entries of segment"),
        ("DELETE FROM segment WHERE row = 2", "lacks segments"),
        ("DELETE FROM label WHERE id = 2", "entries of label"),
        ("DELETE FROM label WHERE id = 1", "lacks phrases"),
        ("DELETE FROM thumbnail WHERE row = 5", "entries of thumbnail"),
        ("DELETE FROM thumbnail WHERE row = 3", "lacks thumbnails"),
        ("DELETE FROM picture", "lacks thumbnails"),
        ("UPDATE segment SET origin = 'moon'", "an origin"),
        ("UPDATE segment SET y1 = -9 WHERE row = 1", "a box"),
    ],
)
def test_catalogues_that_are_not_ours(folder, statement, match):
    path = only(folder, "catalogue-*.sqlite")
    database = sqlite3.connect(path)
    with database:
        database.execute(statement)
    database.close()
    refused(folder, match)


def test_a_hole_in_the_thumbnails_stops_a_join(folder):
    path = only(folder, "catalogue-*.sqlite")
    database = sqlite3.connect(path)
    with database:
        database.execute("DELETE FROM thumbnail WHERE row = 4")
    database.close()
    held = ReferenceSet.open(folder)
    with pytest.raises(ReferenceSetError, match="lacks thumbnails"):
        held.thumbnails([4])
    held.remove([digest("a")])  # half of the shard: nothing is written anew yet
    assert held.n_images == 1


def test_a_state_of_another_kind(folder):
    path = only(folder, "state-*.json")
    for text in ('{"off": {"../x": [1]}}', '{"off": []}', '{"synonyms": {"a": [1]}}'):
        path.write_text(text)
        refused(folder, "damaged")


def test_cleanings_that_point_nowhere(folder):
    clean(ReferenceSet.open(folder), Cleaning(drop=0.5))
    path = only(folder, "dropped-*.npy")
    for column, value in ((0, 9), (1, -1), (2, 99), (3, 2)):
        table = np.load(path)
        whole = table.copy()
        table[0, column] = value
        np.save(path, table)
        refused(folder, "points outside its tables")
        np.save(path, whole)
    use(folder)


def test_metrics_that_are_no_numbers(folder):
    ReferenceSet.open(folder).put_metric(Metric(np.zeros(WIDTH), np.eye(WIDTH)))
    np.save(only(folder, "mean-*.npy"), np.full(WIDTH, np.nan, np.float32))
    refused(folder, "holds no numbers")


def test_a_writer_that_keeps_writing_is_no_damage(folder, monkeypatch):
    plain, calls = snapshot.Snapshot, []

    def opened(*args):
        calls.append(args)
        if len(calls) < 3:
            edit(folder, changed=f"{len(calls)}")
            raise ReferenceSetError(folder, "a file went")
        return plain(*args)

    monkeypatch.setattr(snapshot, "Snapshot", opened)
    assert ReferenceSet.open(folder).n_images == 2


def test_an_undo_whose_past_is_gone(folder):
    only(folder, "manifest-*.json").unlink()
    with pytest.raises(ReferenceSetError, match=r"no manifest-000002\.json"):
        ReferenceSet.open(folder).undo()


def test_names_are_shown_but_never_opened(folder):
    path = only(folder, "catalogue-*.sqlite")
    database = sqlite3.connect(path)
    with database:
        database.execute("UPDATE image SET name = '/etc/passwd'")
    database.close()
    assert {s.name for s in ReferenceSet.open(folder).sources()} == {"/etc/passwd"}


def test_opening_costs_nothing_that_a_header_promises(folder):
    edit(folder, shards__0__rows=2**47)
    start = time.perf_counter()
    refused(folder, "does not hold")
    assert time.perf_counter() - start < 5
