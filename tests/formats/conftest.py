import numpy as np
import pytest

from napari_prelabel.formats import LabelImage
from napari_prelabel.values.vocabulary import Vocabulary

TEXT = "tree: trees, oak\nsky [#87ceeb]\nµ-field\n- reflection, shadow"


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary.parse(TEXT)


@pytest.fixture
def ids() -> np.ndarray:
    """12 x 17: a ring of trees round an island of field, specks, corner contact, ignored rows."""
    ids = np.zeros((12, 17), np.uint16)
    ids[1:8, 1:8] = 1
    ids[3:6, 3:6] = 2
    ids[4, 4] = 3
    ids[8, 8] = 1
    ids[2:7, 10:16] = 2
    ids[3, 12] = 0
    ids[11, 16] = 3
    ids[10, :5] = 65535
    return ids


@pytest.fixture
def image(ids: np.ndarray, vocabulary: Vocabulary) -> LabelImage:
    return LabelImage(
        ids, vocabulary, "img", "img.jpg", (0.5, 0.25), "µm", {"method": "freecp", "n": 1}
    )
