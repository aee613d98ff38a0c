"""Encodings in memory and on disk: bounded, atomic, never trusted blindly."""

import os

import pytest
import torch

from napari_prelabel.engine.cache import Encodings, cache_key

KB = 1024


def entry(value, size=256):
    return {"a": torch.full((size,), float(value))}


def forbidden():
    raise AssertionError("it was there already")


def value(found):
    return None if found is None else float(found["a"][0])


def test_keys_tell_parts_apart():
    keys = {
        cache_key("a", "b"), cache_key("ab"), cache_key("ab", ""), cache_key(b"a", b"b"),
        cache_key(1), cache_key("1"), cache_key((1, 2)), cache_key(1, 2),
    }  # fmt: skip
    assert len(keys) == 8
    assert cache_key("a", b"b") == cache_key("a", b"b")


def test_made_once():
    cache = Encodings()
    assert value(cache.get("k", lambda: entry(1))) == 1
    assert value(cache.get("k", forbidden)) == 1
    assert cache.nbytes == KB
    assert cache.find("other") is None


def test_least_recently_used_leaves_first():
    cache = Encodings(memory=3 * KB)
    for name in "abc":
        cache.put(name, entry(1))
    cache.find("a")
    cache.put("d", entry(1))
    assert [cache.find(n) is not None for n in "abcd"] == [True, False, True, True]
    assert cache.nbytes == 3 * KB
    cache.put("a", entry(2))
    assert (value(cache.find("a")), cache.nbytes) == (2, 3 * KB)


def test_what_is_larger_than_the_limit_is_not_kept():
    cache = Encodings(memory=KB)
    assert value(cache.get("k", lambda: entry(1, 257))) == 1
    assert cache.find("k") is None
    assert cache.nbytes == 0


def test_disk_outlives_the_process(tmp_path):
    made = {"x": torch.rand(3, 5).T, "n": torch.arange(4)}
    Encodings(folder=tmp_path / "new").put("k", made)
    again = Encodings(folder=tmp_path / "new").get("k", forbidden)
    assert all(torch.equal(again[n], made[n]) for n in made)
    assert not list(tmp_path.rglob("*.part"))


def test_disk_is_bounded_and_the_oldest_use_leaves_first(tmp_path):
    first = Encodings(memory=0, folder=tmp_path)
    for age, name in enumerate("abc"):
        first.put(name, entry(age))
        os.utime(tmp_path / f"{name}.safetensors", (1000 + age, 1000 + age))
    size = (tmp_path / "a.safetensors").stat().st_size
    cache = Encodings(memory=0, folder=tmp_path, disk=3 * size)
    assert value(cache.find("a")) == 0
    cache.put("d", entry(3))
    assert [cache.find(n) is not None for n in "abcd"] == [True, False, True, True]
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("content", [b"", b"not tensors", None])
def test_a_damaged_file_is_dropped_and_made_again(tmp_path, content, caplog):
    Encodings(folder=tmp_path).put("k", entry(1))
    path = tmp_path / "k.safetensors"
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    cache = Encodings(folder=tmp_path)
    assert value(cache.get("k", lambda: entry(2))) == 2
    assert "dropped from the cache" in caplog.text
    assert value(Encodings(folder=tmp_path).get("k", forbidden)) == 2


def test_a_file_that_vanished_is_made_again(tmp_path):
    cache = Encodings(memory=0, folder=tmp_path)
    cache.put("k", entry(1))
    (tmp_path / "k.safetensors").unlink()
    assert value(cache.get("k", lambda: entry(2))) == 2


def test_a_folder_that_cannot_be_written_costs_only_the_disk(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    cache = Encodings(folder=tmp_path / "file" / "inside")
    cache.put("k", entry(1))
    assert value(cache.find("k")) == 1
    assert "nothing is kept on disk" in caplog.text
