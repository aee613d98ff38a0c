"""Settings of windows and methods: frozen values inside a Job, the same words in a job file."""

import math
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from .errors import JobError


@dataclass(frozen=True, slots=True)
class Windows:
    """How an image is resized and cut (docs/methods/freecp.md#windows); lengths in pixels.

    short_side : resize so that the shorter side has this length, keeping the ratio;
        0 keeps the image's own size.
    crop, stride : side of the square sliding window and its step; crop 0 = the whole image.
    antialias : average the pixels that shrinking skips; the published code does not.
    """

    short_side: int = 448
    crop: int = 384
    stride: int = 112
    antialias: bool = False


@dataclass(frozen=True, slots=True)
class FreeCP:
    """Parameters of FreeCP; defaults are the published code's.

    docs/methods/freecp.md#paper-and-code

    redundancy, ambiguity : which purification steps run after refinement.
    rp_threshold : redundancy purification keeps a class above this overlap, 0..1.
    ap_threshold : classes whose refined maps overlap at least this much are ambiguous, 0..1.
    box_threshold : share of a map's maximum above which its boxes are drawn, 0..1.
    refinement : "code" (Sinkhorn, squared, boxes) or "paper" (one product with the attention).
    overlap : "code" (products over the plain sum) or "paper" (true IoU).
    similarity : of ambiguous classes, "code" (min over max) or "paper" (IoU of products).
    losers : ambiguous classes that lost are zeroed in the whole "window" or only in the "box".
    gem_affinity : GEM's attention of head 0, as published, or the mean of heads.
    empty_pixel : without background words, a pixel no class holds is class "first" (published)
        or the most probable class of the base ("base").
    scope : purify per "window" (published) or decide the set of classes for the whole "image".
    source : the affinity is CLIP's own attention (published) or the "diffusion" model's.
    """

    redundancy: bool = True
    ambiguity: bool = True
    rp_threshold: float = 0.10
    ap_threshold: float = 0.70
    box_threshold: float = 0.40
    refinement: Literal["code", "paper"] = "code"
    overlap: Literal["code", "paper"] = "code"
    similarity: Literal["code", "paper"] = "code"
    losers: Literal["window", "box"] = "window"
    gem_affinity: Literal["head0", "mean"] = "head0"
    empty_pixel: Literal["first", "base"] = "first"
    scope: Literal["window", "image"] = "window"
    source: Literal["clip", "diffusion"] = "clip"


@dataclass(frozen=True, slots=True)
class Nerve:
    """Parameters of NERVE (docs/methods/nerve.md#steps); the paper leaves most of them open.

    alpha : share of the walk, 0..1; 1 - alpha restarts at the words' evidence.
    beta : share of the global affinity, 1 - beta is the local window's.
    steps : of the walk; tolerance : stop earlier when no share moves further than this, 0 never.
    form : "restart" begins the walk at the evidence, "series" is the literal truncated series,
        "exact" solves for the walk without end.
    weighting : of heads by entropy; temperature : of "exp" and "row"; lowest : heads of "lowest".
    local : weights of the local window, of the "attention" or of the likeness of its "rows";
        radius : of the window in tokens.
    cleanup : share of a column's largest entry below which the global affinity is cut, None never;
        cleaned : the weighted "mean" of the heads is cut, or every one of the "heads" (CLIPer).
    score_threshold, background_threshold, stretch : with background words, which classes and
        pixels are left, CLIPer's rule; stretch brings each class that is left to 0..1 first.
    timestep : of the diffusion model's noise, None its own.
    """

    alpha: float = 0.8
    beta: float = 0.5
    steps: int = 20
    tolerance: float = 0.0
    form: Literal["restart", "series", "exact"] = "restart"
    weighting: Literal["exp", "linear", "inverse", "lowest", "row", "equal"] = "exp"
    temperature: float = 1.0
    lowest: int = 3
    local: Literal["attention", "rows"] = "attention"
    radius: int = 1
    cleanup: float | None = None
    cleaned: Literal["mean", "heads"] = "mean"
    score_threshold: float = 0.5
    background_threshold: float = 0.4
    stretch: bool = False
    timestep: int | None = None


@dataclass(frozen=True, slots=True)
class Proposals:
    """How an image is cut into segments; `methods.segments.Proposals` says it in full.

    kind : "adaptive" several levels that add up, one level of "felzenszwalb" or "slic", masks of
        "sam" or "sam2".
    preset : Felzenszwalb's published settings (docs/methods/reme.md#felzenszwalb); scale, sigma,
        min_size : instead.
    finest : pixels of the finest superpixels; most : how many of them at most.
    segmenter : of models.catalog_visual.SEGMENTERS, "" the smallest of the kind.
    """

    kind: Literal["adaptive", "felzenszwalb", "slic", "sam", "sam2"] = "adaptive"
    preset: str = "ade"
    scale: float | None = None
    sigma: float | None = None
    min_size: int | None = None
    finest: int = 12
    most: int = 16_000
    compactness: float = 10.0
    segmenter: str = ""


@dataclass(frozen=True, slots=True)
class ReME:
    """Parameters of ReME's retrieval (docs/methods/reme.md#retrieval); T = 1 twice is the paper's
    literal form.

    temperature, text_temperature : of the softmax over references and over classes.
    weighting : "softmax" of cosines or "tip", exp(-sharpness (1 - cos)).
    top_k : nearest references that answer, 0 all.
    normalise : one vote a segment ("row"), labels by their count to `exponent` ("column").
    words : labels meet classes by "text" likeness, by "names", or as the set allows ("auto").
    proposals : how the image is cut into the segments that are asked about.
    abstract, outliers, synonyms : which steps of the set's cleaning count.
    """

    temperature: float = 0.05
    text_temperature: float = 0.01
    weighting: Literal["softmax", "tip"] = "softmax"
    sharpness: float = 5.5
    top_k: int = 0
    normalise: Literal["none", "row", "column"] = "none"
    exponent: float = 1.0
    words: Literal["auto", "text", "names"] = "auto"
    proposals: Proposals = field(default_factory=Proposals)
    abstract: bool = True
    outliers: bool = True
    synonyms: bool = True


@dataclass(frozen=True, slots=True)
class Reference:
    """The reference set a job retrieves from.

    folder : where it lies. digest : of its content; "" takes it as it is when the job runs.
    """

    folder: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class Display:
    """How the values of an image become the 8 bits that the models see.

    limits : values that become 0 and 255, one pair for all channels that are shown or one for
        each. () is automatic: bytes stay as they are, other values are stretched between their
        0.5th and 99.5th percentile in each plane.
    channels : which become red, green, blue, counted from 0 (one: grey; two: red and green);
        () takes what the file says, else the first three.
    """

    limits: tuple[tuple[float, float], ...] = ()
    channels: tuple[int, ...] = ()


# Settings that lie between two numbers, both included; None is no limit.
_LIMITS: dict[str, tuple[float, float | None]] = {
    "rp_threshold": (0, 1), "ap_threshold": (0, 1), "box_threshold": (0, 1),
    "alpha": (0, 1), "beta": (0, 1), "steps": (0, 1000), "tolerance": (0, 1),
    "radius": (1, 16), "lowest": (1, None), "cleanup": (0, 1),
    "score_threshold": (0, 1), "background_threshold": (0, 1), "timestep": (0, 999),
    "top_k": (0, None), "exponent": (0, 1), "finest": (1, None), "most": (1, None),
}  # fmt: skip
_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    type(None): "none",
}
# Settings that must be above 0.
_POSITIVE = ("temperature", "text_temperature", "sharpness")


def check(name: str, settings: Any) -> None:
    """Raise JobError for a setting of another type, outside its options or limits, by its field."""
    hints = get_type_hints(type(settings))
    for f in fields(settings):
        value, where = getattr(settings, f.name), f"{name}.{f.name}"
        if is_dataclass(value):
            check(where, value)
        elif get_origin(hints[f.name]) is Literal:
            member(where, value, get_args(hints[f.name]))
        else:
            _typed(where, value, hints[f.name])
            if value is not None and f.name in _LIMITS:
                _between(where, value, *_LIMITS[f.name])
            if f.name in _POSITIVE and not (math.isfinite(value) and value > 0):
                raise JobError(where, f"{where} must be above 0, not {value}.")
    if isinstance(settings, Nerve) and settings.alpha == 1 and settings.form != "restart":
        where = f"{name}.alpha"
        raise JobError(
            where, f"{where} must be below 1 with form {settings.form!r}, or choose 'restart'."
        )


def check_windows(windows: Windows) -> None:
    if windows.short_side < 0 or windows.crop < 0:
        raise JobError("windows", "short_side and crop must be 0 (off) or a length in pixels.")
    if windows.crop and not 0 < windows.stride <= windows.crop:
        raise JobError(
            "windows",
            f"stride must lie between 1 and the window's side {windows.crop}, "
            f"not {windows.stride}: a larger stride would leave gaps.",
        )


def check_display(display: Display) -> None:
    """Raise JobError for limits and channels that no image can have."""
    for pair in display.limits:
        numbers = len(pair) == 2 and all(math.isfinite(value) for value in pair)
        if not numbers or not pair[0] < pair[1]:
            raise JobError(
                "display.limits",
                f"display.limits must be pairs of two numbers, the lower first, not {pair}.",
            )
    if len(display.limits) > 3 or len(display.channels) > 3 or min(display.channels, default=0) < 0:
        raise JobError(
            "display.channels",
            "display has up to three channels, counted from 0, and limits for them, not "
            f"{display.channels} and {len(display.limits)} pairs of limits.",
        )


def member(name: str, value: object, options: tuple[str, ...]) -> None:
    """Raise JobError when a value is not one of the options."""
    if value not in options:
        raise JobError(name, f"{name} must be one of {', '.join(options)}: {value!r}.")


def _typed(name: str, value: object, hint: Any) -> None:
    for kind in get_args(hint) or (hint,):
        kinds = (int, float) if kind is float else kind
        if isinstance(value, kinds) and (kind is bool or not isinstance(value, bool)):
            return
    wanted = " or ".join(_KINDS[kind] for kind in get_args(hint) or (hint,))
    raise JobError(name, f"{name} must be {wanted}, not {value!r}.")


def unit(name: str, value: float) -> None:
    """Raise JobError when a value is not between 0 and 1."""
    _between(name, value, 0, 1)


def _between(name: str, value: float, low: float, high: float | None) -> None:
    if isinstance(value, (int, float)) and value >= low and (high is None or value <= high):
        return
    limits = f"between {low} and {high}" if high is not None else f"at {low} or above"
    raise JobError(name, f"{name} must lie {limits}, not {value!r}.")
