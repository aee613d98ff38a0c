"""Generators that are followed to their end give what they return, and let errors through."""

import pytest

from napari_prelabel.values.steps import Followed, finish


def counted(n, error=None):
    yield from range(n)
    if error is not None:
        raise error
    return n


def test_the_steps_come_in_order_and_the_result_after_them():
    steps = Followed(counted(3))
    assert list(steps) == [0, 1, 2]
    assert steps.result == 3


def test_there_is_no_result_before_the_end():
    steps = Followed(counted(2))
    for _ in steps:
        break
    with pytest.raises(AttributeError):
        _ = steps.result


def test_finish_passes_over_the_steps():
    assert finish(counted(0)) == 0
    assert finish(counted(2)) == 2


def test_errors_of_the_generator_come_out_of_the_loop():
    with pytest.raises(ValueError, match="broken"):
        finish(counted(1, ValueError("broken")))


def test_a_loop_that_is_left_closes_the_generator():
    closed = []

    def inner():
        try:
            yield 1
        finally:
            closed.append(True)

    for _ in Followed(inner()):
        break
    assert closed == [True]
