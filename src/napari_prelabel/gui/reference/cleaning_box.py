"""Cleaning: which steps run over the set, how, and what each of them did."""

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from ...models.catalog import synonym_cosine
from ...values.declare import declared
from ...values.retrieval import Cleaning
from ..parts.pieces import Name, button, column, counted, label, row
from ..parts.setting_field import SettingField
from ..parts.table import Column, RowsView
from .shelf import Overview

if TYPE_CHECKING:
    from ...reference.values import Cleaned

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
        self._fields = {
            told.name: SettingField(told.name, told) for told in declared(Cleaning) if told.ask
        }
        native: dict[str, Any] = {name: field.native for name, field in self._fields.items()}
        self.abstract, self.outliers = native["abstract"], native["outliers"]
        self.drop = native["drop"]
        self.synonyms, self.k = native["synonyms"], native["k"]
        self.similarity = native["similarity"]
        self.words = RowsView("General words", (
            Column("keep", lambda _: "", "Tick a word that must stay", 6,
                   ticked=lambda w: w in self._keep),
            Column("dropped as too general", str, "These count for nothing"),
        ), most=5)  # fmt: skip
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
        self._drop_row = _boxed(self._name("drop"), self.drop)
        self._synonyms_row = _boxed(self._name("synonyms"), self.synonyms)
        self._k_row = _boxed(self._name("k"), self.k)
        self._alike_row = _boxed(self._name("similarity"), self.similarity)
        rows = column(self, 0)
        rows.addWidget(self.help)
        rows.addWidget(self.abstract)
        rows.addWidget(self.words)
        rows.addLayout(row(self._name("outliers"), self.outliers, stretch=1))
        rows.addWidget(self._drop_row)
        rows.addWidget(self._synonyms_row)
        rows.addWidget(self._k_row)
        rows.addWidget(self._alike_row)
        rows.addWidget(self.apply)
        rows.addWidget(self.told)

    def _name(self, name: str) -> Name:
        return Name(self._fields[name].told.title)

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

    def settings(self) -> Cleaning:
        """What the boxes say."""
        said = {name: field.value for name, field in self._fields.items()}
        said["similarity"] = self.similarity.value()  # 0 is a number here
        if not self._words_compared:
            said["synonyms"] = "off"
        return Cleaning(**said, keep=tuple(sorted(self._keep)))

    def show_settings(self, settings: Cleaning | None = None) -> None:
        """Set the boxes; None: to what a new set starts with."""
        told = settings or Cleaning()
        self._keep = set(told.keep)
        for name, field in self._fields.items():
            field.value = getattr(told, name)
        if told.similarity is None:
            self.similarity.setValue(self._alike)
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
