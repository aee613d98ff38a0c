import os

import pytest

from napari_prelabel.formats.atomic import write_atomic
from napari_prelabel.values.errors import FileFormatError


def test_folders_are_made_and_nothing_else_stays(tmp_path):
    path = tmp_path / "a" / "b.bin"
    write_atomic(path, b"one")
    assert path.read_bytes() == b"one"
    assert os.listdir(path.parent) == ["b.bin"]


def test_existing_files_stay_unless_asked(tmp_path):
    path = tmp_path / "b.bin"
    write_atomic(path, b"one")
    with pytest.raises(FileFormatError, match="exists already: tick Replace files that exist"):
        write_atomic(path, b"two")
    assert path.read_bytes() == b"one"
    write_atomic(path, b"two", overwrite=True)
    assert path.read_bytes() == b"two"


def test_a_writer_that_fails_leaves_the_old_file(tmp_path):
    path = tmp_path / "b.bin"
    write_atomic(path, b"one")

    def fill(file):
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, fill, overwrite=True)
    assert path.read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["b.bin"]


def test_a_disk_that_refuses_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"cannot be written .* choose another folder"):
        write_atomic(tmp_path / "file" / "b.bin", b"one")
