"""Method, base and their parameters, built from one table; gives and takes a Job's fields."""

from dataclasses import dataclass, fields, replace
from typing import Any, get_args

from qtpy.QtCore import QLocale, Signal
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QGridLayout, QSpinBox, QWidget

from ..job import BASES, FreeCP, Job, Windows
from .parts import Combo, Name, Section, column, label, row

METHOD_TITLES = {"freecp": "FreeCP", "base": "Base alone"}
METHOD_HELP = {
    "freecp": "Takes the base's map, drops words that are not in the picture, and settles words "
    "that look alike.",
    "base": "Fast. Every pixel takes the word that fits it best. Good for a short list of words "
    "that are all in the picture.",
}
BASE_TITLES = {
    "vanilla": "CLIP as it is",
    "maskclip": "MaskCLIP",
    "sclip": "SCLIP",
    "clearclip": "ClearCLIP",
    "gem": "GEM",
    "naclip": "NACLIP",
}
PRECISIONS = {
    "float32": "exact (float32)",
    "bfloat16": "faster (bfloat16)",
    "float16": "faster (float16)",
}


@dataclass(frozen=True, slots=True)
class Field:
    """How one parameter of FreeCP is asked for."""

    name: str
    title: str
    help: str
    words: tuple[str, ...] = ()
    folded: bool = True


FIELDS = (
    Field(
        "redundancy",
        "Drop words that are not in the picture",
        "A word goes whose cleaned map hardly overlaps its first map.",
        folded=False,
    ),
    Field(
        "ambiguity",
        "Settle words that look alike",
        "Where two words claim one place, a closer look decides. Takes most of the time.",
        folded=False,
    ),
    Field("rp_threshold", "Drop below overlap", "Higher drops more words (0 to 1)."),
    Field("ap_threshold", "Alike from overlap", "Lower treats more words as alike (0 to 1)."),
    Field("box_threshold", "Box threshold", "Higher draws smaller boxes around things (0 to 1)."),
    Field(
        "refinement",
        "Refinement",
        "How a word spreads over what looks the same.",
        ("as in the published code", "as in the paper"),
    ),
    Field(
        "similarity",
        "Likeness measured",
        "How far two words' maps count as alike.",
        ("as in the published code", "as in the paper"),
    ),
    Field(
        "overlap",
        "Overlap measured",
        "The published code and its paper divide differently.",
        ("as in the published code", "as in the paper (IoU)"),
    ),
    Field(
        "losers",
        "Losing words go",
        "Where a word that lost to a look-alike is taken out.",
        ("from the whole window", "from their box only"),
    ),
    Field(
        "gem_affinity",
        "GEM's attention",
        "Which attention cleans the map when the base is GEM.",
        ("first head (published)", "mean of heads"),
    ),
    Field(
        "empty_pixel",
        "Pixels no word holds",
        "Matters only without background words.",
        ("first word (published)", "the base's best word"),
    ),
    Field(
        "scope",
        "Decide words per",
        "Words are dropped window by window, or once for the image.",
        ("window (published)", "whole image"),
    ),
)
_OPTIONS = {f.name: get_args(FreeCP.__annotations__[f.name]) for f in FIELDS}


class MethodBox(QWidget):
    """`changed` comes when the person changes a setting."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.method, self.base = Combo("How the map is made"), Combo("The map FreeCP starts from")
        self.method.offer([(METHOD_TITLES[m], m) for m in ("freecp", "base")])
        self.base.offer([(BASE_TITLES[b], b) for b in BASES])
        self.base.choose("sclip")
        self.help = label(role="muted")
        self._inputs: dict[str, Any] = {}
        self._titles: dict[str, QWidget] = {}
        rows = column(self, 0)
        rows.addLayout(row(Name("Method"), self.method, stretch=1))
        rows.addLayout(row(Name("Base"), self.base, stretch=1))
        rows.addWidget(self.help)
        for f in FIELDS:
            if not f.folded:
                self._inputs[f.name] = made = QCheckBox(f.title)
                made.setToolTip(f.help)
                rows.addWidget(made)
        self.advanced = Section("Thresholds, windows, variants", opened=False)
        self.advanced.add(self._folded())
        rows.addWidget(self.advanced)
        self.set_freecp(FreeCP())
        self.set_windows(None)
        self._listen()
        self._show_what_applies()

    def _folded(self) -> QWidget:
        box = QWidget()
        grid = QGridLayout(box)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        for f in FIELDS:
            if f.folded:
                self._inputs[f.name] = _choices(f) if f.words else _unit()
                self._add(grid, f.title, f.help, self._inputs[f.name], f.name)
        self.min_score = _unit()
        self._add(grid, "Least score", "Base alone with background words: less sure pixels stay "
                  "unlabelled (0 to 1).", self.min_score, "min_score")  # fmt: skip
        self.logit_scale = _Number(1e6, 5.0)
        self.logit_scale.setSpecialValueText("the models' own")
        self._add(grid, "Sharpness", "Scale of the scores before the softmax (logit scale): higher "
                  "makes the best word win more clearly.", self.logit_scale)  # fmt: skip
        self.own_windows = QCheckBox("Windows as the models like them")
        self.own_windows.setToolTip("Untick to choose the image's size and its windows yourself")
        grid.addWidget(self.own_windows, grid.rowCount(), 0, 1, 2)
        self.short_side, self.crop, self.stride = _pixels(), _pixels(), _pixels()
        self._add(grid, "Shorter side", "The image is resized to this; 0 keeps its own size. "
                  "Smaller is faster and sees larger things.", self.short_side)  # fmt: skip
        self._add(grid, "Window", "Side of the square windows; 0 takes the whole image at once.",
                  self.crop)  # fmt: skip
        self._add(grid, "Window step", "Smaller steps blend better and take longer.", self.stride)
        self.antialias = QCheckBox("Average pixels when shrinking")
        self.antialias.setToolTip("Smoother for photographs much larger than the shorter side")
        grid.addWidget(self.antialias, grid.rowCount(), 0, 1, 2)
        self.precision = Combo("Arithmetic of the model")
        self.precision.offer([(text, name) for name, text in PRECISIONS.items()])
        self._add(grid, "Arithmetic", "Exact is the reference; faster helps on a GPU.",
                  self.precision)  # fmt: skip
        return box

    def _add(self, grid: QGridLayout, title: str, tip: str, field: Any, name: str = "") -> None:
        at = grid.rowCount()
        head = label(title)
        head.setToolTip(tip)
        field.setToolTip(tip)
        field.setAccessibleName(title)
        grid.addWidget(head, at, 0)
        grid.addWidget(field, at, 1)
        if name:
            self._titles[name] = head

    def _listen(self) -> None:
        for combo in (self.method, self.base, self.precision):
            combo.currentIndexChanged.connect(self._touched)
        for field in self._inputs.values():
            _signal(field).connect(self._touched)
        for spin in (self.short_side, self.crop, self.stride, self.min_score, self.logit_scale):
            spin.valueChanged.connect(self._touched)
        self.own_windows.toggled.connect(self._touched)
        self.antialias.toggled.connect(self._touched)

    def _touched(self, *_: Any) -> None:
        self._show_what_applies()
        self.changed.emit()

    def _show_what_applies(self) -> None:
        method = self.method.currentData()
        self.help.setText(METHOD_HELP[method])
        for f in FIELDS:
            on = method == "freecp" and (
                f.name != "gem_affinity" or self.base.currentData() == "gem"
            )
            self._inputs[f.name].setVisible(on)
            if f.name in self._titles:
                self._titles[f.name].setVisible(on)
        for widget in (self.min_score, self._titles["min_score"]):
            widget.setVisible(method == "base")
        for field in (self.short_side, self.crop, self.stride, self.antialias):
            field.setEnabled(not self.own_windows.isChecked())

    def offer(
        self, methods: tuple[str, ...], bases: tuple[str, ...], method: str, base: str
    ) -> None:
        """Show what these models can do; what they cannot is replaced by what they recommend."""
        old = self.method.currentData(), self.base.currentData()
        self.method.offer([(METHOD_TITLES[m], m) for m in METHOD_TITLES if m in methods])
        self.base.offer([(BASE_TITLES[b], b) for b in bases])
        if old[0] not in methods:
            self.method.choose(method)
        if old[1] not in bases:
            self.base.choose(base)
        self._touched()

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
        return replace(
            job,
            method=self.method.currentData(),
            base=self.base.currentData(),
            windows=windows,
            freecp=FreeCP(**{f.name: _value(self._inputs[f.name]) for f in FIELDS}),
            min_score=self.min_score.value() if self.method.currentData() == "base" else 0.0,
            logit_scale=self.logit_scale.value() or None,
            precision=self.precision.currentData(),
        )

    def show_job(self, job: Job) -> None:
        """Set every field from a job."""
        self.method.choose(job.method)
        self.base.choose(job.base)
        self.min_score.setValue(job.min_score)
        self.logit_scale.setValue(job.logit_scale or 0.0)
        self.precision.choose(job.precision)
        self.set_freecp(job.freecp)
        self.set_windows(job.windows)

    def set_freecp(self, values: FreeCP) -> None:
        for f in fields(values):
            field, value = self._inputs[f.name], getattr(values, f.name)
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


def _choices(f: Field) -> Combo:
    made = Combo(f.help)
    made.offer(list(zip(f.words, _OPTIONS[f.name], strict=True)))
    return made


class _Number(QDoubleSpinBox):
    """A number that keeps every digit of a job file and shows no more than it has."""

    def __init__(self, highest: float, step: float) -> None:
        super().__init__()
        self.setDecimals(20)
        self.setRange(0.0, highest)
        self.setSingleStep(step)

    def textFromValue(self, value: float) -> str:
        """The shortest text that reads back as the value."""
        shortest = QLocale.FloatingPointPrecisionOption.FloatingPointShortest
        return str(self.locale().toString(value, "g", shortest.value))

    def stepBy(self, steps: int) -> None:
        """Steps of 0.05 add up to 0.15, not to 0.15000000000000002."""
        self.setValue(round(self.value() + steps * self.singleStep(), 10))


def _unit() -> QDoubleSpinBox:
    return _Number(1.0, 0.05)


def _pixels() -> QSpinBox:
    made = QSpinBox()
    made.setRange(0, 65535)
    made.setSingleStep(16)
    made.setSuffix(" px")
    return made


def _signal(field: Any) -> Any:
    if isinstance(field, QCheckBox):
        return field.toggled
    return field.currentIndexChanged if isinstance(field, Combo) else field.valueChanged


def _value(field: Any) -> Any:
    if isinstance(field, QCheckBox):
        return field.isChecked()
    return field.currentData() if isinstance(field, Combo) else field.value()
