"""Errors: they survive the way from the worker process, with their facts."""

import pickle
from pathlib import Path

import pytest

from napari_prelabel.values import errors

EXAMPLES = [
    errors.PrelabelError("a"),
    errors.VocabularyError("twice", 3, "tree"),
    errors.JobError("base", "wrong"),
    errors.ImageError("empty"),
    errors.ModelError("demo", "broken"),
    errors.ChecksumMismatch("demo", Path("w.safetensors"), "a" * 64, "b" * 64),
    errors.FileFormatError(Path("x.png"), "truncated"),
    errors.ReferenceSetError(Path("set"), "broken"),
    errors.EncoderMismatch(Path("set"), "texture", "dinov2-b"),
    errors.MissingExtra("rasterio", "pip install rasterio"),
    errors.Cancelled(),
    errors.Superseded(),
    errors.DiskRefused(Path("out"), "Permission denied"),
    errors.WorkerNotStarted("no Python."),
    errors.RunFailed("ValueError: no", "Traceback"),
    errors.WorkerDied("signal 9"),
    errors.ConnectionLost("tls://gpu:8786"),
    errors.NotConnected("tls://gpu:8786", "nobody answers there."),
    errors.OutOfMemory("cpu", "one window at a time"),
]


def test_every_error_has_an_example():
    kinds = {
        k
        for k in vars(errors).values()
        if isinstance(k, type) and issubclass(k, errors.PrelabelError)
    }
    assert {type(e) for e in EXAMPLES} == kinds


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda e: type(e).__name__)
def test_errors_pickle_with_their_facts(error):
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
    assert not isinstance(error, RuntimeError)
