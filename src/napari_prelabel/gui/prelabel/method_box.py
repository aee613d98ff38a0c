"""Method, base and their settings, as declared; gives and takes a Job's fields."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QWidget

from ...models.catalog import recommended
from ...values.bases import ABOUT
from ...values.declare import Setting, changed, declared, setting
from ...values.job import BASES, Job, Windows
from ...values.methods import METHODS, left_out
from ..parts.pieces import Combo, Name, Section, column, label, row
from ..parts.setting_field import SettingField
from .method_fields import asked, kept, value_of
from .reference_chooser import ReferenceChooser


class MethodBox(QWidget):
    """`changed` comes when the person changes a setting."""

    changed = Signal()

    def __init__(self, *, whole: bool = True) -> None:
        """whole : make it at once; else `steps` make it, to be gone through before it is used."""
        super().__init__()
        self._fitted: Path | None = None
        # What a loaded job says of settings that are not asked for stays as it is.
        self._values = {m: row.settings for m, row in METHODS.items()}
        self._fields: dict[tuple[str, str], SettingField] = {}
        # What is shown for a method alone, and rows that methods share, by name: shown while the
        # method heeds them.
        self._own: dict[str, list[QWidget]] = {m: [] for m in METHODS}
        self._shared: dict[str, list[QWidget]] = {}
        self.steps = self._building()
        if whole:
            for _ in self.steps:
                pass

    def _building(self) -> Iterator[None]:
        """Make the box row by row, each in a few milliseconds."""
        self.method = Combo("How the map is made")
        self.base = Combo("The map the method starts from")
        self.method.offer([(row.title, m) for m, row in METHODS.items()])
        self._offer_bases(BASES)
        self.base.choose("sclip")
        self.reference = ReferenceChooser()
        self.help, self.kept = label(role="muted"), label(role="muted")
        self.kept.setToolTip("The dock does not ask for these; another job file changes them")
        self.left_out = label(" ".join(left_out()), role="muted", selectable=True)
        self.left_out.setVisible(bool(left_out()))
        yield
        yield from self._lay_out()
        for method, settings in self._values.items():
            self._show_values(method, settings)
            yield
        self.set_windows(None)
        yield from self._listen()
        self._show_what_applies()

    def _lay_out(self) -> Iterator[None]:
        rows = column(self, 0)
        rows.addLayout(row(Name("Method"), self.method, stretch=1))
        base = QWidget()
        base.setLayout(row(Name("Base"), self.base, stretch=1))
        rows.addWidget(base)
        rows.addWidget(self.reference)
        rows.addWidget(self.help)
        rows.addWidget(self.kept)
        rows.addWidget(self.left_out)
        self._shared |= {"base": [base], "reference": [self.reference]}
        seen, folded = _grid(), _grid()
        rows.addLayout(seen)
        self.more = Section("More", opened=False)
        rows.addWidget(self.more)
        box = QWidget()
        box.setLayout(folded)
        self.more.add(box)
        yield
        for method, settings in self._values.items():
            for name, told in asked(settings):
                self._fields[method, name] = made = SettingField(name, told)
                first = told.ask is not None and told.ask.first
                self._own[method] += _add(seen if first else folded, made)
                yield
        yield from self._add_shared(folded)

    def _add_shared(self, grid: QGridLayout) -> Iterator[None]:
        asked = [("min_score", "min_score"), ("logit_scale", "logit_scale")]
        yield from self._add_rows(grid, asked)
        self.own_windows = QCheckBox("Windows as the models like them")
        self.own_windows.setToolTip("Untick to choose the image's size and its windows yourself")
        grid.addWidget(self.own_windows, grid.rowCount(), 0, 1, 2)
        self._shared["windows"] = [self.own_windows]
        lengths = [(f"windows.{told.name}", "windows") for told in declared(Windows)]
        yield from self._add_rows(grid, [*lengths, ("precision", "precision")])

    def _add_rows(self, grid: QGridLayout, asked: list[tuple[str, str]]) -> Iterator[None]:
        """Boxes for settings of a Job by dotted name, with the name of the row they belong to."""
        for name, shared in asked:
            told: Setting = setting(Job, name)
            self._fields["", name] = made = SettingField(name, told)
            self._shared.setdefault(shared, []).extend(_add(grid, made))
            yield

    def _listen(self) -> Iterator[None]:
        for combo in (self.method, self.base):
            combo.currentIndexChanged.connect(self._touched)
        for field in self._fields.values():
            field.widget.changed.connect(self._touched)
            yield
        self.reference.changed.connect(self._fit_set)
        self.reference.changed.connect(self._touched)
        self.own_windows.toggled.connect(self._touched)

    def _fit_set(self) -> None:
        """Take what suits a newly chosen set's encoder; settings of a shown job stay."""
        if self.reference.encoder and self.reference.folder != self._fitted:
            self._fitted = self.reference.folder
            self.recommend("reme", recommended(self.reference.encoder))

    def _touched(self, *_: Any) -> None:
        self._show_what_applies()
        self.changed.emit()

    def _show_what_applies(self) -> None:
        chosen = self.method.currentData()
        self.help.setText(METHODS[chosen].help)
        self.base.setToolTip(
            f"The map the method starts from. {ABOUT[self.base.currentData()].help}"
        )
        stays = kept(self._values[chosen])
        self.kept.setText(f"From the job: {'; '.join(stays)}.")
        self.kept.setVisible(bool(stays))
        for method, widgets in self._own.items():
            for widget in widgets:
                widget.setVisible(method == chosen)
        for name, widgets in self._shared.items():
            for widget in widgets:
                widget.setVisible(name in METHODS[chosen].applies)
        for told in declared(Windows):
            field = self._fields["", f"windows.{told.name}"]
            field.native.setEnabled(not self.own_windows.isChecked())

    def offer(
        self, methods: tuple[str, ...], bases: tuple[str, ...], method: str, base: str
    ) -> None:
        """Show what these models can do; what they cannot is replaced by what they recommend."""
        old = self.method.currentData(), self.base.currentData()
        able = [m for m, r in METHODS.items() if m in methods or not r.needs(r.settings).clip]
        self.method.offer([(METHODS[m].title, m) for m in able])
        self._offer_bases(bases)
        if old[0] not in able:
            self.method.choose(method)
        if old[1] not in bases:
            self.base.choose(base)
        self._touched()

    def _offer_bases(self, bases: tuple[str, ...]) -> None:
        self.base.offer([(ABOUT[b].title, b) for b in bases])
        for at, base in enumerate(bases):
            self.base.setItemData(at, ABOUT[base].help, Qt.ItemDataRole.ToolTipRole)

    # A Job's fields

    def apply(self, job: Job) -> Job:
        """The job with these settings; raises JobError for what does not fit together."""
        told = {name: field.value for (method, name), field in self._fields.items() if not method}
        windows = None
        if not self.own_windows.isChecked():
            windows = Windows(**{t.name: told[f"windows.{t.name}"] for t in declared(Windows)})
        method = self.method.currentData()
        given = {row.field: self.given(m) for m, row in METHODS.items() if row.field}
        return replace(
            job,
            method=method,
            other=self.given(method),
            base=self.base.currentData(),
            windows=windows,
            min_score=told["min_score"] if "min_score" in METHODS[method].applies else 0.0,
            logit_scale=told["logit_scale"],
            precision=told["precision"],
            reference=self.reference.chosen(),
            **given,
        )

    def given(self, method: str) -> Any:
        """The settings of a method, as its fields say; None for one without any."""
        if METHODS[method].settings is None:
            return None
        told = {name: f.value for (owner, name), f in self._fields.items() if owner == method}
        return changed(self._values[method], told)

    def shared(self, name: str) -> SettingField:
        """The box of a setting that is no method's own, by its dotted name in the Job."""
        return self._fields["", name]

    def show_job(self, job: Job) -> None:
        """Set every field from a job."""
        self.method.choose(job.method)
        self.base.choose(job.base)
        for name in ("min_score", "logit_scale", "precision"):
            self._fields["", name].value = getattr(job, name)
        for method, row_ in METHODS.items():
            if row_.field:
                self._show_values(method, getattr(job, row_.field))
        if job.other is not None:
            self._show_values(job.method, job.other)
        self.set_windows(job.windows)
        if job.reference is not None:
            self._fitted = Path(job.reference.folder)
            self.reference.choose(Path(job.reference.folder))
        self._show_what_applies()

    def recommend(self, method: str, values: Any) -> None:
        """Set the settings of a method to what the chosen models work best with."""
        self._show_values(method, values)
        self._show_what_applies()

    def _show_values(self, method: str, values: Any) -> None:
        self._values[method] = values
        for (owner, name), field in self._fields.items():
            if owner == method:
                field.value = value_of(values, name)

    def set_windows(self, windows: Windows | None) -> None:
        self.own_windows.setChecked(windows is None)
        for told in declared(Windows):
            shown = getattr(windows or Windows(), told.name)
            self._fields["", f"windows.{told.name}"].value = shown


def _grid() -> QGridLayout:
    made = QGridLayout()
    made.setContentsMargins(0, 0, 0, 0)
    made.setVerticalSpacing(4)
    made.setColumnStretch(1, 1)
    return made


def _add(grid: QGridLayout, field: SettingField) -> list[QWidget]:
    """Put a box below the others; what is shown with it."""
    at = grid.rowCount()
    if field.titled:
        grid.addWidget(field.native, at, 0, 1, 2)
        return [field.native]
    head = label(field.told.title)
    head.setToolTip(field.told.description)
    grid.addWidget(head, at, 0)
    grid.addWidget(field.native, at, 1)
    return [head, field.native]
