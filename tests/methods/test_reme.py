"""Retrieval against the plain equations: whole, streamed, sparse, top-k, masked."""

import itertools
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import reference_reme as plain
import torch
from scipy.sparse import csr_array

from napari_prelabel.methods import reme, retrieval
from napari_prelabel.values.errors import JobError
from napari_prelabel.values.retrieval import ReME
from napari_prelabel.values.vocabulary import Vocabulary

K, M, N, C, D, E = 7, 53, 11, 5, 17, 9


def unit(rng, *shape):
    rows = rng.normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture
def world():
    rng = np.random.default_rng(5)
    links = (rng.random((M, N)) < 0.2).astype(np.float32)
    links[:, 0] = 1  # every segment has a label, so that the plain equations need no mask
    return SimpleNamespace(
        test=unit(rng, K, D),
        ref=unit(rng, M, D).astype(np.float16).astype(np.float32),
        links=links,
        words=unit(rng, N, E),
        classes=unit(rng, C, E),
    )


def blocks(rows, *cuts):
    edges = [0, *cuts, len(rows)]
    return [(a, rows[a:b]) for a, b in itertools.pairwise(edges)]


def found(world, parameters, rows=None, **more):
    a2 = reme.label_classes(world.words, world.classes, np.arange(C), C, parameters)
    told = reme.answers(csr_array(world.links), a2, parameters)
    rows = world.ref if rows is None else rows
    return reme.retrieve(world.test, blocks(rows, 20, 41), told, parameters, **more)


@pytest.mark.parametrize("temperatures", [(0.05, 0.01), (1.0, 1.0), (0.002, 0.3)])
def test_the_three_products(world, temperatures):
    t1, t2 = temperatures
    a1 = plain.equation_1(world.test, world.ref, world.links, t1)
    expected = a1 @ plain.equation_2(world.words, world.classes, t2)
    result = found(world, ReME(temperature=t1, text_temperature=t2))
    assert result.shape == (K, C)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=2e-4, atol=1e-6)


def test_literal_mode_is_temperature_one(world):
    a1 = plain.softmax_rows(world.test.astype(float) @ world.ref.T.astype(float)) @ world.links
    expected = a1 @ plain.softmax_rows(world.words.astype(float) @ world.classes.T.astype(float))
    result = found(world, ReME(temperature=1, text_temperature=1))
    np.testing.assert_allclose(result, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "normalised"),
    [
        ({"normalise": "row"}, plain.by_row),
        ({"normalise": "column"}, lambda o: plain.by_column(o, 1)),
        ({"normalise": "column", "exponent": 0.5}, lambda o: plain.by_column(o, 0.5)),
        ({"normalise": "column", "exponent": 0.0}, lambda o: o),
    ],
)
def test_votes_are_normalised_by_row_or_column(world, options, normalised):
    a1 = plain.equation_1(world.test, world.ref, normalised(world.links.astype(float)), 0.05)
    expected = a1 @ plain.equation_2(world.words, world.classes, 0.01)
    np.testing.assert_allclose(found(world, ReME(**options)), expected, rtol=2e-4, atol=1e-6)


def test_the_tip_form(world):
    weights = plain.tip(world.test, world.ref, 5.5)
    expected = weights @ world.links @ plain.equation_2(world.words, world.classes, 0.01)
    result = found(world, ReME(weighting="tip", sharpness=5.5))
    np.testing.assert_allclose(result, expected, rtol=2e-4)


@pytest.mark.parametrize("k", [1, 6, M, M + 9])
def test_top_k_by_faiss_is_the_softmax_over_the_nearest(world, k):
    weights = plain.top_k(world.test, world.ref, min(k, M), 0.05)
    expected = weights @ world.links @ plain.equation_2(world.words, world.classes, 0.01)
    result = found(world, ReME(top_k=k))
    np.testing.assert_allclose(result, expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("temperature", [0.02, 0.1, 1.0])
def test_top_k_differs_by_no_more_than_the_weight_of_the_tail(world, temperature):
    exact = found(world, ReME(temperature=temperature))
    told = world.links @ plain.equation_2(world.words, world.classes, 0.01)
    shares = np.sort(plain.references(world.test, world.ref, temperature), axis=1)[:, ::-1]
    for k in (1, 5, 20, 50):
        near = found(world, ReME(temperature=temperature, top_k=k))
        bound = shares[:, k:].sum(axis=1, keepdims=True) * told.max()
        assert (np.abs(near - exact) <= bound + 1e-5).all()
    assert np.abs(found(world, ReME(temperature=temperature, top_k=M)) - exact).max() < 1e-5


@pytest.mark.parametrize("top_k", [0, 9])
def test_blocks_of_any_size_and_type_agree(world, top_k, monkeypatch, tmp_path):
    parameters = ReME(top_k=top_k)
    whole = found(world, parameters)
    np.save(tmp_path / "rows.npy", world.ref.astype(np.float16))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    np.testing.assert_allclose(found(world, parameters, mapped), whole, atol=1e-6)
    monkeypatch.setattr(retrieval, "_ROWS_AT_ONCE", 4)
    monkeypatch.setattr(retrieval, "_SEARCHED_AT_ONCE", 4)
    monkeypatch.setattr(retrieval, "_QUERIES_AT_ONCE", 3)
    monkeypatch.setattr(retrieval, "_GATHERED", 1)
    np.testing.assert_allclose(found(world, parameters, mapped), whole, atol=1e-6)
    assert (found(world, parameters, mapped) == found(world, parameters, mapped)).all()


@pytest.mark.parametrize("top_k", [0, 9])
def test_any_number_of_threads_agree(world, top_k):
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 7):
            torch.set_num_threads(threads)
            results.append(found(world, ReME(top_k=top_k)))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], atol=1e-6)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_form_for_another_device_agrees(world, threads):
    words = reme.label_classes(world.words, world.classes, np.arange(C), C)
    told = reme.answers(csr_array(world.links), words)
    live = told[0:M].any(axis=1)
    live[::5] = False
    scale = reme.scale_of(ReME())
    there = partial(retrieval.OnDevice, torch.from_numpy(world.test), told, scale)
    here = partial(retrieval.All, world.test, told, scale)
    shown = blocks(world.ref, 20, 41)
    results = [retrieval.stream(make, shown, live, None, threads) for make in (there, here)]
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)
    nothing = retrieval.stream(there, shown, np.zeros_like(live), None, threads)
    assert (nothing == 0).all()


@pytest.mark.parametrize("top_k", [0, 6])
def test_references_that_answer_nothing_take_no_weight(world, top_k):
    off = np.zeros(M, bool)
    off[[3, 20, 21, 40]] = True
    off[41:] = True  # a block of which nothing is left
    links = csr_array(np.where(off[:, None], 0, world.links))
    a2 = reme.label_classes(world.words, world.classes, np.arange(C), C)
    parameters = ReME(top_k=top_k)
    masked = reme.retrieve(
        world.test, blocks(world.ref, 20, 41), reme.answers(links, a2), parameters
    )
    kept = reme.answers(csr_array(world.links[~off]), a2)
    without = reme.retrieve(world.test, blocks(world.ref[~off]), kept, parameters)
    np.testing.assert_allclose(masked, without, rtol=1e-5)


def test_references_of_other_classes_take_their_weight_when_they_are_live(world):
    a2 = np.zeros((N, C), np.float32)
    a2[3, 2] = 1  # one label meets a class; the others are outside the vocabulary
    told = reme.answers(csr_array(world.links), a2)
    result = reme.retrieve(world.test, blocks(world.ref), told, live=np.ones(M, bool))
    expected = plain.equation_1(world.test, world.ref, world.links, 0.05) @ a2
    np.testing.assert_allclose(result, expected, rtol=2e-4, atol=1e-6)
    masked = reme.retrieve(world.test, blocks(world.ref), told)
    np.testing.assert_allclose(masked[:, 2], 1, rtol=1e-6)
    assert (result[:, 2] < 1).all()


@pytest.mark.parametrize("top_k", [0, 3])
def test_a_set_without_a_live_reference_answers_nothing(world, top_k):
    parameters = ReME(top_k=top_k)
    nothing = np.zeros((M, C), np.float32)
    result = reme.retrieve(world.test, blocks(world.ref), nothing, parameters)
    assert result.shape == (K, C)
    assert not result.any()
    rows, weights = reme.influences(world.test[0], blocks(world.ref), nothing, 1, parameters)
    assert len(rows) == len(weights) == 0
    empty = reme.retrieve(world.test, [], np.zeros((0, C), np.float32), parameters)
    assert not empty.any()


@pytest.mark.parametrize("top_k", [0, 3])
def test_an_image_without_segments_has_no_answers(world, top_k):
    told = world.links[:, :C]
    result = reme.retrieve(world.test[:0], blocks(world.ref), told, ReME(top_k=top_k))
    assert result.shape == (0, C)


def test_very_sharp_weights_stay_finite(world):
    result = found(world, ReME(temperature=1e-6))
    nearest = (world.test.astype(float) @ world.ref.T.astype(float)).argmax(axis=1)
    told = world.links @ plain.equation_2(world.words, world.classes, 0.01)
    np.testing.assert_allclose(result, told[nearest], rtol=1e-3, atol=1e-5)


def test_rows_of_the_set_are_made_comparable(world):
    turn = np.random.default_rng(2).normal(size=(D, 6)).astype(np.float32)

    def comparable(rows):
        rows = rows @ turn
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    told = world.links[:, :C].copy()
    queries = comparable(world.test)
    result = reme.retrieve(queries, blocks(world.ref, 8), told, comparable=comparable)
    expected = reme.retrieve(queries, blocks(comparable(world.ref)), told)
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    rows, weights = reme.influences(
        queries[1], blocks(world.ref, 8), told, 2, count=M, comparable=comparable
    )
    assert weights.sum() == pytest.approx(expected[1, 2], rel=1e-5)
    assert len(set(rows.tolist())) == len(rows)


def test_a_tensor_is_worked_on_as_an_array_is(world):
    told = world.links[:, :C].copy()
    by_array = reme.retrieve(world.test, blocks(world.ref), told)
    by_tensor = reme.retrieve(torch.from_numpy(world.test).double(), blocks(world.ref), told)
    np.testing.assert_array_equal(by_array, by_tensor)


@pytest.mark.parametrize("options", [{}, {"top_k": 8}, {"weighting": "tip"}])
def test_influences_sum_to_the_share_of_the_class(world, options):
    parameters = ReME(**options)
    told = reme.answers(
        csr_array(world.links),
        reme.label_classes(world.words, world.classes, np.arange(C), C, parameters),
    )
    share = reme.retrieve(world.test, blocks(world.ref), told, parameters)
    for query in range(K):
        rows, weights = reme.influences(
            world.test[query], blocks(world.ref, 30), told, 3, parameters, count=M
        )
        assert weights.sum() == pytest.approx(share[query, 3], rel=1e-4)
        assert (np.diff(weights) <= 0).all()
        assert len(rows) <= (options.get("top_k") or M)


def test_influences_are_the_heaviest_of_the_plain_ones(world):
    told = world.links[:, :C].copy()
    plain_shares = plain.references(world.test, world.ref, 0.05)[4] * told[:, 1]
    rows, weights = reme.influences(world.test[4], blocks(world.ref), told, 1, count=3)
    np.testing.assert_array_equal(rows, np.argsort(-plain_shares)[:3])
    np.testing.assert_allclose(weights, np.sort(plain_shares)[::-1][:3], rtol=1e-4)


def test_influences_leave_out_what_is_switched_off(world):
    told = world.links[:, :C].copy()
    first = reme.influences(world.test[0], blocks(world.ref), told, 0, count=1)[0][0]
    told[first] = 0
    rows, _ = reme.influences(world.test[0], blocks(world.ref), told, 0, count=M)
    assert first not in rows


def test_a_class_counts_by_the_nearest_of_its_words(world):
    rng = np.random.default_rng(9)
    words = np.concatenate([world.classes, unit(rng, 3, E)])
    owner = np.array([0, 1, 2, 3, 4, 1, 1, 4])
    result = reme.label_classes(world.words, words, owner, C)
    cosines = world.words.astype(float) @ words.T.astype(float)
    best = np.stack([cosines[:, owner == c].max(axis=1) for c in range(C)], axis=1)
    np.testing.assert_allclose(result, plain.softmax_rows(best / 0.01), rtol=2e-3, atol=1e-6)
    doubled = reme.label_classes(
        world.words, np.concatenate([world.classes, world.classes[:1]]), [0, 1, 2, 3, 4, 0], C
    )
    single = reme.label_classes(world.words, world.classes, range(C), C)
    np.testing.assert_allclose(doubled, single, rtol=1e-6)


def test_every_class_needs_a_word(world):
    with pytest.raises(JobError, match="at least one word"):
        reme.label_classes(world.words, world.classes, [0, 1, 2, 3, 3], C)


def label(phrase, root="", *synonyms):
    return SimpleNamespace(phrase=phrase, root=root or phrase, synonyms=synonyms)


def test_labels_meet_classes_by_name_synonym_and_root():
    words = Vocabulary.parse("tree: trees, oak\nred car: fire engine\ncar\nﬁeld\n- shadow")
    labels = [
        label("Tree"),
        label("old  OAK", "oak"),
        label("red car", "car"),
        label("blue car", "car"),
        label("fire-engine", "engine"),
        label("field"),
        label("piano"),
        label("sapling", "sapling", "TREE"),
        label("shadow"),
    ]
    expected = np.zeros((9, 4), np.float32)
    for row, column in [(0, 0), (1, 0), (2, 1), (3, 2), (4, 1), (5, 3), (7, 0)]:
        expected[row, column] = 1
    found = reme.name_classes(labels, words)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.float32
    behind = reme.name_classes(labels, words, background=True)
    np.testing.assert_array_equal(behind[:, :4], expected)
    assert behind[:, 4].tolist() == [0] * 8 + [1]


def test_labels_and_links_must_be_equally_many(world):
    with pytest.raises(JobError, match="open the set again"):
        reme.answers(csr_array(world.links), np.ones((N + 1, C), np.float32))


def test_rows_and_answers_must_be_equally_many(world):
    told = world.links[:, :C].copy()
    with pytest.raises(JobError, match="52 rows and 53 answers"):
        reme.retrieve(world.test, blocks(world.ref[:-1]), told)
    with pytest.raises(JobError, match="Row 20 of the set is missing"):
        reme.retrieve(world.test, [blocks(world.ref, 20, 41)[i] for i in (0, 2)], told)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0},
        {"text_temperature": -1},
        {"sharpness": float("nan")},
        {"weighting": "mean"},
        {"normalise": "both"},
        {"top_k": -1},
        {"exponent": 1.5},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(JobError) as caught:
        ReME(**wrong)
    assert caught.value.field == f"reme.{next(iter(wrong))}"


def test_a_search_leaves_torch_its_threads():
    """faiss and torch share OpenMP's setting: a torch left with one thread is slower."""
    rows = np.eye(8, dtype=np.float32)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        retrieval.searcher("cpu")(rows[:4], rows, 1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_faiss_searches_on_a_gpu_where_there_is_one(monkeypatch):
    import faiss

    asked = []

    def knn_gpu(resources, queries, rows, k, metric):
        asked.append((resources, metric))
        return faiss.knn(queries, rows, k, metric=metric)

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1)
    monkeypatch.setattr(faiss, "StandardGpuResources", lambda: "gpu", raising=False)
    monkeypatch.setattr(faiss, "knn_gpu", knn_gpu, raising=False)
    rows = unit(np.random.default_rng(0), 20, 8)
    _, places = retrieval.searcher("cuda")(rows[:4], rows, 1)
    assert places[:, 0].tolist() == [0, 1, 2, 3]
    assert asked == [("gpu", faiss.METRIC_INNER_PRODUCT)]
    retrieval.searcher("cpu")(rows[:4], rows, 1)
    assert len(asked) == 1


@pytest.mark.parametrize(
    "options",
    [{}, {"top_k": 6}, {"normalise": "row"}, {"normalise": "column"}, {"weighting": "tip"}],
)
def test_answers_that_are_made_when_read_are_those_of_a_table(world, options, monkeypatch):
    parameters = ReME(**options)
    a2 = reme.label_classes(world.words, world.classes, np.arange(C), C, parameters)
    links = csr_array(world.links)
    links.data[:] = 1
    before = links.data.copy()
    whole = reme.answers(links, a2, parameters)
    assert isinstance(whole, np.ndarray)
    monkeypatch.setattr(reme, "MOST_ANSWERS", whole.nbytes - 1)
    told = reme.answers(links, a2, parameters)
    assert isinstance(told, retrieval.Told)
    np.testing.assert_array_equal(links.data, before)
    o_ref = links.toarray()
    if parameters.normalise != "none":
        o_ref = {"row": plain.by_row, "column": lambda o: plain.by_column(o, 1)}[
            parameters.normalise
        ](o_ref)
    table = (o_ref @ a2).astype(np.float32)
    assert (told.shape, told.nbytes > 0) == (table.shape, True)
    np.testing.assert_allclose(whole, table, rtol=1e-5)
    np.testing.assert_allclose(told[5:30], table[5:30], rtol=1e-5)
    assert told[7:7].shape == (0, C)
    some = np.array([[3, 50], [0, 3]])
    np.testing.assert_allclose(told[some], table[some], rtol=1e-5)
    np.testing.assert_allclose(told.column(2), table[:, 2], rtol=1e-5)

    shown = blocks(world.ref, 20, 41)
    asked = [reme.retrieve(world.test, shown, each, parameters) for each in (told, table)]
    np.testing.assert_allclose(*asked, rtol=1e-5, atol=1e-7)
    rows = [
        reme.influences(world.test[2], shown, each, 3, parameters, count=9)
        for each in (told, table)
    ]
    np.testing.assert_array_equal(rows[0][0], rows[1][0])
    np.testing.assert_allclose(rows[0][1], rows[1][1], rtol=1e-5)
    there = partial(
        retrieval.OnDevice, torch.from_numpy(world.test), told, reme.scale_of(parameters)
    )
    by_device = retrieval.stream(there, shown, np.ones(M, bool), None, 1)
    here = partial(retrieval.All, world.test, table, reme.scale_of(parameters))
    whole = retrieval.stream(here, shown, np.ones(M, bool), None, 2)
    np.testing.assert_allclose(by_device, whole, rtol=1e-4, atol=1e-6)
