"""Files that an earlier version wrote open as they were (earlier/: exported by 0.1.0)."""

from pathlib import Path

import numpy as np
import pytest

from napari_prelabel.formats import FORMATS, Options

EARLIER = Path(__file__).parent / "earlier"


@pytest.mark.parametrize(
    ("form", "name"), [("png", "a.png"), ("tiff", "a.tif"), ("coco", "a.json")]
)
def test_a_record_that_was_called_provenance_is_read_and_written_as_record(form, name, tmp_path):
    (image,) = FORMATS[form].read(EARLIER / name, None)
    np.testing.assert_array_equal(image.ids, [[0, 1, 1], [2, 2, 1]])
    assert image.vocabulary.names == ("tree", "sky")
    assert (image.source, image.scale, image.unit) == ("a.jpg", (0.5, 0.5), "um")
    assert image.record == {"method": "freecp", "windows": 1}
    FORMATS[form].write([image], tmp_path / name, Options())
    (again,) = FORMATS[form].read(tmp_path / name, None)
    assert again.record == image.record
    assert not any(b"provenance" in p.read_bytes() for p in tmp_path.iterdir())
