"""Windows' patches as one grid over the image, against plain loops in float64."""

import numpy as np
import pytest
import torch

from napari_prelabel.models.windows import one_grid, plan_layout
from napari_prelabel.values.settings import Windows


def plain(rows, layout):
    """Every cell asks every window that its middle lies in, and takes the mean of what they say."""
    height, width = (max(1, round(length / layout.patch)) for length in layout.resized)
    h, w = layout.grid
    found = np.zeros((height, width, rows.shape[-1]))
    for y in range(height):
        for x in range(width):
            middle = (
                (y + 0.5) * layout.resized[0] / height,
                (x + 0.5) * layout.resized[1] / width,
            )
            told = []
            for k, origin in enumerate(layout.origins):
                inside = [
                    start <= m <= start + side
                    for m, start, side in zip(middle, origin, layout.window, strict=True)
                ]
                if all(inside):
                    grid = rows[k].reshape(h, w, -1)
                    told.append(between(grid, middle, origin, layout))
            found[y, x] = np.mean(told, axis=0)
    return found.reshape(height * width, -1)


def between(grid, middle, origin, layout):
    """The patches around a place, by their nearness."""
    at = [
        min(max((m - o) / (side / n) - 0.5, 0), n - 1)
        for m, o, side, n in zip(middle, origin, layout.window, layout.grid, strict=True)
    ]
    low = [int(np.floor(a)) for a in at]
    total = 0.0
    for dy in (0, 1):
        for dx in (0, 1):
            share = abs(1 - dy - (at[0] - low[0])) * abs(1 - dx - (at[1] - low[1]))
            place = min(low[0] + dy, grid.shape[0] - 1), min(low[1] + dx, grid.shape[1] - 1)
            total = total + share * grid[place]
    return total


@pytest.mark.parametrize(
    ("size", "windows"),
    [
        ((50, 121), Windows(64, 32, 16)),
        ((97, 40), Windows(48, 48, 24)),
        ((61, 45), Windows(0, 40, 24)),
        ((30, 90), Windows(37, 0, 1)),
    ],
)
def test_a_grid_is_what_plain_loops_say(size, windows):
    layout = plan_layout(size, windows, 8)
    h, w = layout.grid
    rows = torch.from_numpy(
        np.random.default_rng(0).standard_normal((len(layout.origins), h * w, 3))
    ).float()

    found, grid = one_grid(rows, layout)

    assert found.shape == (grid[0] * grid[1], 3)
    np.testing.assert_allclose(found, plain(rows.double().numpy(), layout), atol=1e-5)


def test_patches_of_windows_that_lie_on_the_grid_are_only_averaged():
    layout = plan_layout((48, 64), Windows(48, 32, 16), 8)
    places = torch.arange(6 * 8).reshape(6, 8).float()
    rows = torch.stack(
        [places[y // 8 : y // 8 + 4, x // 8 : x // 8 + 4] for y, x in layout.origins]
    )

    found, grid = one_grid(rows.reshape(len(rows), 16, 1), layout)

    assert grid == (6, 8)
    np.testing.assert_allclose(found[:, 0], places.flatten(), atol=1e-5)


def test_one_window_stays_as_it_is():
    layout = plan_layout((40, 56), Windows(0, 0, 1), 8)
    rows = torch.randn(1, 35, 4)

    found, grid = one_grid(rows, layout)

    assert grid == (5, 7)
    torch.testing.assert_close(found, rows[0])
