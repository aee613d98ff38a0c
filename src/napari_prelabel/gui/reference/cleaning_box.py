"""Cleaning: which steps run over the set, how, and what each of them did."""

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QWidget

from ...models.catalog import synonym_cosine
from ..parts.pieces import Combo, Name, button, column, counted, label, row
from ..parts.spins import Number, whole
from ..parts.table import Column, RowsView
from .shelf import Overview

if TYPE_CHECKING:
    from ...reference.values import Cleaned, Cleaning

OUTLIERS = {
    "off": "keep all",
    "fixed": "drop the farthest of every class",
    "adaptive": "drop more where a class is mixed",
}
SYNONYMS = {
    "off": "keep words apart",
    "neighbours": "words that mean nearly the same",
    "global": "the pairs nearest in meaning",
    "share": "a share of all pairs",
}
HELP = "The segments stay as they are; cleaning only decides which of them count for which word."


class CleaningBox(QWidget):
    """`wanted` brings the Cleaning to apply to the set."""

    wanted = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._keep: set[str] = set()
        self._words_compared = True
        self._alike = synonym_cosine("")
        self.help = label(HELP, "muted")
        self.abstract = QCheckBox("Drop words that are too general")
        self.abstract.setToolTip("Words that stand at very many segments tell nothing of any")
        self.words = RowsView("General words", (
            Column("keep", lambda _: "", "Tick a word that must stay", 6,
                   ticked=lambda w: w in self._keep),
            Column("dropped as too general", str, "These count for nothing"),
        ), most=5)  # fmt: skip
        self.outliers = Combo("Segments that look unlike the others of their class")
        self.outliers.offer([(text, name) for name, text in OUTLIERS.items()])
        self.drop = Number(0.95, 0.05)
        self.drop.setToolTip("Share of every class that is dropped, 0 to 0.95")
        self.synonyms = Combo("Words taken for the same where a text model finds them alike")
        self.synonyms.offer([(text, name) for name, text in SYNONYMS.items()])
        self.k = whole(1, 10_000, 5)
        self.k.setToolTip("How many neighbours, pairs or percent, as chosen above")
        self.similarity = Number(1.0, 0.05)
        self.similarity.setToolTip("Least likeness of two words' meanings, 0 to 1")
        self.told = label(selectable=True)
        self.apply = button("Clean the set", "Apply these settings; can be undone", self._ask)
        self._lay_out()
        self.outliers.currentIndexChanged.connect(self._fit)
        self.synonyms.currentIndexChanged.connect(self._fit)
        self.abstract.toggled.connect(self._fit)
        self.words.model_.ticked.connect(self._veto)
        self.show_settings()
        self.show_set(None)

    def _lay_out(self) -> None:
        self._drop_row = _boxed(Name("Share"), self.drop)
        self._synonyms_row = _boxed(Name("Synonyms"), self.synonyms)
        self._k_row = _boxed(Name("How many"), self.k)
        self._alike_row = _boxed(Name("Alike from"), self.similarity)
        rows = column(self, 0)
        rows.addWidget(self.help)
        rows.addWidget(self.abstract)
        rows.addWidget(self.words)
        rows.addLayout(row(Name("Outliers"), self.outliers, stretch=1))
        rows.addWidget(self._drop_row)
        rows.addWidget(self._synonyms_row)
        rows.addWidget(self._k_row)
        rows.addWidget(self._alike_row)
        rows.addWidget(self.apply)
        rows.addWidget(self.told)

    def _fit(self, *_: Any) -> None:
        self._drop_row.setVisible(self.outliers.currentData() == "fixed")
        synonyms = self.synonyms.currentData() if self._words_compared else "off"
        self._synonyms_row.setVisible(self._words_compared)
        self._k_row.setVisible(synonyms != "off")
        self._alike_row.setVisible(synonyms == "neighbours")
        self.words.setVisible(self.abstract.isChecked() and bool(self.words.rows))

    def _veto(self, word: str, on: bool) -> None:
        self._keep.add(word) if on else self._keep.discard(word)

    def _ask(self) -> None:
        self.wanted.emit(self.settings())

    # The settings

    def settings(self) -> "Cleaning":
        """What the boxes say."""
        from ...reference.values import Cleaning

        return Cleaning(
            abstract=self.abstract.isChecked(),
            outliers=self.outliers.currentData(),
            drop=self.drop.value(),
            synonyms=self.synonyms.currentData() if self._words_compared else "off",
            k=self.k.value(),
            similarity=self.similarity.value(),
            keep=tuple(sorted(self._keep)),
        )

    def show_settings(self, settings: "Cleaning | None" = None) -> None:
        """Set the boxes; None: to what a new set starts with."""
        from ...reference.values import Cleaning

        told = settings or Cleaning()
        self._keep = set(told.keep)
        self.abstract.setChecked(told.abstract)
        self.outliers.choose(told.outliers)
        self.drop.setValue(told.drop)
        self.synonyms.choose(told.synonyms)
        self.k.setValue(told.k)
        self.similarity.setValue(self._alike if told.similarity is None else told.similarity)
        self._fit()

    def show_set(self, overview: Overview | None) -> None:
        """Show what the last cleaning of a set did, and how.

        Synonyms are offered for sets whose words a text model compares only.
        """
        self._words_compared = overview is None or bool(overview.words)
        self._alike = synonym_cosine(overview.words if overview is not None else "")
        self.apply.setVisible(overview is not None)
        cleaned = overview.cleaned if overview is not None else None
        if cleaned is not None:
            self.show_settings(cleaned.settings)
            self.words.show_rows([*cleaned.abstract, *sorted(self._keep - {*cleaned.abstract})])
        else:
            self.words.show_rows(())
            self.similarity.setValue(self._alike)
        text = summary(cleaned) if overview is not None else ""
        self.told.setText(text)
        self.told.setVisible(bool(text))
        self._fit()


def summary(cleaned: "Cleaned | None") -> str:
    """What the last cleaning did, a line for every step."""
    if cleaned is None:
        return "Not cleaned yet: every segment counts for its word."
    lines = []
    if cleaned.settings.abstract:
        words = ", ".join(cleaned.abstract[:6]) or "none"
        pairs = counted(cleaned.dropped_abstract, "segment")
        lines.append(f"Too general: {words} ({pairs} dropped).")
    if cleaned.settings.outliers != "off":
        lines.append(f"Outliers: {counted(cleaned.dropped_outliers, 'segment')} dropped.")
    if cleaned.settings.synonyms != "off":
        pairs_told = ", ".join(f"{a} = {b}" for a, b in cleaned.synonyms[:4]) or "none"
        more = f" and {len(cleaned.synonyms) - 4} more" if len(cleaned.synonyms) > 4 else ""
        lines.append(f"Same meaning: {pairs_told}{more}.")
    return "\n".join(lines) or "No step is on: every segment counts for its word."


def shortly(cleaned: "Cleaned | None") -> str:
    """The same in a few words, for the folded section."""
    if cleaned is None:
        return "none yet"
    parts = [f"{cleaned.dropped:,} dropped"]
    if cleaned.synonyms:
        parts.append(counted(len(cleaned.synonyms), "synonym"))
    return ", ".join(parts)


def _boxed(*widgets: QWidget) -> QWidget:
    box = QWidget()
    box.setLayout(row(*widgets, stretch=1))
    return box
