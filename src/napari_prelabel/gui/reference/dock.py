"""The Reference dock: learn from corrections, look at what was learnt, trust it or mend it.

The main path: `make` takes the ticked pairs, the worker adds them to the set, `_learned` opens it.
Sets are read in a thread of their own (`Shelf`); what computes runs in the worker (`Asker`).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import napari.viewer
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QWidget

from ...values.errors import Cancelled, PrelabelError, WorkerDied
from ...values.job import Job
from ...worker.pool import Pool
from ..layers.opened import OpenedLabels
from ..layers.result import ResultLayer
from ..models import recent_sets
from ..models.encoders import check
from ..opening import DockFrame
from ..parts.pieces import Section, Tone, column, counted, over_bar, rule, sentence
from ..parts.theme import sheet
from ..prelabel.dock import PrelabelDock
from ..run.asker import Asker
from ..run.runner import shared_pool
from ..tabs import Tab, front
from .bar import WorkBar
from .captions_box import SourceBox
from .cleaning_box import CleaningBox, shortly
from .content_box import ContentBox
from .learn_box import MakeBox
from .odd_box import OddBox
from .pairs import Pair, Taken, find_pairs
from .places import Places
from .questions import CaptionsQuestion, LearnQuestion, evaluate_task, explain_task
from .set_box import SetBox
from .shelf import Overview, Shelf
from .trust_box import TrustBox
from .why import WhyBox, WhyTool
from .why_answer import WhyAnswer

if TYPE_CHECKING:
    from ...engine.tasks import Evaluation, Learned

REFRESH_MS, REVEAL_MS = 120, 60
# Images that could not be used, of which each has a line.
FAULTS = 3
SO_FAR = "What it had learned until then is in the set: press the button to add the rest."


class ReferenceDock(Tab):
    """The dock widget; `napari_viewer` is given by napari."""

    def __init__(
        self, napari_viewer: "napari.viewer.Viewer", pool: Callable[[], Pool] = shared_pool
    ) -> None:
        super().__init__(napari_viewer)
        self.setMinimumWidth(360)
        self._left = False
        self._then: Callable[[Any], None] = lambda _: None
        self._written: Path | None = None
        self._make(pool)
        self._lay_out()
        self._connect()
        self._restyle()
        self.learn.refresh()
        self._show(None)
        if self.sets.folders:
            self.shelf.open(self.sets.folders[0])

    def _make(self, pool: Callable[[], Pool]) -> None:
        self.opened = OpenedLabels(self.viewer)
        self.shelf = Shelf()
        self.asker, self.why_asker = Asker(pool), Asker(pool)
        self.sets = SetBox()
        self.source = SourceBox(self._pairs)
        self.learn, self.captions = self.source.learn, self.source.captions
        self.new = MakeBox()
        self.content = ContentBox(self.shelf)
        self.cleaning = CleaningBox()
        self.trust = TrustBox()
        self.why = WhyBox()
        self.odd = OddBox(self.shelf)
        self.tool = WhyTool(self.viewer)
        self.answer = WhyAnswer(self.why, self.tool, self.shelf)
        self.places = Places(self.viewer, lambda: self.learn.table.rows)
        self.bar = WorkBar()
        self._said = ""
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(REFRESH_MS)
        # What is told of a segment grows into its place below the pictures first.
        self._reveal = QTimer(self)
        self._reveal.setSingleShot(True)
        self._reveal.setInterval(REVEAL_MS)

    def _lay_out(self) -> None:
        body = QWidget()
        rows = column(body)
        rows.addWidget(self.sets)
        rows.addWidget(rule())
        self.sections = {
            "learn": Section("Learn"),
            "content": Section("What is in it"),
            "why": Section("Why this label?", opened=False),
            "trust": Section("Can it be trusted?", opened=False),
            "odd": Section("Odd ones among yours", opened=False),
            "cleaning": Section("Cleaning", opened=False),
        }
        for name, boxes in (
            ("learn", (self.source, self.new)),
            ("content", (self.content,)),
            ("why", (self.why,)),
            ("trust", (self.trust,)),
            ("odd", (self.odd,)),
            ("cleaning", (self.cleaning,)),
        ):
            for box in boxes:
                self.sections[name].add(box)
            rows.addWidget(self.sections[name])
        rows.addStretch(1)
        self.scroll = over_bar(self, body, self.bar)

    def _connect(self) -> None:
        self.sets.wanted.connect(self.open)
        self.sets.undo.connect(self.shelf.undo)
        self.sets.use.connect(self.use)
        self.shelf.shown.connect(self._show)
        self.shelf.said.connect(lambda text: self.bar.say(("info", text)))
        self.shelf.failed.connect(self._fail)
        self.source.changed.connect(self._offer)
        self.content.show_source.connect(self.places.show)
        self.content.gallery.chosen.connect(lambda _: self._reveal.start())
        self._reveal.timeout.connect(lambda: self.scroll.ensureWidgetVisible(self.content.detail))
        self.content.merge.connect(lambda folder: self.shelf.merge(Path(folder)))
        self.cleaning.wanted.connect(self.clean)
        self.trust.wanted.connect(self.evaluate)
        self.why.toggled.connect(self.tool.switch)
        for box in (self.why.list, self.odd.list):
            box.switch.connect(self.shelf.switch)
            box.show_source.connect(self.places.show)
        self.tool.asked.connect(self.explain)
        self.tool.missed.connect(self._fail)
        self.places.missed.connect(self._fail)
        self.bar.main.connect(self.make)
        self.bar.cancel.connect(self.asker.cancel)
        self.asker.progressed.connect(self.bar.progress)
        self.asker.ended.connect(self._ended)
        self.why_asker.ended.connect(self.answer.show)
        self.answer.failed.connect(self._fail)
        self.new.fetcher.failed.connect(self._fail)
        self._soon.timeout.connect(self.learn.refresh)
        self.learn.outdated.connect(self._outdated)
        for event in self._layer_events():
            event.connect(self._follow)
        self.viewer.events.theme.connect(self._restyle)

    def _layer_events(self) -> list[Any]:
        events = self.viewer.layers.events
        return [events.inserted, events.removed, events.reordered]

    def _follow(self, event: Any = None) -> None:
        """The layer list changed, or what is painted in one of its layers."""
        layer = getattr(event, "value", None)
        result = getattr(layer, "_prelabel_result", None)
        if event is not None and event.type == "inserted" and result is not None:
            result.listeners.add(self._painted)
        self._soon.start()

    def _painted(self) -> None:
        self._soon.start()

    def _pairs(self) -> list[Pair]:
        docks = [d for d in self._docks() if d.words.vocabulary is not None]
        typed = docks[0].words.vocabulary if docks else None
        pairs = find_pairs(self.viewer.layers, typed)
        for pair in pairs:
            if pair.result is not None:
                pair.result.listeners.add(self._painted)
        return pairs

    def _docks(self, now: bool = False) -> list[PrelabelDock]:
        """The Pre-label docks; one in the making only `now`, which does not wait for it."""
        found = self.viewer.window.dock_widgets.values() if self.viewer.window else ()
        docks = [
            (d.dock if now or d.whole else None) if isinstance(d, DockFrame) else d for d in found
        ]
        return [d for d in docks if isinstance(d, PrelabelDock)]

    # The window

    def leave(self) -> None:
        """Let go of the viewer."""
        if self._left:
            return
        self._left = True
        self._soon.stop()
        self._reveal.stop()
        self.opened.leave()
        self.tool.switch(False)
        self.viewer.events.theme.disconnect(self._restyle)
        for event in self._layer_events():
            event.disconnect(self._follow)
        for pair in self.learn.table.rows:
            if pair.result is not None:
                pair.result.listeners.discard(self._painted)
        for part in (self.asker, self.why_asker):
            part.leave()
        self.new.fetcher.close_download()
        self.shelf.close()
        self.places.close()

    def _restyle(self, *_: Any) -> None:
        self.setStyleSheet(sheet(self.viewer.theme))

    # The set

    def open(self, folder: Path | None) -> None:
        """Show a set, or begin a new one."""
        self.bar.say()
        self.learn.forget()
        self.trust.show_evaluation(None)
        self.odd.clear()
        if folder is None:
            self.shelf.leave()
        else:
            self.shelf.open(folder)

    def _show(self, overview: Overview | None) -> None:
        self.sets.show_set(overview, self.shelf.told)
        self.new.show_new(overview is None)
        self.new.refresh()
        self.source.refresh()
        self.content.show_set(overview)
        self.cleaning.show_set(overview)
        cleaned = overview.cleaned if overview is not None else None
        self.sections["cleaning"].tell(shortly(cleaned) if overview is not None else "")
        for name in ("content", "why", "trust", "odd", "cleaning"):
            self.sections[name].setVisible(overview is not None)
        self._offer()
        for dock in self._docks():
            dock.method.reference.refresh()

    def _offer(self) -> None:
        overview, usable = self.shelf.overview, self.source.usable
        images = counted(len(self.learn.ticked), "image")
        if self.source.by_captions:
            images = "images by what their captions name"
        if overview is None:
            tip = f"Learns from {images} and keeps what it learns in a folder"
            self.bar.offer("Make reference set", tip, usable)
        else:
            tip = f"Adds {images}; images that are in the set already are replaced"
            self.bar.offer(f"Add to “{overview.name}”", tip, usable)

    def use(self) -> None:
        """Choose ReME and this set in the Pre-label dock, which is opened if it is not."""
        from ..commands import open_dock

        overview = self.shelf.overview
        if overview is None:
            return
        if not self._docks(now=True):
            open_dock(self.viewer)
        for dock in self._docks(now=True):
            dock.use_reference(overview.folder, [c.word for c in overview.classes])
            front(dock)
        self.bar.say(("info", "Chosen in the Pre-label dock: open an image and press Run."))

    # Work

    def make(self) -> None:
        """Learn from the ticked images, or from those that a captions file names."""
        overview = self.shelf.overview
        cleaned = overview.cleaned if overview is not None else None
        try:
            target = self.new.target(overview)
            check(target.encoder)
            if self.source.by_captions:
                asked = CaptionsQuestion(*self.captions.taken(), target)
                self._ask(
                    "Reading the captions",
                    asked,
                    lambda found: self._named(found, asked),
                    Path(target.folder),
                )
            else:
                pairs = self.learn.ticked
                # What a person corrected is trusted until they ask for cleaning.
                settings = cleaned.settings if cleaned is not None else None
                question = LearnQuestion(*self.learn.taken(), target, settings)
                self._ask(
                    "Reading the images",
                    question,
                    lambda found: self._learned(found, pairs, question),
                    Path(target.folder),
                )
        except PrelabelError as error:
            self._fail(sentence(error))
            return
        self.new.remember()

    def _learned(self, found: "Learned", pairs: list[Pair], asked: LearnQuestion) -> None:
        """Corrected images are in the set, all but those that the faults name."""
        faults = [*asked.faults, *found.unread]
        pairs = [p for p in pairs if not any(_is_of(fault, p) for fault in faults)]
        small = counted(found.skipped, "region")
        notes = [f"{small} were too small to learn from."] if found.skipped else []
        if found.doubled:
            images = counted(found.doubled, "image")
            notes.append(f"{images} came twice: the labels further down in the list are kept.")
        notes += asked.notices
        self.learn.learned(pairs)
        self._added(found, len(pairs), notes, faults)

    def _named(self, found: "Learned", asked: CaptionsQuestion) -> None:
        """Images with captions are in the set."""
        notes = []
        if found.skipped:
            notes.append(f"The captions have no word for {counted(found.skipped, 'segment')}.")
        if found.kept:
            notes.append(f"{counted(found.kept, 'image')} stayed as you had corrected them.")
        if found.stacks:
            files = counted(found.stacks, "file")
            notes.append(f"{files} of several planes: only the first plane was learned.")
        if asked.faults:
            lines = counted(len(asked.faults), "line")
            notes.append(f"Left out {lines} of the captions; {asked.faults[0]}")
        images = asked.images - found.kept - len(found.unread)
        self._added(found, images, notes, found.unread)

    def _added(
        self, found: "Learned", images: int, notes: list[str], faults: Sequence[str]
    ) -> None:
        told = (
            f"Learned {counted(found.added, 'segment')} of {counted(images, 'image')} in "
            f"{found.seconds:.1f} s. The set holds {counted(found.segments, 'segment')} of "
            f"{counted(found.images, 'image')}."
        )
        notices: list[tuple[Tone, str]] = [("info", text) for text in (told, *notes)]
        self._said = told
        self.bar.idle("Done.")
        self.bar.say(*notices, *_left_out(faults))
        self.shelf.open(Path(found.folder), f"{counted(images, 'image')} added")
        self.sections["content"].expand()

    def _outdated(self) -> None:
        """Labels changed after they were learned: what was said of it is over."""
        if self.bar.notices.texts[:1] == [self._said]:
            self.bar.idle("")
            self.bar.say()

    def clean(self, cleaning: Any) -> None:
        """Apply cleaning settings to the open set."""
        from ...engine.tasks import Clean

        folder = self.shelf.folder
        if folder is not None:
            self._ask("Cleaning", lambda: Clean(str(folder), cleaning), self._cleaned)

    def _cleaned(self, _: Any) -> None:
        self.bar.idle("Cleaned.")
        if self.shelf.folder is not None:
            self.shelf.open(self.shelf.folder, "the cleaning")

    def evaluate(self) -> None:
        """Measure the set on the ticked images."""
        overview = self.shelf.overview
        try:
            taken, faults = self.learn.taken()
        except PrelabelError as error:
            self._fail(sentence(error))
            return
        if overview is not None:
            base = self._base_job(taken)
            self._ask(
                "Reading the images",
                lambda: evaluate_task(overview, taken, base, faults),
                lambda found: self._evaluated(found, faults),
            )

    def _evaluated(self, found: "Evaluation", faults: list[str]) -> None:
        self.bar.idle("Evaluated.")
        self.bar.say(*_left_out(faults))
        self.trust.show_evaluation(found)

    def _base_job(self, taken: list[Taken]) -> Any:
        """The settings of the Pre-label dock, if it is open and they make a job."""
        for dock in self._docks():
            try:
                return dock.method.apply(Job(taken[0].vocabulary))
            except PrelabelError:
                continue
        return None

    def explain(self, result: ResultLayer, plane: tuple[int, ...], point: tuple[int, int]) -> None:
        """Ask which references caused a label."""
        try:
            task, job = explain_task(result, plane, point, self.shelf.overview)
        except PrelabelError as error:
            self._fail(sentence(error))
            return
        self.bar.say()
        self.sections["why"].expand()
        self.why.say("Asking …")
        self.answer.expect(result, plane, job)
        self.why_asker.ask(task)

    def _ask(
        self,
        text: str,
        make: Callable[[], Any],
        then: Callable[[Any], None],
        written: Path | None = None,
    ) -> None:
        """Ask the worker; written : folder of the set that it adds to."""
        if self.asker.busy:
            self._fail("Wait for what is under way, or press Cancel.")
            return
        self._then, self._written = then, written
        self.bar.busy(f"{text} …")
        self.trust.button.setEnabled(False)
        self.cleaning.apply.setEnabled(False)
        self.asker.ask(make)

    def _ended(self, outcome: Any) -> None:
        self.trust.button.setEnabled(True)
        self.cleaning.apply.setEnabled(True)
        if isinstance(outcome, Cancelled):
            self.bar.idle("")
            self.bar.say(("info", "Cancelled; the set is as it was."))
        elif isinstance(outcome, WorkerDied) and self._grew():
            self._fail(f"{outcome.event} {SO_FAR}")
        elif isinstance(outcome, Exception):
            self._fail(_why(outcome))
        else:
            self._then(outcome)

    def _grew(self) -> bool:
        """Show the set that a worker was adding to when it died, if there is one by now."""
        if self._written is None or not recent_sets.is_set(self._written):
            return False
        self.shelf.open(self._written)
        return True

    def _fail(self, text: str) -> None:
        if not self.asker.busy:
            self.bar.idle("")
        self.bar.say(("failed", text))


def _left_out(faults: Sequence[str]) -> list[tuple[Tone, str]]:
    """A line for each of the first images that could not be used."""
    told = list(faults[:FAULTS])
    if len(faults) > FAULTS:
        told.append(f"And so for {counted(len(faults) - FAULTS, 'more image')}.")
    return [("failed", fault) for fault in told]


def _is_of(fault: str, pair: Pair) -> bool:
    """Whether a sentence is on an image of the list, or on a plane of it."""
    return fault.startswith((f"{pair.image.name}: ", f"{pair.image.name} ["))


def _why(error: Exception) -> str:
    if isinstance(error, PrelabelError):
        return sentence(error)
    return f"It failed ({error}); the set is as it was. Please report this."
