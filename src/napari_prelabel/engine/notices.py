"""What a person must read beside a result."""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import FileFormatError
from ..models.catalog import Bundle, entry_of, known_words, model_dir
from ..vocabulary import Vocabulary, key

LIKENESS = "likeness.safetensors"
DEMO_NOTICE = (
    "The demo models know these words and drawn scenes only; choose the full models or a "
    "reference set for your own images."
)
# Share of the mean variance added to every direction's.
SHRINK = 0.05
# How far beyond the farthest validation scene an image may lie.
MARGIN = 1.15


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """How images like the training scenes look to a model.

    digest : of the model the rest was measured with.
    mean : (D,), whiten : (D, D) with |(x - mean) @ whiten|^2 the squared Mahalanobis distance of
        a mean of patches x.
    limit : distance that scenes stay below.
    """

    digest: str
    mean: Tensor
    whiten: Tensor
    limit: float

    @classmethod
    def fit(cls, digest: str, summaries: Tensor, others: Tensor) -> "Likeness":
        """Measure training scenes (n, D); the limit leaves room above all `others` (m, D)."""
        mean = summaries.double().mean(0)
        spread = summaries.double() - mean
        covariance = spread.T @ spread / len(spread)
        # Directions in which the scenes hardly differ must not decide by themselves.
        values, vectors = torch.linalg.eigh(covariance)
        whiten = (vectors / (values + SHRINK * values.mean()).sqrt()).float()
        found = cls(digest, mean.float(), whiten, math.inf)
        return replace(found, limit=MARGIN * max(found.distance(x) for x in others))

    def save(self, path: Path) -> None:
        """Write the file that `beside` reads."""
        facts = {"digest": self.digest, "limit": repr(self.limit)}
        save_file({"mean": self.mean, "whiten": self.whiten.contiguous()}, path, facts)

    @classmethod
    def beside(cls, model: str) -> "Likeness | None":
        """Read the file beside a model's weights; None where there is none or it is broken."""
        if entry_of(model).words is None:
            return None
        try:
            with safe_open(model_dir(model) / LIKENESS, "pt") as file:
                facts = file.metadata() or {}
                return cls(
                    facts["digest"],
                    file.get_tensor("mean"),
                    file.get_tensor("whiten"),
                    float(facts["limit"]),
                )
        except (OSError, SafetensorError, FileFormatError, KeyError, ValueError):
            return None

    def distance(self, summary: Tensor) -> float:
        """Mahalanobis distance of an image whose patches have the mean `summary` (D,)."""
        return float(torch.linalg.vector_norm((summary - self.mean) @ self.whiten))


def demo_notices(
    bundle: Bundle, vocabulary: Vocabulary, likeness: Likeness | None, summary: Tensor
) -> tuple[str, ...]:
    """Of a demo bundle: unknown words, images unlike its scenes. Of others: their own notice."""
    known = known_words(bundle.clip)
    if known is None:
        return (bundle.notice,) if bundle.notice else ()
    words = {key(word) for word in known}
    asked = [*(w for c in vocabulary.classes for w in c.queries), *vocabulary.background]
    unknown = [word for word in asked if key(word) not in words]
    strange = likeness is not None and likeness.distance(summary) > likeness.limit
    told = []
    if unknown:
        told.append(f"Unknown words: {_some(unknown)}.")
    if strange:
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
