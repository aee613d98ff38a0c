"""Plain NumPy float64 re-typing of ReME's equations, matrix by matrix.

docs/methods/reme.md#cleaning and docs/methods/reme.md#retrieval
"""

import numpy as np


def softmax_rows(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def references(s_test, s_ref, temperature):
    """softmax_rows(S_test S_refᵀ / T1): (k, m)."""
    return softmax_rows(s_test.astype(np.float64) @ s_ref.astype(np.float64).T / temperature)


def equation_1(s_test, s_ref, o_ref, temperature):
    """A1 = softmax_rows(S_test S_refᵀ / T1) O_ref: (k, n)."""
    return references(s_test, s_ref, temperature) @ o_ref


def equation_2(l_ref, l_test, temperature):
    """A2 = softmax_rows(L_ref L_testᵀ / T2): (n, c)."""
    return softmax_rows(l_ref.astype(np.float64) @ l_test.astype(np.float64).T / temperature)


def tip(s_test, s_ref, sharpness):
    """exp(-b (1 - cos)), rows divided by their sums: (k, m)."""
    cosines = s_test.astype(np.float64) @ s_ref.astype(np.float64).T
    weights = np.exp(-sharpness * (1 - cosines))
    return weights / weights.sum(axis=1, keepdims=True)


def by_row(o_ref):
    return o_ref / np.maximum(o_ref.sum(axis=1, keepdims=True), 1)


def by_column(o_ref, exponent):
    return o_ref / np.maximum(o_ref.sum(axis=0, keepdims=True), 1) ** exponent


def top_k(s_test, s_ref, k, temperature):
    """Softmax over each row's k largest cosines, zero elsewhere: (rows, m)."""
    cosines = s_test.astype(np.float64) @ s_ref.astype(np.float64).T
    out = np.zeros_like(cosines)
    for line, row in zip(out, cosines, strict=True):
        best = np.argsort(-row)[:k]
        line[best] = softmax_rows(row[None, best] / temperature)[0]
    return out


def filter_keep(rows, drop):
    """Which rows of a group stay when the floor(drop n) farthest from the median go (3.4)."""
    rows = rows.astype(np.float64)
    middle = np.median(rows, axis=0)
    scores = rows @ (middle / np.linalg.norm(middle))
    keep = np.ones(len(rows), bool)
    keep[np.argsort(scores)[: int(np.floor(drop * len(rows)))]] = False
    return keep
