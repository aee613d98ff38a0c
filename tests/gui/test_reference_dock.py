"""The Reference dock as a person uses it: real window, real sets, a pool that learns by colour."""

import json
import shutil
import time

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QApplication

from napari_prelabel.engine.tasks import Clean, Evaluate, Explain, Learn, LearnCaptions
from napari_prelabel.gui.launch import _result
from napari_prelabel.gui.models import recent_sets
from napari_prelabel.gui.prelabel.dock import PrelabelDock
from napari_prelabel.gui.reference.dock import ReferenceDock
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.values.encoder import TEXTURE
from napari_prelabel.values.errors import RunFailed, WorkerDied
from napari_prelabel.values.job import Job, Reference
from napari_prelabel.values.vocabulary import Vocabulary

from fake_pool import ENCODER, FakePool  # isort: skip
from gui_steps import wait  # isort: skip

WORDS = Vocabulary.parse("dark\nbright")


@pytest.fixture
def fake():
    return FakePool()


@pytest.fixture
def dock(viewer, fake, tmp_path):
    made = ReferenceDock(viewer, lambda: fake)
    viewer.window.add_dock_widget(made, name="Reference", area="right")
    made.new.parent_folder.setText(str(tmp_path / "sets"))
    return made


def add_image(viewer, name, seed):
    """An image with a dark and a bright half, labelled so, with one stroke of the person's."""
    rng = np.random.default_rng(seed)
    pixels = np.full((60, 80, 3), 40, np.uint8)
    pixels[:, 40:] = 200
    pixels += rng.integers(0, 9, pixels.shape, np.uint8)
    image = viewer.add_image(pixels, name=name, rgb=True)
    ids = np.ones((60, 80), np.uint16)
    ids[:, 40:] = 2
    result = _result(image, ids, WORDS)
    viewer.add_layer(result.layer)
    result.layer.brush_size = 4
    result.layer.paint((10, 10), 1)
    return image, result


@pytest.fixture
def two(viewer, dock):
    made = [add_image(viewer, "first", 1), add_image(viewer, "second", 2)]
    wait(lambda: len(dock.learn.ticked) == 2)
    return made


def make(dock):
    dock.bar.button.click()
    wait(lambda: not dock.asker.busy)
    wait(lambda: dock.shelf.overview is not None and not dock.bar.bar.isVisible())


def small_set(folder):
    """A set without images, as a worker leaves it that dies at once."""
    return ReferenceSet.create(folder, ENCODER)


@pytest.fixture
def made(dock, two):
    """The dock with a set of two images, and its first class chosen."""
    make(dock)
    dock.content.table.choose(0)
    wait(lambda: dock.content.gallery.pictures.rowCount() == 2)
    return dock


def entry(dock, number):
    pictures = dock.content.gallery.pictures
    index = pictures.index(number)
    wait(lambda: pictures.data(index, Qt.ItemDataRole.UserRole) is not None)
    return pictures.entry(index)


# Learning


def test_an_empty_viewer_says_what_to_do_and_nothing_can_be_pressed(dock):
    assert not dock.learn.empty.isHidden()
    assert not dock.bar.button.isEnabled()
    assert dock.sections["trust"].isHidden()


def test_one_press_makes_a_set_of_the_corrected_images(dock, two, fake, tmp_path):
    dock.new.author.setText("Ann")
    dock.new.licence.setText("CC0-1.0")
    make(dock)
    (task,) = fake.asked
    assert isinstance(task, Learn)
    assert [p.name for p in task.pairs] == ["second", "first"]
    assert (task.encoder, task.author, task.licence) == (TEXTURE, "Ann", "CC0-1.0")
    assert dock.bar.notices.texts[0].startswith("Learned 4 segments of 2 images in 1.2 s.")
    assert dock.shelf.overview.segments == 4
    assert [c.word for c in dock.content.table.rows] == ["dark", "bright"]
    assert dock.bar.button.text() == "Add to “my corrections”"
    wait(lambda: recent_sets.settings().get("author") == "Ann")
    assert recent_sets.recent() == [tmp_path / "sets" / "my corrections"]


def test_a_pair_without_strokes_is_not_ticked_by_itself(viewer, dock):
    image, _ = add_image(viewer, "drawn", 1)
    plain = _result(viewer.add_image(image.data, name="plain"), np.ones((60, 80), np.uint16), WORDS)
    viewer.add_layer(plain.layer)
    wait(lambda: len(dock.learn.table.rows) == 2)
    assert [p.image.name for p in dock.learn.ticked] == ["drawn"]
    dock.learn.every.click()
    assert len(dock.learn.ticked) == 2
    dock.learn.none.click()
    assert not dock.bar.button.isEnabled()


def test_the_state_follows_learning_and_painting(made, two):
    state = made.learn._state
    assert {state(p) for p in made.learn.table.rows} == {"learned"}
    assert made.bar.notices.texts[0].startswith("Learned")
    two[0][1].layer.paint((50, 60), 1)
    wait(lambda: {state(p) for p in made.learn.table.rows} == {"learned", "changed"})
    wait(lambda: made.bar.notices.texts == [])  # what was said of the learning is over


def test_cancel_leaves_things_as_they_were(dock, two, fake):
    fake.pause = 0.3
    dock.bar.button.click()
    wait(lambda: bool(fake.asked))
    dock.bar.cancel_button.click()
    assert not dock.asker.busy
    assert dock.bar.notices.texts == ["Cancelled; the set is as it was."]
    assert dock.shelf.overview is None


def test_what_the_worker_complains_of_is_a_sentence(dock, two, fake):
    fake.fail = RunFailed("no luck")
    dock.bar.button.click()
    wait(lambda: not dock.asker.busy)
    assert "no luck" in dock.bar.notices.texts[0]
    assert dock.bar.button.isEnabled()


def test_a_worker_that_died_leaves_what_it_had_learned_in_view(dock, two, fake, tmp_path):
    fake.fail = WorkerDied()
    dock.bar.button.click()
    wait(lambda: not dock.asker.busy)
    assert "nothing was changed" in dock.bar.notices.texts[0]  # there is no set yet
    made = small_set(tmp_path / "sets" / "my corrections 2")
    dock.new.name.setText("my corrections 2")
    dock.new.folder = lambda: made.folder
    fake.fail = WorkerDied("out of memory")
    dock.bar.button.click()
    wait(lambda: not dock.asker.busy and dock.shelf.overview is not None)
    assert dock.shelf.overview.images == made.n_images
    (told,) = dock.bar.notices.texts
    assert told.startswith("The worker process stopped (out of memory) and was started again.")
    assert "What it had learned until then is in the set" in told


def test_folders_that_cannot_be_are_a_sentence(dock, two, fake, tmp_path):
    (tmp_path / "sets").mkdir()
    dock.new.name.setText("n" * 400)
    dock.bar.button.click()
    assert "choose another folder or a shorter name" in dock.bar.notices.texts[0]
    dock.new.name.setText("n")
    dock.new.parent_folder.setText("~nobody-of-this-name/sets")
    dock.bar.button.click()
    assert "No set can be made in ~nobody-of-this-name/sets" in dock.bar.notices.texts[0]
    assert not fake.asked


def test_images_that_cannot_be_read_are_told_and_the_others_learnt(viewer, dock, two, fake):
    two[0][1].source = Unreadable(two[0][0])
    strange = viewer.add_labels(np.full((60, 80), 99, np.uint8), name="second by others")
    wait(lambda: len(dock.learn.table.rows) == 3)
    dock.learn.every.click()
    make(dock)
    assert [p.name for p in fake.asked[0].pairs] == ["second"]
    told = dock.bar.notices.texts
    assert "of 1 image in" in told[0]
    (disk,) = [text for text in told if "the disk is gone" in text]
    assert disk.startswith("first: The image cannot be learnt from (OSError: ")
    states = {p.image.name: dock.learn._state(p) for p in dock.learn.table.rows if p.result}
    assert states["second"] == "learned"
    assert states["first"] != "learned"
    viewer.layers.remove(strange)
    viewer.layers.remove(two[1][1].layer)
    wait(lambda: len(dock.learn.table.rows) == 1)
    dock.bar.button.click()
    wait(lambda: not dock.asker.busy)
    assert "the disk is gone" in dock.bar.notices.texts[0]
    assert len(fake.asked) == 1


def test_what_is_unlabelled_becomes_background_when_asked(viewer, dock, fake):
    """The box as a person ticks it: one word alone has nothing to be told from."""
    _, result = add_image(viewer, "first", 1)
    result.layer.data = np.where(result.layer.data == 2, 0, result.layer.data).astype(np.uint16)
    wait(lambda: bool(dock.learn.table.rows))
    dock.learn.every.click()
    make(dock)
    (plain,) = fake.asked[0].pairs
    assert set(np.unique(plain.ids)) == {0, 1}
    dock.learn.ground.click()
    make(dock)
    (whole,) = fake.asked[1].pairs
    assert whole.vocabulary.names == ("dark", "bright", "background")
    np.testing.assert_array_equal(whole.ids == 3, plain.ids == 0)
    np.testing.assert_array_equal(whole.ids == 1, plain.ids == 1)


class Unreadable:
    """A source whose pixels cannot be had."""

    shape = (60, 80)

    def __init__(self, layer):
        self.layer = layer

    def plane(self, _):
        raise OSError("the disk is gone")


def test_the_window_lives_while_images_are_read_and_learnt(dock, two, fake):
    fake.pause = 0.2
    two[0][1].source = Slow(two[0][0])
    dock.bar.button.click()
    longest, last = 0.0, time.perf_counter()
    while dock.asker.busy:
        QApplication.processEvents()
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
        time.sleep(0.002)
    assert longest < 0.5  # the image alone takes a second


class Slow(Unreadable):
    """A source that takes a second to read."""

    def plane(self, _):
        time.sleep(1.0)
        return np.asarray(self.layer.data)


def test_adding_replaces_and_counts(made, fake):
    make(made)
    wait(lambda: len(fake.asked) == 2)
    assert fake.asked[1].folder == str(made.shelf.folder)
    assert made.shelf.overview.segments == 4


@pytest.fixture
def told(dock, tmp_path):
    """The dock with captions of two images chosen, one of them with a licence, and a bad line."""
    lines = [{"image": "a.png", "caption": "A red boat.", "licence": "CC-BY-4.0"}]
    lines += [{"image": "b.png", "caption": "The sea."}, {"image": "gone.png", "caption": "Sky."}]
    for line in lines[:2]:
        (tmp_path / line["image"]).write_bytes(b"")
    (tmp_path / "told.jsonl").write_text("\n".join(map(json.dumps, lines)))
    dock.source.kind.choose(True)
    assert not dock.bar.button.isEnabled()
    dock.captions.file.setText(str(tmp_path / "told.jsonl"))
    return dock


def test_images_with_captions_make_a_set(told, fake):
    told.new.author.setText("Ann")
    told.new.licence.setText("CC0-1.0")
    told.new.words.choose("demo")
    make(told)
    (task,) = fake.asked
    assert isinstance(task, LearnCaptions)
    assert [(i.name, i.author, i.licence) for i in task.images] == [
        ("a.png", "Ann", "CC-BY-4.0"), ("b.png", "Ann", "CC0-1.0")
    ]  # fmt: skip
    assert (task.encoder, task.bundle, task.text) == (TEXTURE, "demo", "demo")
    assert told.bar.notices.texts == [
        "Learned 2 segments of 1 image in 0.5 s. The set holds 2 segments of 2 images.",
        "The captions have no word for 7 segments.",
        "1 image stayed as you had corrected them.",
        "Left out 1 line of the captions; line 3: there is no image 'gone.png' in the folder: "
        "give the file's plain name.",
    ]
    assert told.shelf.overview.words == "demo-clip"
    assert "Words meet by demo-clip" in told.sets.facts.toolTip()


def test_a_captions_file_that_cannot_be_read_is_a_sentence(told, fake, tmp_path):
    told.captions.file.setText(str(tmp_path / "absent.jsonl"))
    told.bar.button.click()
    wait(lambda: not told.asker.busy)
    assert "absent.jsonl cannot be read" in told.bar.notices.texts[0]
    assert not fake.asked
    assert told.bar.button.isEnabled()


# Looking


def test_all_that_is_told_of_a_segment_is_in_view_at_a_usual_height(made):
    entry(made, 0)
    alone = made.scroll
    made.setMinimumHeight(0)
    frame = made.parentWidget()
    frame.setFloating(True)
    frame.resize(400, 820)
    frame.show()
    made.content.gallery.setCurrentIndex(made.content.gallery.pictures.index(0))
    wait(lambda: made.content.detail.isVisible() and not made._reveal.isActive())
    QApplication.processEvents()
    top = made.content.detail.mapTo(alone.viewport(), QPoint(0, 0)).y()
    assert top >= 0
    assert top + made.content.detail.height() <= alone.viewport().height()


def test_a_click_on_a_class_shows_its_segments_and_one_is_told_in_full(made):
    shown = entry(made, 0)
    made.content.gallery.setCurrentIndex(made.content.gallery.pictures.index(0))
    told = made.content.told.text()
    assert shown.record.source.name in told
    assert "no licence told" in told
    assert not made.content.picture.pixmap().isNull()


def test_one_click_switches_a_segment_off_without_a_rebuild_and_undo_brings_it_back(made, fake):
    row = entry(made, 0).record.row
    made.content.gallery.switch.emit([row], False)
    wait(lambda: made.shelf.overview.classes[0].off == 1)
    assert len(fake.asked) == 1
    assert not ReferenceSet.open(made.shelf.folder).records([row])[0].enabled
    wait(lambda: not entry(made, 0).record.enabled)
    made.sets.undo_button.click()
    wait(lambda: made.shelf.overview.classes[0].off == 0)
    assert ReferenceSet.open(made.shelf.folder).records([row])[0].enabled
    assert not made.sets.undo_button.isEnabled()


def test_a_whole_image_is_switched_off(made):
    entry(made, 0)
    made.content.gallery.setCurrentIndex(made.content.gallery.pictures.index(0))
    made.content.image_button.click()
    wait(lambda: sum(c.off for c in made.shelf.overview.classes) == 2)


def test_another_set_is_merged_and_the_merge_undone(made, viewer, fake, tmp_path):
    add_image(viewer, "third", 3)
    folder = made.shelf.folder
    made.open(None)
    wait(lambda: made.shelf.overview is None)
    made.new.name.setText("other")
    wait(lambda: len(made.learn.table.rows) == 3)
    for pair in made.learn.table.rows:
        made.learn._tick(pair, pair.image.name == "third")
    make(made)
    assert made.shelf.overview.images == 1
    made.content.merge.emit(str(folder))
    wait(lambda: made.shelf.overview.images == 3)
    assert made.bar.notices.texts == ["my corrections brought 2 new images."]
    made.sets.undo_button.click()
    wait(lambda: made.shelf.overview.images == 1)


def test_a_broken_set_is_a_sentence_and_shows_nothing_of_another(made, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(made.shelf.folder, broken)
    (broken / "manifest.json").write_text("{")
    made.open(broken)
    wait(lambda: bool(made.bar.notices.texts))
    assert "broken" in made.bar.notices.texts[0]


def test_the_last_set_is_open_again_next_time(made, viewer, fake):
    wait(lambda: recent_sets.recent() == [made.shelf.folder])
    again = ReferenceDock(viewer, lambda: fake)
    wait(lambda: again.shelf.overview is not None)
    assert again.shelf.overview.segments == 4
    again.close()


# Cleaning


def test_cleaning_settings_go_to_the_worker(made, fake):
    made.cleaning.outliers.choose("adaptive")
    made.cleaning.apply.click()
    wait(lambda: len(fake.asked) == 2)
    task = fake.asked[1]
    assert isinstance(task, Clean)
    assert task.cleaning.outliers == "adaptive"
    wait(lambda: not made.asker.busy)


# Trust


def test_evaluation_is_told_in_plain_words(made, fake):
    made.trust.button.click()
    wait(lambda: bool(made.trust.table.rows))
    task = fake.asked[-1]
    assert isinstance(task, Evaluate)
    assert task.job.method == "reme"
    assert task.job.reference.digest == made.shelf.overview.digest
    assert "88 % fewer pixels" in made.trust.verdict.text()
    assert "on 2 images only" in made.trust.verdict.text()
    assert "“Synonyms”" in made.trust.advice.text()
    assert "Hardest: second, 31 %" in made.trust.advice.text()
    made.open(None)
    assert made.trust.table.isHidden()


# Why


def reme_result(dock, two):
    result = two[0][1]
    reference = Reference(str(dock.shelf.folder), dock.shelf.overview.digest)
    result.annotation.facts = {"job": Job(WORDS, method="reme", reference=reference).to_dict()}
    return result


def test_a_click_asks_which_references_caused_a_label(made, two, viewer, fake):
    reme_result(made, two)
    viewer.layers["second labels"].visible = False
    made.why.button.click()
    made.tool.ask_at((30.0, 60.0))
    wait(lambda: bool(made.why.list.cards))
    task = fake.asked[-1]
    assert isinstance(task, Explain)
    assert task.point == (30, 60)
    assert made.why.answer.text().startswith("“bright” took 83 %")
    assert "asked segment" in viewer.layers
    assert [p.labels.name for p in made.learn.table.rows] == ["second labels", "first labels"]
    card = made.why.list.cards[0]
    card.switch_button.click()
    wait(lambda: card.switch_button.text() == "Switch on")
    assert "press Run again" in made.why.note.text()
    made.why.button.click()
    assert "asked segment" not in viewer.layers


def test_the_references_of_an_image_are_switched_off_at_once_and_back(made, two, viewer, fake):
    reme_result(made, two)
    viewer.layers["second labels"].visible = False
    made.tool.ask_at((30.0, 60.0))
    listed = made.why.list
    wait(lambda: bool(listed.cards))
    assert sum(len(head.cards) for head in listed.heads) == len(listed.cards)
    sources = [{c.entry.record.source.name for c in head.cards} for head in listed.heads]
    assert all(len(names) == 1 for names in sources)
    head = listed.heads[0]
    count = len(head.cards)
    assert head.title.text().endswith("1 segment" if count == 1 else f"{count} segments")
    head.switch_button.click()
    wait(lambda: head.switch_button.text() == "Switch all on")
    assert not any(card.entry.record.enabled for card in head.cards)
    made.sets.undo_button.click()
    wait(lambda: head.switch_button.text() == "Switch all off")
    assert all(card.entry.record.enabled for card in head.cards)


def test_labels_of_another_method_say_what_to_do(made, two):
    made.tool.ask_at((30.0, 60.0))
    assert "choose ReME" in made.bar.notices.texts[0]


def test_a_click_beside_everything_is_a_sentence(made):
    made.tool.ask_at((900.0, 900.0))
    assert "run ReME" in made.bar.notices.texts[0]


def test_show_moves_the_camera_to_the_segment_in_its_image(made, viewer):
    shown = entry(made, 0)
    viewer.scene.camera.center = (0, 500, 500)
    made.places.show(shown)
    wait(lambda: abs(viewer.scene.camera.center[1] - 29.5) < 2)
    active = viewer.layers.selection.active
    assert active.name == f"{shown.record.source.name} labels"
    seen = [x.name for x in viewer.layers if x.visible]
    assert seen[-3:] == [shown.record.source.name, active.name, "shown segment"]


def test_an_image_that_is_not_open_is_a_sentence(made, viewer):
    shown = entry(made, 0)
    viewer.layers.clear()
    made.places.show(shown)
    wait(lambda: "is not open here" in made.bar.notices.texts[0])


def test_odd_ones_are_listed_with_their_pictures(made, monkeypatch):
    from napari_prelabel.reference import odd

    monkeypatch.setattr(odd, "odd_ones", lambda *_: (odd.Odd(1, "dark", 5.0),))
    made.odd.button.click()
    wait(lambda: bool(made.odd.list.cards))
    card = made.odd.list.cards[0]
    assert card.entry.record.row == 1
    made.odd.list.switch.emit([1], False)
    wait(lambda: card.switch_button.text() == "Switch on")


# The other dock


def test_the_set_goes_to_the_pre_label_dock_with_its_words(made, viewer):
    made.use()
    wait(lambda: len(made._docks()) == 1)
    (pre,) = made._docks()
    assert isinstance(pre, PrelabelDock)
    wait(lambda: pre.method.reference.digest == made.shelf.overview.digest)
    assert pre.words.text == "dark\nbright"
    job = pre.job()
    assert job.method == "reme"
    assert job.reference == Reference(str(made.shelf.folder), made.shelf.overview.digest)
    assert pre.models.isHidden()
    row = entry(made, 0).record.row
    made.shelf.switch([row], False)
    wait(lambda: made.shelf.overview.classes[0].off == 1)
    wait(lambda: pre.method.reference.digest == made.shelf.overview.digest)


def test_closing_the_dock_lets_go_of_the_viewer(viewer, fake, two, dock):
    dock.why.button.click()
    follows = dock.tool._pressed
    assert follows in viewer.mouse_drag_callbacks
    viewer.window.remove_dock_widget(dock)
    assert follows not in viewer.mouse_drag_callbacks
    assert not two[0][1].listeners
    add_image(viewer, "later", 5)
    two[0][1].layer.paint((40, 40), 1)
    QApplication.processEvents()


def test_refreshing_again_and_again_listens_once(dock, two):
    for _ in range(5):
        dock.learn.refresh()
    assert len(two[0][1].listeners) == 1


def test_a_wait_is_told_when_something_is_under_way(made, fake):
    fake.pause = 0.2
    made.bar.main.emit()
    made.clean(made.cleaning.settings())
    assert made.bar.notices.texts == ["Wait for what is under way, or press Cancel."]
    wait(lambda: not made.asker.busy)
