"""Can the set be trusted? Every reviewed image labelled from the others, in plain figures."""

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from ..parts.pieces import button, column, counted, label
from ..parts.table import Column, RowsView

if TYPE_CHECKING:
    from ...engine.tasks import Evaluation, EvaluationRow

NOTHING, SET = "nothing", "set"
TITLES = {
    NOTHING: "nothing at all",
    SET: "this set",
    "set, general words kept": "… general words kept",
    "set, outliers kept": "… outliers kept",
    "set, no synonyms added": "… no synonyms",
    "set, not cleaned": "… not cleaned at all",
}
STEPS = {
    "set, general words kept": "“Drop words that are too general”",
    "set, outliers kept": "“Outliers”",
    "set, no synonyms added": "“Synonyms”",
}
HELP = (
    "Labels every ticked image from the other images of the set, never from itself, and compares "
    "with what you drew."
)
# Differences below this, in percent of the pixels, are not worth a word.
WORTH = 0.5
# Ranges narrower than this, in percent, are told with a decimal.
NARROW = 4.0
# A verdict from fewer images says from how few.
FEW = 5


class TrustBox(QWidget):
    """`wanted` when the evaluation is asked for."""

    wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.help = label(HELP, "muted")
        self.button = button("Evaluate", "Takes about a run for every ticked image", self._ask)
        self.verdict = label(role="head", selectable=True)
        self.table = RowsView("Evaluation", _columns(), most=8)
        self.advice = label(selectable=True)
        rows = column(self, 0)
        for widget in (self.help, self.button, self.verdict, self.table, self.advice):
            rows.addWidget(widget)
        self.show_evaluation(None)

    def _ask(self) -> None:
        self.wanted.emit()

    def show_evaluation(self, found: "Evaluation | None") -> None:
        """Show the figures; None before there are any."""
        self.table.show_rows(found.rows if found is not None else ())
        told = verdict(found) if found is not None else ""
        advised = advice(found) if found is not None else ""
        for widget, text in ((self.verdict, told), (self.advice, advised)):
            widget.setText(text)
            widget.setVisible(bool(text))


def verdict(found: "Evaluation") -> str:
    """What the figures mean, in one sentence."""
    rows = {row.name: row for row in found.rows}
    if SET not in rows or NOTHING not in rows:
        return ""
    before, after = rows[NOTHING].pixels_to_fix, rows[SET].pixels_to_fix
    if before <= 0:
        return "The ticked images have no labelled pixels to compare with."
    saved = 100 * (before - after) / before
    if saved < WORTH:
        return (
            "This set does not help yet: correct more images of the same kind, or switch odd "
            "segments off."
        )
    few = f" Measured on {counted(len(found.per_image), 'image')} only."
    return f"With this set you would fix {saved:.0f} % fewer pixels than drawing all by hand." + (
        few if 0 < len(found.per_image) < FEW else ""
    )


def advice(found: "Evaluation") -> str:
    """What to change, from the rows that leave a step away; images that stand out."""
    rows = {row.name: row for row in found.rows}
    if SET not in rows:
        return ""
    here = rows[SET].pixels_to_fix
    told = [
        f"Without {STEPS[name]} fewer pixels would be left to fix: turn it off under Cleaning."
        for name, row in rows.items()
        if name in STEPS and row.pixels_to_fix < here - WORTH
    ]
    worst = max(found.per_image.items(), key=lambda item: item[1].get(SET, 0.0), default=None)
    if worst is not None and len(found.per_image) > 1 and worst[1].get(SET, 0.0) > 2 * here > 0:
        told.append(f"Hardest: {worst[0]}, {worst[1][SET]:.0f} % of it to fix.")
    return "\n".join([*told, *found.notes])


def _columns() -> tuple[Column, ...]:
    return (
        Column("labels from", lambda r: TITLES.get(r.name, r.name)),
        Column("to fix", lambda r: f"{r.pixels_to_fix:.1f} %",
               "Pixels you would still have to change", 8, True),
        Column("mIoU", _miou, "Mean overlap of the classes with what you drew; behind it, the "
               "range that 95 of 100 such draws of images lie in", 18, True),
    )  # fmt: skip


def _miou(row: "EvaluationRow") -> str:
    if row.interval is None:
        return f"{row.miou:.1f} %"
    low, high = row.interval
    digits = 0 if high - low >= NARROW else 1
    told = f"{low:.{digits}f}–{high:.{digits}f}"
    return f"{row.miou:.1f} %" + (f" ({told})" if high - low >= 0.1 else "")
