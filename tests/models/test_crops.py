"""CLIP's class token of segments that are cut out, against plain loops."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_prelabel.models.clip import load_clip
from napari_prelabel.models.crops import ClipCrops
from napari_prelabel.models.encoders import load_encoder
from napari_prelabel.models.windows import cut, plan_layout
from napari_prelabel.values.encoder import Encoder
from napari_prelabel.values.errors import ImageError
from napari_prelabel.values.settings import Windows


@pytest.fixture(scope="module")
def encoder():
    found = load_encoder(Encoder.parse("clip-crops:demo-clip"))
    assert isinstance(found, ClipCrops)
    return found


def image(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def plain(shown, masks):
    """Grey outside the mask, then the box alone at 224 pixels, then CLIP's vector."""
    clip, rows = load_clip("demo-clip"), []
    for mask in masks:
        ys, xs = np.nonzero(mask)
        out = np.array(shown, np.float32) / 255
        out[~mask] = clip.mean
        box = torch.from_numpy(out[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1])
        crop = F.interpolate(
            box.permute(2, 0, 1)[None], (224, 224), mode="bilinear", antialias=True
        )
        rows.append(clip.encode_cls(crop)[0])
    return torch.stack(rows)


def test_segments_are_cut_out_of_a_grey_ground(encoder):
    shown = image(256, 300)
    labels = np.zeros((256, 300), int)
    labels[40:90, 30:200] = 1
    labels[60:70, 60:90] = 2  # a hole in the second
    masks = np.stack([labels == k for k in range(3)])
    features = encoder.encode(shown)
    assert features.grid == (256, 300)

    by_labels = encoder.pool(features, labels)
    by_masks = encoder.pool(features, masks)

    assert by_labels.shape == (3, encoder.width)
    torch.testing.assert_close(by_labels, plain(shown, masks), atol=1e-4, rtol=0)
    torch.testing.assert_close(by_masks, by_labels)


def test_an_image_of_another_size_is_cut_at_the_same_places(encoder):
    shown = np.zeros((128, 160, 3), np.uint8)
    shown[:, 80:] = 255
    right = np.zeros((128, 160), bool)
    right[:, 80:] = True
    features = encoder.encode(shown)
    assert features.grid == (256, 320)
    rows = encoder.pool(features, np.stack([right, ~right]))
    big = cut(shown, plan_layout((128, 160), Windows(256, 0, 1), 8))
    masks = [m.repeat(2, 0).repeat(2, 1) for m in (right, ~right)]
    torch.testing.assert_close(rows, plain(big, masks), atol=1e-4, rtol=0)


def test_segments_without_pixels_and_very_thin_ones_have_rows_too(encoder):
    shown = image(1024, 1024)
    labels = np.zeros((1024, 1024), int)
    labels[3, 5] = 1
    rows = encoder.pool(encoder.encode(shown), labels, 3)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(3))
    # The third has no pixel and is the whole image.
    whole = encoder.pool(encoder.encode(shown), np.zeros((1024, 1024), int), 1)
    torch.testing.assert_close(rows[2:], whole)
    empty = encoder.pool(encoder.encode(shown), np.zeros((0, 1024, 1024), bool))
    assert empty.shape == (0, encoder.width)


def test_crops_are_another_encoder_than_patches(encoder):
    assert encoder.name == "clip-crops:demo-clip"
    assert encoder.digest != load_encoder(Encoder.parse("clip:demo-clip")).digest


def test_what_is_no_image_or_no_segments_is_refused(encoder):
    with pytest.raises(ImageError, match="convert it first"):
        encoder.encode(np.zeros((4, 4), np.uint8))
    features = encoder.encode(image(32, 32))
    with pytest.raises(ImageError, match="Segments must be"):
        encoder.pool(features, np.zeros((32, 32)))
