"""Windows and their blending, against resizing and adding up at full size in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from napari_prelabel.engine import layout as module
from napari_prelabel.engine.layout import Blend, tile_size
from napari_prelabel.models.windows import cut, plan_layout
from napari_prelabel.values.errors import JobError
from napari_prelabel.values.job import Windows


def test_the_published_windows_of_a_common_image():
    layout = plan_layout((448, 600), Windows(448, 384, 112), 16)
    assert layout.resized == (448, 600)
    assert layout.starts == ((0, 64), (0, 112, 216))
    assert layout.grid == (24, 24)
    assert layout.origins[:4] == [(0, 0), (0, 112), (0, 216), (64, 0)]


@pytest.mark.parametrize(
    ("size", "windows", "patch", "resized", "window", "count"),
    [
        ((3000, 4000), Windows(), 16, (448, 597), (384, 384), 6),
        ((896, 1001), Windows(), 16, (448, 501), (384, 384), 6),
        ((3, 4000), Windows(), 16, (2, 2048), (64, 384), 16),
        ((1, 1), Windows(), 16, (448, 448), (384, 384), 4),
        ((20, 30), Windows(448, 0), 16, (448, 672), (448, 672), 1),
        ((100, 70), Windows(0, 0), 16, (100, 70), (100, 70), 1),
        ((100, 700), Windows(0, 384, 384), 16, (100, 700), (100, 384), 2),
        ((10, 9000), Windows(0, 0), 16, (2, 2048), (64, 2048), 1),
        ((448, 600), Windows(448, 384, 112), 14, (448, 600), (384, 384), 6),
    ],
)
def test_sizes(size, windows, patch, resized, window, count):
    layout = plan_layout(size, windows, patch)
    assert (layout.resized, layout.window) == (resized, window)
    assert len(layout.origins) == count


@pytest.mark.parametrize("size", [(90, 131), (300, 64), (7, 200), (64, 64), (33, 500)])
@pytest.mark.parametrize("windows", [Windows(64, 48, 16), Windows(40, 0), Windows(0, 32, 24)])
def test_windows_cover_the_image_and_stay_inside_what_is_cut(size, windows):
    layout = plan_layout(size, windows, 8)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    pixels = cut(image, layout)
    seen = np.zeros(pixels.shape[:2], bool)
    for y, x in layout.origins:
        box = seen[y : y + layout.window[0], x : x + layout.window[1]]
        assert box.shape == layout.window
        box[...] = True
    assert seen.all()


def test_patches_of_14_keep_the_published_windows_and_drop_the_remainder():
    layout = plan_layout((448, 600), Windows(448, 384, 112), 14)
    assert layout.starts == ((0, 64), (0, 112, 216))
    assert layout.grid == (27, 27)


def test_a_window_whose_attention_would_not_fit_is_refused():
    with pytest.raises(JobError, match="2000 x 2000 pixels is too large"):
        plan_layout((2000, 2000), Windows(0, 0), 16)


def test_cut_keeps_an_image_of_the_right_size_and_repeats_edges():
    image = np.random.default_rng(0).integers(0, 256, (100, 50, 3), np.uint8)
    image.flags.writeable = False
    pixels = cut(image, plan_layout((100, 50), Windows(0, 0), 16))
    np.testing.assert_array_equal(pixels[:, :50], image)
    np.testing.assert_array_equal(pixels[:, 50:], np.repeat(image[:, 49:], 14, 1))


def test_cut_is_bilinear_and_averages_when_asked():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (80, 120, 3), np.uint8)
    planes = torch.from_numpy(image).permute(2, 0, 1)[None].double()
    expected = F.interpolate(planes, (32, 48), mode="bilinear")[0].permute(1, 2, 0).numpy()
    plain = cut(image, plan_layout((80, 120), Windows(32, 0), 8))
    assert np.abs(plain - expected).max() <= 0.51
    checker = np.indices((400, 400)).sum(0)[..., None] % 2 * np.full(3, 255)
    layout = plan_layout((400, 400), Windows(64, 0), 16)
    smooth = cut(checker.astype(np.uint8), layout, antialias=True)
    assert np.abs(smooth.astype(int) - 127.5).max() < 20


def blended(maps, layout):
    """Plain float64: up-sample each window, add, divide, resize."""
    total = torch.zeros(maps.shape[1], *layout.resized, dtype=torch.float64)
    count = torch.zeros(layout.resized, dtype=torch.float64)
    for window, (y, x) in zip(maps.double(), layout.origins, strict=True):
        up = F.interpolate(window[None], layout.window, mode="bilinear")[0]
        part = total[:, y : y + layout.window[0], x : x + layout.window[1]]
        part += up[:, : part.shape[1], : part.shape[2]]
        count[y : y + layout.window[0], x : x + layout.window[1]] += 1
    return F.interpolate((total / count)[None], layout.size, mode="bilinear")[0]


@pytest.mark.parametrize("size", [(90, 131), (33, 500), (200, 40), (1, 1)])
@pytest.mark.parametrize("windows", [Windows(64, 48, 16), Windows(40, 0), Windows(100, 64, 40)])
def test_tiles_equal_the_plain_way(size, windows, monkeypatch):
    monkeypatch.setattr(module, "_TILE", 64 * 5 * 4 * 8)  # several tiles
    layout = plan_layout(size, windows, 8)
    maps = torch.rand(len(layout.origins), 5, *layout.grid)
    out = torch.full((5, *size), torch.nan)
    for tile in Blend(layout).tiles(maps):
        assert tile.channels.tolist() == [0, 1, 2, 3, 4]
        out[:, tile.rows, tile.columns] = tile.scores
    np.testing.assert_allclose(out, blended(maps, layout), atol=2e-6)


def test_sparse_tiles_leave_out_what_is_zero_there():
    layout = plan_layout((120, 400), Windows(120, 64, 32), 8)
    maps = torch.zeros(len(layout.origins), 300, *layout.grid)
    maps[0, 7] = 1
    maps[-1, 250] = 0.5
    out = torch.zeros(300, 120, 400)
    chosen = set()
    for tile in Blend(layout).tiles(maps, sparse=True):
        chosen.add(tuple(tile.channels.tolist()))
        out[tile.channels, tile.rows, tile.columns] = tile.scores
    # Channel 0 is always there, so that every tile has one.
    assert {(0,), (0, 7), (0, 250)} <= chosen
    np.testing.assert_allclose(out, blended(maps, layout), atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "size"), [(171, (3000, 4000)), (1, (5, 4000)), (9000, (9, 9))]
)
def test_tiles_are_small(channels, size):
    rows, columns = tile_size(channels, *size)
    assert 1 <= rows <= size[0]
    assert 1 <= columns <= size[1]
    assert channels * rows * columns * 4 <= max(2 * module._TILE, channels * 4 * 128)
