"""Settings of ReME's retrieval, each declared once, as those of `settings`."""

from dataclasses import field
from typing import Annotated, Literal

from pydantic import Field

from .declare import Ask, settings
from .settings import Count, Positive, Unit

Kind = Literal["adaptive", "felzenszwalb", "slic", "sam", "sam2"]
Preset = Literal[
    "voc20", "voc21", "pc59", "pc60", "pc459", "stuff", "object", "coco", "city", "ade", "a847",
    "coarse",
]  # fmt: skip


@settings("proposals")
class Proposals:
    """How an image is cut into segments; presets: docs/methods/reme.md#felzenszwalb."""

    kind: Annotated[
        Kind,
        Field(
            title="Segments",
            description="How the picture is cut into the pieces that are compared with the set.",
        ),
        Ask(
            words=("several sizes", "Felzenszwalb", "superpixels (SLIC)", "SAM", "SAM 2"),
            first=True,
        ),
    ] = "adaptive"
    preset: Annotated[
        Preset,
        Field(
            title="Felzenszwalb's settings",
            description="Published for a data set, for images of 448 x 448 pixels.",
        ),
    ] = "ade"
    scale: Annotated[
        float | None,
        Field(
            gt=0,
            le=1_000_000,
            title="Felzenszwalb's scale",
            description="In place of the preset's, in the same frame.",
        ),
    ] = None
    sigma: Annotated[
        float | None,
        Field(
            ge=0,
            le=1000,
            title="Felzenszwalb's sigma",
            description="In place of the preset's, in the same frame.",
        ),
    ] = None
    min_size: Annotated[
        int | None,
        Field(
            ge=1,
            le=2**31 - 1,
            title="Felzenszwalb's least size",
            description="Pixels, in place of the preset's, in the same frame.",
        ),
    ] = None
    finest: Annotated[
        Count,
        Field(
            title="Finest segments",
            description="Pixels of the smallest pieces: fewer keep thin things, more are faster.",
        ),
        Ask(4),
    ] = 12
    most: Annotated[
        Count,
        Field(
            title="Most segments",
            description="The finest level has about this many at most, so that large images stay "
            "fast.",
        ),
    ] = 16_000
    compactness: Annotated[
        Positive,
        Field(
            title="Compactness",
            description="Of superpixels, Lab distance against place: low follows borders, high "
            "makes squares.",
        ),
    ] = 10.0
    segmenter: Annotated[
        str,
        Field(
            title="Segmenter",
            description="Model of the kinds SAM and SAM 2 (models.catalog); "
            "empty takes the smallest.",
        ),
    ] = ""


@settings("reme")
class ReME:
    """Parameters of ReME's retrieval (docs/methods/reme.md#retrieval).

    Both temperatures 1 are the paper's literal form (docs/methods/reme.md#r1).
    """

    temperature: Annotated[
        Positive,
        Field(
            title="Nearest count",
            description="Lower lets the most alike segments of the set decide alone (temperature).",
        ),
        Ask(0.01),
    ] = 0.05
    text_temperature: Annotated[
        Positive,
        Field(
            title="Sharpness of words",
            description="Of words that meet by meaning; lower is stricter.",
        ),
        Ask(0.01),
    ] = 0.01
    weighting: Annotated[
        Literal["softmax", "tip"],
        Field(
            title="Weights",
            description="How likeness becomes a weight: softmax, or exp(-sharpness (1 - cos)) as "
            "in Tip-Adapter.",
        ),
        Ask(words=("softmax (published)", "as in Tip-Adapter")),
    ] = "softmax"
    sharpness: Annotated[
        Positive,
        Field(
            title="Sharpness of weights",
            description="Of Tip-Adapter's weights.",
        ),
        Ask(0.5),
    ] = 5.5
    top_k: Annotated[
        int,
        Field(
            ge=0,
            le=2**31 - 1,
            title="References asked",
            description="The most alike ones only; 0 asks all.",
        ),
        Ask(10, zero="all"),
    ] = 0
    normalise: Annotated[
        Literal["none", "row", "column"],
        Field(title="Votes", description="How much a segment or a frequent word may say."),
        Ask(words=("every word counts", "one vote a segment", "rare words count more")),
    ] = "none"
    exponent: Annotated[
        Unit,
        Field(
            title="Rare words by",
            description="How strongly frequent words are held back (0 to 1).",
        ),
        Ask(),
    ] = 1.0
    words: Annotated[
        Literal["auto", "text", "names"],
        Field(title="Words meet", description="How the words of the set are matched with yours."),
        Ask(words=("as the set allows", "by meaning (CLIP)", "by name and synonyms")),
    ] = "auto"
    proposals: Annotated[
        Proposals,
        Field(
            title="Segments",
            description="How the image is cut into the segments that are asked about.",
        ),
    ] = field(default_factory=Proposals)
    abstract: Annotated[
        bool,
        Field(
            title="Pass over words too general",
            description="Words that cleaning found too general.",
        ),
        Ask(),
    ] = True
    outliers: Annotated[
        bool,
        Field(
            title="Pass over outliers of the set",
            description="Segments that cleaning found unlike the others of their class do not "
            "answer.",
        ),
        Ask(first=True),
    ] = True
    synonyms: Annotated[
        bool,
        Field(
            title="Use synonyms of the set",
            description="Words that cleaning found to mean the same.",
        ),
        Ask(),
    ] = True


@settings("reference")
class Reference:
    """The reference set a job retrieves from."""

    folder: Annotated[
        str,
        Field(title="Reference set", description="Folder in which the set lies."),
    ]
    digest: Annotated[
        str,
        Field(
            title="Its digest",
            description="Of its content; empty takes it as it is when the job runs.",
        ),
    ] = ""


@settings("cleaning")
class Cleaning:
    """Which cleaning steps run over a set, and how (docs/methods/reme.md#cleaning).

    The readings of k_sim: the `k` best pairs of all ("global"), the `k` neighbours of every root
    that are mutual and at least `similarity` alike ("neighbours"), or the best `k` percent
    ("share"). keep : phrases and roots that no step may drop.
    """

    abstract: Annotated[
        bool,
        Field(
            title="Drop words that are too general",
            description="Words that stand at very many segments tell nothing of any: those beyond "
            "the knee of the group sizes are dropped.",
        ),
        Ask(),
    ] = False
    outliers: Annotated[
        Literal["off", "fixed", "adaptive"],
        Field(
            title="Outliers",
            description="Segments that look unlike the others of their class: a fixed share of "
            "every class, or 0 to 50% by how mixed it is.",
        ),
        Ask(
            words=(
                "keep all",
                "drop the farthest of every class",
                "drop more where a class is mixed",
            )
        ),
    ] = "fixed"
    drop: Annotated[
        float,
        Field(ge=0, le=1, title="Share", description="Of every class that 'fixed' drops."),
        Ask(0.05),
    ] = 0.30
    synonyms: Annotated[
        Literal["off", "neighbours", "global", "share"],
        Field(
            title="Synonyms",
            description="Words taken for the same where a text model finds them alike.",
        ),
        Ask(
            words=(
                "keep words apart", "words that mean nearly the same",
                "the pairs nearest in meaning", "a share of all pairs",
            )
        ),
    ] = "neighbours"  # fmt: skip
    k: Annotated[
        int,
        Field(
            ge=0,
            le=2**31 - 1,
            title="How many",
            description="Neighbours, pairs or percent, as the synonyms say (k_sim).",
        ),
        Ask(5),
    ] = 30
    similarity: Annotated[
        float | None,
        Field(
            ge=-1,
            le=1,
            title="Alike from",
            description="Least cosine of two words' meanings for 'neighbours'; none takes what "
            "suits the text model that compares them.",
        ),
        Ask(0.05),
    ] = None
    keep: Annotated[
        tuple[str, ...],
        Field(title="Keep", description="Words that no step may drop."),
    ] = ()
