"""NERVE typed again from its equations (docs/methods/nerve.md#steps): NumPy float64, loops, dense
matrices.

Slow and plain on purpose; test_nerve.py holds the product against it.
"""

import numpy as np


def attention(q, k, scale):
    """softmax(scale q kᵀ) for q (N, d), k (M, d)."""
    out = np.zeros((len(q), len(k)))
    for i in range(len(q)):
        logits = np.array([scale * np.dot(q[i], k[j]) for j in range(len(k))])
        e = np.exp(logits - logits.max())
        out[i] = e / e.sum()
    return out


def row_entropies(a):
    """- sum_j a_ij ln a_ij with 0 ln 0 = 0."""
    return np.array([-sum(p * np.log(p) for p in row if p > 0) for row in a])


def interpolate(x, grid):
    """Bilinear, half-pixel centres, edges repeated: x (h, w) -> grid."""
    h, w = x.shape
    out = np.zeros(grid)
    for i in range(grid[0]):
        for j in range(grid[1]):
            y = min(max((i + 0.5) * h / grid[0] - 0.5, 0), h - 1)
            z = min(max((j + 0.5) * w / grid[1] - 0.5, 0), w - 1)
            y0, z0 = int(y), int(z)
            y1, z1 = min(y0 + 1, h - 1), min(z0 + 1, w - 1)
            fy, fz = y - y0, z - z0
            top = (1 - fz) * x[y0, z0] + fz * x[y0, z1]
            bottom = (1 - fz) * x[y1, z0] + fz * x[y1, z1]
            out[i, j] = (1 - fy) * top + fy * bottom
    return out


def node_labels(p, grid):
    return np.stack([interpolate(m, grid).ravel() for m in p], 1)


def upsampled(a, grid, finest):
    """A (n, n) on the finest grid: U A D, D = Uᵀ with rows divided by their sums."""
    n = grid[0] * grid[1]
    u = np.zeros((finest[0] * finest[1], n))
    for c in range(n):
        one = np.zeros(n)
        one[c] = 1
        u[:, c] = interpolate(one.reshape(grid), finest).ravel()
    d = u.T / u.T.sum(1, keepdims=True)
    return u @ a @ d


def weights(entropies, weighting, temperature=1.0, lowest=3):
    """Mean entropies (heads,) and ln N -> weights of sum 1."""
    h, log_n = entropies
    if weighting == "exp":
        w = np.exp(-h / temperature)
    elif weighting == "linear":
        w = 1 - h / log_n
    elif weighting == "inverse":
        w = 1 / h
    elif weighting == "lowest":
        w = np.array([float(sum(h < other) < lowest) for other in h])
    else:
        w = np.ones(len(h))
    return w / w.sum()


def mixed(maps, weighting, temperature=1.0, lowest=3, of=None):
    """maps (heads, N, N) -> A (N, N); the maps weigh themselves, or others in place of them."""
    rows = np.array([row_entropies(a) for a in maps])
    if weighting == "row":
        w = np.exp(-rows / temperature)
        w /= w.sum(0)
        return sum(w[h][:, None] * a for h, a in enumerate(maps if of is None else of))
    w = weights((rows.mean(1), np.log(len(maps[0]))), weighting, temperature, lowest)
    return sum(w[h] * a for h, a in enumerate(maps if of is None else of))


def cleaned(a, threshold, epsilon=0.0):
    a = a / (a.max(0) + epsilon)
    a = np.where(a >= threshold, a, 0)
    for i in range(len(a)):
        if a[i].sum() == 0:
            a[i, i] = 1
    return a / a.sum(1, keepdims=True)


def clipers_mean(maps, labels):
    """CLIPer's refinement "mean" of labels (N, C): every head cleaned at 0.1, their mean, once."""
    heads = []
    for a in maps:
        a = a / (a.max(0, keepdims=True) + 1e-5)
        a = np.where(a < 0.1, 0, a)
        heads.append(a / (a.sum(1, keepdims=True) + 1e-5))
    return np.mean(heads, 0) @ labels


def local(a, grid, radius, kind="attention"):
    """S_local (N, N)."""
    h, w = grid
    s = np.zeros((h * w, h * w))
    for i in range(h * w):
        window = [
            j for j in range(h * w) if 0 < max(abs(i // w - j // w), abs(i % w - j % w)) <= radius
        ]
        for j in window:
            if kind == "rows":
                cosine = a[i] @ a[j] / np.sqrt((a[i] @ a[i]) * (a[j] @ a[j]))
                s[i, j] = np.exp(cosine / 0.1)
            else:
                s[i, j] = a[i, j]
        if not window:
            s[i, i] = 1
        elif s[i].sum() == 0:
            s[i, window] = 1
        s[i] /= s[i].sum()
    return s


def transition(a, grid, beta, radius=1, kind="attention", threshold=None):
    top = a if threshold is None else cleaned(a, threshold)
    return beta * top + (1 - beta) * local(a, grid, radius, kind)


def walked(s, g, alpha, steps, form="restart"):
    if form == "exact":
        return (1 - alpha) * np.linalg.inv(np.eye(len(s)) - alpha * s) @ g
    p = g if form == "restart" else (1 - alpha) * g
    for _ in range(steps):
        p = (1 - alpha) * g + alpha * s @ p
    return p if form == "restart" else p / (1 - alpha ** (steps + 1))


def decided(p, g, grid, score_threshold, background_threshold, stretch=False):
    """CLIPer's rule at the grid itself, in its order: ids (h, w), 0 background."""
    n, c = p.shape
    out = np.zeros(n, int)
    maps = np.zeros((n, c))
    for k in range(c):
        score = 0.5 * p[:, k].max() + 0.5 * g[:, k].max()
        m = p[:, k] / p[:, k].max() * score
        if stretch:
            m = m - m.min()
            m = m / m.max()
        maps[:, k] = m * (score > score_threshold)
    for i in range(n):
        row = maps[i].copy()
        if background_threshold == 0:
            scores = [(1 - row.max()) ** 2, *row]
        else:
            row[row < background_threshold] = 0
            scores = [0, *row]
        out[i] = int(np.argmax(scores))
    return out.reshape(grid)
