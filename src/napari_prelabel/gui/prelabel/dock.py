"""The Pre-label dock: asks for image, words and method, shows the run and its result.

The main path: `run` builds a Job from the boxes, `Session` hands it to the worker, its answers
come back through `_shown`, its end through `_ended`.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import napari.viewer
from napari.layers import Image
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QLayout, QWidget

from ...models.catalog import Bundle
from ...values.errors import PrelabelError, VocabularyError
from ...values.job import Job
from ...values.vocabulary import Vocabulary, key, typed
from .. import cheat_sheet, remember
from ..commands import list_in_plugins, open_reference
from ..correct.correct import Corrector
from ..correct.correct_box import CorrectBox
from ..correct.keeper import RESTORED, Keeper
from ..export.export_box import ExportBox, label_facts, label_image
from ..focus import Focus
from ..keys import CANVAS_KEYS
from ..layers.images import LayerSource
from ..layers.opened import OpenedLabels
from ..layers.result import ResultLayer
from ..models.method_diffusion import check_diffusion
from ..models.models_box import ModelsBox
from ..parts.pieces import Section, column, counted, label, over_bar, row, rule, sentence
from ..parts.theme import sheet
from ..run.place_box import PlaceBox
from ..run.run_bar import RunBar
from ..run.runner import Runner
from ..run.session import Session, Task, changed_text, summary
from ..run.worker_line import WorkerLine
from ..scribble.asker import Settings
from ..scribble.box import ScribbleBox
from ..scribble.target import target_of
from ..scribble.tool import Desk, ScribbleTool
from ..tabs import Tab
from .class_table import ClassTable
from .job_files import JobFiles
from .legend import Legend
from .lying_row import LyingRow, adopted_text
from .method_box import MethodBox
from .result_box import ResultBox
from .suggest import Suggester
from .undo import Undo
from .unlike import Unlike
from .vocabulary_box import TIP, VocabularyBox
from .words_menu import Sentences, WordsMenu

WORDS = "prelabel_vocabulary"
SENTENCES = "prelabel_descriptions"
SECTIONS = {"result": "Result", "models": "Models", "export": "Export and settings"}


class PrelabelDock(Tab):
    """The dock widget; `napari_viewer` is given by napari."""

    def __init__(
        self,
        napari_viewer: "napari.viewer.Viewer",
        runner: Runner | None = None,
        *,
        whole: bool = True,
    ) -> None:
        """whole : make it at once; else `steps` make it, to be gone through before it is used."""
        super().__init__(napari_viewer)
        self.setMinimumWidth(300)
        self._sentences: Sentences = {}
        self._placed = ""
        self._fitted: Bundle | None = None
        self._last_run: tuple[Any, ...] = ()
        self._left = False
        self.steps = self._building(runner)
        if whole:
            for _ in self.steps:
                pass

    def _building(self, runner: Runner | None) -> Iterator[None]:
        """Make the dock part by part, each in a few milliseconds."""
        self._restyle()
        self.bar = RunBar()
        body = QWidget()
        rows = column(body)
        self.scroll = over_bar(self, body, self.bar)
        for box in self._boxes(runner):
            rows.addWidget(box) if isinstance(box, QWidget) else rows.addLayout(box)
            yield
        rows.addStretch(1)
        for name, inside in self._folded():
            self.sections[name].add(inside)
            yield
            if inside is self.method:
                yield from self.method.steps
        self._make_tools()
        yield
        self._connect()
        self.focus = Focus(self, self.viewer, self.words.edit, self.run)
        yield
        self._recall()
        yield
        self._new_image(self.place.layer)
        self.lying.begin()
        self._soon.start()

    def _boxes(self, runner: Runner | None) -> Iterator[QWidget | QLayout]:
        """Make what stands in the dock from top to bottom."""
        self.session = Session(self.viewer, runner)
        self.opened = OpenedLabels(self.viewer)
        self.place = PlaceBox(self.viewer)
        yield self.place
        self.keeper = Keeper(self.session, self.place)
        self.words = VocabularyBox()
        yield self.keeper
        self.lying = LyingRow(self.viewer, self.session, self.place, self.words)
        yield self.lying
        yield rule()
        head = label("Words to look for", "head")
        head.setToolTip(TIP)
        self.lists = WordsMenu()
        yield row(head, self.lists, stretch=0)
        yield self.words
        self.models = ModelsBox()
        self.method = MethodBox(whole=False)
        self.suggester = Suggester(self.session, self.place, self.words, self.models, self.method)
        yield self.suggester
        self.described = label(role="muted")
        self.described.hide()
        yield self.described
        self.table = ClassTable()
        yield self.table
        self.scribble_box = ScribbleBox()
        yield self.scribble_box
        yield rule()
        self.sections = {n: Section(title, opened=False) for n, title in SECTIONS.items()}
        yield from self.sections.values()

    def _folded(self) -> Iterator[tuple[str, QWidget]]:
        """Make what stands in the sections."""
        self.results = ResultBox()
        yield "result", self.results
        self.correct_box = CorrectBox()
        yield "result", self.correct_box
        yield "models", self.models
        yield "models", self.method
        self.exporter = ExportBox()
        yield "export", self.exporter

    def _make_tools(self) -> None:
        """What works on the boxes and has none of its own."""
        self.files = JobFiles(self, self.job, self.show_job)
        self.worker = WorkerLine(self.session, self.bar)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self.corrector = Corrector(
            self.viewer, self.session, self.place, self.correct_box,
            lambda: self.table.classes.locked,
        )  # fmt: skip
        boxes = (self.place, self.words, self.table, self.results)
        self.legend = Legend(self.session, *boxes, self._dressed)
        undo = Undo(self.session, self.place, self.results, self.legend, self.bar)
        self.undo_run, self.redo_run = undo.undo, undo.redo
        desk = Desk(
            self._drawn_on, self._read_with, lambda: self.table.classes.locked,
            self.session.runner.pool,
        )  # fmt: skip
        self.scribble = ScribbleTool(self.viewer, self.scribble_box, desk)

    def _connect(self) -> None:
        self.place.image_changed.connect(self._new_image)
        self.words.parsed.connect(self._parsed)
        self.words.settled.connect(self._settled)
        self.lists.words.connect(self.words.set_text)
        self.lists.sentences.connect(self.describe)
        self.lists.save.connect(self._save_words)
        self.lists.failed.connect(self._fail)
        self.corrector.said.connect(lambda *said: self.bar.say_until("painted", *said))
        self.bar.follow("painted", self.session.painted)
        boxes = (self.place, self.method, self.models)
        self.bar.follow("asked", self.words.parsed, *(box.changed for box in boxes))
        self.lists.suggest.connect(self.suggester.ask)
        self.suggester.failed.connect(self._fail)
        self.models.failed.connect(self._fail)
        self.models.changed.connect(self._fit_method)
        self.method.changed.connect(self._tell_method)
        self.legend.failed.connect(self._fail)
        self.keeper.failed.connect(self._fail)
        self.keeper.restored.connect(self._restored)
        self.lying.failed.connect(self._fail)
        self.lying.adopted.connect(lambda result: self._restored(result, adopted_text(result)))
        self.scribble.failed.connect(self._fail)
        self.bar.run.connect(self.run)
        self.bar.cancel.connect(self.session.cancel)
        self.bar.live.connect(lambda on: self._settled(self.words.vocabulary) if on else None)
        self.exporter.wanted.connect(self.export)
        self.exporter.written.connect(self.keeper.exported)
        self.exporter.save_job.connect(self.files.ask_save)
        self.exporter.load_job.connect(self.files.ask_load)
        self.files.failed.connect(self.exporter.fail)
        self.session.started.connect(self._started)
        self.session.progressed.connect(self.bar.progress)
        self.session.shown.connect(self._shown)
        self.session.ended.connect(self._ended)
        self._soon.timeout.connect(self.worker.warm_up)
        self.viewer.events.theme.connect(self._restyle)
        self._keys = {
            "run": self.run,
            "undo": self.undo_run,
            "redo": self.redo_run,
            "next": self.corrector.next_best,
            "scribble": self.scribble.toggle,
        }
        CANVAS_KEYS.hold(self.viewer, self._keys)
        self.destroyed.connect(partial(CANVAS_KEYS.release, self._keys))
        cheat_sheet.listen(self, self.viewer)
        list_in_plugins()
        # The window's end takes the dock along without another word.
        self.destroyed.connect(self.session.runner.cancel)
        ways = (self._choose_models, lambda: open_reference(self.viewer), self.run)
        boxes = (self.place, self.models, self.method)
        self.unlike = Unlike(self.session, boxes, self.bar, ways)
        self.suggester.held = self.unlike.holds

    def leave(self) -> None:
        """End the run and let go of the viewer; results stay, for the next dock to take up."""
        if self._left:
            return
        self._left = True
        self.suggester.stop()
        for timer in self.findChildren(QTimer):
            timer.stop()
        self.viewer.events.theme.disconnect(self._restyle)
        self.place.disconnect_viewer()
        CANVAS_KEYS.release(self._keys)
        self.legend.stop()
        self.models.close_download()
        for part in (self.focus, self.opened, self.scribble, self.session, self.lying):
            part.leave()
        self.keeper.flush()

    def _restyle(self, *_: Any) -> None:
        self.setStyleSheet(sheet(self.viewer.theme))

    def run(self) -> None:
        """Label what is chosen; every complaint is a sentence below the button."""
        try:
            job, source = self.job(), self.place.source
            planes = self.place.planes()
            self._check(job)
        except PrelabelError as error:
            self._fail(sentence(error))
            return
        if self.unlike.holds():
            return
        self._last_run = _request(job, source)
        self.session.start(
            job, source, planes, self.table.classes.locked, self.results.overwrite.isChecked()
        )

    def _check(self, job: Job) -> None:
        """Raise a PrelabelError when something that the job needs is not here."""
        if job.needs.reference:
            self.method.reference.check()
        if job.needs.clip or self.method.reference.text:
            self.models.check(job)

    def job(self) -> Job:
        """The Job the boxes describe; raises a PrelabelError naming what is missing."""
        vocabulary = self.words.vocabulary
        if vocabulary is None:
            error = self.words.error
            if error is not None and self.words.text.strip():
                raise VocabularyError(f"The words need a correction first: {sentence(error)}")
            raise VocabularyError("Type at least one word, one a line, or choose a list.")
        where = self.place.where()
        models = self.models.models.currentData()
        bare = Job(self._dressed(vocabulary), models=models, **where)
        return self.method.apply(bare)

    def _dressed(self, vocabulary: Vocabulary) -> Vocabulary:
        if self._sentences:
            vocabulary = vocabulary.with_descriptions(self._sentences)
        return vocabulary.with_colours(self.table.classes.chosen_colours)

    def _started(self, _: Task) -> None:
        self.bar.busy()
        self.worker.follow()

    def _shown(self, result: ResultLayer, task: Task) -> None:
        self.legend.recolour(result)
        if self.place.layer is task.source.layer:
            self.legend.keep_threshold(result)
        self.legend.show(result)
        self.exporter.over()
        self.sections["result"].expand()

    def _ended(self, task: Task, error: Exception | None) -> None:
        self.worker.show()
        result = self.session.result(task.source.layer)
        if result is not None:
            self.legend.show(result, changed_text(task))
            if self.place.layer is not None and self.place.layer is task.source.layer:
                self.exporter.suggest(self.place.layer.source.path)
        if self.session.running:
            return
        self.bar.idle("" if error else "Done.")
        self.bar.say(*summary(task, error))
        self._remember()

    def _restored(self, result: ResultLayer, told: str = RESTORED) -> None:
        """Labels that were kept or opened are the image's; they bring their words, if need be."""
        if self.words.text.strip() in ("", self._placed.strip()):
            self.words.set_text(result.annotation.vocabulary.to_text())
            self.words.hush()
        self.results.show_threshold(result.annotation.threshold)
        self.legend.show(result, told)
        self.sections["result"].expand()

    def _drawn_on(self) -> tuple[ResultLayer, LayerSource]:
        """Labels to scribble on; without any, empty ones for the words that are typed."""

        def fresh() -> ResultLayer:
            vocabulary = self.job().vocabulary
            return self.legend.paintable(vocabulary.names[0])

        return target_of(self.viewer, self.session, self.place, fresh)

    def _read_with(self) -> Settings:
        """The models that read an image for scribbles; raises what is missing of them."""
        check_diffusion(self.models.bundle)
        models, box = self.models.models.currentData(), self.method
        return Settings(models, box.given("nerve"), box.shared("precision").value)

    # The boxes

    def _new_image(self, layer: Image | None) -> None:
        """A sample brings its words, unless the person has typed others."""
        words = layer.metadata.get(WORDS) if layer is not None else None
        if words and self.words.text.strip() in ("", self._placed.strip()):
            self._placed = words
            self.words.set_text(words)
            if path := layer.metadata.get(SENTENCES):  # type: ignore[union-attr]
                self.lists.load_sentences(Path(path))
        result = self.session.result(layer)
        if result is not None:
            self.results.show_threshold(result.annotation.threshold)
        self.legend.show(result, "")
        if not self.session.running:
            self.bar.idle("")
            self.bar.say()
        self.exporter.over(every=True)
        self.words.hush()  # Live follows words, not images.

    def _parsed(self, vocabulary: Vocabulary | None) -> None:
        if vocabulary is not None or not self.words.text.strip():
            self.legend.show(self.session.result(self.place.layer))
            self._tell_described()

    def _settled(self, vocabulary: Vocabulary | None) -> None:
        """With live on, changed words run by themselves."""
        if vocabulary is None or not self.bar.live_box.isChecked() or self.place.layer is None:
            return
        try:
            same = _request(self.job(), self.place.source) == self._last_run
        except PrelabelError:
            same = False
        if not same:
            self.run()

    def describe(self, sentences: Sentences) -> None:
        """Use these descriptions; FreeCP asks them when words look alike."""
        self._sentences = sentences
        self._tell_described()

    def _tell_described(self) -> None:
        names = self.words.vocabulary.names if self.words.vocabulary else ()
        told = {key(name) for name in self._sentences}
        count = sum(key(name) in told for name in names)
        self.described.setText(f"Described: {count} of {counted(len(names), 'class', 'classes')}.")
        self.described.setVisible(count > 0)

    def _fit_method(self) -> None:
        bundle = self.models.bundle
        self.method.offer(bundle.methods, bundle.bases, bundle.method, bundle.base)
        if bundle is not self._fitted:
            self.method.base.choose(bundle.base)
            self.method.recommend("freecp", bundle.freecp)
            self.method.recommend("nerve", bundle.nerve)
            self._fitted = bundle
        if not self.models.installed:
            self.sections["models"].expand()
        self._tell_method()

    def _tell_method(self) -> None:
        chosen, box = self.method.method.currentData(), self.method
        # A set without a text encoder asks no CLIP: nothing is to be chosen there.
        self.models.setVisible(chosen != "reme" or box.reference.text)
        if chosen == "reme":
            self.sections["models"].tell(f"ReME, {box.reference.sets.currentText()}")
            return
        models = self.models.bundle.title.partition(" (")[0]
        method, base = box.method.currentText(), box.base.currentText()
        self.sections["models"].tell(f"{models}, {method}, {base}")

    def use_reference(self, folder: Path, words: list[str]) -> None:
        """Choose ReME and a reference set; its words are taken where none are typed."""
        if not self.words.text.strip():
            self.words.set_text("\n".join(map(typed, words)))
        self.method.method.choose("reme")
        self.method.reference.choose(folder)
        self.sections["models"].expand()

    def show_section(self, name: str) -> None:
        """Unfold a section and bring it into view."""
        self.sections[name].expand()
        self.sections[name].reveal()

    def _choose_models(self) -> None:
        self.models.choose_full()
        self.show_section("models")

    def _fail(self, sentence: str) -> None:
        if not self.session.running:
            self.bar.idle("")
        self.bar.say_until("asked", "failed", sentence)

    # Files

    def export(self) -> None:
        """Write the labels of the chosen image as they are on the screen."""
        self.session.complete()
        result = self.session.result(self.place.layer)
        if result is None:
            self.exporter.fail("There is nothing to export yet: run first.")
            return
        result.take_unseen()
        ids, vocabulary = result.annotation.named()
        facts = label_facts(result.layer, self.place.source.layer, self.viewer.layers)
        facts["provenance"] = result.annotation.provenance.copy()
        self.keeper.exporting(result)
        self.exporter.write(lambda: label_image(ids, vocabulary, facts))

    def _save_words(self, name: str) -> None:
        vocabulary = self.words.vocabulary
        told = self._dressed(vocabulary) if vocabulary is not None else None
        self.lists.write(Path(name), self.words.text, told)

    def show_job(self, job: Job) -> None:
        """Set the boxes from a job; rectangle, channels and limits go to the image."""
        self._show_settings(job)
        if told := self.place.show_job(job):
            self.exporter.fail(told)

    def _show_settings(self, job: Job) -> None:
        self.words.set_text(job.vocabulary.to_text())
        self.describe({c.name: c.descriptions for c in job.vocabulary.classes if c.descriptions})
        self.models.apply(job.models)
        self.method.show_job(job)

    def _remember(self) -> None:
        try:
            job: Any = self.job().to_dict()
        except PrelabelError:
            return
        remember.save({"job": job | {"region": None, "display": {}}, "words": self.words.text})

    def _recall(self) -> None:
        self._fit_method()
        stored = remember.load()
        if stored is None:
            return
        try:
            job = Job.from_json(remember.as_text(stored["job"]), "the remembered settings")
            self._show_settings(job)
        except (PrelabelError, KeyError):
            return
        self.words.set_text(str(stored.get("words", self.words.text)))


def _request(job: Job, source: LayerSource) -> tuple[Any, ...]:
    """What a run was asked for; another image is another request."""
    return job.digest, id(source.layer), source.level, source.channel_axis, source.channels
