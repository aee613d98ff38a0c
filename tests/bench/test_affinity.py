import numpy as np
import open_clip
import pytest
import torch

from benchmarks.affinity import _majority, affinity_auc, layer_attention
from napari_prelabel.engine.samples import Sample
from napari_prelabel.models.clip import Clip
from napari_prelabel.values.job import Windows

CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 16, "layers": 3, "width": 16, "head_width": 8, "patch_size": 4},
    "text_cfg": {"context_length": 8, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module")
def clip():
    torch.manual_seed(0)
    return Clip("small", open_clip.CLIP(**CONFIG), "digest")


def test_layers_are_those_of_the_model(clip):
    pixels = torch.rand(1, 3, 16, 24)
    layers = layer_attention(clip, pixels)
    assert len(layers) == 3
    for layer in layers:
        assert layer.shape == (1, 25, 25)
        torch.testing.assert_close(layer.sum(2), torch.ones(1, 25), atol=1e-4, rtol=0)
    mean = clip.encode_trunk(pixels, need=("attention",)).attention
    torch.testing.assert_close((layers[0] + layers[1]) / 2, mean, atol=1e-5, rtol=0)
    assert not torch.allclose(layers[1], layers[2])


def test_colour_alone_tells_two_flat_halves_apart(clip):
    image = np.zeros((32, 48, 3), np.uint8)
    image[:, 24:] = 200
    truth = np.ones((32, 48), np.uint16)
    truth[:, 24:] = 2
    rows = affinity_auc(clip, Windows(32, 16, 8), [Sample("halves", image, truth)], pairs=200)
    found = {row["affinity"]: row["auc"] for row in rows}
    assert list(found) == [
        "colour", "layer 1", "layer 2", "layer 3", "mean of layers 1 to L - 1", "FreeCP",
    ]  # fmt: skip
    assert found["colour"] > 0.99
    assert all(0 <= value <= 1 for value in found.values())
    again = affinity_auc(clip, Windows(32, 16, 8), [Sample("halves", image, truth)], pairs=200)
    assert again == rows


def test_a_patch_has_the_label_of_most_of_its_pixels():
    labels = np.array([[1, 1, 5, 5], [1, 7, 5, 5], [7, 7, 1, 1], [7, 7, 1, 5]], np.uint16)
    assert _majority(labels, 2).tolist() == [0, 1, 2, 0]
