"""Strokes on images whose objects are known by hand."""

from dataclasses import replace

import nerve_reference as plain
import numpy as np
import pytest
import torch

from napari_prelabel.methods import attention
from napari_prelabel.methods.nerve import build
from napari_prelabel.methods.scribble import DEFAULTS, carry, levels, propose, scribble
from napari_prelabel.methods.sharpen import resized, sharpen
from napari_prelabel.values.errors import ImageError
from napari_prelabel.values.settings import Nerve

GRID, CELL = (12, 16), 6
SIZE = (GRID[0] * CELL, GRID[1] * CELL)


def graph_of(objects, budget=1 << 30, seed=0, sharpness=3.0):
    """A graph whose tokens attend to their own object, near ones first, with noise."""
    h, w = objects.shape
    rng = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    place = torch.stack([y, x], -1).view(-1, 2) * 0.3
    one_hot = torch.nn.functional.one_hot(torch.tensor(objects.ravel()).long()) * sharpness
    z = torch.cat([place, one_hot, 0.2 * torch.randn(h * w, 3, generator=rng)], 1)
    q = torch.cat([z, torch.ones(h * w, 1)], 1)[None]
    k = torch.cat([z, -z.square().sum(1, keepdim=True) / 2], 1)[None]
    return build([q], [k], [(h, w)], [1.0], Nerve(), budget=budget)


def square(grid=GRID):
    objects = np.zeros(grid, np.uint16)
    objects[3:9, 4:11] = 1
    return objects


def pixels(objects):
    return np.kron(objects, np.ones((CELL, CELL), np.uint16))


def stroke(rows, columns, label=5):
    out = np.zeros(SIZE, np.uint16)
    out[rows, columns] = label
    return out


STROKE = stroke(slice(34, 37), slice(30, 54))
OBJECT = pixels(square()) == 1
BLANK = np.full(SIZE, 9, np.uint16)


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


# --- on tokens ------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [1 << 30, 0])
def test_propagation_agrees_with_the_plain_form(budget):
    graph = graph_of(square(), budget)
    rng = np.random.default_rng(1)
    n = graph.tokens
    seeds = np.zeros((n, 3))
    seeds[rng.choice(n, 9, replace=False)] = rng.dirichlet(np.ones(3), 9)
    allowed = rng.random(n) < 0.7
    p = Nerve(alpha=0.9, beta=0.6, steps=12)
    s = plain.transition(graph.rows(slice(None)).numpy().astype(float), GRID, 0.6)
    held = seeds.sum(1) > 0
    want = seeds
    for _ in range(12):
        want = np.where(held[:, None], seeds, np.where(allowed[:, None], 0.9 * s @ want, 0))
    found = scribble(graph, torch.tensor(seeds), torch.tensor(allowed), p)
    np.testing.assert_allclose(found, want, atol=1e-6)
    assert found.min() >= 0
    assert found.sum(1).max() <= 1 + 1e-6


def test_tolerance_stops_propagation_close_to_its_end():
    graph = graph_of(square())
    seeds = torch.zeros(graph.tokens, 1)
    seeds[100] = 1
    every = torch.ones(graph.tokens, dtype=torch.bool)
    p = Nerve(alpha=0.9, steps=500)
    end = scribble(graph, seeds, every, p)
    early = scribble(graph, seeds, every, replace(p, tolerance=1e-3))
    assert 0 < (end - early).abs().max() <= 1e-3 * 0.9 / 0.1


def plain_level(p, held, s, pairs):
    """The level of one class by trying every set, held tokens first inside."""
    order = sorted(range(len(p)), key=lambda i: -p[i])
    best, level = -np.inf, None
    for k in range(len(p) - 1):
        inside = np.isin(np.arange(len(p)), order[: k + 1])
        if (held & ~inside).any():
            continue
        w = (s + s.T) / 2
        cut = w[inside][:, ~inside].sum()
        outline = [(i, j) for i, j in pairs if inside[i] != inside[j]]
        if not outline:
            continue
        unlike = [1 - s[i] @ s[j] / np.sqrt((s[i] @ s[i]) * (s[j] @ s[j])) for i, j in outline]
        quality = np.mean(unlike) / (cut / w[inside].sum() + cut / w[~inside].sum())
        if quality > best:
            best, level = quality, (p[order[k]] + p[order[k + 1]]) / 2
    return level


@pytest.mark.parametrize("seed", range(3))
def test_levels_are_those_of_the_best_set(seed, monkeypatch):
    monkeypatch.setattr(attention, "_CPU_BLOCK", 100)
    h, w = 5, 6
    rng = np.random.default_rng(seed)
    s, p = rng.dirichlet(np.full(30, 0.3), 30), rng.random((30, 2))
    held = p > [0.9, 0.8]
    index = np.arange(30).reshape(h, w)
    down, right = np.full((2, h, w), -1)
    down[:-1], right[:, :-1] = index[1:], index[:, 1:]
    pairs = [(i, j) for to in (down, right) for i, j in enumerate(to.ravel()) if j >= 0]
    given = (torch.tensor(x) for x in (p, held, s, down.ravel(), right.ravel()))
    want = [plain_level(p[:, c], held[:, c], s, pairs) for c in range(2)]
    np.testing.assert_allclose(levels(*given), want, atol=1e-12)


def test_without_seeds_nothing_spreads():
    graph = graph_of(square())
    every = torch.ones(graph.tokens, dtype=torch.bool)
    assert not scribble(graph, torch.zeros(graph.tokens, 2), every, DEFAULTS).any()


# --- on pixels ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("with_image", [False, True])
def test_a_stroke_takes_its_object_and_no_more(seed, with_image):
    image = np.where(OBJECT[..., None], [200, 40, 40], [40, 60, 200]).astype(np.uint8)
    found = propose(
        STROKE, BLANK, graph_of(square(), seed=seed), radius=40, image=image if with_image else None
    )
    assert iou(found.mask, OBJECT) > (0.97 if with_image else 0.9)
    np.testing.assert_array_equal(found.labels, np.where(found.mask, 5, 9))


def test_the_radius_limits_what_changes():
    small = propose(STROKE, BLANK, graph_of(square()), radius=4).mask
    assert STROKE.astype(bool)[small].sum() == (STROKE > 0).sum()
    y, x = np.nonzero(small)
    assert 30 <= y.min() <= y.max() <= 40
    assert 26 <= x.min() <= x.max() <= 57
    only = propose(STROKE, BLANK, graph_of(square()), radius=0).mask
    np.testing.assert_array_equal(only, STROKE > 0)


def test_locked_pixels_never_change_even_under_the_stroke():
    locked = np.zeros(SIZE, bool)
    locked[:, 40:] = True
    found = propose(STROKE, BLANK, graph_of(square()), radius=40, locked=locked)
    assert not (found.mask & locked).any()
    assert iou(found.mask, OBJECT & ~locked) > 0.85
    everything = propose(
        STROKE, BLANK, graph_of(square()), radius=40, locked=~np.zeros_like(locked)
    )
    assert not everything.mask.any()


def test_strokes_of_two_classes_share_the_image_between_them():
    objects = square()
    objects[3:9, 8:11] = 2
    strokes = STROKE * (np.arange(SIZE[1]) < 40) + stroke(slice(24, 46), slice(52, 56), 7)
    found = propose(strokes.astype(np.uint16), BLANK, graph_of(objects), radius=40)
    for label, name in ((5, 1), (7, 2)):
        assert iou(found.labels == label, pixels(objects) == name) > 0.8
        assert (found.labels[strokes == label] == label).all()


def test_pixels_of_the_class_already_do_not_count_as_changed():
    labels = np.where(OBJECT, 5, 9).astype(np.uint16)
    labels[20:30, 30:40] = 9
    found = propose(STROKE, labels, graph_of(square()), radius=40)
    assert not (found.mask & (labels == 5)).any()
    assert found.mask[20:30, 30:40].all()


def test_a_second_object_of_the_kind_is_left_alone():
    objects = square()
    objects[3:9, 13:16] = 1
    found = propose(STROKE, BLANK, graph_of(objects), radius=80)
    assert not found.mask[:, 14 * CELL :].any()
    assert found.mask[30, 30]


def test_nothing_drawn_changes_nothing():
    found = propose(np.zeros(SIZE, np.uint16), BLANK, graph_of(square()), radius=40)
    assert not found.mask.any()
    np.testing.assert_array_equal(found.labels, BLANK)
    assert found.labels is not BLANK


def test_an_even_image_gives_a_blob_around_the_stroke():
    found = propose(STROKE, BLANK, graph_of(np.zeros_like(square())), radius=20)
    assert found.mask[STROKE > 0].all()
    y, x = np.nonzero(found.mask)
    assert y.min() >= 34 - 20
    assert x.max() <= 53 + 20


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (5, 3), (97, 61)])
@pytest.mark.parametrize("grid", [(1, 1), (1, 6), (4, 4)])
def test_any_size_on_any_grid(size, grid):
    graph = graph_of(np.zeros(grid, np.uint16))
    strokes, labels = np.zeros(size, np.uint16), np.zeros(size, np.uint16)
    strokes[size[0] // 2, size[1] // 2] = 3
    image = np.zeros((*size, 3), np.float32)
    for radius in (0, 2.5, 1000):
        found = propose(strokes, labels, graph, radius=radius, image=image)
        assert found.mask[size[0] // 2, size[1] // 2]
        assert set(np.unique(found.labels)) <= {0, 3}


def test_maps_of_another_size_are_refused():
    graph = graph_of(square())
    other = np.zeros((4, 4), np.uint16)
    for wrong in ({"labels": other}, {"locked": other > 0}, {"image": np.zeros((4, 4, 3))}):
        given = {"strokes": STROKE, "labels": BLANK} | wrong
        with pytest.raises(ImageError, match="scribble on the image that was encoded"):
            propose(graph=graph, radius=4, **given)


def test_a_part_gives_what_the_whole_image_gives():
    graph, radius = graph_of(square()), 20.0
    image = np.where(OBJECT[..., None], [200, 40, 40], [40, 60, 200]).astype(np.uint8)
    locked = np.zeros(SIZE, bool)
    locked[:, 50:] = True
    whole = carry(STROKE, graph, radius=radius, locked=locked, image=image)
    part = np.s_[10:60, 8:80]
    found = carry(
        STROKE[part], graph, radius=radius, corner=(10, 8), size=SIZE,
        locked=locked[part], image=image[part],
    )  # fmt: skip
    np.testing.assert_array_equal(found, whole[part])
    assert found.any()
    assert not whole[:, :8].any()
    assert not carry(np.zeros_like(STROKE), graph, radius=radius).any()


def test_no_object_goes_on_below_the_floor():
    graph = graph_of(np.zeros_like(square()))
    taken = [
        (carry(STROKE, graph, radius=40, floor=floor) > 0).sum() for floor in (0.0, 0.3, 0.9, 1.0)
    ]
    assert taken == sorted(taken, reverse=True)
    assert taken[0] > 3 * taken[-1]
    assert taken[-1] >= (STROKE > 0).sum()


# --- sharpening -----------------------------------------------------------------------------


def test_resized_is_bilinear_and_cuts_a_box():
    maps = np.random.default_rng(2).random((2, 3, 5)).astype(np.float32)
    found = resized(maps, (7, 11))
    np.testing.assert_allclose(found[1], plain.interpolate(maps[1], (7, 11)), atol=1e-6)
    part = resized(maps, (7, 11), (slice(2, 5), slice(1, 9)))
    np.testing.assert_allclose(part, found[:, 2:5, 1:9], atol=1e-6)


@pytest.mark.parametrize("token", [1, 6, 9.5])
def test_sharpening_puts_the_edge_where_the_image_has_it(token):
    image = np.zeros((48, 60, 3), np.uint8)
    image[:, 33:] = [10, 200, 90]
    smooth = np.clip((np.arange(60) - 26) / 8, 0, 2)[None, None].repeat(48, 1).astype(np.float32)
    found = sharpen(smooth, image, token)
    wrong = ((found[0] > 1) != (image[..., 1] > 0)).mean()
    assert wrong <= ((smooth[0] > 1) != (image[..., 1] > 0)).mean()
    even = sharpen(np.full((1, 48, 60), 0.7, np.float32), image, token)
    np.testing.assert_allclose(even, 0.7, atol=1e-5)
