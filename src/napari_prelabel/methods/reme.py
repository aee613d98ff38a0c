"""ReME: labels of segments retrieved from segments whose labels are known.

docs/methods/reme.md#retrieval

The paper's three products, with S the segments of the image, S_ref those of the set, O_ref the
set's links of segments to labels, L_ref and L the text vectors of its labels and of the classes:

    A1 = softmax_rows(S S_refᵀ / T1) O_ref,   A2 = softmax_rows(L_ref Lᵀ / T2),   P = A1 A2.

Here they are associated the other way, P = softmax(S S_refᵀ / T1) (O_ref A2): what a reference
answers, one row over the classes, is known once per vocabulary (`answers`), and the references
are read once, block by block, with a running maximum and sum (`retrieve`). Neither the matrix of
segments by references nor that of segments by labels ever exists.
"""

import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..values.errors import JobError
from ..values.retrieval import ReME
from .retrieval import (
    All,
    Blocks,
    Comparable,
    Float32,
    Nearest,
    OnDevice,
    RetrievalState,
    Rows,
    Table,
    Told,
    in_order,
    pieces,
    stream,
)

DEFAULTS = ReME()
_ROWS_AT_ONCE = 4096
MOST_ANSWERS = 128 << 20
"""Bytes of a table of answers that is held whole, which is a little faster to read."""


def scale_of(settings: ReME) -> float:
    """What cosines are multiplied with before the exponential.

    Tip-Adapter's weights are divided by their sum as well, so that answers stay shares.
    """
    return settings.sharpness if settings.weighting == "tip" else 1 / settings.temperature


class Word(Protocol):
    """A label of the set, as `reference.values.Label` has it."""

    @property
    def phrase(self) -> str: ...
    @property
    def root(self) -> str: ...
    @property
    def synonyms(self) -> Sequence[str]: ...


class Named(Protocol):
    """A class of a vocabulary: its name first, then its synonyms."""

    @property
    def queries(self) -> tuple[str, ...]: ...


class Words(Protocol):
    """A vocabulary, as `vocabulary.Vocabulary` has it."""

    @property
    def classes(self) -> Sequence[Named]: ...
    @property
    def background(self) -> Sequence[str]: ...


class Links(Protocol):
    """A scipy.sparse matrix in CSR form."""

    shape: tuple[int, int]
    indptr: npt.NDArray[Any]
    indices: npt.NDArray[Any]
    data: npt.NDArray[Any]


def word_key(word: str) -> str:
    """The form in which words meet: NFKC, case folded, hyphens as spaces, single spaces."""
    plain = unicodedata.normalize("NFKC", word).casefold()
    return " ".join(plain.replace("-", " ").split())


def name_classes(labels: Sequence[Word], vocabulary: Words, *, background: bool = False) -> Float32:
    """A2 without a text model: labels and classes meet by name.

    A label belongs to the classes that have its phrase among their words; failing that, to those
    that have one of its declared synonyms; failing that, to those that have its root noun.

    Parameters
    ----------
    background : give the background words of the vocabulary a last column

    Returns
    -------
    (n, C) float32 of 0 and 1, labels by classes; a row of zeros for a label that meets no class
    """
    words = [c.queries for c in vocabulary.classes]
    if background:
        words.append(tuple(vocabulary.background))
    owners: dict[str, list[int]] = {}
    for index, queries in enumerate(words):
        for word in queries:
            owners.setdefault(word_key(word), []).append(index)
    found = np.zeros((len(labels), len(words)), np.float32)
    for row, label in zip(found, labels, strict=True):
        for names in ((label.phrase,), label.synonyms, (label.root,)):
            met = [index for name in names for index in owners.get(word_key(name), ())]
            if met:
                row[met] = 1
                break
    return found


def label_classes(
    label_rows: Rows,
    class_rows: Rows,
    owner: npt.ArrayLike,
    n_classes: int,
    settings: ReME = DEFAULTS,
) -> Float32:
    """A2 = softmax_rows(L_ref Lᵀ / T2); a class with several words counts by its nearest.

    The maximum over words is taken before the softmax: otherwise a class with two names that mean
    the same would halve its own share.

    Parameters
    ----------
    label_rows, class_rows : (n, e), (Q, e) float unit rows of one text encoder
    owner : (Q,) the class of each row, 0 .. n_classes - 1; "background" may be one of them, with
        scene words as its names (3.7)

    Returns
    -------
    (n, n_classes) float32, rows sum to 1

    Raises
    ------
    JobError
        A class without a word.
    """
    of = torch.as_tensor(np.asarray(owner, np.int64))
    if set(of.tolist()) != set(range(n_classes)):
        raise JobError("vocabulary", "Every class needs at least one word of its own.")
    cosines = _tensor(label_rows) @ _tensor(class_rows).T
    best = cosines.new_full((len(cosines), n_classes), -torch.inf)
    best.scatter_reduce_(1, of.expand(len(cosines), -1), cosines, "amax")
    share: Float32 = (best / settings.text_temperature).softmax(1).numpy()
    return share


def answers(
    links: Links,
    label_class: Float32,
    settings: ReME = DEFAULTS,
) -> Table:
    """What each reference answers: O_ref A2 of a vocabulary (equations 1 to 3, associated).

    Parameters
    ----------
    links : (m, n) CSR of 0 and 1, segments by labels; a row without links answers nothing
    label_class : (n, C) float32, A2
    settings : of which `normalise` and `exponent` count

    Returns
    -------
    (m, C) float32, 0 or more; beyond `MOST_ANSWERS` bytes rows are made when they are read

    Raises
    ------
    JobError
        The labels of the two matrices are not equally many.
    """
    from scipy.sparse import csr_array

    if links.shape[1] != len(label_class):
        raise JobError(
            "reference",
            f"The set links {links.shape[1]} labels, but {len(label_class)} were compared with "
            "the classes: open the set again.",
        )
    table = csr_array((_float32(links.data), links.indices, links.indptr), shape=links.shape)
    weights = _float32(label_class)
    if settings.normalise == "column":
        votes = np.maximum(table.sum(axis=0), 1) ** settings.exponent
        weights = _float32(weights / votes[:, None])
    if settings.normalise == "row":
        each = np.diff(table.indptr)
        table.data = table.data / np.repeat(np.maximum(table.sum(axis=1), 1), each)
    if 4 * table.shape[0] * weights.shape[1] > MOST_ANSWERS:
        return Told(table, weights)
    whole: Float32 = table @ weights
    return whole


def retrieve(
    queries: Rows | Tensor,
    blocks: Blocks,
    answers: Table,
    settings: ReME = DEFAULTS,
    *,
    live: npt.NDArray[np.bool_] | None = None,
    comparable: Comparable | None = None,
) -> Float32:
    """P = softmax(S S_refᵀ / T1) (O_ref A2): the share of every class in every segment (3.6).

    The references are read once; beside the answers this takes some ten megabytes, whatever
    their number. With `top_k` only the k most similar count: if t is the share of weight that
    all others would have had, no entry differs by more than t · max(answers) from the exact one.

    Parameters
    ----------
    queries : (k, d) float unit rows of an image's segments; a tensor is worked on where it lies
    blocks : (start, rows (n, d)) of the set in order, of any float type; mapped files are read
        piece by piece
    answers : (m, C) float32, as `answers` gives it
    live : (m,) bool, references that take part; by default those that answer anything. All
        others are left out of the softmax, as if they were not in the set
    comparable : applied to every piece of the set's rows, such as a fitted metric; the queries
        must have been through it already

    Returns
    -------
    (k, C) float32, zeros where no reference takes part

    Raises
    ------
    JobError
        The rows of the blocks are not as many as the answers.
    """
    device = queries.device.type if isinstance(queries, Tensor) else "cpu"
    wanted = _float32(queries.cpu() if isinstance(queries, Tensor) else queries)
    make: Callable[[], RetrievalState] = partial(All, wanted, answers, scale_of(settings))
    if settings.top_k:
        make = partial(Nearest, wanted, answers, scale_of(settings), settings.top_k, device)
    elif isinstance(queries, Tensor) and device != "cpu":
        make = partial(OnDevice, queries.float(), answers, scale_of(settings))
    threads = torch.get_num_threads() if device == "cpu" else 1
    with torch.no_grad():
        return stream(make, blocks, _living(answers, live), comparable, threads)


def influences(
    query: Rows,
    blocks: Blocks,
    answers: Table,
    column: int,
    settings: ReME = DEFAULTS,
    count: int = 12,
    *,
    live: npt.NDArray[np.bool_] | None = None,
    comparable: Comparable | None = None,
) -> tuple[npt.NDArray[np.int64], Float32]:
    """Which references gave a segment one of its classes, the heaviest first.

    Parameters
    ----------
    query : (d,) float unit row
    column : of the class in `answers`
    count : how many references to name at most
    blocks, answers, settings, live, comparable : as for `retrieve`

    Returns
    -------
    rows : (c,) int64 rows of the set, c at most `count`
    weights : (c,) float32 above 0; those of all references sum to the class's entry in
        `retrieve`, and these are the largest of them
    """
    row = _float32(query).reshape(1, -1)
    logits = torch.full((answers.shape[0],), -torch.inf)
    takes_part = torch.from_numpy(_living(answers, live))
    for start, rows in pieces(in_order(blocks, answers.shape[0]), comparable, _ROWS_AT_ONCE):
        similar = (rows @ row.T)[:, 0] * np.float32(scale_of(settings))
        logits[start : start + len(rows)] = torch.from_numpy(similar)
    logits[~takes_part] = -torch.inf
    if 0 < settings.top_k < int(takes_part.sum()):
        ranked = torch.argsort(logits, descending=True, stable=True)
        logits[ranked[settings.top_k :]] = -torch.inf
    if not bool(takes_part.any()):
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    shares = logits.double().softmax(0) * _tensor(_column(answers, column)).double()
    best = torch.argsort(shares, descending=True, stable=True)[:count]
    best = best[shares[best] > 0]
    return best.numpy(), shares[best].float().numpy()


def _living(answers: Table, live: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.bool_]:
    if live is not None:
        return live
    cuts = range(0, answers.shape[0], _ROWS_AT_ONCE)
    parts = [np.asarray(answers[start : start + _ROWS_AT_ONCE].any(axis=1)) for start in cuts]
    return np.concatenate([np.zeros(0, bool), *parts])


def _column(answers: Table, number: int) -> Float32:
    """What all references say to one class."""
    return answers.column(number) if isinstance(answers, Told) else _float32(answers[:, number])


def _tensor(rows: Rows) -> Tensor:
    """Rows as a float32 tensor; read-only ones are copied, which torch would warn of."""
    return torch.from_numpy(np.require(rows, np.float32, ("C", "W")))


def _float32(rows: npt.ArrayLike) -> Float32:
    return np.ascontiguousarray(rows, np.float32)
