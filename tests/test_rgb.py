"""Every kind of image becomes RGB or one clear sentence."""

import dask.array as da
import numpy as np
import pytest

from napari_prelabel.images.meaning import Meaning
from napari_prelabel.images.rgb import content_hash, show, to_rgb
from napari_prelabel.values.errors import ImageError

RNG = np.random.default_rng(0)


def ramp(dtype, shape=(40, 50)):
    return np.linspace(0, 1000, np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize("shape", [(4, 5, 3), (4, 5), (4, 5, 5)])
def test_what_comes_back_is_never_the_callers_memory(shape):
    image = RNG.integers(0, 256, shape, np.uint8)
    assert not np.shares_memory(to_rgb(image), image)


def test_uint8_rgb_keeps_its_values():
    image = RNG.integers(0, 256, (4, 5, 3), np.uint8)
    np.testing.assert_array_equal(to_rgb(image), image)


def test_grey_uint8_is_spread_over_three_channels():
    image = RNG.integers(0, 256, (4, 5), np.uint8)
    np.testing.assert_array_equal(to_rgb(image), np.dstack([image] * 3))
    np.testing.assert_array_equal(to_rgb(image[..., None]), np.dstack([image] * 3))


def test_bool_is_black_and_white():
    mask = np.array([[True, False]])
    np.testing.assert_array_equal(to_rgb(mask)[0], [[255] * 3, [0] * 3])


@pytest.mark.parametrize(
    "dtype", ["uint16", "int16", "int64", ">u2", ">f4", ">i8", "float16", "float32", "float64"]
)
def test_other_types_are_stretched_between_percentiles(dtype):
    image = ramp(dtype)
    image[0, 0] = image[0, 1]
    values = image.astype(np.float64)
    low, high = np.percentile(values, (0.5, 99.5))
    expected = np.rint(np.clip((values - low) / (high - low) * 255, 0, 255))
    out = to_rgb(image)
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, np.dstack([expected] * 3))


def test_one_hot_pixel_does_not_darken_the_rest():
    image = ramp(np.float32)
    image[3, 3] = 1e9
    assert 120 < to_rgb(image).mean() < 135


def test_nan_and_infinities():
    image = ramp(np.float64)
    image[0, :3] = np.nan, np.inf, -np.inf
    out = to_rgb(image)[..., 0]
    assert out[0, :3].tolist() == [0, 255, 0]
    assert 120 < out.mean() < 135
    assert to_rgb(np.full((2, 2), np.nan)).max() == 0


@pytest.mark.parametrize("value", [0, 7, -3])
def test_a_constant_image_is_black(value):
    assert to_rgb(np.full((3, 3), value, np.int32)).max() == 0


def test_sparse_points_on_flat_ground_are_seen():
    image = np.zeros((100, 100), np.uint16)
    image[5, 5] = 900
    assert to_rgb(image)[5, 5].tolist() == [255] * 3


def test_limits_are_obeyed_also_for_uint8():
    image = np.array([[0, 10, 20, 30]], np.uint8)
    assert to_rgb(image, contrast_limits=(10, 20))[0, :, 0].tolist() == [0, 0, 255, 255]
    assert to_rgb(image.astype(float), contrast_limits=(0, 255))[0, :, 0].tolist() == [
        0,
        10,
        20,
        30,
    ]


def test_colour_keeps_its_hue_and_measurements_fill_their_channels():
    image = np.zeros((20, 20, 3), np.float32)
    image[..., 0] = np.linspace(0, 1, 20)
    image[..., 1] = image[..., 0] / 10
    as_colour = to_rgb(image, rgb=True)
    as_measured = to_rgb(image, rgb=False)
    assert as_colour[..., 1].max() < 30
    assert as_measured[..., 1].max() == 255
    np.testing.assert_array_equal(to_rgb(image), as_measured)


@pytest.mark.parametrize(("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_rgba_is_laid_over_white(dtype, top):
    image = np.zeros((1, 3, 4), dtype)
    image[0, :, 3] = [0, top // 2 if top > 1 else 0.5, top]
    limits = None if dtype == np.uint8 else (0, top)
    assert to_rgb(image, rgb=True, contrast_limits=limits)[0, :, 0] == pytest.approx(
        [255, 128, 0], abs=1
    )


def test_channels():
    image = RNG.integers(0, 256, (4, 6, 5), np.uint8)
    np.testing.assert_array_equal(to_rgb(image), image[..., :3])
    np.testing.assert_array_equal(to_rgb(image, channels=(4, 0, 2)), image[..., [4, 0, 2]])
    np.testing.assert_array_equal(to_rgb(image, channels=[3]), np.dstack([image[..., 3]] * 3))
    two = to_rgb(image, channels=[1, 3])
    np.testing.assert_array_equal(two[..., :2], image[..., [1, 3]])
    assert two[..., 2].max() == 0
    first = np.moveaxis(image, -1, 0)
    np.testing.assert_array_equal(to_rgb(first, channel_axis=0), image[..., :3])


@pytest.mark.parametrize("shape", [(1, 1), (3, 4000), (1, 1, 3), (2, 7, 2)])
def test_odd_shapes(shape):
    out = to_rgb(RNG.integers(0, 256, shape, np.uint8))
    assert out.shape == (*shape[:2], 3)


def test_dask_and_read_only():
    image = RNG.integers(0, 256, (8, 9, 3), np.uint8)
    np.testing.assert_array_equal(to_rgb(da.from_array(image, chunks=4)), image)
    deep = ramp(np.uint16)
    deep.flags.writeable = False
    before = deep.copy()
    to_rgb(deep)
    np.testing.assert_array_equal(deep, before)


@pytest.mark.parametrize("dtype", [np.uint16, ">u2", np.int32])
def test_big_images_are_done_by_table_or_in_strips(dtype):
    image = RNG.integers(0, 4096, (1500, 3000)).astype(dtype)
    out = to_rgb(image, contrast_limits=(0, 4095))
    np.testing.assert_array_equal(out[..., 1], np.rint(image / 4095 * 255))


@pytest.mark.parametrize(
    ("array", "options", "sentence"),
    [
        (np.zeros((0, 5)), {}, "empty"),
        (np.zeros((4, 4, 0)), {}, "empty"),
        (np.zeros(4), {}, "choose a slice"),
        (np.zeros((2, 3, 4, 5)), {}, "choose a slice"),
        (np.zeros((2, 2), complex), {}, "real numbers"),
        (np.array([["a"]]), {}, "real numbers"),
        ([[1, 2], [3]], {}, "cannot be read"),
        (np.zeros((4, 4, 5)), {"rgb": True}, "3 or 4 channels, not 5"),
        (np.zeros((4, 4, 5)), {"channels": [5]}, "no channel 5"),
        (np.zeros((4, 4, 5)), {"channels": [-1]}, "no channel -1"),
        (np.zeros((4, 4, 5)), {"channels": []}, "one, two or three"),
        (np.zeros((4, 4)), {"contrast_limits": (1, 1)}, "lower first"),
        (np.zeros((4, 4)), {"contrast_limits": (0, np.nan)}, "lower first"),
    ],
)
def test_one_clear_sentence(array, options, sentence):
    with pytest.raises(ImageError, match=sentence):
        to_rgb(array, **options)


def test_content_hash_depends_on_pixels_and_shape_alone():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert content_hash(image) == content_hash(np.asfortranarray(image))
    assert content_hash(image) != content_hash(image.reshape(4, 2, 3))
    assert content_hash(image) != content_hash(image + np.uint8(1))


@pytest.mark.parametrize(
    ("shape", "meaning", "options", "told"),
    [
        ((4, 4, 2), Meaning("rgb"), {}, "3 or 4 channels, not 2: save it again"),
        ((4, 4, 3), Meaning("cmyk"), {}, "speaks of cmyk colours but holds 3 samples"),
        ((4, 4, 3), Meaning(), {"limits": ((0, 1), (0, 2))}, "limits for 2 channels, the image"),
        ((4, 4, 5), Meaning(), {"channels": (0, 1, 2, 3)}, "one, two or three channels, not 4"),
    ],
)
def test_what_a_file_says_must_fit_its_samples(shape, meaning, options, told):
    with pytest.raises(ImageError, match=told):
        show(np.zeros(shape, np.float32), meaning, **options)


def test_limits_may_be_of_each_channel():
    plane = np.dstack([np.linspace(0, 10, 11)] * 3)
    rgb = show(plane, Meaning(), limits=((0, 10), (0, 5), (5, 10))).rgb
    assert rgb[0, 5].tolist() == [128, 255, 0]


def test_no_data_that_the_type_cannot_hold_is_none():
    plane = np.zeros((2, 2), np.uint16)
    for value in (-9999, 0.5, float("nan"), float("inf")):
        assert show(plane, Meaning(nodata=value)).valid is None
