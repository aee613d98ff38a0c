"""The sample data is reachable, and complete."""

import pytest

from napari_prelabel.errors import FileFormatError
from napari_prelabel.samples import sample_path


def test_what_is_missing_is_named():
    with pytest.raises(FileFormatError, match=r"lacks scenes/nothing\.png"):
        sample_path("scenes", "nothing.png")


def test_the_sample_folder_is_found():
    assert sample_path().is_dir()
