"""What is said while a run is under way, without a window."""

import pytest

from napari_prelabel.gui.parts.progress import RunClock, time_left, told
from napari_prelabel.values.job import Progress


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (Progress("encode", 3, 9), "Looking at the picture, 4 of 9 windows"),
        (Progress("encode", 0, 1), "Looking at the picture"),
        (Progress("decide", 2048, 4000), "Writing the labels, 51 %"),
        (Progress("purify", 1, 4), "Telling the words apart, 25 %"),
        (Progress("walk", 0, 1), "Following outlines"),
        (Progress("learn", 1, 3, message="slide 2"), "Learning from image 2 of 3"),
        (Progress("learn", 0, 1), "Learning from image"),
    ],
)
def test_stages_speak_of_the_persons_work(step, text):
    assert told(step) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.4, ""),
        (35.2, ", about 35 s left"),
        (150, ", about 2 min left"),
        (7200, ", about 2.0 h left"),
    ],
)
def test_time_is_told_in_a_unit_that_is_read_at_once(seconds, text):
    assert time_left(seconds) == text


class Watch:
    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


def test_time_left_is_that_of_all_slices():
    watch = Watch()
    clock = RunClock(watch)
    assert clock.left(0, 4, Progress("models", 0, 1)) is None
    watch.seconds += 60  # loading the models says nothing about a slice
    clock.left(0, 4, Progress("text", 0, 1))
    clock.left(0, 4, Progress("encode", 0, 10))
    watch.seconds += 5
    # Half of the windows are 5/18 of a slice, so a slice takes 18 s.
    assert clock.left(0, 4, Progress("encode", 5, 10, 5.0)) == pytest.approx(13 + 3 * 18)
    watch.seconds += 5
    assert clock.left(1, 4, Progress("encode", 0, 10)) == pytest.approx(30)
    watch.seconds += 2
    assert clock.left(1, 4, Progress("encode", 5, 10, 5.0)) == pytest.approx(28)
    watch.seconds += 100
    assert 0 < clock.left(3, 4, Progress("decide", 1, 2)) <= 102


def test_a_single_image_tells_what_the_engine_knows_until_the_run_can_be_judged():
    clock = RunClock(Watch())
    assert clock.left(0, 1, Progress("encode", 0, 8, 90.0)) == 90
    assert clock.left(0, 3, Progress("encode", 0, 8, 90.0)) is None
