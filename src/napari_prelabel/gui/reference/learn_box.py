"""Learn from what was corrected: which images, and how a new set is made."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QCompleter, QFileDialog, QWidget

from ...values.encoder import Encoder
from ...values.errors import FileFormatError, ImageError, PrelabelError
from ..models import recent_sets
from ..models.clips import clips
from ..models.encoders import GET, choice, choices, fetchable, squashes
from ..models.fetch_row import FetchRow
from ..parts.pieces import Combo, Name, button, column, counted, label, line, row
from ..parts.table import Column, RowsView
from ..preferences import Preferences, changes
from .pairs import Pair, Taken, fault, grounded, take
from .shelf import Overview

EMPTY = (
    "Open images and label them: press Run in the Pre-label dock and correct what is wrong, or "
    "open labels that you have. Every image with labels is listed here."
)
LICENCES = ("CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "not to be shared")
DEFAULT_NAME = "my corrections"
BY_NAME = "meet by name"
BY_NAME_NOTE = "A class finds its segments by its name or by a synonym that you gave it."
BY_CLIP_NOTE = "A class also finds words that mean nearly the same. Every run needs this model."


@dataclass(frozen=True, slots=True)
class Target:
    """The set that is made or added to; text : bundle whose CLIP compares words, "" for none."""

    folder: str
    encoder: Encoder
    name: str
    text: str
    author: str
    licence: str
    position: bool


class LearnBox(QWidget):
    """`changed` comes when other pairs are ticked, `outdated` when labels differ from what was
    learned of them."""

    changed = Signal()
    outdated = Signal()

    def __init__(self, find: Callable[[], list[Pair]]) -> None:
        super().__init__()
        self._find = find
        self._ticked: dict[tuple[int, int], bool] = {}
        self._learned: dict[tuple[int, int], str] = {}
        self.empty = label(EMPTY, "muted")
        self.table = RowsView("Images to learn from", self._columns())
        self.every = button("All", "Tick every image", lambda: self._tick_all(True), "link")
        self.none = button("None", "Untick every image", lambda: self._tick_all(False), "link")
        self.mine_only = QCheckBox("Only pixels I drew or opened from a file")
        self.mine_only.setToolTip(
            "Off: every labelled pixel of a ticked image counts as right, for you have looked\n"
            "at it. On: what only a model said is left out."
        )
        self.ground = QCheckBox("Unlabelled is background")
        self.ground.setToolTip(
            "On: pixels without a label are a class of their own, “background”. A set that has\n"
            "labels of one class only needs it: there is nothing else to tell that class from."
        )
        self.summary = label(role="muted")
        rows = column(self, 0)
        rows.addWidget(self.empty)
        rows.addWidget(self.table)
        rows.addLayout(row(self.summary, self.every, self.none, stretch=0))
        rows.addWidget(self.mine_only)
        rows.addWidget(self.ground)
        self.table.model_.ticked.connect(self._tick)

    def _columns(self) -> tuple[Column, ...]:
        return (
            Column("", lambda _: "", "Tick the images whose labels are right", 4,
                   ticked=self.is_ticked, usable=lambda p: not p.problem),
            Column("image", lambda p: p.image.name, tip=_tip, usable=lambda p: not p.problem),
            Column("classes", _classes, tip=_tip, wide=10, usable=lambda p: not p.problem),
            Column("state", self._state, wide=12, right=True, tip=_tip),
        )  # fmt: skip

    # The pairs

    def refresh(self) -> None:
        """Follow the layer list, and what was painted."""
        pairs = self._find()
        keys = {p.key for p in pairs}
        self._ticked = {k: on for k, on in self._ticked.items() if k in keys}
        self._learned = {k: told for k, told in self._learned.items() if k in keys}
        self.table.show_rows(pairs)
        for widget in (self.every, self.none, self.summary, self.mine_only, self.ground):
            widget.setVisible(bool(pairs))
        self.empty.setVisible(not pairs)
        self._tell()
        if any(self._differs(pair) for pair in pairs):
            self.outdated.emit()

    def _differs(self, pair: Pair) -> bool:
        told = self._learned.get(pair.key)
        return told is not None and told != _state_of(pair)

    def is_ticked(self, pair: Pair) -> bool:
        return not pair.problem and self._ticked.get(pair.key, pair.touched())

    @property
    def ticked(self) -> list[Pair]:
        """The pairs to learn from."""
        return [p for p in self.table.rows if self.is_ticked(p)]

    def _tick(self, pair: Pair, on: bool) -> None:
        self._ticked[pair.key] = on
        self._tell()

    def _tick_all(self, on: bool) -> None:
        self._ticked |= {p.key: on for p in self.table.rows}
        self.table.model_.tell()
        self._tell()

    def _tell(self) -> None:
        self.summary.setText(f"{len(self.ticked)} of {counted(len(self.table.rows), 'image')}")
        self.changed.emit()

    def _state(self, pair: Pair) -> str:
        if pair.problem:
            return "not usable"
        if pair.key in self._learned:
            return "changed" if self._differs(pair) else "learned"
        if pair.share is None:
            return "opened"
        return f"{_percent(pair.share)} yours" if pair.share else "not corrected"

    def learned(self, pairs: list[Pair]) -> None:
        """These were taken into the set as they are now."""
        for pair in pairs:
            self._learned[pair.key] = _state_of(pair)
        self.table.model_.tell()

    def forget(self) -> None:
        """Another set is open: which images it knows is not known."""
        self._learned.clear()
        self.table.model_.tell()

    def taken(self) -> tuple[list[Taken], list[str]]:
        """The labels of the ticked pairs, and a sentence for each that cannot be used.

        Raises a PrelabelError naming what is missing, or why none can be used.
        """
        pairs = self.ticked
        if not pairs:
            told = "Tick at least one image" if self.table.rows else "Open and label an image"
            raise ImageError(f"{told} under “Learn” first.")
        found, faults = [], []
        for pair in pairs:
            try:
                taken = take(pair, self.mine_only.isChecked())
            except PrelabelError as error:
                faults.append(fault(pair.image.name, error))
                if len(faults) == len(pairs):
                    raise
                continue
            found.append(grounded(taken) if self.ground.isChecked() else taken)
        return found, faults


class MakeBox(QWidget):
    """Name, folder, encoder, words, author and licence of a set; the last two are remembered."""

    def __init__(self) -> None:
        super().__init__()
        told = recent_sets.settings()
        self.name = line(DEFAULT_NAME, "What the set is called", "Name of the set")
        self.parent_folder = line("", "Where the set's folder is made", "Folder of the set")
        self._home = str(recent_sets.home())
        self.parent_folder.setText(self._home)
        browse = button("…", "Choose a folder", self._browse)
        browse.setFixedWidth(34)
        self.encoder = Combo("What compares segments of different images")
        self.encoder.setAccessibleName("Encoder")
        self.note = label(role="muted")
        self.fetcher = FetchRow(GET)
        self.windows = QCheckBox("Wide or tall images")
        self.windows.setToolTip(
            "Read an image in square windows instead of squashing it to one square: truer for\n"
            "streets, panoramas and strips, and as many times slower as there are windows."
        )
        self.position = QCheckBox("The camera stands still")
        self.position.setToolTip(
            "Also compare where in the picture a segment lies: for microscopes, traffic cameras\n"
            "and others that always show the same things in the same places."
        )
        self.author = line("nobody named", "Kept with every segment; stays on your disk", "Author")
        self.author.setText(str(told.get("author", "")))
        self.licence = line("none told", "Kept with every segment", "Licence")
        self.licence.setText(str(told.get("licence", "")))
        self.licence.setCompleter(QCompleter(LICENCES, self.licence))
        self.words = Combo("How the words of a class and of the segments meet")
        self.words.setAccessibleName("Words")
        self.words_note = label(role="muted")
        self._lay_out(browse)
        self.encoder.currentIndexChanged.connect(self._explain)
        self.words.currentIndexChanged.connect(self._explain)
        self.fetcher.busy.connect(lambda busy: self.encoder.setEnabled(not busy))
        self.fetcher.ended.connect(self._explain)
        self.refresh()
        changes().follow()
        changes().changed.connect(self._prefer)

    def _lay_out(self, browse: QWidget) -> None:
        self._new, self._worded = QWidget(), QWidget()
        words = column(self._worded, 0)
        words.addLayout(row(Name("Words"), self.words, stretch=1))
        words.addWidget(self.words_note)
        rows = column(self._new, 0)
        rows.addLayout(row(Name("Name"), self.name, stretch=1))
        rows.addLayout(row(Name("Folder"), self.parent_folder, browse, stretch=1))
        rows.addLayout(row(Name("Encoder"), self.encoder, stretch=1))
        rows.addWidget(self.note)
        rows.addWidget(self.fetcher)
        rows.addWidget(self.windows)
        rows.addWidget(self._worded)
        rows.addWidget(self.position)
        both = column(self, 0)
        both.addWidget(self._new)
        both.addLayout(row(Name("Author"), self.author, stretch=1))
        both.addLayout(row(Name("Licence"), self.licence, stretch=1))

    def refresh(self) -> None:
        """Offer the encoders and the models of words at hand; without one, words meet by name."""
        self.encoder.offer([(c.title, str(c.encoder)) for c in choices()])
        self._clips = {clip.bundle: clip for clip in clips()}
        told = [(f"meet by meaning, {c.title}", c.bundle) for c in self._clips.values()]
        self.words.offer([(BY_NAME, ""), *told])
        self._worded.setVisible(bool(told))
        self._explain()

    def show_new(self, new: bool) -> None:
        """Only a new set has a name, a place and an encoder to choose."""
        self._new.setVisible(new)

    def _explain(self, *_: object) -> None:
        encoder = Encoder.parse(self.encoder.currentData())
        self.note.setText(choice(encoder).note)
        self.fetcher.show_model(fetchable(encoder))
        self.windows.setVisible(squashes(encoder))
        clip = self._clips.get(self.words.currentData())
        told = BY_NAME_NOTE if clip is None else f"{BY_CLIP_NOTE} {clip.note}"
        self.words_note.setText(told.strip())

    def _prefer(self, _: Preferences) -> None:
        """Other folders in napari's Preferences."""
        if self.parent_folder.text() == self._home:
            self._home = str(recent_sets.home())
            self.parent_folder.setText(self._home)
        self.refresh()

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, "Folder", self.parent_folder.text())
        if chosen:
            self.parent_folder.setText(chosen)

    @property
    def set_name(self) -> str:
        return self.name.text().strip() or DEFAULT_NAME

    def folder(self) -> Path:
        """The folder that a new set is made in; raises FileFormatError when there can be none."""
        told = self.parent_folder.text().strip()
        try:
            parent = Path(told).expanduser() if told else recent_sets.home()
            return recent_sets.folder_for(self.set_name, parent)
        except (OSError, RuntimeError) as error:
            raise FileFormatError(
                told,
                f"No set can be made in {told} ({getattr(error, 'strerror', None) or error}): "
                "choose another folder or a shorter name.",
            ) from error

    def target(self, overview: Overview | None) -> Target:
        """What the boxes say; overview : of the set that is added to, None for a new one."""
        old = overview is not None
        return Target(
            str(overview.folder if overview is not None else self.folder()),
            overview.encoder if overview is not None else self._encoder(),
            overview.name if overview is not None else self.set_name,
            "" if old else self.words.currentData(),
            self.author.text().strip(),
            self.licence.text().strip(),
            not old and self.position.isChecked(),
        )

    def _encoder(self) -> Encoder:
        """The encoder of a new set, with how it reads images."""
        chosen = Encoder.parse(self.encoder.currentData())
        return replace(chosen, windows=squashes(chosen) and self.windows.isChecked())

    def remember(self) -> None:
        """Keep author, licence and place for the next set."""
        recent_sets.keep(
            author=self.author.text().strip(),
            licence=self.licence.text().strip(),
            home=self.parent_folder.text().strip(),
        )


def _classes(pair: Pair) -> str:
    return ", ".join(pair.names)


def _percent(share: float) -> str:
    return "all" if share > 0.995 else f"{max(round(100 * share), 1)} %"


def _tip(pair: Pair) -> str:
    if pair.problem:
        return pair.problem
    lines = [f"{pair.labels.name}, over {pair.image.name}", ", ".join(pair.names)]
    if pair.share is not None:
        lines.append(f"{_percent(pair.share)} of its labelled pixels you drew or opened")
    return "\n".join(line for line in lines if line)


def _state_of(pair: Pair) -> str:
    """Differs once the labels have changed in number; cheap enough for every stroke."""
    if pair.result is None:
        return ""
    counts = pair.result.annotation.counts()
    return repr((sorted(counts.items()), pair.result.annotation.human_pixels()))
