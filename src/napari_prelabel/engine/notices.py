"""What a person must read beside a result."""

import numpy as np
import numpy.typing as npt

from ..models.catalog import Bundle, known_words
from ..values.vocabulary import Vocabulary, key
from .likeness import Likeness

DEMO_NOTICE = (
    "The demo models know these words and drawn scenes only; choose the full models or a "
    "reference set for your own images."
)


def model_notices(
    bundle: Bundle,
    vocabulary: Vocabulary,
    likeness: Likeness | None,
    image: npt.NDArray[np.uint8],
) -> tuple[str, ...]:
    """Of a demo bundle: unknown words, an image unlike its scenes. Of others: their own notice."""
    known = known_words(bundle.clip)
    if known is None:
        return (bundle.notice,) if bundle.notice else ()
    words = {key(word) for word in known}
    asked = [*(w for c in vocabulary.classes for w in c.queries), *vocabulary.background]
    told = []
    if unknown := [word for word in asked if key(word) not in words]:
        told.append(f"Unknown words: {_some(unknown)}.")
    if likeness is not None and likeness.strange(image):
        told.append("This image is unlike the drawn scenes.")
    return (f"{DEMO_NOTICE} {' '.join(told)}",) if told else ()


def memory_notice(device: str, smallest: int | None) -> tuple[str, ...]:
    """Told when batches had to be made smaller."""
    if smallest is None:
        return ()
    return (f"Memory on {device} was short: windows were encoded {smallest} at a time.",)


def _some(words: list[str], most: int = 8) -> str:
    rest = len(words) - most
    return ", ".join(words[:most]) + (f" and {rest} more" if rest > 0 else "")
