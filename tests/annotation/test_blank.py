"""Large arrays of zeros: zeros of any size, apart from one another, in no memory of others."""

import numpy as np
import pytest

from napari_prelabel.annotation.blank import blank


@pytest.mark.parametrize("kind", [np.uint8, np.bool_, np.uint16, np.float16])
@pytest.mark.parametrize("shape", [(0, 7), (3, 5), (1030, 1021), (2, 1500, 1100), (5000, 3600)])
def test_zeros_of_the_shape_and_type_that_was_asked_for(shape, kind):
    np.full(shape, 1, kind)  # freed memory that is not zero
    made = blank(shape, kind)
    assert made.shape == shape
    assert made.dtype == kind
    assert made.flags.writeable
    assert made.flags.c_contiguous
    assert not made.any()


def test_two_share_nothing():
    one, other = blank((1200, 1300), np.uint8), blank((1200, 1300), np.uint8)
    one[:] = 7
    assert not other.any()
