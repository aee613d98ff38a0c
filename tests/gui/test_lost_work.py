"""Ways in which work could be lost: each was lost once. No worker: answers come by hand."""

import gc
import weakref

import numpy as np
import pytest
from napari.layers import Labels

from napari_prelabel.gui.layers.images import LayerSource
from napari_prelabel.gui.layers.result import METADATA, ResultLayer
from napari_prelabel.gui.run.runner import Runner
from napari_prelabel.gui.run.session import Session, summary
from napari_prelabel.values.errors import (
    Cancelled,
    ConnectionLost,
    ImageError,
    RunFailed,
    WorkerDied,
)
from napari_prelabel.values.job import Job, Progress
from napari_prelabel.values.labels import HUMAN, IMPORTED, MODEL, LabelMap
from napari_prelabel.values.vocabulary import Vocabulary

AB = Vocabulary.parse("a\nb")
CBA = Vocabulary.parse("c\nb\na")


class ByHand(Runner):
    """Computes nothing; the test says what arrives."""

    cancelled = 0

    def start(self, _job, _load, planes):
        self._batch.number += 1
        self.planes = planes
        return self.current

    def cancel(self):
        self.cancelled += 1


class Desk:
    """A session, its image and the moves of a run."""

    def __init__(self, viewer, shape=(20, 30)):
        self.viewer = viewer
        self.image = viewer.add_image(np.zeros(shape), name="x", contrast_limits=(0, 1))
        self.reopen()

    def reopen(self):
        self.ends = []
        self.session = Session(self.viewer, ByHand())
        self.session.ended.connect(lambda task, error: self.ends.append((task, error)))

    def start(self, vocabulary=AB, source=None, **how):
        source = source or LayerSource(self.image)
        planes = list(np.ndindex(source.shape[:-2]))
        self.session.start(Job(vocabulary), source, planes, **how)

    def answer(self, value, plane=(), score=1.0):
        task = self.session.task
        shape = task.source.shape[-2:]
        ids = np.full(shape, value, np.uint16)
        found = LabelMap(ids, np.full(shape, score, np.float16), ids * 0, task.job.vocabulary)
        self.session._arrived(task.number, plane, found)

    def end(self, error=None):
        self.session._ended(self.session.task.number, error)

    def run(self, value, vocabulary=AB, score=1.0, **how):
        self.start(vocabulary, **how)
        self.answer(value, score=score)
        self.end()
        return self.result

    @property
    def result(self):
        return self.session.result(self.image)

    @property
    def layer(self):
        return self.result.layer

    def names(self):
        """Class name of every pixel."""
        table = np.array(["", *self.result.annotation.vocabulary.names])
        return table[self.layer.data]


@pytest.fixture
def desk(viewer):
    return Desk(viewer)


@pytest.fixture
def stack(viewer):
    return Desk(viewer, (3, 20, 30))


# 1. Undo in the middle of a stack


def test_undo_between_two_slices_ends_the_run_and_keeps_every_name(stack):
    stack.start(AB)
    for plane in range(3):
        stack.answer(1, (plane,))
    stack.end()
    stack.start(CBA)
    late = stack.session.task.number
    stack.answer(1, (0,))
    assert stack.session.undo_run(stack.image)
    assert not stack.session.running
    assert isinstance(stack.ends[-1][1], Cancelled)
    assert (stack.names() == "a").all()
    found = LabelMap(*(np.ones((20, 30), t) for t in (np.uint16, np.float16, np.uint16)), CBA)
    stack.session._arrived(late, (1,), found)
    assert (stack.names() == "a").all()
    assert stack.layer.metadata[METADATA]["classes"] == AB.to_dict()


# 2. A new run in the middle of a stroke


def test_a_restart_in_mid_stroke_waits_for_the_stroke(desk):
    desk.run(1)
    desk.start(AB)
    desk.answer(1)
    desk.layer._begin_stroke()
    desk.layer.paint((5, 5), 2)
    desk.start(CBA)
    assert desk.layer.data[5, 5] == 2
    assert len(desk.ends) == 1
    assert not desk.session.undo_run(desk.image)
    desk.layer.paint((5, 6), 2)
    desk.layer._commit_stroke()
    desk.answer(1)
    desk.end()
    assert len(desk.ends) == 3
    assert desk.names()[5, 5:7].tolist() == ["b", "b"]
    assert desk.names()[0, 0] == "c"


def test_the_end_of_a_run_takes_unseen_pixels_first(desk):
    desk.start(AB)
    desk.answer(1)
    desk.layer.data[3, 3] = 2
    desk.end()
    desk.run(1)
    assert desk.layer.data[3, 3] == 2


# 3. The brush


def test_the_brush_keeps_its_class(desk):
    desk.run(1)
    desk.layer.selected_label = 2
    desk.layer.selected_label = 0
    desk.run(1, CBA)
    assert desk.layer.selected_label == 0
    desk.layer.swap_selected_and_background_labels()
    desk.layer.selected_label = 1  # c
    desk.run(2, Vocabulary.parse("b\nc"))
    assert desk.layer.selected_label == 2
    desk.session.undo_run(desk.image)
    assert desk.layer.selected_label == 1


def test_the_label_before_the_eraser_follows_too(desk):
    desk.run(1)
    desk.layer.selected_label = 1
    desk.layer.selected_label = 2
    desk.layer.selected_label = 0
    desk.run(1, Vocabulary.parse("b\na"))
    desk.layer.swap_selected_and_background_labels()
    assert desk.layer.selected_label == 1


def test_a_brush_whose_class_is_gone_is_put_down(desk):
    desk.run(1)
    desk.layer.selected_label = 2
    desk.layer.mode = "paint"
    desk.run(1, Vocabulary.parse("x\ny"))
    assert desk.layer.mode == "pan_zoom"


# 4. What File > Save writes


def test_names_for_saving_follow_each_run_and_its_undo(desk):
    desk.run(1, AB)
    desk.start(CBA)
    desk.answer(2)
    assert desk.layer.metadata[METADATA]["classes"] == CBA.to_dict()
    desk.end()
    desk.session.undo_run(desk.image)
    told = desk.layer.metadata[METADATA]
    assert told["classes"] == AB.to_dict()
    assert told["job"]["vocabulary"] == AB.to_dict()
    assert told["image"] == "x"
    desk.session.undo_run(desk.image)
    assert "job" not in desk.layer.metadata[METADATA]


# 5. Strokes over the same class


@pytest.mark.parametrize(
    "draw",
    [
        lambda layer: layer.paint((5, 5), 1),
        lambda layer: layer.paint_polygon([[4, 4], [4, 6], [6, 6], [6, 4]], 1),
        lambda layer: layer.data_setitem((np.array([4, 5]), np.array([5, 5])), 1),
    ],
)
def test_painting_what_a_pixel_shows_already_keeps_it(desk, draw):
    desk.run(1)
    layer, notes = desk.layer, desk.result.annotation
    layer.brush_size = 3
    layer.data[5, 6] = 2  # beside it a pixel that does change
    layer._begin_stroke()
    draw(layer)
    draw(layer)
    layer._commit_stroke()
    assert notes.provenance[5, 5] == HUMAN
    human = notes.human_pixels()
    layer.undo()
    assert notes.provenance[5, 5] == MODEL
    layer.redo()
    assert notes.human_pixels() == human
    desk.run(2)
    assert layer.data[5, 5] == 1


def test_one_dab_is_one_undo_and_an_aborted_one_none(desk):
    desk.run(1)
    layer, notes = desk.layer, desk.result.annotation
    layer.brush_size = 3
    layer._begin_stroke()
    layer.paint((5, 5), 1)
    layer._abort_stroke()
    assert not notes.human_pixels()
    layer.paint((5, 5), 2)
    layer.paint((5, 7), 2)  # overlaps: some pixels are the person's already
    layer.paint((5, 5), 1)
    layer.undo()
    layer.undo()
    layer.undo()
    assert not notes.human_pixels()
    assert (layer.data == 1).all()


# 6. Another place of the same image


def test_each_place_of_an_image_has_one_layer(viewer):
    desk = Desk(viewer, (10, 10, 10))
    for axis in (None, 0, 2):
        source = LayerSource(desk.image, 0, axis, (0, 1, 2))
        for _ in range(2):
            desk.start(source=source)
            for plane in np.ndindex(source.shape[:-2]):
                desk.answer(1, plane)
            desk.end()
        assert desk.result.place == (0, axis)
    assert len(viewer.layers) == 4


def test_a_layer_deleted_in_mid_run_does_not_spoil_undo(stack):
    stack.start()
    stack.answer(1, (0,))
    stack.viewer.layers.remove(stack.layer)
    stack.answer(1, (1,))
    stack.answer(1, (2,))
    stack.end()
    assert len(stack.viewer.layers) == 2
    assert stack.session.undo_run(stack.image)
    assert not stack.layer.data.any()


# 7. Another dock, another day


def test_the_next_dock_goes_on_with_the_same_layer(desk):
    desk.run(1)
    desk.layer.paint((5, 5), 2)
    desk.start()
    desk.session.leave()
    assert not desk.session.running
    desk.reopen()
    seen = []
    desk.session.painted.connect(lambda: seen.append(True))
    desk.run(1)
    assert len(desk.viewer.layers) == 2
    assert desk.layer.data[5, 5] == 2
    seen.clear()
    desk.layer.paint((9, 9), 2)
    assert seen == [True]


@pytest.mark.parametrize("told", ["x", "x.png", ""])
def test_reopened_labels_are_taken_over_and_protected(desk, told):
    ids = np.zeros((20, 30), np.uint16)
    ids[:5] = 2
    ids.setflags(write=False)
    metadata = {METADATA: {"classes": AB.to_dict(), "image": told, "record": {"method": "sclip"}}}
    layer = desk.viewer.add_labels(ids, metadata=metadata)
    assert desk.layer is layer
    assert (desk.result.annotation.provenance[:5] == IMPORTED).all()
    assert layer.metadata[METADATA]["record"] == {"method": "sclip"}
    desk.run(1, CBA)
    assert (desk.names()[:5] == "b").all()
    assert (desk.names()[5:] == "c").all()
    desk.run(1, CBA, overwrite=True)
    assert (desk.names() == "c").all()
    desk.session.undo_run(desk.image)
    assert (desk.result.annotation.provenance[:5] == IMPORTED).all()
    assert len(desk.viewer.layers) == 2


@pytest.mark.parametrize(
    "metadata",
    [{}, {METADATA: 1}, {METADATA: {"image": "x"}}, {METADATA: {"classes": {"classes": [1]}}}],
)
def test_labels_of_others_are_left_alone(desk, metadata):
    desk.viewer.add_labels(np.ones((20, 30), np.uint16), metadata=metadata)
    desk.viewer.add_labels(np.ones((2, 3), np.uint16), metadata={METADATA: {"classes": {}}})
    assert desk.result is None


def test_labels_that_fit_two_images_go_to_the_one_they_name(desk):
    other = desk.viewer.add_image(np.zeros((20, 30)), name="other", contrast_limits=(0, 1))
    metadata = {METADATA: {"classes": AB.to_dict(), "image": "other.png"}}
    desk.viewer.add_labels(np.ones((20, 30), np.uint16), metadata=metadata)
    assert desk.result is None
    assert desk.session.result(other) is not None
    assert desk.session.result(None) is None


# 8. Locks


def test_a_locked_class_stays_when_it_becomes_a_synonym(desk):
    desk.run(1, Vocabulary.parse("oak"))
    for _ in range(2):
        desk.run(1, Vocabulary.parse("tree: oak"), locked=frozenset({"oak"}))
        assert (desk.names() == "oak (kept)").all()
    desk.run(1, Vocabulary.parse("oak"), locked=frozenset({"Oak (kept)"}))
    assert (desk.names() == "oak").all()


def test_locked_pixels_stay_when_the_slider_hides_them(desk):
    desk.run(1, score=0.3)
    desk.result.blank_below(0.5)
    desk.run(2, locked=frozenset({"a"}), score=0.3)
    desk.result.blank_below(0.0)
    assert (desk.names() == "a").all()


# 12. The slider on a stack


def test_the_slider_does_the_plane_in_view_at_once_and_the_others_soon(stack, qtbot):
    stack.start()
    for plane in range(3):
        stack.answer(1, (plane,), score=0.3)
    stack.end()
    stack.viewer.dims.set_current_step(0, 1)
    stack.result.blank_below(0.5)
    assert stack.layer.data.any(axis=(1, 2)).tolist() == [True, False, True]
    qtbot.waitUntil(lambda: not stack.layer.data.any(), timeout=2000)
    assert not stack.result.annotation.counts()["a"]
    stack.result.blank_below(0.0)
    ids, _ = stack.result.annotation.named()
    assert ids.all()


# 13. Memory


def test_a_removed_layer_is_forgotten():
    made = ResultLayer(Labels(np.zeros((4, 5), np.uint8)), AB)
    layer = weakref.ref(made.layer)
    del made
    gc.collect()
    assert layer() is None


# 17. How a run ends


def test_removing_the_image_ends_the_run_with_a_sentence(desk):
    desk.start()
    desk.viewer.layers.remove(desk.image)
    ((task, error),) = desk.ends
    assert isinstance(error, ImageError)
    assert summary(task, error) == [("failed", "The image 'x' was removed, so its run was ended.")]
    assert desk.session.runner.cancelled
    assert not desk.session.running


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (WorkerDied("signal 9"), "The worker process stopped (signal 9) and was started again."),
        (ConnectionLost("tls://gpu:1"), "The connection to the worker at tls://gpu:1 was lost"),
        (RunFailed("IndexError"), "The run failed (IndexError)"),
        (ImageError("The disk is gone."), "The disk is gone."),
        (RuntimeError("odd"), "The run failed: odd"),
        (Cancelled(), "Another run took the worker over"),
    ],
)
def test_an_end_after_some_slices_does_not_say_that_nothing_was_changed(stack, error, sentence):
    stack.start()
    stack.answer(1, (0,))
    stack.end(error)
    tone, said = summary(*stack.ends[-1])[0]
    assert tone == "failed"
    assert said.startswith(sentence)
    assert "1 of 3 slices were done before and stay" in said
    assert "othing was changed" not in said


def test_a_run_that_was_cut_off_goes_on_at_the_slice_that_was_reached(stack):
    seen = []
    stack.session.progressed.connect(lambda *told: seen.append(told[:2]))
    stack.start()
    stack.answer(1, (1,))
    stack.end(WorkerDied("9"))
    assert "Press Run to go on" in summary(*stack.ends[-1])[0][1]
    stack.layer.paint((0, 5, 5), 2)
    stack.start()
    assert stack.session.runner.planes == [(0,), (2,)]
    stack.session._progressed(stack.session.task.number, 0, 2, Progress("encode", 0, 1))
    assert seen == [(1, 3)]
    stack.answer(2, (0,))
    stack.session.cancel()
    stack.end(Cancelled())
    assert summary(*stack.ends[-1])[0][1].startswith("Cancelled after 2 of 3 slices")
    stack.start()
    assert stack.session.runner.planes == [(2,)]
    stack.answer(1, (2,))
    stack.end()
    assert stack.ends[-1][0].done == 3
    assert stack.layer.data[:, 0, 0].tolist() == [2, 1, 1]
    stack.start()
    assert len(stack.session.runner.planes) == 3
    stack.end(Cancelled())
    assert stack.session.undo_run(stack.image)
    assert stack.layer.data.any(axis=(1, 2)).tolist() == [True, False, False]
    assert stack.result.annotation.human_pixels() == (stack.layer.data == 2).sum()


@pytest.mark.parametrize(
    "change",
    [
        lambda _: {"vocabulary": CBA},
        lambda _: {"locked": frozenset({"a"})},
        lambda _: {"overwrite": True},
        lambda desk: setattr(desk.image, "contrast_limits", (0, 0.5)) or {},
        lambda desk: setattr(desk.image, "data", np.ones((3, 20, 30))) or {},
        lambda desk: desk.session.undo_run(desk.image) and {},
    ],
    ids=["words", "locks", "overwriting", "limits", "pixels", "undone"],
)
def test_a_run_that_asks_for_something_else_starts_over(stack, change):
    stack.start()
    stack.answer(1, (1,))
    stack.end(Cancelled())
    stack.start(**change(stack))
    assert len(stack.session.runner.planes) == 3


def test_a_run_that_was_undone_and_redone_goes_on(stack):
    stack.start()
    stack.answer(1, (1,))
    stack.end(Cancelled())
    assert stack.session.undo_run(stack.image)
    assert not stack.layer.data.any()
    assert stack.session.redo_run(stack.image)
    stack.start()
    assert not stack.session.redo_run(stack.image)
    assert len(stack.session.runner.planes) == 2


def test_an_end_before_any_answer_says_what_became_of_it(desk):
    for error, sentence in (
        (RuntimeError("odd"), "The run failed: odd. Nothing was changed"),
        (Cancelled(), "Another run took the worker over"),
    ):
        desk.start()
        desk.end(error)
        said = summary(*desk.ends[-1])[0][1]
        assert said.startswith(sentence)
        assert "slices" not in said
    desk.start()
    desk.session.cancel()
    desk.end(Cancelled())
    assert summary(*desk.ends[-1]) == [("info", str(Cancelled()))]
