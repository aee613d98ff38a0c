"""What the worker does besides segmenting: frozen requests and their answers. Loads no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from ..reference.captions import Captioned
from ..values.encoder import Encoder
from ..values.job import Job, Nerve, Precision
from ..values.retrieval import Cleaning, Proposals
from ..values.vocabulary import Vocabulary

Rgb = npt.NDArray[np.uint8]
Ids = npt.NDArray[np.uint16]

# Captions name things, not their parts: one level of large segments, as published for COCO.
_COARSE = Proposals(kind="felzenszwalb", preset="coco")

REACH = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Reviewed:
    """An image that an annotator corrected.

    image : (H, W, 3) uint8 RGB. ids : (H, W) uint16, ids of the vocabulary, 0 unlabelled.
    """

    name: str
    image: Rgb
    ids: Ids
    vocabulary: Vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class Learn:
    """Add reviewed images to the set in `folder`, which is made where there is none.

    encoder : of a set that is there already it must be the same.
    text : bundle whose CLIP makes words comparable, "" to meet words by name.
    position : also compare where in the frame a segment lies (fixed cameras).
    cleaning : clean the whole set afterwards; None leaves it as it is.
    """

    replaces: ClassVar[bool] = False
    folder: str
    encoder: Encoder
    pairs: Sequence[Reviewed]
    name: str = ""
    text: str = ""
    author: str = ""
    licence: str = ""
    cleaning: Cleaning | None = None
    position: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class LearnCaptions:
    """Add images to the set in `folder` by what their captions name; made where there is none.

    bundle : whose CLIP pairs phrases and segments. crops : whether it sees every segment cut out,
        instead of pooling features of patches (docs/methods/reme.md#r4). extractor : of
        reference.phrases.
    encoder, text, name, position : of a new set, as for Learn.
    """

    replaces: ClassVar[bool] = False
    folder: str
    encoder: Encoder
    images: Sequence[Captioned]
    bundle: str = "demo"
    extractor: str = "auto"
    name: str = ""
    text: str = ""
    proposals: Proposals = _COARSE
    position: bool = False
    crops: bool = False


@dataclass(frozen=True, slots=True)
class Learned:
    """What a set holds after an addition.

    skipped : regions too small to learn from, or segments that no phrase names.
    kept : images that captions did not replace, because an annotator had corrected them.
    stacks : captioned files of several planes, of which the first alone was learnt.
    unread : a sentence for each image that could not be learnt.
    doubled : images that came twice, of which the later labels are kept.
    """

    folder: str
    digest: str
    segments: int
    images: int
    added: int
    skipped: int
    seconds: float
    kept: int = 0
    stacks: int = 0
    unread: tuple[str, ...] = ()
    doubled: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Evaluate:
    """Label every reviewed image from the others and compare with what the annotator drew."""

    replaces: ClassVar[bool] = False
    folder: str
    pairs: Sequence[Reviewed]
    job: Job


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """Figures in percent, over the pixels of all images together.

    interval : of mIoU, 95%, images drawn with replacement; None for one image.
    """

    name: str
    miou: float
    pixel_accuracy: float
    pixels_to_fix: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Rows: "nothing", "set", then the set without each of its cleaning steps.

    per_image : pixels to fix in percent by image name and row name.
    notes : sentences on images that were left out, and on what could not be found.
    """

    rows: tuple[EvaluationRow, ...]
    per_image: Mapping[str, Mapping[str, float]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Explain:
    """Which references caused the label of the segment at `point` (y, x) in pixels."""

    replaces: ClassVar[bool] = True
    job: Job
    image: Rgb
    point: tuple[int, int]
    count: int = 12


@dataclass(frozen=True, slots=True)
class Cause:
    """A reference and its share of the answer, 0..1; box (y0, x0, y1, x1) in its own image."""

    row: int
    weight: float
    words: tuple[str, ...]
    source: str
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """class_id : the segment's label, 0 none. share : of all answers, 0..1.

    mask : (H, W) bool, the segment; causes : strongest first.
    """

    class_id: int
    share: float
    mask: npt.NDArray[np.bool_]
    causes: tuple[Cause, ...]


@dataclass(frozen=True, slots=True)
class Clean:
    """Apply cleaning to a set; the answer is a reference.values.Cleaned.

    text : bundle whose CLIP finds synonyms, "" for the set's own.
    """

    replaces: ClassVar[bool] = False
    folder: str
    cleaning: Cleaning
    text: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class ReadImage:
    """Make the diffusion graph of an image ahead of its scribbles; the worker keeps both.

    image : (H, W, 3) uint8 RGB. models : a bundle with a diffusion model.
    nerve : of it only what decides the graph counts, so that a run of NERVE before shares it.
    """

    replaces: ClassVar[bool] = False
    image: Rgb
    models: str = "demo"
    nerve: Nerve = field(default_factory=Nerve)
    precision: Precision = "float32"


@dataclass(frozen=True, slots=True)
class ImageRead:
    """name : of the image in the worker, its content hash."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Scribble:
    """Carry strokes to the edge of the object, on an image that was read before.

    name : of an ImageRead; models, nerve, precision : those it was read with.
    corner : (y, x) where the arrays below lie in the image; what is outside does not change.
    strokes : (h, w) uint16, 1 .. n for the n kinds of ink, 0 where nothing is drawn.
    locked : (h, w) bool, pixels that must not change. radius : in pixels.
    """

    replaces: ClassVar[bool] = False
    name: str
    corner: tuple[int, int]
    strokes: Ids
    locked: npt.NDArray[np.bool_]
    radius: float
    models: str = "demo"
    nerve: Nerve = field(default_factory=Nerve)
    precision: Precision = "float32"


def reach_of(extent: float, size: Sequence[int]) -> int:
    """Radius in pixels that a stroke suggests: half as much again as it is long.

    The lengths that people draw tell small things from large ones (docs/methods/scribble.md).

    extent : of the stroke in pixels. size : (H, W) of the image, whose shorter side is the most
        and a 20th of it the least.
    """
    side = min(size)
    return int(min(max(round(REACH * extent), side // 20, 1), side))


@dataclass(frozen=True, slots=True, eq=False)
class Scribbled:
    """ids : (h, w) uint16, the ink that takes a pixel, 0 none. reach : (h, w) bool, the radius."""

    ids: Ids
    reach: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Unread:
    """The worker has no image of this name, any more or ever: read it again."""

    name: str


Task = Learn | LearnCaptions | Evaluate | Explain | Clean | ReadImage | Scribble
