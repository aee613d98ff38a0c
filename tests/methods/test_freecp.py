"""FreeCP against the plain float64 reference, and cases with answers known by hand."""

from dataclasses import replace

import numpy as np
import pytest
import reference_freecp as plain
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_prelabel.methods import freecp
from napari_prelabel.methods.freecp import Crop
from napari_prelabel.values.settings import FreeCP

CLASSES, BACKGROUND, WIDTH = 6, 2, 5


def scene(seed, grid=(7, 9), windows=2, classes=CLASSES, background=BACKGROUND, spread=25):
    """Smooth logits (B, Q, h, w) with a synonym of class 1, attention, and owners of queries."""
    rng = np.random.default_rng(seed)
    h, w = grid
    queries = classes + 1 + background
    rough = rng.normal(size=(windows, queries, h + 4, w + 4))
    smooth = sum(rough[:, :, i : i + h, j : j + w] for i in range(5) for j in range(5)) / 25
    attention = np.exp(2 * rng.normal(size=(windows, h * w + 1, h * w + 1)))
    attention /= attention.sum(2, keepdims=True)
    owner = [*range(classes), 1, *range(classes, classes + background)]
    return torch.tensor(smooth * spread), torch.tensor(attention), torch.tensor(owner)


def refined(seed, wording="code", known=None, **kwargs):
    logits, attention, owner = scene(seed, **kwargs)
    classes = kwargs.get("classes", CLASSES)
    p = freecp.class_probability(logits, owner, classes, known)
    s = freecp.affinity(attention, wording=wording)
    return p[:, :classes], freecp.refine(p, s, classes, wording=wording, known=known)


def rows(seed, plan):
    rng = torch.Generator().manual_seed(seed)
    cls = torch.randn(len(plan.crops), WIDTH, generator=rng, dtype=torch.float64)
    words = torch.randn(plan.refined.shape[1], WIDTH, generator=rng, dtype=torch.float64)
    return cls, words


def purified(r, p, parameters, seed=0):
    """Ours and the reference's maps, the same random CLS rows asked by both."""
    plan = freecp.find(r, p, parameters)
    cls, words = rows(seed, plan)

    def look(window, box, group):
        row = cls[plan.crops.index(Crop(window, *box))]
        return max(group, key=lambda c: float(100 * (row @ words[c])))

    return (
        plan,
        plan.finish(cls, words).numpy(),
        plain.purify(r.numpy(), p.numpy(), look, parameters),
    )


# --- against the reference ------------------------------------------------------------------


@pytest.mark.parametrize("known", [None, (0, 1, 4), ()])
@pytest.mark.parametrize("background", [0, 2])
def test_probability(known, background):
    logits, _, owner = scene(1, background=background)
    ours = freecp.class_probability(logits, owner, CLASSES, known)
    for b in range(2):
        want = plain.probability(logits[b].numpy(), owner.tolist(), CLASSES, known)
        np.testing.assert_allclose(ours[b], want, atol=1e-12)


@pytest.mark.parametrize("grid", [(1, 1), (1, 5), (7, 9), (8, 3)])
@pytest.mark.parametrize("wording", ["code", "paper"])
def test_affinity(grid, wording):
    _, attention, _ = scene(2, grid)
    ours = freecp.affinity(attention, wording=wording)
    for b in range(2):
        want = plain.affinity(attention[b].numpy(), wording)
        got = ours[b] @ ours[b] if wording == "code" else ours[b]
        np.testing.assert_allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("grid", [(1, 1), (1, 5), (5, 6), (8, 3)])
@pytest.mark.parametrize("wording", ["code", "paper"])
@pytest.mark.parametrize("known", [None, (4, 1), ()])
def test_refine(grid, wording, known):
    logits, attention, owner = scene(3, grid)
    p = freecp.class_probability(logits, owner, CLASSES, known)
    s = freecp.affinity(attention, wording=wording)
    ours = freecp.refine(p, s, CLASSES, wording=wording, known=known)
    for b in range(2):
        t = plain.affinity(attention[b].numpy(), wording)
        want = plain.refine(p[b].numpy(), t, CLASSES, wording=wording, known=known)
        np.testing.assert_allclose(ours[b], want, atol=1e-7)


@pytest.mark.parametrize("wording", ["code", "paper"])
def test_overlap_and_similarity(wording):
    p, r = refined(4)
    ours = freecp.overlap(p.flatten(2), r.flatten(2), wording)
    pn, rn = p.numpy(), r.numpy()
    want = [[plain.overlap(pn[b, c], rn[b, c], wording) for c in range(CLASSES)] for b in range(2)]
    np.testing.assert_allclose(ours, want, atol=1e-12)
    for at_least in (0.0, 0.2, 0.4, 0.6, 0.8):
        pairs = [
            (i, j)
            for i in range(CLASSES)
            for j in range(i + 1, CLASSES)
            if plain.similarity(rn[0, i], rn[0, j], wording) >= at_least
        ]
        found = freecp.similarity(r[0].flatten(1), at_least, wording)
        assert sorted(map(tuple, found.tolist())) == pairs


@pytest.mark.parametrize("wording", ["code", "paper"])
def test_equal_maps_are_alike_at_any_threshold_in_single_precision(wording):
    rng = np.random.default_rng(0)
    for n in (1, 7, 100, 576):
        m = torch.tensor(rng.random((20, n)), dtype=torch.float32)
        if wording == "paper":
            m = m.round() + (m.round().sum(1, keepdim=True) == 0)
        pairs = freecp.similarity(torch.cat([m, m]), 1.0, wording).tolist()
        assert all([i, i + 20] in pairs for i in range(20))


OFTEN = FreeCP(rp_threshold=0.05, ap_threshold=0.5)  # every step has something to do
OPTIONS = [
    OFTEN,
    replace(OFTEN, redundancy=False),
    replace(OFTEN, ambiguity=False),
    replace(OFTEN, redundancy=False, ambiguity=False),
    replace(OFTEN, overlap="paper", rp_threshold=0.07),
    replace(OFTEN, similarity="paper", ap_threshold=0.25),
    replace(OFTEN, losers="box"),
    replace(OFTEN, scope="image"),
    replace(OFTEN, scope="image", losers="box"),
    replace(OFTEN, box_threshold=0.7, losers="box"),
    replace(OFTEN, box_threshold=0.8),
]


def busy(seed):
    return refined(seed, windows=3, grid=(8, 10), classes=14, spread=25)


@pytest.mark.parametrize("parameters", OPTIONS, ids=str)
def test_purification(parameters):
    for seed in range(6):
        p, r = busy(seed)
        _, ours, want = purified(r, p, parameters, seed)
        np.testing.assert_array_equal(ours, want)


def test_the_scenes_above_leave_no_step_idle():
    results = []
    for seed in range(6):
        p, r = busy(seed)
        plan, ours, _ = purified(r, p, OFTEN, seed)
        results.append((plan, ours.any((2, 3)), plan.kept.numpy()))
    assert any(len(plan.groups) > 3 for plan, *_ in results)
    assert any(len(group.crops) > 1 for plan, *_ in results for group in plan.groups)
    assert any(not group.crops for plan, *_ in results for group in plan.groups)
    assert all(0 < kept.sum() < kept.size for *_, kept in results)
    assert sum((alive != kept).sum() for _, alive, kept in results) > 5


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    grid=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    spread=st.just(0) | st.floats(0.1, 60),
    rp=st.floats(0, 0.4),
    ap=st.floats(0.2, 0.99),
    box=st.floats(0, 1),
    scope=st.sampled_from(["window", "image"]),
    losers=st.sampled_from(["window", "box"]),
)
def test_any_input_gives_finite_maps_that_agree_with_the_reference(
    seed, grid, spread, rp, ap, box, scope, losers
):
    p, r = refined(seed, grid=grid, spread=spread)
    parameters = FreeCP(
        rp_threshold=rp, ap_threshold=ap, box_threshold=box, scope=scope, losers=losers
    )
    _, ours, want = purified(r, p, parameters, seed)
    assert np.isfinite(ours).all()
    assert ours.min() >= 0
    assert ours.max() <= 1
    np.testing.assert_array_equal(ours, want)


def test_single_precision_stays_within_a_thousandth_of_double():
    for seed in range(8):
        logits, attention, owner = scene(seed)
        double = freecp.class_probability(logits, owner, CLASSES)
        single = freecp.class_probability(logits.float(), owner, CLASSES)
        assert single.dtype == torch.float32
        a = freecp.refine(double, freecp.affinity(attention), CLASSES)
        b = freecp.refine(single, freecp.affinity(attention.float()), CLASSES)
        torch.testing.assert_close(b.double(), a, atol=1e-3, rtol=0)


def test_half_precision_is_worked_on_in_single():
    logits, attention, owner = scene(0)
    p = freecp.class_probability(logits.to(torch.bfloat16), owner, CLASSES)
    s = freecp.affinity(attention.to(torch.bfloat16))
    assert freecp.refine(p, s, CLASSES).dtype == torch.float32


def test_windows_do_not_influence_each_other_and_runs_repeat():
    p, r = refined(5, windows=3)
    logits, attention, owner = scene(5, windows=3)
    alone = freecp.class_probability(logits[1:2], owner, CLASSES)
    one = freecp.refine(alone, freecp.affinity(attention[1:2]), CLASSES)
    torch.testing.assert_close(one[0], r[1], atol=1e-12, rtol=0)
    for _ in range(3):
        plan, again = freecp.find(r, p, FreeCP()), freecp.find(r, p, FreeCP())
        assert (plan.groups, plan.crops) == (again.groups, again.crops)


# --- cases with known answers ----------------------------------------------------------------

UNIFORM = torch.full((1, 21, 21), 1 / 21, dtype=torch.float64)
EYE = torch.eye(21, dtype=torch.float64)[None] + 1e-9


def maps(*rectangles, grid=(5, 8), value=1.0):
    """(1, C, h, w), each map one rectangle (y0, x0, y1, x1)."""
    out = torch.zeros(1, len(rectangles), *grid, dtype=torch.float64)
    for c, (y0, x0, y1, x1) in enumerate(rectangles):
        out[0, c, y0:y1, x0:x1] = value
    return out


def test_identical_binary_maps_agree_by_a_half_in_the_code_and_by_one_in_the_paper():
    m = maps((1, 1, 4, 5)).flatten(2)
    assert freecp.overlap(m, m).item() == pytest.approx(0.5)
    assert freecp.overlap(m, m, "paper").item() == pytest.approx(1)


def test_two_overlapping_classes_are_told_apart_by_the_crop():
    r = maps((1, 1, 4, 5), (1, 1, 4, 5), (0, 6, 5, 7))
    plan = freecp.find(r, r, FreeCP())
    assert plan.groups == (freecp.Group(0, (0, 1), (0,)),)
    assert plan.crops == (Crop(0, 1, 1, 4, 5),)
    words = torch.eye(3, dtype=torch.float64)
    for winner, loser in ((0, 1), (1, 0)):
        out = plan.finish(words[winner : winner + 1], words)
        assert not out[0, loser].any()
        assert torch.equal(out[0, winner], r[0, winner])
        assert torch.equal(out[0, 2], r[0, 2])
    assert torch.equal(plan.refined, r)  # finishing leaves the plan as it was


def test_a_group_is_all_that_is_linked_and_equality_links():
    r = maps((0, 0, 1, 4), (0, 0, 1, 5), (0, 0, 1, 6), (3, 0, 4, 4))
    plan = freecp.find(r, r, FreeCP(ap_threshold=0.8))
    assert [group.classes for group in plan.groups] == [(0, 1, 2)]
    assert not freecp.find(r, r, FreeCP(ap_threshold=0.84)).groups


def test_a_class_that_refinement_contradicts_is_redundant():
    p = maps((1, 1, 4, 5), (0, 6, 2, 8))
    r = p.clone()
    r[0, 1] = r[0, 1].flip(0)  # the affinity puts it where the base never saw it
    plan = freecp.find(r, p, FreeCP(ambiguity=False))
    assert plan.kept.tolist() == [[True, False]]
    assert not plan.finish()[0, 1].any()


def test_redundancy_is_strict():
    p = maps((1, 1, 3, 3))
    at = float(freecp.overlap(p.flatten(2), p.flatten(2)))
    assert not freecp.find(p, p, FreeCP(rp_threshold=at)).kept.any()
    assert freecp.find(p, p, FreeCP(rp_threshold=at - 1e-9)).kept.all()


def test_a_degenerate_box_keeps_the_whole_group_and_asks_nothing():
    r = maps((1, 1, 3, 3), (1, 1, 3, 3))
    r[0, :, 4, 7] = 1  # one pixel in the last corner: an empty box
    plan = freecp.find(r, r, FreeCP())
    assert (plan.crops, plan.groups) == ((), (freecp.Group(0, (0, 1), ()),))
    assert torch.equal(plan.finish(), r)
    votes = freecp.find(r, r, FreeCP(losers="box"))
    assert votes.crops == (Crop(0, 1, 1, 3, 3),)


def test_equal_boxes_of_two_groups_share_a_crop():
    r = maps((1, 1, 4, 5), (1, 1, 4, 5), (1, 1, 4, 5), (1, 1, 4, 5))
    r[0, :2, 2, 2:4] = 0.01  # two rings and two full boxes of one outline
    plan = freecp.find(r, r, FreeCP(ap_threshold=0.9))
    assert plan.groups == (freecp.Group(0, (0, 1), (0,)), freecp.Group(0, (2, 3), (0,)))
    assert plan.crops == (Crop(0, 1, 1, 4, 5),)


def test_a_hole_gives_a_crop_of_its_own():
    r = maps((0, 0, 5, 7), (0, 0, 5, 7), grid=(7, 8))
    r[0, :, 2, 3] = 0
    assert freecp.find(r, r, FreeCP()).crops == (Crop(0, 0, 0, 5, 7), Crop(0, 1, 2, 4, 5))


def test_losers_are_zeroed_in_their_box_only_in_the_paper():
    r = maps((1, 0, 3, 2), (1, 0, 3, 2))
    r[0, :, 1:3, 5:7] = 1
    r[0, :, 4, 3] = 0.2  # below the cut, in no box
    words = torch.eye(2, dtype=torch.float64)
    plan = freecp.find(r, r, FreeCP(losers="box"))
    assert plan.crops == (Crop(0, 1, 0, 3, 2), Crop(0, 1, 5, 3, 7))
    out = plan.finish(words, words)[0]  # class 0 wins on the left, class 1 on the right
    assert out[:, 1, 0].tolist() == [1, 0]
    assert out[:, 1, 5].tolist() == [0, 1]
    assert out[:, 4, 3].tolist() == pytest.approx([0.2, 0.2])
    window = freecp.find(r, r, FreeCP()).finish(words, words)
    assert torch.equal(window, r)  # both won a box, so both stay everywhere


def test_the_image_scope_decides_once_for_all_windows():
    r = torch.cat([maps((1, 1, 4, 5), (1, 1, 4, 5)), maps((0, 0, 2, 2), (3, 0, 5, 2))])
    p = r.clone()
    p[1, 1] = 0.01
    window = freecp.find(r, p, FreeCP(rp_threshold=0.2))
    assert window.kept.tolist() == [[True, True], [True, False]]
    image = freecp.find(r, p, FreeCP(rp_threshold=0.2, ap_threshold=0.5, scope="image"))
    assert image.kept.tolist() == [[True, True], [True, True]]
    assert image.groups == (freecp.Group(None, (0, 1), tuple(range(len(image.crops)))),)
    assert {crop.window for crop in image.crops} == {0, 1}
    words = torch.eye(2, dtype=torch.float64)
    out = image.finish(words[:1].expand(len(image.crops), 2), words)
    assert not out[:, 1].any()


def test_one_class_alone_is_kept():
    p = freecp.class_probability(torch.zeros(1, 1, 4, 5, dtype=torch.float64), torch.tensor([0]), 1)
    assert (p == 1).all()
    r = freecp.refine(p, freecp.affinity(UNIFORM), 1)
    assert not r.any()  # a constant map has no contrast, so no box and nothing to spread
    plan = freecp.find(r, p, FreeCP())
    assert (plan.groups, plan.crops) == ((), ())
    assert not plan.finish().isnan().any()


def test_no_class_at_all_survives_zeros():
    zero = torch.zeros(2, 3, 4, 5)
    for parameters in OPTIONS:
        plan = freecp.find(zero, zero, parameters)
        assert not plan.kept.any()
        assert not plan.crops
        assert torch.equal(plan.finish(), zero)


def test_uniform_affinity_flattens_and_identity_keeps():
    p = torch.zeros(1, 2, 4, 5, dtype=torch.float64)
    p[0, 0, 1, 1], p[0, 1, 2, 3] = 1, 0.5
    flat = freecp.refine(p, freecp.affinity(UNIFORM), 2)
    np.testing.assert_allclose(flat, 0, atol=1e-6)
    kept = freecp.refine(p, freecp.affinity(EYE), 2)
    np.testing.assert_allclose(kept, p / p.amax((2, 3), keepdim=True), atol=1e-6)


def test_attention_of_zeros_gives_zeros_not_nan():
    attention = torch.zeros(1, 21, 21)
    attention[0, 1, 2] = 1
    assert freecp.affinity(attention).isfinite().all()


def test_tokens_before_the_patches_are_left_out():
    _, attention, _ = scene(0)
    more = torch.nn.functional.pad(attention, (3, 0, 3, 0), value=0.5)
    torch.testing.assert_close(freecp.affinity(more, prefix=4), freecp.affinity(attention))


def test_rows_that_do_not_fit_the_crops_are_refused():
    r = maps((1, 1, 4, 5), (1, 1, 4, 5))
    plan = freecp.find(r, r, FreeCP())
    with pytest.raises(ValueError, match="1 crops need as many CLS rows, not 0"):
        plan.finish()
    with pytest.raises(ValueError, match="not 2"):
        plan.finish(torch.zeros(2, 3), torch.zeros(2, 3))


def test_a_crop_in_pixels():
    assert Crop(3, 1, 0, 4, 5).pixels(16) == (16, 0, 64, 80)
    assert Crop(3, 1, 0, 4, 5).pixels(16, (112, 224)) == (128, 224, 176, 304)


def test_background_and_empty_pixels():
    scores = torch.tensor([[[0.7, 0.0]], [[0.2, 0.0]]])
    base = torch.tensor([[[0.1, 0.4]], [[0.3, 0.6]]])
    torch.testing.assert_close(freecp.background_score(scores), torch.tensor([[0.3, 1.0]]))
    filled = freecp.fill_empty(scores, base)
    torch.testing.assert_close(filled, torch.tensor([[[0.7, 0.4]], [[0.2, 0.6]]]))


def test_only_close_calls_can_change_when_rows_are_a_little_off():
    torch.manual_seed(0)
    slack, changed, close, asked = 0.4, 0, 0, 0
    unit = torch.nn.functional.normalize
    for seed in range(12):
        p, r = busy(seed)
        plan = freecp.find(r, p, OFTEN)
        cls, words = (unit(x, dim=1) for x in rows(seed, plan))
        calls = plan.close_calls(cls, words, slack)
        off = unit(torch.randn_like(cls), dim=1) * slack
        for group in plan.groups:
            for k in group.crops:
                mine = words[list(group.classes)]
                before, after = (mine @ x[k] for x in (cls, cls + off))
                if before.argmax() != after.argmax():
                    changed += 1
                    assert k in calls
        close += len(calls)
        asked += len(plan.crops)
        assert plan.close_calls(cls, words, 0.0) == []
    assert asked > close > changed > 0
