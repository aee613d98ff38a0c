"""Settings of windows, FreeCP and NERVE, each declared once: limits, JSON and forms follow.

Frozen values inside a Job, the same words in a job file. A setting with `Ask` is asked for in
the dock; the others, as the readings of paper and code, live in job files and docs/methods/.
"""

from typing import Annotated, Literal

from pydantic import Field

from .declare import Ask, settings
from .errors import JobError

_PIXELS = 65_535
Unit = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=1_000_000)]
Wording = Literal["code", "paper"]
Weighting = Literal["exp", "linear", "inverse", "lowest", "row", "equal"]
WalkForm = Literal["restart", "series", "exact"]
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]  # up to what a box for whole numbers takes


@settings("windows")
class Windows:
    """How an image is resized and cut (docs/methods/freecp.md#windows); lengths in pixels."""

    short_side: Annotated[
        int,
        Field(
            ge=0,
            le=_PIXELS,
            title="Shorter side",
            description="The image is resized to this, keeping its ratio; 0 keeps its own size. "
            "Smaller is faster and sees larger things.",
        ),
        Ask(16, zero="own size", suffix=" px"),
    ] = 448
    crop: Annotated[
        int,
        Field(
            ge=0,
            le=_PIXELS,
            title="Window",
            description="Side of the square windows; 0 takes the whole image at once.",
        ),
        Ask(16, zero="whole image", suffix=" px"),
    ] = 384
    stride: Annotated[
        int,
        Field(
            ge=0,
            le=_PIXELS,
            title="Window step",
            description="Smaller steps blend better and take longer.",
        ),
        Ask(16, suffix=" px"),
    ] = 112
    antialias: Annotated[
        bool,
        Field(
            title="Average pixels when shrinking",
            description="Smoother for photographs much larger than the shorter side; the "
            "published code does not.",
        ),
        Ask(),
    ] = False

    def __post_init__(self) -> None:
        if self.crop and not 0 < self.stride <= self.crop:
            raise JobError(
                "windows",
                f"stride must lie between 1 and the window's side {self.crop}, "
                f"not {self.stride}: a larger stride would leave gaps.",
            )


@settings("freecp")
class FreeCP:
    """Parameters of FreeCP; defaults are the published code's.

    docs/methods/freecp.md#paper-and-code
    """

    redundancy: Annotated[
        bool,
        Field(
            title="Drop words that are not in the picture",
            description="A word goes whose cleaned map hardly overlaps its first map.",
        ),
        Ask(first=True),
    ] = True
    ambiguity: Annotated[
        bool,
        Field(
            title="Settle words that look alike",
            description="Where two words claim one place, a closer look decides. Takes most of "
            "the time.",
        ),
        Ask(first=True),
    ] = True
    rp_threshold: Annotated[
        Unit,
        Field(
            title="Drop below overlap",
            description="A word is kept above this overlap of its maps before and after "
            "refinement: higher drops more words (0 to 1).",
        ),
        Ask(first=True),
    ] = 0.10
    ap_threshold: Annotated[
        Unit,
        Field(
            title="Alike from overlap",
            description="Words whose refined maps overlap at least this much are alike: lower "
            "treats more as alike (0 to 1).",
        ),
        Ask(),
    ] = 0.70
    box_threshold: Annotated[
        Unit,
        Field(
            title="Box threshold",
            description="Share of a map's maximum above which its boxes are drawn: higher draws "
            "smaller boxes around things (0 to 1).",
        ),
        Ask(),
    ] = 0.40
    refinement: Annotated[
        Wording,
        Field(
            title="Refinement",
            description='How a word spreads over what looks the same: "code" (Sinkhorn, squared, '
            'boxes) or "paper" (one product with the attention).',
        ),
    ] = "code"
    overlap: Annotated[
        Wording,
        Field(
            title="Overlap measured",
            description='The published "code" divides products by the plain sum, the "paper" '
            "takes the true IoU.",
        ),
    ] = "code"
    similarity: Annotated[
        Wording,
        Field(
            title="Likeness measured",
            description='Of words that are alike: "code" (min over max) or "paper" (IoU of '
            "products).",
        ),
    ] = "code"
    losers: Annotated[
        Literal["window", "box"],
        Field(
            title="Losing words go",
            description='A word that lost to a look-alike is taken out of the whole "window" or '
            'of its "box" alone.',
        ),
    ] = "window"
    gem_affinity: Annotated[
        Literal["head0", "mean"],
        Field(
            title="GEM's attention",
            description="Which attention refines the map when the base is GEM: of head 0, as "
            "published, or the mean of heads.",
        ),
    ] = "head0"
    empty_pixel: Annotated[
        Literal["first", "base"],
        Field(title="Pixels no word holds", description="Matters only without background words."),
        Ask(words=("first word (published)", "the base's best word")),
    ] = "first"
    scope: Annotated[
        Literal["window", "image"],
        Field(
            title="Decide words per",
            description="Words are dropped window by window, or once for the image.",
        ),
        Ask(words=("window (published)", "whole image")),
    ] = "window"
    source: Annotated[
        Literal["clip", "diffusion"],
        Field(
            title="Likeness from",
            description="What tells which places look the same: CLIP itself, or the diffusion "
            "model of NERVE.",
        ),
        Ask(words=("CLIP's attention (published)", "the diffusion model")),
    ] = "clip"


@settings("nerve")
class Nerve:
    """Parameters of NERVE (docs/methods/nerve.md#steps); the paper leaves most of them open."""

    alpha: Annotated[
        Unit,
        Field(
            title="Share of the walk",
            description="Higher carries words further, lower stays closer to the base's map (0 "
            "to 1).",
        ),
        Ask(first=True),
    ] = 0.8
    beta: Annotated[
        Unit,
        Field(
            title="Far before near",
            description="Higher joins places that look alike anywhere, lower joins neighbours (0 "
            "to 1).",
        ),
        Ask(first=True),
    ] = 0.5
    steps: Annotated[
        int,
        Field(
            ge=0,
            le=1000,
            title="Steps of the walk",
            description="More steps carry words further and take longer.",
        ),
        Ask(5),
    ] = 20
    tolerance: Annotated[
        Unit,
        Field(
            title="Stop the walk below",
            description="The walk stops earlier when no share moves further than this; 0 does "
            "all the steps.",
        ),
    ] = 0.0
    form: Annotated[
        WalkForm,
        Field(
            title="Form of the walk",
            description='"restart" begins at the evidence, "series" is the literal truncated '
            'series, "exact" solves for the walk without end (slow on large images).',
        ),
    ] = "restart"
    weighting: Annotated[
        Weighting,
        Field(
            title="Weights of heads",
            description="How much each attention head of the diffusion model says, by how sharp "
            "it is (entropy).",
        ),
        Ask(
            words=(
                "exponential",
                "linear",
                "inverse",
                "the sharpest alone",
                "row by row",
                "all alike",
            )
        ),
    ] = "exp"
    temperature: Annotated[
        Positive,
        Field(
            title="Softness of weights",
            description="Of exponential and row-by-row weights: higher makes heads more alike.",
        ),
        Ask(0.1),
    ] = 1.0
    lowest: Annotated[
        Count,
        Field(
            title="Sharpest heads",
            description="How many, where the sharpest alone say something.",
        ),
        Ask(1),
    ] = 3
    local: Annotated[
        Literal["attention", "rows"],
        Field(title="Near likeness from", description="What joins a patch with its neighbours."),
        Ask(words=("its attention", "alike rows of attention")),
    ] = "attention"
    radius: Annotated[
        int,
        Field(
            ge=1,
            le=16,
            title="Neighbours within",
            description="Side of the near window, in patches to each side.",
        ),
        Ask(1),
    ] = 1
    cleanup: Annotated[
        float | None,
        Field(
            ge=0,
            le=1,
            title="Clean-up",
            description="Share of a column's largest entry below which the global affinity is "
            "cut; none cuts nothing.",
        ),
    ] = None
    cleaned: Annotated[
        Literal["mean", "heads"],
        Field(
            title="Clean-up of",
            description='The weighted "mean" of the heads is cut, or every one of the "heads" '
            "before it (CLIPer).",
        ),
    ] = "mean"
    score_threshold: Annotated[
        Unit,
        Field(
            title="Words from",
            description="With background words: a word below is not in the picture (0 to 1).",
        ),
        Ask(),
    ] = 0.5
    background_threshold: Annotated[
        Unit,
        Field(
            title="Background from",
            description="With background words: a pixel below stays unlabelled (0 to 1).",
        ),
        Ask(),
    ] = 0.4
    stretch: Annotated[
        bool,
        Field(
            title="Stretch",
            description="With background words: every word that is left is brought to 0..1 "
            "first, its score forgotten.",
        ),
    ] = False
    timestep: Annotated[
        int | None,
        Field(
            ge=0,
            le=999,
            title="Time step",
            description="Of the diffusion model's noise; none takes its own.",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.alpha == 1 and self.form != "restart":
            raise JobError(
                "nerve.alpha",
                f"nerve.alpha must be below 1 with form {self.form!r}, or choose 'restart'.",
            )


@settings("display")
class Display:
    """How the values of an image become the 8 bits that the models see."""

    limits: Annotated[
        tuple[tuple[float, float], ...],
        Field(
            title="Contrast limits",
            description="Values that become 0 and 255, one pair for all channels that are shown "
            "or one for each. () is automatic: bytes stay as they are, other values "
            "are stretched between their 0.5th and 99.5th percentile in each plane.",
        ),
    ] = ()
    channels: Annotated[
        tuple[int, ...],
        Field(
            title="Channels",
            description="Which become red, green, blue, counted from 0 (one: grey; two: red and "
            "green); () takes what the file says, else the first three.",
        ),
    ] = ()

    def __post_init__(self) -> None:
        for pair in self.limits:
            if not pair[0] < pair[1]:
                raise JobError(
                    "display.limits",
                    f"display.limits must be pairs of two numbers, the lower first, not {pair}.",
                )
        many = len(self.limits) > 3 or len(self.channels) > 3
        if many or min(self.channels, default=0) < 0:
            raise JobError(
                "display.channels",
                "display has up to three channels, counted from 0, and limits for them, not "
                f"{self.channels} and {len(self.limits)} pairs of limits.",
            )
