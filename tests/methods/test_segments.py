"""Segments: cut, packed, taken from corrections, and their answers spread over the pixels."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from scipy import ndimage

from napari_prelabel.methods.segments import (
    PRESETS,
    Segments,
    correction_segments,
    felzenszwalb_of,
    propose,
    spread,
    stack_masks,
)
from napari_prelabel.values.errors import ImageError, JobError
from napari_prelabel.values.retrieval import Preset, Proposals

KINDS = ("adaptive", "felzenszwalb", "slic")
SMALL = Proposals(finest=8)


def halves(height=24, width=37):
    """A dark and a bright half, the border at column 15."""
    image = np.full((height, width, 3), 40, np.uint8)
    image[:, 15:] = 200
    return image


def numbered(segments):
    """Every id of 1..count is there, in one layer only."""
    found = [np.unique(layer[layer > 0]) for layer in segments.layers]
    together = np.concatenate([*found, np.zeros(0, np.int32)])
    return np.array_equal(np.sort(together), np.arange(1, segments.count + 1))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 700), (2, 3), (24, 37)])
@pytest.mark.parametrize("noise", [False, True])
def test_every_layer_covers_every_pixel_of_any_image(kind, shape, noise):
    image = np.full((*shape, 3), 9, np.uint8)
    if noise:
        image = np.random.default_rng(0).integers(0, 255, image.shape, dtype=np.uint8)
    segments = propose(image, replace(SMALL, kind=kind))
    assert segments.layers.shape[1:] == shape
    assert segments.layers.dtype == np.int32
    assert segments.layers.min() == 1
    assert numbered(segments)
    assert np.array_equal(segments.areas(), np.bincount(segments.layers.ravel())[1:])


@pytest.mark.parametrize("kind", KINDS)
def test_segments_keep_to_strong_borders(kind):
    layers = propose(halves(), replace(SMALL, kind=kind)).layers
    for layer in layers:
        assert not set(layer[:, :15].ravel()) & set(layer[:, 15:].ravel())


def test_levels_go_from_fine_to_coarse():
    image = np.random.default_rng(1).integers(90, 110, (40, 60, 3), dtype=np.uint8)
    segments = propose(image, SMALL)
    counts = [len(np.unique(layer)) for layer in segments.layers[:3]]
    assert counts[0] > 2 * counts[1] > 4 * counts[2]


def test_large_images_have_no_more_than_the_wanted_segments():
    image = np.random.default_rng(1).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    assert propose(image, Proposals("slic", finest=4, most=50)).count < 80


def test_very_large_images_are_cut_shrunk(monkeypatch):
    monkeypatch.setattr("napari_prelabel.methods.segments.LARGEST_AREA", 400)
    segments = propose(halves(48, 74), SMALL)
    assert segments.layers.shape[1:] == (48, 74)
    assert numbered(segments)


def test_settings_of_a_preset_hold_for_448_pixels(monkeypatch):
    asked = []

    def felzenszwalb(image, **settings):
        asked.append(settings)
        return np.zeros(image.shape[:2], np.int64)

    monkeypatch.setattr("skimage.segmentation.felzenszwalb", felzenszwalb)
    for side in (448, 224):
        propose(np.zeros((side, side, 3), np.uint8), Proposals("felzenszwalb", "city"))
    assert asked[0] == {"scale": 20, "sigma": 0.5, "min_size": 50}
    assert asked[1] == {"scale": 5, "sigma": 0.25, "min_size": 12}


def test_every_preset_that_a_job_may_name_has_its_numbers():
    assert set(PRESETS) == set(get_args(Preset))


def test_own_numbers_go_before_the_presets():
    assert felzenszwalb_of(Proposals(preset="stuff")) == PRESETS["stuff"]
    assert felzenszwalb_of(Proposals(scale=60, sigma=0.7, min_size=25)) == (60, 0.7, 25)


@pytest.mark.parametrize(
    "wrong",
    [{"preset": "x"}, {"finest": 0}, {"most": -1}, {"scale": 0.0}, {"sigma": -1.0},
     {"min_size": 0}, {"compactness": 0.0}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(JobError) as error:
        Proposals(**wrong)
    assert error.value.field.removeprefix("proposals.") in wrong


def test_masks_of_a_model_are_asked_for_elsewhere():
    with pytest.raises(JobError, match="choose adaptive"):
        propose(halves(), Proposals("sam"))


@pytest.mark.parametrize("shape", [(4, 5), (0, 5, 3), (4, 5, 4)])
def test_only_rgb_images_are_cut(shape):
    with pytest.raises(ImageError, match="RGB image"):
        propose(np.zeros(shape, np.uint8), SMALL)


def test_overlapping_masks_are_packed_into_few_layers():
    masks = np.random.default_rng(2).random((12, 7, 11)) < 0.15
    masks[3] = False
    segments = stack_masks(masks)
    assert segments.count == 11
    assert numbered(segments)
    for number, mask in enumerate(np.delete(masks, 3, axis=0), start=1):
        assert np.array_equal((segments.layers == number).any(0), mask)
    apart = np.zeros((3, 2, 6), bool)
    apart[0, :, :2] = apart[1, :, 2:4] = apart[2, :, 4:] = True
    assert len(stack_masks(apart).layers) == 1


def test_no_mask_gives_no_layer():
    segments = stack_masks(np.zeros((0, 4, 5), bool))
    assert (segments.count, segments.layers.shape) == (0, (0, 4, 5))
    with pytest.raises(ImageError, match="Masks are"):
        stack_masks(np.zeros((4, 5), bool))


def test_corrections_give_regions_and_pieces_of_one_class():
    image = halves()
    ids = np.full(image.shape[:2], 7, np.uint16)
    ids[4:20, 10:30] = 3
    ids[:2] = 65535
    segments, classes = correction_segments(ids, image, {0, 65535}, SMALL)
    assert classes.dtype == np.uint16
    assert len(classes) == segments.count
    assert numbered(segments)
    assert not segments.layers[:, :2].any()
    for number, class_id in enumerate(classes, start=1):
        assert set(ids[(segments.layers == number).any(0)]) == {class_id}
    regions = segments.layers[0]
    assert len(np.unique(regions[regions > 0])) == 2
    assert segments.areas()[2:].min() >= 4


def test_two_blobs_of_a_class_are_two_regions_and_corners_join():
    ids = np.zeros((6, 9), np.uint16)
    ids[0, 0] = ids[1, 1] = ids[5, 8] = 2
    segments, classes = correction_segments(ids, np.zeros((6, 9, 3), np.uint8), {0}, SMALL)
    assert segments.layers[0][0, 0] == segments.layers[0][1, 1] != segments.layers[0][5, 8]
    assert classes.tolist() == [2, 2]


def test_corrections_without_a_pixel_give_no_segment():
    ids = np.zeros((6, 9), np.uint16)
    segments, classes = correction_segments(ids, np.zeros((6, 9, 3), np.uint8), {0}, SMALL)
    assert segments.count == len(classes) == 0
    with pytest.raises(ImageError, match="do not fit"):
        correction_segments(ids, np.zeros((6, 8, 3), np.uint8), {0}, SMALL)


def typed(scores, layers):
    """Equation 3 as it is written, and the nearest answer where no mask lies; float64."""
    total = np.zeros((scores.shape[1], *layers.shape[1:]))
    for number, row in enumerate(scores.astype(np.float64), start=1):
        total += row[:, None, None] * (layers == number).any(0)
    empty = ~layers.any(0)
    y, x = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
    return total[:, y, x]


@pytest.mark.parametrize("holes", [False, True])
def test_scores_of_overlapping_segments_add_up(holes):
    rng = np.random.default_rng(3)
    layers = np.zeros((3, 13, 29), np.int32)
    layers[0] = 1 + np.arange(29) // 4
    layers[1] = 9 + (np.arange(13) // 3)[:, None]
    layers[2, 2:9, 5:20] = 14
    if holes:
        layers[:, 5:11, 11:24] = 0
    scores = rng.random((14, 6)).astype(np.float32)
    best, share, second = spread(scores, Segments(layers, 14))
    total = typed(scores, layers)
    order = np.argsort(-total, axis=0)
    assert np.array_equal(best, order[0])
    assert np.array_equal(second, order[1])
    np.testing.assert_allclose(share, total.max(0) / total.sum(0), rtol=1e-5)
    assert (best.dtype, share.dtype, second.dtype) == (np.intp, np.float32, np.intp)


def test_many_sets_of_segments_are_decided_in_parts(monkeypatch):
    rng = np.random.default_rng(4)
    layers = np.arange(1, 401, dtype=np.int32).reshape(1, 20, 20)
    scores = rng.random((400, 3)).astype(np.float32)
    whole = spread(scores, Segments(layers, 400))
    monkeypatch.setattr("napari_prelabel.methods.segments._CHUNK", 1)
    for a, b in zip(whole, spread(scores, Segments(layers, 400)), strict=True):
        assert np.array_equal(a, b)


def test_a_single_class_and_no_answer_have_no_second():
    layers = np.array([[[1, 2]]], np.int32)
    best, share, second = spread(np.array([[1.0], [0.0]]), Segments(layers, 2))
    assert best.tolist() == [[0, 0]]
    assert share.tolist() == [[1, 0]]
    assert second.tolist() == [[-1, -1]]


@pytest.mark.parametrize(("rows", "count"), [(3, 2), (0, 0)])
def test_answers_must_fit_the_segments(rows, count):
    with pytest.raises(ImageError, match="do not answer"):
        spread(np.ones((rows, 2)), Segments(np.zeros((1, 2, 2), np.int32), count))
