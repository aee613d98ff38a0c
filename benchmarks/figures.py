"""The figures of methods on a split of the drawn scenes."""

from collections.abc import Iterator, Sequence
from typing import Any

from napari_prelabel.engine.accuracy import MethodTally, figures_of, head, lines
from napari_prelabel.engine.samples import DataSet
from napari_prelabel.values.metrics import Absent

KINDS = ("stuff", "things")
HEAD = head(KINDS)


def report(
    tallies: Sequence[MethodTally], data: DataSet, absent: Absent = "skip"
) -> dict[str, Any]:
    """`accuracy.figures_of`, with the means over stuff and things, and what was measured on.

    With "mmseg" every class of the vocabulary may count, distractors too.
    """
    kinds = {"stuff": data.stuff, "things": data.things}
    return figures_of(tallies, data.vocabulary, data.classes, absent, kinds) | {
        "data": data.name,
        "split": data.split,
        "images": len(data.samples),
        "classes": len(data.classes),
        "distractors": data.distractors,
    }


def rows_of(figures: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """Lines below HEAD."""
    return lines(figures["rows"], KINDS)
