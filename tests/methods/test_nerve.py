"""NERVE against the plain float64 reference, and the invariants of
docs/methods/nerve.md#invariants."""

from dataclasses import replace

import nerve_reference as plain
import numpy as np
import pytest
import torch

from napari_prelabel.methods import attention, freecp, walk
from napari_prelabel.methods.nerve import (
    attention_on,
    background_score,
    build,
    class_maps,
    gaussian,
    head_weights,
    nerve,
    node_labels,
)
from napari_prelabel.methods.walk import Graph, resampling
from napari_prelabel.values.errors import Cancelled, ImageError, JobError
from napari_prelabel.values.labels import decide
from napari_prelabel.values.settings import Nerve

GRIDS = [(1, 1), (1, 5), (4, 3), (5, 7)]
WEIGHTINGS = ["exp", "linear", "inverse", "lowest", "row", "equal"]
DENSE, STREAMED = 1 << 30, 0
BUDGETS = pytest.mark.parametrize("budget", [DENSE, STREAMED], ids=["dense", "streamed"])


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(attention, "_CPU_BLOCK", 100)


def layers(seed, grids, heads=2, dtype=torch.float64):
    """Queries and keys of one layer per grid, as the diffusion model gives them."""
    rng = torch.Generator().manual_seed(seed)
    q, k = (
        [
            torch.randn(heads, h * w, 4 + i, generator=rng, dtype=dtype) * (1 + i)
            for i, (h, w) in enumerate(grids)
        ]
        for _ in range(2)
    )
    return q, k, list(grids), [0.5 + 0.2 * i for i in range(len(grids))]


def maps(q, k, grids, scales, threshold=None):
    """(heads, N, N) attention maps of all layers on the finest grid, by the reference.

    threshold : of the clean-up of every head on its own grid, None for none
    """
    finest = max(grids, key=lambda g: g[0] * g[1])
    out = []
    for layer, grid, scale in zip(zip(q, k, strict=True), grids, scales, strict=True):
        for a, b in zip(*layer, strict=True):
            m = plain.attention(a.numpy(), b.numpy(), scale)
            m = m if threshold is None else plain.cleaned(m, threshold, 1e-5)
            out.append(m if grid == finest else plain.upsampled(m, grid, finest))
    return np.stack(out)


def soft_labels(seed, n, classes=3, total=0.9):
    rng = np.random.default_rng(seed)
    g = rng.random((n, classes))
    return torch.tensor(total * g / g.sum(1, keepdims=True))


def distance(a, b):
    return float(np.abs(np.asarray(a) - np.asarray(b)).max())


# --- against the reference ------------------------------------------------------------------


@pytest.mark.parametrize("grid", [(1, 1), (2, 9), (6, 5), (3, 2)])
def test_node_labels(grid):
    p = torch.rand(4, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(node_labels(p, grid), plain.node_labels(p.numpy(), grid), atol=1e-12)


@BUDGETS
@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_weighted_attention(grid, weighting, budget):
    given = layers(2, [grid, grid])
    p = Nerve(weighting=weighting, temperature=0.7, lowest=2)
    graph = build(*given, p, budget=budget)
    # One token has no entropy to weigh by.
    want = plain.mixed(maps(*given), "equal" if grid == (1, 1) else weighting, 0.7, 2)
    assert distance(graph.rows(slice(None)), want) < 1e-9
    assert (graph.dense is None) == (budget == STREAMED)


@BUDGETS
@pytest.mark.parametrize("local", ["attention", "rows"])
@pytest.mark.parametrize("cleanup", [None, 0.3, 0.999])
@pytest.mark.parametrize("radius", [1, 2, 9])
def test_transition(local, cleanup, radius, budget):
    for grid in GRIDS:
        given = layers(3, [grid])
        p = Nerve(weighting="equal", local=local, cleanup=cleanup, radius=radius)
        graph = build(*given, p, budget=budget)
        a = plain.mixed(maps(*given), "equal")
        want = plain.transition(a, grid, 0.3, radius, local, cleanup)
        assert distance(graph.transition(0.3), want) < 1e-9
        some = torch.arange(0, len(a), 2)
        assert distance(graph.transition(0.3, some), want[::2, ::2]) < 1e-9


@BUDGETS
@pytest.mark.parametrize("grids", [[(1, 1)], [(1, 5)] * 2, [(5, 7), (3, 4), (5, 7)]])
@pytest.mark.parametrize("threshold", [0.1, 1.0])
@pytest.mark.parametrize("weighting", ["lowest", "row"])
def test_every_head_is_cleaned_before_they_are_summed(grids, threshold, weighting, budget):
    weighting = "equal" if len(set(grids)) > 1 else weighting
    given = layers(25, grids)
    p = Nerve(weighting=weighting, lowest=2, cleanup=threshold, cleaned="heads")
    graph = build(*given, p, budget=budget)
    whole, clean = maps(*given), maps(*given, threshold)
    kind = "equal" if grids == [(1, 1)] else weighting
    a = plain.mixed(whole, kind, 1.0, 2)
    want = plain.mixed(whole, kind, 1.0, 2, of=clean)
    assert distance(graph.rows(slice(None)), want) < 1e-9
    some = torch.arange(0, len(a), 2)
    assert distance(graph.rows(some), want[::2]) < 1e-9
    # The neighbourhood is of the attention as it was; rows keep their sums.
    assert distance(graph.transition(0.0), plain.local(a, grids[0], 1)) < 1e-9
    assert distance(graph.rows(slice(None)).sum(1), np.ones(len(a))) < 1e-9
    if len(a) > 1:
        assert distance(want, plain.cleaned(a, threshold)) > 1e-3
    again = Graph.from_entry(graph.to_entry())
    assert torch.equal(again.rows(slice(None)), graph.rows(slice(None)))


@BUDGETS
def test_one_multiplication_is_clipers_mean(budget):
    given = layers(26, [(5, 7), (5, 7)], heads=5)
    p = Nerve(weighting="equal", cleanup=0.1, cleaned="heads", alpha=1.0, beta=1.0, steps=1)
    g = soft_labels(26, 35, classes=4)
    found = nerve(g, build(*given, p, budget=budget), p)
    want = plain.clipers_mean(maps(*given), g.numpy())
    # CLIPer adds 1e-5 to the sums of rows as well, which we leave at 1.
    assert distance(found, want) < 1e-4
    as_a_whole = nerve(g, build(*given, replace(p, cleaned="mean"), budget=budget), p)
    assert distance(as_a_whole, want) > 1e-2


@BUDGETS
@pytest.mark.parametrize("form", ["restart", "series", "exact"])
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_walk(form, beta, budget):
    for grid in GRIDS:
        given = layers(4, [grid])
        p = Nerve(alpha=0.7, beta=beta, steps=6, form=form, radius=2, weighting="row")
        graph = build(*given, p, budget=budget)
        g = soft_labels(4, graph.tokens)
        if form == "exact" and graph.dense is None:
            with pytest.raises(JobError, match="choose form 'restart'"):
                nerve(g, graph, p)
            continue
        s = plain.transition(plain.mixed(maps(*given), "row"), grid, beta, 2)
        want = plain.walked(s, g.numpy(), 0.7, 6, form)
        assert distance(nerve(g, graph, p), want) < 1e-9


@BUDGETS
@pytest.mark.parametrize("finest", [(4, 6), (5, 7)])
@pytest.mark.parametrize("cleanup", [None, 0.2])
def test_layers_of_several_grids(finest, cleanup, budget):
    given = layers(5, [(2, 3), finest, (3, 2), (2, 3)])
    graph = build(*given, Nerve(weighting="equal", cleanup=cleanup), budget=budget)
    a = plain.mixed(maps(*given), "equal")
    want = a if cleanup is None else plain.cleaned(a, cleanup)
    assert graph.grid == finest
    assert distance(graph.rows(slice(None)), want) < 1e-9
    assert distance(graph.transition(0.0), plain.local(a, finest, 1)) < 1e-9
    again = Graph.from_entry(graph.to_entry())
    assert torch.equal(again.rows(slice(None)), graph.rows(slice(None)))


def test_entropies_of_coarse_heads_count_the_tokens_they_cover():
    """A coarse head that looks everywhere alike weighs as a fine one that does."""
    coarse, fine = torch.full((1, 4), float(np.log(4))), torch.full((2, 36), float(np.log(36)))
    for weighting in ("exp", "linear", "inverse"):
        first, second = head_weights([coarse, fine], [4, 36], Nerve(weighting=weighting))
        torch.testing.assert_close(torch.cat([first, second]), torch.full((3,), 1 / 3))


def test_weights_of_heads_without_anything_to_tell_them_apart_are_equal():
    for weighting in WEIGHTINGS:
        p = Nerve(weighting=weighting, lowest=9)
        w = head_weights([torch.zeros(4, 1)], [1], p)[0]
        torch.testing.assert_close(w.reshape(-1), torch.full((4,), 0.25))


def test_weights_per_row_refuse_layers_of_different_grids():
    with pytest.raises(JobError, match="choose another weighting or layers of one resolution"):
        build(*layers(6, [(2, 3), (4, 6)]), Nerve(weighting="row"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_attention_that_is_not_finite_is_refused(value):
    q, k, grids, scales = layers(7, [(2, 3)])
    q[0][1, 2, 0] = value
    with pytest.raises(ImageError, match="not finite: run it in float32"):
        build(q, k, grids, scales, Nerve())


@pytest.mark.parametrize("score_threshold", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("background_threshold", [0.0, 0.3])
@pytest.mark.parametrize("stretch", [False, True])
def test_read_out_with_background(score_threshold, background_threshold, stretch):
    rng = np.random.default_rng(8)
    grid = (5, 7)
    p, g = (torch.tensor(rng.random((35, 6)) * rng.random(6)) for _ in range(2))
    parameters = Nerve(
        score_threshold=score_threshold,
        background_threshold=background_threshold,
        stretch=stretch,
    )
    found = class_maps(p, g, grid, parameters, background=True)
    assert 0 <= found.min() <= found.max() <= 1
    ids, _, _ = decide(found.numpy(), background_score(found, parameters).numpy())
    want = plain.decided(p.numpy(), g.numpy(), grid, score_threshold, background_threshold, stretch)
    np.testing.assert_array_equal(ids, want)


def test_a_class_whose_score_is_the_threshold_is_dropped():
    walked = torch.tensor([[0.25, 0.26], [0.0, 0.1]])
    labels = torch.tensor([[0.75, 0.75], [0.0, 0.1]])
    parameters = Nerve(score_threshold=0.5)
    maps = class_maps(walked, labels, (1, 2), parameters, background=True)
    assert not maps[0].any()
    assert maps[1].max() == pytest.approx(0.505)


def test_a_stretched_class_forgets_its_score():
    """Where both are there, the pixel goes by the place within each map, not by the scores."""
    walked = torch.tensor([[0.2, 0.1], [0.5, 0.7], [0.4, 0.3]], dtype=torch.float64)
    labels = torch.tensor([[0.3, 0.8], [0.7, 0.9], [0.5, 0.4]], dtype=torch.float64)
    parameters = Nerve(score_threshold=0.5, stretch=True)
    maps = class_maps(walked, labels, (1, 3), parameters, background=True)
    want = [[0, 1, 2 / 3], [0, 1, 1 / 3]]
    np.testing.assert_allclose(maps[:, 0], want, atol=1e-12)
    assert decide(maps.numpy(), background_score(maps, parameters).numpy())[0].tolist() == [
        [0, 1, 1]
    ]
    # Without it the second class, of the higher score, is the higher one at its maximum.
    kept = class_maps(walked, labels, (1, 3), replace(parameters, stretch=False), background=True)
    np.testing.assert_allclose(kept[:, 0, 1], [0.6, 0.8])
    # The score still decides whether the class is there; a map without relief is nowhere.
    gone = class_maps(walked, labels / 2, (1, 3), parameters, background=True)
    np.testing.assert_allclose(gone[:, 0], [[0, 0, 0], want[1]], atol=1e-12)
    flat = class_maps(torch.full_like(walked, 0.9), labels, (1, 3), parameters, background=True)
    assert not flat.any()


@BUDGETS
def test_the_clean_up_keeps_what_is_as_large_as_the_threshold(budget):
    """At 1 every column keeps its maximum."""
    given = layers(24, [(4, 3)])
    graph = build(*given, Nerve(weighting="equal", cleanup=1.0), budget=budget)
    want = plain.cleaned(plain.mixed(maps(*given), "equal"), 1.0)
    assert ((want > 0) & (np.eye(12) == 0)).any()
    assert distance(graph.rows(slice(None)), want) < 1e-9


def test_a_class_that_reaches_the_threshold_wins_in_any_precision():
    p = Nerve(background_threshold=0.4)
    for dtype in (torch.float32, torch.float64):
        maps = torch.full((1, 1, 1), 0.4, dtype=dtype)
        assert decide(maps.numpy(), background_score(maps, p).numpy())[0].item() == 1


def test_read_out_without_background_is_the_walk_itself():
    p = soft_labels(9, 6)
    maps = class_maps(p, p, (2, 3), Nerve(), background=False)
    assert torch.equal(maps.flatten(1).mT, p)


def test_read_out_of_empty_maps_is_empty():
    zero = torch.zeros(6, 3)
    p = Nerve(score_threshold=0.0)
    maps = class_maps(zero, zero, (2, 3), p, background=True)
    assert not maps.any()
    assert not decide(maps.numpy(), background_score(maps, p).numpy())[0].any()


# --- docs/methods/nerve.md#invariants -----------------------------------------------------------


@pytest.fixture
def graph():
    return build(*layers(10, [(4, 6), (2, 3)]), Nerve())


@pytest.mark.parametrize("form", ["restart", "series", "exact"])
def test_without_a_walk_labels_stay(graph, form):
    g = soft_labels(10, 24)
    assert distance(nerve(g, graph, Nerve(alpha=0.0, form=form)), g) < 1e-12


@pytest.mark.parametrize("form", ["restart", "series", "exact"])
def test_on_a_graph_of_islands_labels_stay(form):
    """S = I: keys so sharp that a token sees itself only, and no local part."""
    eye = 100 * torch.eye(12, dtype=torch.float64)[None]
    graph = build([eye], [eye], [(3, 4)], [1.0], Nerve())
    assert distance(graph.transition(1.0), np.eye(12)) < 1e-12
    g = soft_labels(11, 12)
    assert distance(nerve(g, graph, Nerve(beta=1.0, form=form)), g) < 1e-12


@pytest.mark.parametrize("form", ["restart", "series", "exact"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_stay_in_the_simplex(form, dtype):
    graph = build(*layers(12, [(4, 6)], dtype=dtype), Nerve(cleanup=0.1))
    g = soft_labels(12, 24, total=1.0).to(dtype)
    p = nerve(g, graph, Nerve(form=form, alpha=0.9))
    assert p.min() >= 0
    assert distance(p.sum(1), 1) < (1e-5 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("alpha", [0.5, 0.8, 0.95])
def test_truncated_forms_close_in_on_the_exact_solution(graph, alpha):
    g = soft_labels(13, 24)
    limit = nerve(g, graph, Nerve(alpha=alpha, form="exact"))
    for steps in (1, 5, 10, 20, 40, 135):
        p = Nerve(alpha=alpha, steps=steps)
        bound = alpha**steps + 1e-12
        assert distance(nerve(g, graph, p), limit) <= bound
        # The series leaves out a share alpha^(L+1) and divides by the rest.
        assert distance(nerve(g, graph, replace(p, form="series")), limit) <= bound
    assert distance(nerve(g, graph, replace(p, steps=600)), limit) < 1e-10


def test_permuted_tokens_permute_the_labels():
    q, k, grids, scales = layers(14, [(4, 6)])
    order = torch.randperm(24, generator=torch.Generator().manual_seed(14))
    g = soft_labels(14, 24)
    p = Nerve(beta=1.0)
    plainly = nerve(g, build(q, k, grids, scales, p), p)
    permuted = build([q[0][:, order]], [k[0][:, order]], grids, scales, p)
    assert distance(nerve(g[order], permuted, p), plainly[order]) < 1e-12


def test_classes_do_not_see_each_other(graph):
    g = soft_labels(15, 24, classes=5)
    together = nerve(g, graph, Nerve())
    for c in range(5):
        assert distance(nerve(g[:, [c]], graph, Nerve()), together[:, [c]]) < 1e-12


def test_one_step_without_restart_is_one_multiplication_by_the_mean_map():
    """CLIPer's refinement "mean": beta 1, equal weights, alpha 1, L 1."""
    given = layers(16, [(4, 6), (4, 6)])
    p = Nerve(alpha=1.0, beta=1.0, steps=1, weighting="equal", cleanup=0.2)
    g = soft_labels(16, 24)
    want = plain.cleaned(maps(*given).mean(0), 0.2) @ g.numpy()
    assert distance(nerve(g, build(*given, p), p), want) < 1e-12


@pytest.mark.parametrize("form", ["series", "exact"])
def test_a_walk_that_never_restarts_has_no_series(graph, form):
    with pytest.raises(JobError, match="alpha must be below 1"):
        nerve(soft_labels(17, 24), graph, Nerve(alpha=1.0, form=form))


def test_a_check_can_end_the_walk(graph):
    asked = []

    def check():
        asked.append(1)
        if len(asked) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        nerve(soft_labels(19, 24), graph, Nerve(steps=9), check)
    assert len(asked) == 3


@pytest.mark.parametrize("form", ["restart", "series"])
def test_tolerance_stops_a_walk_that_has_settled(graph, form):
    g = soft_labels(18, 24)
    settings = {"alpha": 0.8, "beta": 0.5, "form": form}
    early = walk.walk(g, graph, steps=500, tolerance=1e-4, **settings)
    assert 3 < early.steps < 60
    limit = walk.walk(g, graph, steps=0, **(settings | {"form": "exact"})).labels
    assert distance(early.labels, limit) <= 1e-4 * 0.8 / 0.2
    assert walk.walk(g, graph, steps=7, tolerance=0.0, **settings).steps == 7


def test_the_labels_given_are_left_alone(graph):
    g = soft_labels(19, 24)
    before = g.clone()
    for steps in (0, 1, 2):
        nerve(g, graph, Nerve(steps=steps))
    assert torch.equal(g, before)


# --- what is kept, what is compared ---------------------------------------------------------


@BUDGETS
@pytest.mark.parametrize("cleanup", [None, 0.2])
def test_an_entry_gives_the_same_walk(budget, cleanup):
    p = Nerve(cleanup=cleanup, radius=2)
    graph = build(*layers(20, [(4, 6)], dtype=torch.float32), p, budget=budget)
    entry = graph.to_entry()
    assert all(isinstance(t, torch.Tensor) and t.is_contiguous() for t in entry.values())
    g = soft_labels(20, 24)
    assert torch.equal(nerve(g, Graph.from_entry(entry), p), nerve(g, graph, p))


def test_an_entry_in_half_precision_is_half_as_large_and_close():
    graph = build(*layers(21, [(4, 6)], dtype=torch.float32), Nerve())
    entry = graph.to_entry(half=True)
    assert entry["dense"].nbytes * 2 == graph.dense.nbytes
    g = soft_labels(21, 24)
    again = nerve(g, Graph.from_entry(entry), Nerve())
    assert 0 < distance(again, nerve(g, graph, Nerve())) < 1e-3


@BUDGETS
def test_gaussian_rival(budget):
    grid, sigma = (4, 6), 1.5
    graph = gaussian(grid, sigma, budget=budget, like=torch.zeros((), dtype=torch.float64))
    y, x = np.divmod(np.arange(24), 6)
    a = np.exp(-((y[:, None] - y) ** 2 + (x[:, None] - x) ** 2) / (2 * sigma**2))
    a /= a.sum(1, keepdims=True)
    assert distance(graph.transition(0.5), plain.transition(a, grid, 0.5)) < 1e-12
    single = gaussian(grid, sigma)
    assert single.dense.dtype == torch.float32
    assert distance(single.dense, a) < 1e-6


def test_resampling_is_bilinear_and_averages_when_it_shrinks():
    for of, size in ((3, 7), (5, 5), (1, 4)):
        x = np.random.default_rng(22).random((of, 1))
        want = plain.interpolate(x, (size, 1))
        np.testing.assert_allclose(resampling(size, of).numpy() @ x, want, atol=1e-12)
    np.testing.assert_allclose(resampling(2, 8).sum(1), 1)
    assert (resampling(2, 8) > 0).sum() > 4
    ramp = torch.arange(8, dtype=torch.float64)
    # Half-heights 2 around 5 and 7: weights 1 3 3 1, of which the border cuts off the last.
    want = [(3 + 3 * 4 + 3 * 5 + 6) / 8, (5 + 3 * 6 + 3 * 7) / 7]
    np.testing.assert_allclose(resampling(2, 8, 4, 8) @ ramp, want)


@BUDGETS
def test_attention_on_the_grid_of_a_window(budget):
    given = layers(23, [(6, 4)])
    graph = build(*given, Nerve(weighting="equal"), budget=budget)
    a = plain.mixed(maps(*given), "equal")
    np.testing.assert_allclose(attention_on(graph, (6, 4)), a, atol=1e-12)
    half = a[12:, 12:]
    half = half / half.sum(1, keepdims=True)
    np.testing.assert_allclose(attention_on(graph, (3, 4), (0.5, 0, 1, 1)), half, atol=1e-12)
    other = attention_on(graph, (5, 3))
    u = np.kron(resampling(5, 6), resampling(3, 4))
    want = u @ a @ u.T
    np.testing.assert_allclose(other, want / want.sum(1, keepdims=True), atol=1e-12)
    # In the form that freecp takes.
    s = freecp.affinity(other[None], prefix=0)
    assert freecp.refine(torch.rand(1, 3, 5, 3), s.float(), 3).shape == (1, 3, 5, 3)
