"""From image layers of every kind to planes, rectangles and a place for the labels."""

from types import SimpleNamespace

import dask.array as da
import numpy as np
import PIL.ExifTags
import PIL.Image
import pytest
from napari.layers import Image, Labels, Shapes

from napari_prelabel.gui.layers import images
from napari_prelabel.gui.layers.images import LayerSource
from napari_prelabel.values.errors import ImageError

from gui_steps import wait  # isort: skip

RNG = np.random.default_rng(0)


def bytes_of(*shape):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    "data",
    [
        bytes_of(4, 6),
        bytes_of(4, 6).astype(np.uint16) * 257,
        np.array([[0.0, np.nan, np.inf], [-np.inf, 0.5, 1.0]], np.float32),
        bytes_of(4, 6) > 128,
        np.zeros((1, 1), np.uint8),
        bytes_of(3, 4000),
        da.from_array(bytes_of(4, 6)),
    ],
    ids=["uint8", "uint16", "nan and inf", "bool", "1 x 1", "3 x 4000", "dask"],
)
def test_grey_images_become_rgb_bytes(data):
    source = LayerSource(Image(data))
    images.check(source.layer)
    plane = source.plane(())
    assert plane.shape == (*data.shape, 3)
    assert plane.dtype == np.uint8
    assert source.shape == data.shape


@pytest.mark.parametrize("channels", [3, 4])
def test_rgb_and_rgba(channels):
    data = bytes_of(5, 7, channels)
    data[..., 3:] = 255
    source = LayerSource(Image(data, rgb=True))
    np.testing.assert_array_equal(source.plane(()), data[..., :3])
    assert source.shape == (5, 7)


def test_read_only_pixels_stay_as_they_are():
    data = bytes_of(5, 7)
    data.flags.writeable = False
    assert LayerSource(Image(data)).plane(()).shape == (5, 7, 3)


def test_contrast_limits_of_the_layer_are_used():
    layer = Image(np.array([[0.0, 50.0, 100.0]]), contrast_limits=(0, 50))
    assert LayerSource(layer).plane(())[0, :, 0].tolist() == [0, 255, 255]


def test_stacks_give_the_plane_asked_for():
    data = bytes_of(3, 4, 5)
    source = LayerSource(Image(data, contrast_limits=(0, 255)))
    assert source.shape == (3, 4, 5)
    np.testing.assert_array_equal(source.plane((2,))[..., 0], data[2])


@pytest.mark.parametrize(("shape", "axis"), [((5, 20, 30), 0), ((20, 30, 5), 2)])
def test_channels_on_either_side(shape, axis):
    data = bytes_of(*shape)
    source = LayerSource(Image(data, rgb=False), channel_axis=axis, channels=(4, 0, 2))
    assert source.shape == (20, 30)
    planes = np.moveaxis(data, axis, -1)[..., [4, 0, 2]]
    np.testing.assert_array_equal(source.plane(()), planes)


def test_a_stack_of_channels():
    data = bytes_of(2, 3, 20, 30)
    source = LayerSource(Image(data, rgb=False), channel_axis=1, channels=(0, 1, 2))
    assert source.shape == (2, 20, 30)
    np.testing.assert_array_equal(source.plane((1,)), np.moveaxis(data[1], 0, -1))


def test_channel_axis_is_guessed_only_where_it_is_plain():
    assert images.guess_channel_axis(Image(bytes_of(20, 30, 5), rgb=False)) == 2
    assert images.guess_channel_axis(Image(bytes_of(5, 20, 30))) is None
    assert images.guess_channel_axis(Image(bytes_of(20, 30, 3), rgb=True)) is None
    assert images.guess_channel_axis(Image(bytes_of(20, 30))) is None


def test_multiscale_level_of_at_most_four_megapixels_is_chosen():
    levels = [np.zeros((4000, 3000), np.uint8)[::s, ::s] for s in (1, 2, 4)]
    layer = Image(levels, multiscale=True)
    assert images.guess_level(layer) == 1
    assert LayerSource(layer, level=1).shape == (2000, 1500)
    small = Image([np.zeros((8, 8)), np.zeros((4, 4))], multiscale=True)
    assert images.guess_level(small) == 0


def test_labels_of_a_coarse_level_lie_over_the_image():
    levels = [np.zeros((40, 40), np.uint8)[::s, ::s] for s in (1, 2, 4)]
    layer = Image(levels, multiscale=True, scale=(2, 3), translate=(5, 7))
    source = LayerSource(layer, level=2)
    labels = Labels(np.zeros(source.shape, np.uint16), **images.placement(source))
    # The middle of a coarse pixel is the middle of the 4 x 4 fine pixels it stands for.
    for pixel in [(0, 0), (3, 5)]:
        fine = np.multiply(pixel, 4) + 1.5
        np.testing.assert_allclose(labels.data_to_world(pixel), layer.data_to_world(fine))


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")
def test_labels_take_the_whole_placement_of_the_image():
    layer = Image(
        bytes_of(4, 20, 30), scale=(3, 0.5, 0.5), translate=(1, 2, 3), rotate=(10, 20, 30),
        shear=(0.1, 0, 0), affine=np.diag([1, 2, 2, 1]), units=("s", "um", "um"),
        axis_labels=("t", "y", "x"),
    )  # fmt: skip
    source = LayerSource(layer)
    labels = Labels(np.zeros(source.shape, np.uint16), **images.placement(source))
    for point in [(0, 0, 0), (1, 5, 7)]:
        np.testing.assert_allclose(labels.data_to_world(point), layer.data_to_world(point))
    assert labels.units == layer.units
    assert labels.axis_labels == layer.axis_labels


def test_labels_without_the_channel_axis_lie_over_the_image():
    layer = Image(bytes_of(5, 20, 30), scale=(1, 2, 3), translate=(0, 4, 5))
    source = LayerSource(layer, channel_axis=0, channels=(0, 1, 2))
    labels = Labels(np.zeros(source.shape, np.uint16), **images.placement(source))
    np.testing.assert_allclose(labels.data_to_world((3, 4)), layer.data_to_world((0, 3, 4))[1:])


def test_current_plane_follows_the_position_and_stays_inside():
    source = LayerSource(Image(bytes_of(4, 20, 30), scale=(10, 1, 1)))
    assert images.current_plane(source, (20.0, 0, 0)) == (2,)
    assert images.current_plane(source, (900.0, 0, 0)) == (3,)


def test_rectangle_is_found_through_both_layers_placement():
    source = LayerSource(Image(bytes_of(20, 30), scale=(2, 2), translate=(10, 0)))
    # In world units: rows 14 to 22, columns 4 to 12; that is rows 2 to 6 and columns 2 to 6.
    shapes = Shapes([[[14, 4], [14, 12], [22, 12], [22, 4]]], shape_type="rectangle")
    assert images.rectangle(source, shapes) == (2, 2, 7, 7)


def test_rectangle_of_the_selection_in_a_stack():
    source = LayerSource(Image(bytes_of(4, 20, 30)))
    corners = [
        [[1, 2, 3], [1, 2, 8], [1, 9, 8], [1, 9, 3]],
        [[1, 0, 0], [1, 0, 5], [1, 5, 5], [1, 5, 0]],
    ]
    shapes = Shapes(corners, shape_type="rectangle", ndim=3)
    shapes.selected_data = {0}
    assert images.rectangle(source, shapes) == (2, 3, 10, 9)


@pytest.mark.parametrize(
    ("shapes", "sentence"),
    [
        (None, "No rectangle is drawn"),
        (Shapes(ndim=2), "No rectangle is drawn"),
        (Shapes([[[90, 90], [90, 99], [99, 99], [99, 90]]]), "outside the image"),
    ],
    ids=["no layer", "no shape", "outside"],
)
def test_a_missing_rectangle_is_a_clear_sentence(shapes, sentence):
    with pytest.raises(ImageError, match=sentence):
        images.rectangle(LayerSource(Image(bytes_of(20, 30))), shapes)


def test_pixel_size_of_every_kind_of_result():
    levels = [np.zeros((40, 40), np.uint8)[::s, ::s] for s in (1, 2, 4)]
    pyramid = Image(levels, multiscale=True, scale=(2, 3))
    coarse = LayerSource(pyramid, level=2)
    channels = Image(bytes_of(20, 30, 5), rgb=False, scale=(0.5, 0.25, 1))
    flat = LayerSource(channels, channel_axis=2, channels=(0, 1, 2))
    turned = LayerSource(Image(bytes_of(20, 30), scale=(2, 3), rotate=30))
    for source, size in ((coarse, (8, 12)), (flat, (0.5, 0.25)), (turned, (2, 3))):
        labels = Labels(np.zeros(source.shape, np.uint16), **images.placement(source))
        np.testing.assert_allclose(images.pixel_size(labels), size)
        _, attributes, _ = labels.as_layer_data_tuple()
        np.testing.assert_allclose(images.pixel_size_of(attributes, labels.ndim), size)
    assert images.pixel_size_of({}, 2) == (1, 1)


def test_the_visible_field_in_pixels_of_the_chosen_level():
    levels = [np.zeros((400, 400), np.uint8)[::s, ::s] for s in (1, 4)]
    layer = Image(levels, multiscale=True)
    layer._data_level = 0
    layer.corner_pixels = np.array([[40, 80], [119, 399]])
    assert images.visible(LayerSource(layer)) == (40, 80, 120, 400)
    assert images.visible(LayerSource(layer, level=1)) == (10, 20, 30, 100)
    layer.corner_pixels = np.array([[0, 80], [0, 399]])
    with pytest.raises(ImageError, match="shows no part"):
        images.visible(LayerSource(layer))


def test_a_drawn_box_is_read_as_the_same_box():
    source = LayerSource(Image(bytes_of(20, 30), scale=(2, 3)))
    shapes = Shapes(
        [images.corners_of((2, 3, 11, 30))], shape_type="rectangle", **images.placement(source)
    )
    assert images.rectangle(source, shapes) == (2, 3, 11, 30)


def test_no_image_and_empty_images_are_clear_sentences():
    with pytest.raises(ImageError, match="Open an image first"):
        images.check(None)
    # napari itself stumbles over most empty images, so this layer is only like one.
    empty = SimpleNamespace(multiscale=False, data=np.zeros((0, 5)), name="empty")
    with pytest.raises(ImageError, match="has no pixels"):
        images.check(empty)


def test_a_photograph_that_asks_to_be_turned_says_so(dock, viewer, tmp_path):
    picture, exif = PIL.Image.fromarray(bytes_of(24, 40, 3)), PIL.Image.Exif()
    picture.save(tmp_path / "plain.jpg")
    exif[PIL.ExifTags.Base.Orientation] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif)
    viewer.open(str(tmp_path / "turned.jpg"), plugin="napari")
    wait(lambda: not dock.place.turned.isHidden())
    assert viewer.layers[0].data.shape == (24, 40, 3)  # as stored
    viewer.open(str(tmp_path / "plain.jpg"), plugin="napari")
    assert dock.place.turned.isHidden()
    dock.place.image.choose(viewer.layers[0])
    wait(lambda: not dock.place.turned.isHidden())
