"""Shards: joined, filled, written anew, and swept when a change fails."""

import errno

import numpy as np
import pytest
from reference_sets import ENCODER, WIDTH, addition, digest, small_set

from napari_prelabel.formats import atomic
from napari_prelabel.reference import commit, shards
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.values.errors import FileFormatError


def test_small_shards_are_joined_and_nothing_is_lost(tmp_path):
    held = ReferenceSet.create(tmp_path / "set", ENCODER)
    names = [f"image {i}" for i in range(18)]
    for name in names:
        held.add([addition(name)])
    assert len(list(held.folder.glob("embeddings-*.npy"))) <= 2 * commit.TOGETHER
    assert [s.name for s in held.sources()] == names
    for name in names:
        rows = held.image_rows(digest(name))
        np.testing.assert_allclose(held.rows(rows), addition(name).embeddings, atol=1e-3)
        assert held.thumbnails(rows) == addition(name).thumbnails


def test_shards_that_are_half_empty_are_written_anew(tmp_path):
    held = small_set(tmp_path / "set", *"abcd")
    held.remove([digest(n) for n in "abc"])
    assert [(start, len(rows)) for start, rows in held.blocks()] == [(0, 3)]
    held.declare({"tree": ("pine",)})
    (path,) = held.folder.glob("embeddings-*.npy")
    assert np.load(path, mmap_mode="r").shape == (3, WIDTH)


def test_shards_written_anew_are_written_one_by_one(tmp_path, monkeypatch):
    for module in (shards, commit):
        monkeypatch.setattr(module, "MAX_ROWS", 6)
    names = [f"image {i}" for i in range(24)]
    words = [(("tree",),) * (5 if i % 2 else 1) for i in range(24)]  # six rows a shard
    held = ReferenceSet.create(tmp_path / "set", ENCODER)
    held.add([addition(name, *told) for name, told in zip(names, words, strict=True)])
    plain, waiting = commit.write_together, []

    def counted(files, **options):
        waiting.append(sum(path.name.startswith("embeddings") for path in files))
        plain(files, **options)

    monkeypatch.setattr(commit, "write_together", counted)
    held.remove([digest(name) for name in names[1::2]])
    assert max(waiting) == 1
    assert sum(waiting) == 2  # twelve images of one row each
    assert [s.name for s in held.sources()] == names[::2]
    for name, told in zip(names[::2], words[::2], strict=True):
        rows = held.rows(held.image_rows(digest(name)))
        np.testing.assert_allclose(rows, addition(name, *told).embeddings, atol=1e-3)


def test_a_change_that_fails_leaves_no_file_behind(tmp_path, monkeypatch):
    held = small_set(tmp_path / "set", *"ab")
    other = small_set(tmp_path / "other", *"cdef")
    for module in (shards, commit):
        monkeypatch.setattr(module, "MAX_ROWS", 6)
    before = {p.name for p in held.folder.iterdir()}
    fill, calls = atomic._fill, []

    def fail(part, content):
        calls.append(part)
        if len(calls) == 6:  # the second shard of the merge
            raise OSError(errno.ENOSPC, "No space left on device")
        fill(part, content)

    monkeypatch.setattr(atomic, "_fill", fail)
    with pytest.raises(FileFormatError, match="No space left"):
        held.merge(other)
    assert {p.name for p in held.folder.iterdir()} == before
    assert ReferenceSet.open(held.folder).n_images == 2


def test_images_fill_shards_but_are_never_split(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "MAX_ROWS", 7)
    monkeypatch.setattr(commit, "MAX_ROWS", 7)
    held = small_set(tmp_path / "set", *"abcde")
    assert [len(rows) for _, rows in held.blocks()] == [6, 6, 3]
