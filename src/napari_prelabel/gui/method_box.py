"""Method, base and their parameters, built from one table; gives and takes a Job's fields."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QGridLayout, QWidget

from ..models.catalog_visual import recommended
from ..values.bases import ABOUT
from ..values.job import BASES, METHODS, Job, Windows
from .method_fields import (
    FORMS,
    PRECISIONS,
    Field,
    Form,
    options_of,
    value_of,
    with_values,
)
from .parts import Combo, Name, Section, column, label, row
from .reference_chooser import ReferenceChooser
from .spins import Number, unit, whole


class MethodBox(QWidget):
    """`changed` comes when the person changes a setting."""

    changed = Signal()

    def __init__(self, *, whole: bool = True) -> None:
        """whole : make it at once; else `steps` make it, to be gone through before it is used."""
        super().__init__()
        self._fitted: Path | None = None
        # What a loaded job says of parameters that are not asked for stays as it is.
        self._values = {m: form.default for m, form in FORMS.items()}
        self._inputs: dict[tuple[str, str], Any] = {}
        self._titles: dict[tuple[str, str], QWidget] = {}
        # Rows that methods share, by name: shown while the method's form lists them.
        self._shared: dict[str, list[QWidget]] = {}
        self.steps = self._building()
        if whole:
            for _ in self.steps:
                pass

    def _building(self) -> Iterator[None]:
        """Make the box row by row, each in a few milliseconds."""
        self.method = Combo("How the map is made")
        self.base = Combo("The map the method starts from")
        self.method.offer([(f.title, m) for m, f in FORMS.items() if m in METHODS])
        self._offer_bases(BASES)
        self.base.choose("sclip")
        self.reference = ReferenceChooser()
        self.help = label(role="muted")
        yield
        yield from self._lay_out()
        for method, form in FORMS.items():
            self._show_values(method, form.default)
            yield
        self.set_windows(None)
        self._listen()
        self._show_what_applies()

    def _lay_out(self) -> Iterator[None]:
        rows = column(self, 0)
        rows.addLayout(row(Name("Method"), self.method, stretch=1))
        base = QWidget()
        base.setLayout(row(Name("Base"), self.base, stretch=1))
        rows.addWidget(base)
        rows.addWidget(self.reference)
        rows.addWidget(self.help)
        self._shared |= {"base": [base], "reference": [self.reference]}
        for method, form in FORMS.items():
            for f in form.fields:
                if not f.folded:
                    self._inputs[method, f.name] = made = QCheckBox(f.title)
                    made.setToolTip(f.help)
                    rows.addWidget(made)
        self.advanced = Section("Thresholds, windows, variants", opened=False)
        rows.addWidget(self.advanced)
        box = QWidget()
        self.advanced.add(box)
        yield
        yield from self._fold(QGridLayout(box))

    def _fold(self, grid: QGridLayout) -> Iterator[None]:
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        for method, form in FORMS.items():
            for f in form.fields:
                if f.folded:
                    self._inputs[method, f.name] = made = _input(form, f)
                    self._titles[method, f.name] = self._add(grid, f.title, f.help, made)
                    yield
        yield from self._add_shared(grid)

    def _add_shared(self, grid: QGridLayout) -> Iterator[None]:
        self.min_score = unit()
        self._row(grid, "min_score", "Least score", "Base alone with background words: less sure "
                  "pixels stay unlabelled (0 to 1).", self.min_score)  # fmt: skip
        self.logit_scale = Number(1e6, 5.0)
        self.logit_scale.setSpecialValueText("the models' own")
        self._row(grid, "logit_scale", "Sharpness", "Scale of the scores before the softmax (logit "
                  "scale): higher makes the best word win more clearly.",
                  self.logit_scale)  # fmt: skip
        yield
        self.own_windows = QCheckBox("Windows as the models like them")
        self.own_windows.setToolTip("Untick to choose the image's size and its windows yourself")
        grid.addWidget(self.own_windows, grid.rowCount(), 0, 1, 2)
        self.short_side, self.crop, self.stride = _pixels(), _pixels(), _pixels()
        self._row(grid, "windows", "Shorter side", "The image is resized to this; 0 keeps its own "
                  "size. Smaller is faster and sees larger things.", self.short_side)  # fmt: skip
        self._row(grid, "windows", "Window", "Side of the square windows; 0 takes the whole image "
                  "at once.", self.crop)  # fmt: skip
        self._row(grid, "windows", "Window step", "Smaller steps blend better and take longer.",
                  self.stride)  # fmt: skip
        self.antialias = QCheckBox("Average pixels when shrinking")
        self.antialias.setToolTip("Smoother for photographs much larger than the shorter side")
        grid.addWidget(self.antialias, grid.rowCount(), 0, 1, 2)
        self._shared["windows"] += [self.own_windows, self.antialias]
        self.precision = Combo("Arithmetic of the model")
        self.precision.offer([(text, name) for name, text in PRECISIONS.items()])
        self._row(grid, "precision", "Arithmetic", "Exact is the reference; faster helps on a GPU.",
                  self.precision)  # fmt: skip

    def _row(self, grid: QGridLayout, name: str, title: str, tip: str, field: Any) -> None:
        self._shared.setdefault(name, []).extend([self._add(grid, title, tip, field), field])

    def _add(self, grid: QGridLayout, title: str, tip: str, field: Any) -> QWidget:
        at = grid.rowCount()
        head = label(title)
        head.setToolTip(tip)
        field.setToolTip(tip)
        field.setAccessibleName(title)
        grid.addWidget(head, at, 0)
        grid.addWidget(field, at, 1)
        return head

    def _listen(self) -> None:
        for combo in (self.method, self.base, self.precision):
            combo.currentIndexChanged.connect(self._touched)
        for field in self._inputs.values():
            _signal(field).connect(self._touched)
        for spin in (self.short_side, self.crop, self.stride, self.min_score, self.logit_scale):
            spin.valueChanged.connect(self._touched)
        self.reference.changed.connect(self._fit_set)
        self.reference.changed.connect(self._touched)
        self.own_windows.toggled.connect(self._touched)
        self.antialias.toggled.connect(self._touched)

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
        form = FORMS[chosen]
        self.help.setText(form.help)
        self.base.setToolTip(
            f"The map the method starts from. {ABOUT[self.base.currentData()].help}"
        )
        for (method, name), field in self._inputs.items():
            on = method == chosen and (name != "gem_affinity" or self.base.currentData() == "gem")
            field.setVisible(on)
            if title := self._titles.get((method, name)):
                title.setVisible(on)
        for name, widgets in self._shared.items():
            for widget in widgets:
                widget.setVisible(name in form.rows)
        for field in (self.short_side, self.crop, self.stride, self.antialias):
            field.setEnabled(not self.own_windows.isChecked())

    def offer(
        self, methods: tuple[str, ...], bases: tuple[str, ...], method: str, base: str
    ) -> None:
        """Show what these models can do; what they cannot is replaced by what they recommend."""
        old = self.method.currentData(), self.base.currentData()
        self.method.offer([(f.title, m) for m, f in FORMS.items() if m in methods or _alone(f)])
        self._offer_bases(bases)
        if old[0] not in methods and not _alone(FORMS[old[0]]):
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
        windows = None
        if not self.own_windows.isChecked():
            windows = Windows(
                self.short_side.value(),
                self.crop.value(),
                self.stride.value(),
                self.antialias.isChecked(),
            )
        given = {f.parameters: self.given(m) for m, f in FORMS.items() if f.parameters}
        return replace(
            job,
            method=self.method.currentData(),
            base=self.base.currentData(),
            windows=windows,
            min_score=self.min_score.value() if self.method.currentData() == "base" else 0.0,
            logit_scale=self.logit_scale.value() or None,
            precision=self.precision.currentData(),
            reference=self.reference.chosen(),
            **given,
        )

    def given(self, method: str) -> Any:
        """The parameters of a method, as its fields say."""
        told = {f.name: _value(self._inputs[method, f.name]) for f in FORMS[method].fields}
        return with_values(self._values[method], told)

    def show_job(self, job: Job) -> None:
        """Set every field from a job."""
        self.method.choose(job.method)
        self.base.choose(job.base)
        self.min_score.setValue(job.min_score)
        self.logit_scale.setValue(job.logit_scale or 0.0)
        self.precision.choose(job.precision)
        for method, form in FORMS.items():
            if form.parameters:
                self._show_values(method, getattr(job, form.parameters))
        self.set_windows(job.windows)
        if job.reference is not None:
            self._fitted = Path(job.reference.folder)
            self.reference.choose(Path(job.reference.folder))

    def recommend(self, method: str, values: Any) -> None:
        """Set the parameters of a method to what the chosen models work best with."""
        self._show_values(method, values)

    def _show_values(self, method: str, values: Any) -> None:
        self._values[method] = values
        for f in FORMS[method].fields:
            field, value = self._inputs[method, f.name], value_of(values, f.name)
            if isinstance(field, QCheckBox):
                field.setChecked(value)
            elif isinstance(field, Combo):
                field.choose(value)
            else:
                field.setValue(value)

    def set_windows(self, windows: Windows | None) -> None:
        self.own_windows.setChecked(windows is None)
        shown = windows or Windows()
        self.short_side.setValue(shown.short_side)
        self.crop.setValue(shown.crop)
        self.stride.setValue(shown.stride)
        self.antialias.setChecked(shown.antialias)


def _input(form: Form, f: Field) -> Any:
    """The box for a parameter, by what its standard value is."""
    value = value_of(form.default, f.name)
    lowest, highest, step = f.limits
    if f.words:
        made = Combo(f.help)
        made.offer(list(zip(f.words, options_of(form.default, f.name), strict=True)))
        return made
    if isinstance(value, bool):
        return QCheckBox("yes")
    if isinstance(value, int):
        return whole(int(lowest), int(highest), int(step))
    return Number(highest, step, lowest)


def _alone(form: Form) -> bool:
    """Whether a method works with any models, because it brings its own."""
    return "reference" in form.rows


def _pixels() -> Any:
    return whole(0, 65535, 16, " px")


def _signal(field: Any) -> Any:
    if isinstance(field, QCheckBox):
        return field.toggled
    return field.currentIndexChanged if isinstance(field, Combo) else field.valueChanged


def _value(field: Any) -> Any:
    if isinstance(field, QCheckBox):
        return field.isChecked()
    return field.currentData() if isinstance(field, Combo) else field.value()
