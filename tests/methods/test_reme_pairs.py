"""Cleaning and pairing on hand-made curves, groups and words."""

import numpy as np
import pytest
import reference_reme as plain

from napari_prelabel.methods import pairs
from napari_prelabel.values.errors import JobError


def unit(rng, *shape):
    rows = rng.normal(size=shape)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def kept(rows, drop):
    """Which rows of a group keep their phrase (docs/methods/reme.md#outliers)."""
    return ~pairs.lowest(rows.astype(np.float32) @ pairs.centre(rows) if len(rows) else [], drop)


@pytest.mark.parametrize(
    ("sizes", "beyond"),
    [
        ([], 0),
        ([9], 0),
        ([900, 1], 0),
        ([7, 7, 7, 7], 0),
        ([5, 4, 3, 2, 1], 0),  # a straight line has no bend
        ([10, 10, 10, 1], 0),  # a curve above its chord neither
        ([100, 5, 4, 3, 2], 1),
        ([3, 100, 2, 90, 4, 5, 80, 1, 2, 3], 3),  # in any order
        ([1000, 900, 20, 20, 19, 18, 17, 16, 15], 2),
        ([50, 50, 2, 2, 2], 2),  # equal sizes are never parted
        ([100, 10, 10, 1], 1),
    ],
)
def test_the_bend_of_hand_made_curves(sizes, beyond):
    assert pairs.knee(sizes) == beyond


def test_the_bend_is_the_point_farthest_from_the_chord():
    curve = 1000 / np.arange(1, 60) ** 1.3
    first, last = np.array([0, curve[0]]), np.array([58, curve[-1]])
    along = (last - first) / [58, curve[0] - curve[-1]]
    points = np.column_stack([np.arange(59) / 58, curve / (curve[0] - curve[-1])])
    from_first = points - points[0]
    distance = np.abs(along[0] * from_first[:, 1] - along[1] * from_first[:, 0])
    assert pairs.knee(curve) == np.argmax(distance)


def test_roots_beyond_the_bend_can_be_kept():
    sizes = {"scene": 500, "image": 480, "person": 470, "dog": 9, "cat": 8, "cow": 8, "hen": 7}
    assert pairs.abstract_roots(sizes) == ("scene", "image", "person")
    assert pairs.abstract_roots(sizes, keep=["person", "tree"]) == ("scene", "image")
    assert pairs.abstract_roots({}) == ()


def test_a_group_loses_what_is_farthest_from_its_median():
    rng = np.random.default_rng(1)
    good = np.array([1.0, 0, 0]) + 0.1 * rng.normal(size=(7, 3))
    wrong = np.array([[0, 1.0, 0], [0, 0, 1], [-1, 0, 0]])
    rows = np.concatenate([good[:3], wrong, good[3:]])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert kept(rows, 0.3).tolist() == [True] * 3 + [False] * 3 + [True] * 4


@pytest.mark.parametrize(("count", "gone"), [(0, 0), (1, 0), (3, 0), (4, 1), (10, 3), (100, 30)])
def test_the_share_is_rounded_down(count, gone):
    rows = unit(np.random.default_rng(count), count, 130)
    keep = kept(rows, 0.3)
    assert (~keep).sum() == gone
    assert (~kept(rows, 0.29)).sum() == np.floor(count * 29 / 100)


@pytest.mark.parametrize("drop", [0.0, 0.17, 0.3, 0.5, 1.0])
def test_the_filter_is_the_plain_one(drop):
    rows = unit(np.random.default_rng(3), 41, 200) + 0.05
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.testing.assert_array_equal(
        kept(rows.astype(np.float32), drop), plain.filter_keep(rows, drop)
    )


def test_equal_rows_go_in_their_order():
    rows = np.tile(np.array([[0.6, 0.8]], np.float16), (7, 1))
    assert kept(rows, 0.3).tolist() == [False] * 2 + [True] * 5
    assert pairs.lowest([3, 1, 1, 2, 1], 0.4).tolist() == [False, True, True, False, False]


@pytest.mark.parametrize("drop", [-0.1, 1.1, float("nan")])
def test_a_share_is_between_none_and_all(drop):
    with pytest.raises(JobError, match="between 0 and 1"):
        pairs.lowest([1, 2], drop)


def test_the_centre_is_a_unit_median():
    rows = np.array([[1, 0], [0.8, 0.6], [0, 1]])
    expected = np.array([0.8, 0.6]) / np.hypot(0.8, 0.6)
    np.testing.assert_allclose(pairs.centre(rows), expected, rtol=1e-6)
    assert np.isfinite(pairs.centre(np.array([[1.0, 0], [-1, 0]]))).all()


def test_sparse_groups_lose_more():
    rng = np.random.default_rng(0)
    middle = np.array([1.0, 0, 0, 0])
    spreads = []
    for noise in (0.01, 0.2, 0.8):
        rows = middle + noise * rng.normal(size=(30, 4))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        found = pairs.spread(rows @ pairs.centre(rows))
        assert found == pytest.approx(1 - (rows @ pairs.centre(rows)).mean(), abs=1e-6)
        spreads.append(found)
    rates = pairs.adaptive_rates(spreads)
    assert rates[0] == 0
    assert rates[2] == 0.5
    expected = 0.5 * (spreads[1] - spreads[0]) / (spreads[2] - spreads[0])
    assert rates[1] == pytest.approx(expected)


def test_groups_that_spread_alike_lose_nothing():
    assert pairs.adaptive_rates([0.2, 0.2]).tolist() == [0, 0]
    assert pairs.adaptive_rates([]).tolist() == []


def words():
    """Two clusters of two and one word alone; cosines 0.98, 0.92, the rest far below."""
    angles = np.deg2rad([0, 11.5, 90, 113, 200])
    return np.column_stack([np.cos(angles), np.sin(angles)])


def test_synonyms_global_are_the_most_similar_pairs_of_all():
    assert pairs.synonyms(words(), 1, "global").tolist() == [[0, 1]]
    assert pairs.synonyms(words(), 2, "global").tolist() == [[0, 1], [2, 3]]
    assert len(pairs.synonyms(words(), 30, "global")) == 10


def test_synonyms_by_neighbours_are_mutual_and_similar():
    assert pairs.synonyms(words()).tolist() == [[0, 1], [2, 3]]
    assert pairs.synonyms(words(), similarity=0.95).tolist() == [[0, 1]]
    # the nearest of 4 is 3, but the nearest of 3 is 2
    assert [3, 4] not in pairs.synonyms(words(), 1, similarity=-1).tolist()


def test_synonyms_by_share_are_a_percentage_of_all_pairs():
    assert len(pairs.synonyms(words(), 30, "share")) == 3
    assert pairs.synonyms(words(), 10, "share").tolist() == [[0, 1]]
    assert len(pairs.synonyms(words(), 100, "share")) == 10


@pytest.mark.parametrize("reading", ["global", "neighbours", "share"])
def test_synonyms_are_the_plain_ones_over_several_blocks(reading, monkeypatch):
    rows = unit(np.random.default_rng(4), 23, 6)
    cosines = rows @ rows.T
    first, second = np.triu_indices(23, 1)
    ranked = np.argsort(-cosines[first, second], kind="stable")
    if reading == "neighbours":
        np.fill_diagonal(cosines, -9)
        near = [set(np.argsort(-row)[:5].tolist()) for row in cosines]
        expected = [
            (a, b)
            for a, b in zip(first.tolist(), second.tolist(), strict=True)
            if b in near[a] and a in near[b] and cosines[a, b] >= 0.2
        ]
    else:
        best = ranked[: 5 if reading == "global" else int(len(ranked) * 0.05)]
        expected = sorted(zip(first[best].tolist(), second[best].tolist(), strict=True))
    for size in (1024, 4):
        monkeypatch.setattr(pairs, "_ROWS_AT_ONCE", size)
        found = pairs.synonyms(rows, 5, reading, 0.2)
        assert found.tolist() == [list(pair) for pair in expected]


def test_equal_words_are_paired_in_their_order():
    rows = np.ones((4, 1))
    assert pairs.synonyms(rows, 2, "global").tolist() == [[0, 1], [0, 2]]


@pytest.mark.parametrize("count", [0, 1])
def test_a_word_alone_has_no_synonym(count):
    assert pairs.synonyms(np.ones((count, 3))).shape == (0, 2)
    assert pairs.synonyms(words(), 0).shape == (0, 2)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"reading": "all"}, "no reading"),
        ({"k": -1}, "0 or more"),
        ({"reading": "share", "rows": np.ones((4001, 1))}, "choose neighbours"),
    ],
)
def test_what_cannot_be_asked_of_synonyms(options, sentence):
    rows = options.pop("rows", words())
    with pytest.raises(JobError, match=sentence):
        pairs.synonyms(rows, **options)


@pytest.mark.parametrize(
    ("phrase", "root", "other", "expected"),
    [
        ("big red barn", "barn", "shed", "big red shed"),
        ("barn", "barn", "shed", "shed"),
        ("traffic light", "traffic light", "signal", "signal"),
        ("bookworm", "worm", "snake", None),
        ("barn owls", "owl", "bird", None),
    ],
)
def test_modifiers_stay_before_the_other_root(phrase, root, other, expected):
    assert pairs.renamed(phrase, root, other) == expected


def test_every_phrase_goes_to_its_most_similar_segment():
    rng = np.random.default_rng(8)
    segments, phrases = unit(rng, 6, 5), unit(rng, 9, 5)
    owner = pairs.pair(segments, phrases)
    for phrase, mine in zip(phrases, owner, strict=True):
        assert mine == max(range(6), key=lambda i: float(segments[i] @ phrase))
    assert pairs.pair(segments, phrases[:0]).shape == (0,)
    same = np.ones((3, 2))
    assert pairs.pair(same, same).tolist() == [0, 0, 0]


def test_phrases_need_a_segment():
    with pytest.raises(JobError, match="at least one segment"):
        pairs.pair(np.zeros((0, 4)), np.zeros((2, 4)))
