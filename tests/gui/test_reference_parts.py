"""Parts of the Reference dock by themselves: gallery, tables, sentences, recent sets, the bar."""

import threading
import time
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
from fake_pool import FakeRun
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication

from napari_prelabel.engine.tasks import Evaluation, EvaluationRow
from napari_prelabel.gui.models import recent_sets
from napari_prelabel.gui.models.clips import clips
from napari_prelabel.gui.models.encoders import check, choice, choices, fetchable
from napari_prelabel.gui.parts.progress import SHARES, STAGES
from napari_prelabel.gui.prelabel.reference_chooser import ReferenceChooser
from napari_prelabel.gui.reference.bar import WorkBar
from napari_prelabel.gui.reference.captions_box import SourceBox
from napari_prelabel.gui.reference.cleaning_box import CleaningBox, shortly, summary
from napari_prelabel.gui.reference.gallery import PAGE, STEP, Gallery, _tick_rect, about
from napari_prelabel.gui.reference.learn_box import MakeBox
from napari_prelabel.gui.reference.reader import Reader
from napari_prelabel.gui.reference.shelf import Entry, Overview, Shelf
from napari_prelabel.gui.reference.trust_box import _miou, advice, verdict
from napari_prelabel.gui.reference.why_answer import percent
from napari_prelabel.gui.run.asker import Asker
from napari_prelabel.models import catalog
from napari_prelabel.reference.metric import fit_set
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.reference.values import (
    Addition,
    Cleaned,
    EncoderId,
    Record,
    Segment,
    Source,
)
from napari_prelabel.values.encoder import TEXTURE, Encoder
from napari_prelabel.values.errors import FileFormatError, ModelError
from napari_prelabel.values.job import Progress, Stage
from napari_prelabel.values.retrieval import Cleaning

from fake_pool import _png  # isort: skip
from gui_steps import wait  # isort: skip

MANY = 200_000


def entry(row, on=True, **source):
    told = Source("0" * 64, f"image {row}", (40, 50), **source)
    segment = Segment((1, 2, 11, 22), 150, ("cell",))
    record = Record(row, segment, told, ("cell",), (("blob", "outlier"),), on)
    return Entry(record, _png(np.full((10, 20, 3), 90, np.uint8)))


@pytest.fixture
def gallery(qtbot):
    asked = []

    def ask(rows, then):
        asked.append(len(rows))
        then(tuple(entry(int(r)) for r in rows))

    made = Gallery(ask)
    qtbot.addWidget(made)
    made.asked = asked
    made.resize(340, 300)
    made.show()
    return made


# Gallery


def test_two_hundred_thousand_segments_open_at_once_and_only_those_in_view_are_read(gallery):
    start = time.perf_counter()
    gallery.show_rows(np.arange(MANY))
    QApplication.processEvents()
    assert time.perf_counter() - start < 1.0
    assert gallery.pictures.rowCount() == STEP
    assert sum(gallery.asked) <= 2 * PAGE
    gallery.scrollToBottom()
    wait(lambda: gallery.pictures.rowCount() == 2 * STEP)


def test_a_picture_that_was_read_is_not_read_again(gallery):
    gallery.show_rows(np.arange(3))
    wait(lambda: gallery.pictures.entry(gallery.pictures.index(0)) is not None)
    before = len(gallery.asked)
    gallery.viewport().update()
    QApplication.processEvents()
    assert len(gallery.asked) == before
    gallery.pictures.forget(np.array([1]))
    QApplication.processEvents()
    wait(lambda: len(gallery.asked) > before)


def click(gallery, where):
    for kind in (QEvent.Type.MouseButtonPress, QEvent.Type.MouseButtonRelease):
        at = QPointF(where)
        event = QMouseEvent(
            kind, at, at, Qt.MouseButton.LeftButton, Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )  # fmt: skip
        QApplication.sendEvent(gallery.viewport(), event)


def test_a_click_on_the_tick_switches_and_one_beside_it_chooses(gallery):
    gallery.show_rows(np.arange(4))
    index = gallery.pictures.index(2)
    wait(lambda: gallery.pictures.entry(index) is not None)
    switched, chosen = [], []
    gallery.switch.connect(lambda rows, on: switched.append((rows, on)))
    gallery.chosen.connect(chosen.append)
    cell = gallery.visualRect(index)
    click(gallery, _tick_rect(cell).center())
    assert switched == [([2], False)]
    click(gallery, cell.center())
    assert chosen[-1].record.row == 2
    assert len(switched) == 1


def test_the_space_bar_switches_the_chosen_one(gallery, qtbot):
    gallery.show_rows(np.arange(2))
    wait(lambda: gallery.pictures.entry(gallery.pictures.index(1)) is not None)
    switched = []
    gallery.switch.connect(lambda rows, on: switched.append((rows, on)))
    gallery.setCurrentIndex(gallery.pictures.index(1))
    qtbot.keyClick(gallery, Qt.Key.Key_Space)
    assert switched == [([1], False)]


def test_all_that_is_known_of_a_segment_is_told():
    told = about(entry(3, False, author="Ann", reviewed="2026-11-20T10:00:00+00:00", licence="CC0"))
    for fact in ("cell", "image 3", "20 × 10 pixels", "20 November 2026", "Ann", "CC0",
                 "“blob” was dropped", "switched off"):  # fmt: skip
        assert fact in told
    assert "no licence told" in about(entry(1, reviewed="long ago"))


# Sentences


def row(name, to_fix):
    return EvaluationRow(name, 50.0, 60.0, to_fix, None)


@pytest.mark.parametrize(
    ("after", "told"), [(20.0, "75 % fewer"), (80.0, "does not help yet"), (79.9, "not help yet")]
)
def test_a_verdict_in_plain_words(after, told):
    assert told in verdict(Evaluation((row("nothing", 80.0), row("set", after)), {}))


def test_no_verdict_without_pixels_and_no_advice_without_a_better_row():
    nothing = Evaluation((row("nothing", 0.0), row("set", 0.0)), {})
    assert "no labelled pixels" in verdict(nothing)
    assert verdict(Evaluation((), {})) == advice(Evaluation((), {})) == ""
    assert advice(Evaluation((row("set", 5.0), row("set, outliers kept", 9.0)), {})) == ""


@pytest.mark.parametrize(
    ("interval", "text"),
    [(None, "50.0 %"), ((50.0, 50.0), "50.0 %"), ((49.0, 51.5), "50.0 % (49.0–51.5)"),
     ((40.2, 61.0), "50.0 % (40–61)")],
)  # fmt: skip
def test_a_range_is_told_as_finely_as_it_needs(interval, text):
    assert _miou(EvaluationRow("set", 50.0, 60.0, 5.0, interval)) == text


def test_what_cleaning_did_is_told_step_by_step():
    everything = Cleaning(abstract=True, outliers="fixed", synonyms="neighbours")
    told = summary(Cleaned(everything, ("thing",), (("sea", "ocean"),), 40, 7, 3))
    assert "thing (40 segments dropped)" in told
    assert "Outliers: 7 segments" in told
    assert "sea = ocean" in told
    assert summary(None).startswith("Not cleaned yet")
    off = Cleaned(Cleaning(outliers="off", synonyms="off"))
    assert summary(off).startswith("No step is on")
    assert shortly(Cleaned(everything, (), (("a", "b"),), 1, 2)) == "3 dropped, 1 synonym"


@pytest.mark.parametrize(("weight", "text"), [(0.832, "83 %"), (0.001, "< 1 %")])
def test_small_weights_are_not_nothing(weight, text):
    assert percent(weight) == text


# Cleaning settings


def test_cleaning_settings_come_back_and_a_word_can_be_kept(qtbot):
    box = CleaningBox()
    qtbot.addWidget(box)
    wanted = Cleaning(True, "adaptive", 0.2, "share", 12, 0.75, ("thing",))
    box.show_settings(wanted)
    assert box.settings() == wanted
    cleaned = Cleaned(wanted, ("stuff",))
    hashes: frozenset = frozenset()
    box.show_set(Overview(recent_sets.home(), "s", TEXTURE, 1, 1, "d", (), cleaned, (), hashes))
    assert box.words.rows == ["stuff", "thing"]
    box.words.model_.ticked.emit("stuff", True)
    assert box.settings().keep == ("stuff", "thing")


# Questions


def test_a_question_that_is_late_is_stopped_and_not_taken_for_the_newer(qtbot):
    runs, late = [FakeRun(), FakeRun()], threading.Event()

    def ask(task, *_):
        if task == 0:
            late.wait(5)
        return runs[task]

    asker = Asker(lambda: SimpleNamespace(ask=ask))
    asker.ask(lambda: 0)
    asker.ask(lambda: 1)
    qtbot.waitUntil(lambda: asker._run is runs[1])
    late.set()
    qtbot.waitUntil(runs[0].stop.is_set)
    assert not runs[1].stop.is_set()
    asker.cancel()
    assert runs[1].stop.is_set()
    assert not asker.busy


# Encoders


DINO = Encoder("patches", "dinov2b")
DEMO_CLIP, OTHER_CLIP = Encoder("clip", "demo-clip"), Encoder("clip", "openai-vitb16")


def test_encoders_say_what_they_need(monkeypatch, tmp_path):
    monkeypatch.setenv("PRELABEL_MODELS", str(tmp_path))
    found = [c.encoder for c in choices()]
    assert found[:2] == [TEXTURE, DEMO_CLIP]
    assert Encoder("patches", "dinov2l") in found
    assert not any(encoder.model.endswith("random") for encoder in found)
    assert choice(TEXTURE).installed
    assert "346.3 MB to fetch. Licence: Apache-2.0" in choice(DINO).note
    assert fetchable(TEXTURE) is None
    assert fetchable(DINO).folder == tmp_path / "models--facebook--dinov2-base"


def test_a_clip_at_hand_is_an_encoder_too(monkeypatch, tmp_path):
    monkeypatch.setenv("PRELABEL_MODELS", str(tmp_path))
    assert choice(DEMO_CLIP).title == "Demo CLIP"
    assert choice(DEMO_CLIP).installed
    check(DEMO_CLIP)
    absent = choice(OTHER_CLIP)
    assert (absent.title, absent.installed) == (catalog.BUNDLES["vitb16"].title, False)
    assert fetchable(OTHER_CLIP) is None
    with pytest.raises(ModelError, match="get it in the Pre-label dock"):
        check(OTHER_CLIP)
    for unheard in ("clip:unheard", "unheard"):
        with pytest.raises(ModelError, match=f"{unheard} is not on this machine"):
            check(Encoder.parse(unheard))
    with pytest.raises(ModelError, match="press “Get this encoder"):
        check(DINO)
    monkeypatch.setattr(catalog, "installed", lambda _: True)
    assert Encoder("clip", "openai-vitl14") in [c.encoder for c in choices()]


def test_encoders_that_squash_can_read_in_windows(qtbot):
    box = MakeBox()
    qtbot.addWidget(box)
    box.windows.setChecked(True)
    asked = {}
    for name in ("texture", "clip:demo-clip", "demo-visual"):
        assert box.encoder.choose(name)
        asked[name] = (box.target(None).encoder, box.windows.isHidden())
    windows = Encoder("patches", "demo-visual", windows=True)
    assert asked == {
        "texture": (TEXTURE, True),
        "clip:demo-clip": (DEMO_CLIP, True),
        "demo-visual": (windows, False),
    }
    assert choice(windows).title.endswith(", in windows")
    assert choice(windows).installed
    with pytest.raises(ModelError, match="in windows is not on this machine"):
        check(Encoder("patches", "dinov2l", windows=True))


# Words and captions


def test_every_clip_at_hand_is_one_choice_and_the_demo_is_the_last(monkeypatch):
    assert [clip.bundle for clip in clips()] == ["demo"]
    assert "drawn scenes only" in clips()[0].note
    monkeypatch.setattr(catalog, "installed", lambda _: True)
    found = clips()
    assert [c.bundle for c in found[:3]] == ["vitb16", "vitl14", "vitl14-336"]
    assert found[-1].bundle == "demo"
    models = [catalog.BUNDLES[c.bundle].clip for c in found]
    assert len(set(models)) == len(models)
    assert not any("random" in model for model in models)


def test_words_meet_by_name_unless_a_model_at_hand_is_chosen(qtbot, monkeypatch):
    box = MakeBox()
    qtbot.addWidget(box)
    assert (box.words.count(), box.target(None).text) == (2, "")
    assert "by its name" in box.words_note.text()
    assert box.words.choose("demo")
    assert box.target(None).text == "demo"
    assert "drawn scenes only" in box.words_note.text()
    monkeypatch.setattr(catalog, "installed", lambda _: False)
    box.refresh()
    assert box._worded.isHidden()
    assert box.target(None).text == ""


def test_captions_are_offered_only_where_a_model_can_match_them(qtbot, monkeypatch, tmp_path):
    box = SourceBox(list)
    qtbot.addWidget(box)
    box.kind.choose(True)
    assert box.by_captions
    assert box.learn.isHidden()
    assert not box.usable
    with pytest.raises(FileFormatError, match="Choose a captions file"):
        box.captions.taken()
    box.captions.file.setText(f" {tmp_path / 'told.jsonl'}")
    assert box.usable
    assert box.captions.taken() == (tmp_path / "told.jsonl", tmp_path, "demo")
    box.captions.folder.setText(str(tmp_path / "photos"))
    assert box.captions.taken()[1] == tmp_path / "photos"
    monkeypatch.setattr(catalog, "installed", lambda _: False)
    box.refresh()
    assert box._choice.isHidden()
    assert not box.by_captions
    assert box.captions.isHidden()


def test_synonyms_are_offered_only_where_words_are_compared(qtbot):
    box = CleaningBox()
    qtbot.addWidget(box)
    facts = (recent_sets.home(), "s", TEXTURE, 1, 1, "d", (), None, (), frozenset())
    box.show_set(Overview(*facts))
    assert box.settings().synonyms == "off"
    assert box._synonyms_row.isHidden()
    box.show_set(Overview(*facts, words="demo-clip"))
    assert box.settings().synonyms == "neighbours"
    assert not box._synonyms_row.isHidden()
    assert Overview(*facts, words="demo-clip").text().endswith("Words: demo-clip.")


def test_how_alike_synonyms_are_suits_the_text_model(qtbot):
    box = CleaningBox()
    qtbot.addWidget(box)
    facts = (recent_sets.home(), "s", TEXTURE, 1, 1, "d", ())
    for words, alike in (("demo-clip", 0.99), ("openai-vitb16", 0.9)):
        box.show_set(Overview(*facts, None, (), frozenset(), words))
        assert box.settings().similarity == alike
    before = Cleaned(Cleaning(similarity=0.8))
    box.show_set(Overview(*facts, before, (), frozenset(), "demo-clip"))
    assert box.settings().similarity == 0.8


def test_a_set_whose_words_need_an_absent_model_is_not_asked(qtbot, tmp_path):
    text = EncoderId("openai-vitb16", "b" * 64, 512)
    ReferenceSet.create(tmp_path / "s", EncoderId("texture", "a" * 64, 5), text)
    chooser = ReferenceChooser()
    qtbot.addWidget(chooser)
    chooser.choose(tmp_path / "s")
    wait(lambda: chooser.words == "openai-vitb16")
    assert chooser.text
    with pytest.raises(ModelError, match="compared by openai-vitb16, which is not on this machine"):
        chooser.check()


def test_what_is_told_of_a_set_chosen_before_is_passed_over(qtbot, tmp_path):
    ReferenceSet.create(tmp_path / "good", EncoderId("texture", "a" * 64, 5))
    chooser = ReferenceChooser()
    qtbot.addWidget(chooser)
    chooser.choose(tmp_path / "good")
    wait(lambda: chooser.encoder == TEXTURE)
    chooser._told((tmp_path / "broken", FileFormatError("", "late news")))
    assert (chooser.problem, chooser.encoder) == ("", TEXTURE)
    chooser.choose(tmp_path / "absent")
    wait(lambda: "There is no reference set" in chooser.problem)


def test_a_captions_file_in_no_known_home_is_a_sentence(qtbot):
    box = SourceBox(list)
    qtbot.addWidget(box)
    box.captions.file.setText("~nobody-of-this-name/told.jsonl")
    with pytest.raises(FileFormatError, match="in no home that is known: write it whole"):
        box.captions.taken()


# Threads


def test_a_reader_answers_in_order_tells_errors_and_is_silent_once_closed(qapp):
    reader, got, failed = Reader(), [], []
    reader.failed.connect(failed.append)
    reader.ask(lambda: time.sleep(0.05) or 1, got.append)
    reader.ask(lambda: 1 / 0, got.append)
    reader.ask(lambda: 3, got.append)
    wait(lambda: got == [1, 3])
    assert isinstance(failed[0], ZeroDivisionError)
    reader.ask(lambda: time.sleep(0.05) or 4, got.append)
    reader.close()
    reader.ask(lambda: 5, got.append)
    time.sleep(0.1)
    qapp.processEvents()
    assert got == [1, 3]


# Bars


def test_every_stage_has_its_words_and_its_place_in_the_bar():
    assert set(STAGES) == set(SHARES) == set(get_args(Stage))


def test_the_bar_names_the_image_and_how_many_there_are(qtbot):
    bar = WorkBar()
    qtbot.addWidget(bar)
    bar.offer("Make", "", True)
    bar.busy("Reading …")
    assert not bar.button.isEnabled()
    bar.progress(Progress("learn", 1, 3, message="slide 2"))
    assert bar.stage.text() == "Learning from image 2 of 3: slide 2"
    assert (bar.bar.value(), bar.bar.maximum()) == (1, 3)
    bar.idle("Done.")
    assert bar.button.isEnabled()


# Recent sets


def test_recent_sets_keep_their_order_and_lose_those_that_are_gone(tmp_path):
    folders = [tmp_path / name / "cells" for name in ("a", "b")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "manifest.json").write_text("{}")
    known = recent_sets.used(folders[1], recent_sets.used(folders[0], []))
    assert known == [folders[1], folders[0]]
    wait(lambda: recent_sets.recent() == known)
    assert [t for t, _ in recent_sets.titles(known)] == ["cells (b)", "cells (a)"]
    (folders[1] / "manifest.json").unlink()
    assert recent_sets.recent() == [folders[0]]
    assert not recent_sets.is_set(tmp_path / ("n" * 400))


def test_settings_kept_at_once_do_not_lose_each_other():
    for number in range(20):
        recent_sets.keep(**{f"s{number}": number})
    wait(lambda: len(recent_sets.settings()) == 20)


def test_a_second_set_of_a_name_gets_a_number_and_a_safe_folder(tmp_path):
    assert recent_sets.folder_for("a/b:c", tmp_path).name == "a_b_c"
    (tmp_path / "cells").mkdir()
    assert recent_sets.folder_for("cells", tmp_path).name == "cells 2"
    assert recent_sets.folder_for("..", tmp_path).name == "set"


# Merging


def texture_set(folder, seed):
    """A set of one image, compared by a metric fitted to its own rows."""
    rng = np.random.default_rng(seed)
    words = ("tree", "sky", "tree", "sky")
    image = Addition(
        Source(f"{seed:064x}", f"image {seed}", (20, 30)),
        rng.normal(size=(4, 5)).astype(np.float32),
        tuple(Segment((i, 0, i + 4, 5), 6, (word,), "correction") for i, word in enumerate(words)),
        (_png(np.full((4, 5, 3), seed, np.uint8)),) * 4,
    )
    made = ReferenceSet.create(folder, EncoderId("texture", "a" * 64, 5))
    made.add([image])
    made.put_metric(fit_set(made))
    return made


def test_a_merged_set_is_compared_by_what_all_its_rows_teach(qtbot, tmp_path):
    one, other = texture_set(tmp_path / "one", 1), texture_set(tmp_path / "other", 2)
    shelf = Shelf()
    shelf.open(one.folder)
    wait(lambda: shelf.overview is not None)
    shelf.merge(other.folder)
    wait(lambda: shelf.overview.images == 2)
    merged = ReferenceSet.open(one.folder)
    np.testing.assert_array_equal(merged.metric.matrix, fit_set(merged).matrix)
    assert not np.array_equal(merged.metric.matrix, one.metric.matrix)
    assert shelf.overview.digest == merged.digest
    shelf.undo()
    wait(lambda: shelf.overview.images == 1)
    assert ReferenceSet.open(one.folder).digest == one.digest
    shelf.close()


def test_a_set_that_brings_nothing_changes_nothing(qtbot, tmp_path):
    one = texture_set(tmp_path / "one", 1)
    shelf, told = Shelf(), []
    shelf.said.connect(told.append)
    shelf.open(one.folder)
    wait(lambda: shelf.overview is not None)
    shelf.merge(texture_set(tmp_path / "again", 1).folder)
    wait(lambda: bool(told))
    assert told == ["again brought 0 new images; 1 image stood in both."]
    assert ReferenceSet.open(one.folder).generation == one.generation
    shelf.close()
