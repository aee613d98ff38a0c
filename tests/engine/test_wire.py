"""Messages and arrays between the processes."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest

from napari_prelabel.engine import wire
from napari_prelabel.values import errors
from napari_prelabel.values.labels import LabelMap
from napari_prelabel.values.vocabulary import Vocabulary

MADE = [
    errors.PrelabelError("a sentence"),
    errors.VocabularyError("a name is missing", 3, ": x"),
    errors.JobError("stride", "stride is too large"),
    errors.ImageError("the image is empty"),
    errors.ModelError("demo", "demo is missing"),
    errors.ChecksumMismatch("demo", Path("weights"), "a" * 64, "b" * 64),
    errors.FileFormatError("job.json", "not JSON"),
    errors.DiskRefused("out", "No space left on device"),
    errors.MissingExtra("rasterio", "pip install rasterio"),
    errors.ReferenceSetError("sets/mine", "The set is broken."),
    errors.EncoderMismatch("sets/mine", "texture", "demo-visual"),
    errors.Cancelled(),
    errors.Superseded(),
    errors.DiskFull(Path("tmp")),
    errors.WorkerDied("killed"),
    errors.WorkerNotStarted("no Python."),
    errors.RunFailed("ValueError: no", "Traceback"),
    errors.OutOfMemory("cpu", "windows one by one"),
]


def test_every_error_is_in_the_list():
    kinds = {v for v in vars(errors).values() if isinstance(v, type)}
    kinds = {k for k in kinds if issubclass(k, errors.PrelabelError)}
    assert kinds == {type(e) for e in MADE}


@pytest.mark.parametrize("error", MADE, ids=lambda e: type(e).__name__)
def test_errors_travel_whole(error):
    other = pickle.loads(pickle.dumps(error))
    assert type(other) is type(error)
    assert str(other) == str(error)
    assert vars(other) == vars(error)


def test_messages_keep_their_order_and_end():
    stream = io.BytesIO()
    for message in (("hello", 1), ("progress", {"a": None}), b"x" * 100_000):
        wire.send(stream, message)
    data = stream.getvalue()
    stream = io.BytesIO(data)
    assert wire.receive(stream) == ("hello", 1)
    assert wire.receive(stream) == ("progress", {"a": None})
    assert len(wire.receive(stream)) == 100_000
    with pytest.raises(EOFError):
        wire.receive(stream)
    with pytest.raises(EOFError):
        wire.receive(io.BytesIO(data[:9]))


def test_arrays_come_back_and_their_file_is_gone(tmp_path):
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    wire.save_image(tmp_path / "1.npy", image[:, ::-1])
    loaded = wire.load_image(tmp_path / "1.npy")
    np.testing.assert_array_equal(loaded, image[:, ::-1])
    assert not loaded.flags.writeable
    ids = np.arange(6, dtype=np.uint16).reshape(2, 3)
    labels = LabelMap(
        ids, (ids / 8).astype(np.float16), ids[::-1], Vocabulary.parse("a\n- b"),
        (4, 5), ("a notice",), {"k": 1},
    )  # fmt: skip
    path = tmp_path / "1.labels"
    back = wire.load_labels(path, wire.save_labels(path, labels))
    for name in ("ids", "score", "runner_up"):
        np.testing.assert_array_equal(getattr(back, name), getattr(labels, name))
    assert (back.vocabulary, back.origin, back.notices) == (
        labels.vocabulary,
        (4, 5),
        ("a notice",),
    )
    assert back.record == {"k": 1}
    assert not path.exists()
