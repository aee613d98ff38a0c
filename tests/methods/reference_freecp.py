"""FreeCP typed again from its equations: NumPy float64, loops, OpenCV's contours, one window.

Slow and plain on purpose; test_freecp.py holds the product against it.
"""

import cv2
import numpy as np


def probability(logits, owner, n_classes, known=None):
    """logits (Q, h, w) -> (C + background, h, w)."""
    classes = range(n_classes) if known is None else known
    if known == () and max(owner) < n_classes:
        return np.zeros((n_classes, *logits.shape[1:]))
    taking_part = [q for q, c in enumerate(owner) if c >= n_classes or c in classes]
    _, h, w = logits.shape
    out = np.zeros((max(owner) + 1, h, w))
    for y in range(h):
        for x in range(w):
            top = max(logits[q, y, x] for q in taking_part)
            e = {q: np.exp(logits[q, y, x] - top) for q in taking_part}
            for q in taking_part:
                c = owner[q]
                out[c, y, x] = max(out[c, y, x], e[q] / sum(e.values()))
    return out


def affinity(attention, wording="code", prefix=1):
    """attention (1 + N, 1 + N) -> T (N, N), squared already for "code"."""
    t = attention[prefix:, prefix:].copy()
    if wording == "paper":
        return t
    n = len(t)
    for _ in range(3):
        for j in range(n):
            t[:, j] = t[:, j] / t[:, j].sum()
        for i in range(n):
            t[i] = t[i] / t[i].sum()
    t = (t + t.T) / 2
    return t @ t


def boxes(scoremap, threshold):
    """All contours' boxes of one map (h, w), as (y0, x0, y1, x1)."""
    h, w = scoremap.shape
    grey = (scoremap * 255).astype(np.uint8)
    _, binary = cv2.threshold(grey, int(threshold * int(grey.max())), 255, cv2.THRESH_BINARY)
    contours, _ = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
    out = []
    for contour in contours:
        x, y, width, height = cv2.boundingRect(contour)
        out.append((y, x, min(y + height, h - 1), min(x + width, w - 1)))
    return out or [(0, 0, 0, 0)]


def refine(p, t, n_classes, threshold=0.4, wording="code", known=None):
    """p (C + background, h, w), t from `affinity` -> R (C, h, w)."""
    _, h, w = p.shape
    classes = list(range(n_classes)) if known is None else sorted(known)
    if not classes:
        return np.zeros((n_classes, h, w))
    channels = [p[c] for c in classes] + list(p[n_classes:])
    low, high = min(m.min() for m in channels), max(m.max() for m in channels)
    out = np.zeros((n_classes, h, w))
    for c in classes:
        stretched = (p[c] - low) / (high - low) if high > low else np.zeros((h, w))
        mask = np.ones((h, w))
        if wording == "code":
            mask = np.zeros((h, w))
            for y0, x0, y1, x1 in boxes(stretched, threshold):
                mask[y0:y1, x0:x1] = 1
        spread = np.zeros(h * w)
        for i in range(h * w):
            for j in range(h * w):
                spread[i] += t[i, j] * mask.flat[j] * stretched.flat[j]
        out[c] = ((spread - spread.min()) / (spread.max() - spread.min() + 1e-8)).reshape(h, w)
    return out


def overlap(p, r, wording="code"):
    """Maps (h, w) before and after refinement -> a number."""
    both = (p * r).sum()
    total = p.sum() + r.sum() - (both if wording == "paper" else 0)
    return both / (total + 1e-8)


def similarity(a, b, wording="code"):
    if wording == "paper":
        return (a * b).sum() / (a.sum() + b.sum() - (a * b).sum())
    return np.minimum(a, b).sum() / np.maximum(a, b).sum()


def groups(alike):
    """alike (K, K) bool -> connected components, depth first."""
    seen, out = set(), []

    def visit(node, component):
        seen.add(node)
        component.append(node)
        for other in range(len(alike)):
            if alike[node][other] and other not in seen:
                visit(other, component)

    for node in range(len(alike)):
        if node not in seen:
            out.append([])
            visit(node, out[-1])
    return [sorted(component) for component in out]


def purify(refined, p, look, parameters):
    """The purified maps of the windows refined (B, C, h, w), one after the other.

    look(window, box, classes) -> the class that a crop's CLS row chooses.
    """
    if parameters.scope == "image":
        return _purify_together(refined, p, look, parameters)
    return np.stack(
        [
            _purify_together(refined[b : b + 1], p[b : b + 1], look, parameters, b)[0]
            for b in range(len(refined))
        ]
    )


def _purify_together(refined, p, look, parameters, window=None):
    """Windows that share one decision, side by side as one long map."""
    b, c = refined.shape[:2]
    wide_r = [np.concatenate([refined[i, k] for i in range(b)], 1) for k in range(c)]
    wide_p = [np.concatenate([p[i, k] for i in range(b)], 1) for k in range(c)]
    kept = list(range(c))
    if parameters.redundancy:
        kept = [
            k
            for k in kept
            if overlap(wide_p[k], wide_r[k], parameters.overlap) > parameters.rp_threshold
        ]
    else:
        kept = [k for k in kept if wide_r[k].any()]
    out = np.zeros_like(refined)
    for k in kept:
        out[:, k] = refined[:, k]
    if not parameters.ambiguity or len(kept) < 2:
        return out
    alike = [
        [
            similarity(wide_r[i], wide_r[j], parameters.similarity) >= parameters.ap_threshold
            for j in kept
        ]
        for i in kept
    ]
    for component in groups(alike):
        if len(component) > 1:
            _eliminate(out, [kept[k] for k in component], look, parameters, window)
    return out


def _eliminate(out, group, look, parameters, window):
    fused = [np.mean([out[i, k] for k in group], 0) for i in range(len(out))]
    strict = window is not None and parameters.losers == "window"
    asked = [(i, box) for i, m in enumerate(fused) for box in boxes(m, parameters.box_threshold)]
    full = [(i, (y0, x0, y1, x1)) for i, (y0, x0, y1, x1) in asked if y0 < y1 and x0 < x1]
    if not full or (strict and len(full) < len(asked)):
        return
    votes = [(i, box, look(i if window is None else window, box, group)) for i, box in full]
    if parameters.losers == "window":
        for k in group:
            if k not in [winner for _, _, winner in votes]:
                out[:, k] = 0
        return
    for i in range(len(out)):
        for y in range(out.shape[2]):
            for x in range(out.shape[3]):
                here = [
                    winner
                    for where, (y0, x0, y1, x1), winner in votes
                    if where == i and y0 <= y < y1 and x0 <= x < x1
                ]
                for k in group:
                    if here and k not in here:
                        out[i, k, y, x] = 0
