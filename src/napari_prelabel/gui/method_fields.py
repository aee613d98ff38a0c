"""FORMS: what the dock asks for each method, as a table. A new method is one more row."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..values.declare import setting
from ..values.job import FreeCP, Nerve, ReME

PRECISIONS = {
    "float32": "exact (float32)",
    "bfloat16": "faster (bfloat16)",
    "float16": "faster (float16)",
}


@dataclass(frozen=True, slots=True)
class Field:
    """How one parameter of a method is asked for.

    name : of the parameter; "proposals.scale" is a parameter of a parameter.
    words : what the options of a choice are called, in their order.
    limits : lowest, highest and step of a number.
    folded : stands among the advanced settings.
    """

    name: str
    title: str
    help: str
    words: tuple[str, ...] = ()
    folded: bool = True
    limits: tuple[float, float, float] = (0.0, 1.0, 0.05)


@dataclass(frozen=True, slots=True)
class Form:
    """What the dock shows while a method is chosen.

    parameters : field of the Job that holds them, "" when the method has none of its own.
    default : their standard values. rows : which of the rows that methods share apply.
    """

    title: str
    help: str
    parameters: str = ""
    default: Any = None
    fields: tuple[Field, ...] = ()
    rows: frozenset[str] = frozenset()


_FREECP = (
    Field(
        "redundancy",
        "Drop words that are not in the picture",
        "A word goes whose cleaned map hardly overlaps its first map.",
        folded=False,
    ),
    Field(
        "ambiguity",
        "Settle words that look alike",
        "Where two words claim one place, a closer look decides. Takes most of the time.",
        folded=False,
    ),
    Field("rp_threshold", "Drop below overlap", "Higher drops more words (0 to 1)."),
    Field("ap_threshold", "Alike from overlap", "Lower treats more words as alike (0 to 1)."),
    Field("box_threshold", "Box threshold", "Higher draws smaller boxes around things (0 to 1)."),
    Field(
        "refinement",
        "Refinement",
        "How a word spreads over what looks the same.",
        ("as in the published code", "as in the paper"),
    ),
    Field(
        "similarity",
        "Likeness measured",
        "How far two words' maps count as alike.",
        ("as in the published code", "as in the paper"),
    ),
    Field(
        "overlap",
        "Overlap measured",
        "The published code and its paper divide differently.",
        ("as in the published code", "as in the paper (IoU)"),
    ),
    Field(
        "losers",
        "Losing words go",
        "Where a word that lost to a look-alike is taken out.",
        ("from the whole window", "from their box only"),
    ),
    Field(
        "gem_affinity",
        "GEM's attention",
        "Which attention cleans the map when the base is GEM.",
        ("first head (published)", "mean of heads"),
    ),
    Field(
        "empty_pixel",
        "Pixels no word holds",
        "Matters only without background words.",
        ("first word (published)", "the base's best word"),
    ),
    Field(
        "scope",
        "Decide words per",
        "Words are dropped window by window, or once for the image.",
        ("window (published)", "whole image"),
    ),
    Field(
        "source",
        "Likeness from",
        "What tells which places look the same: CLIP itself, or the diffusion model of NERVE.",
        ("CLIP's attention (published)", "the diffusion model"),
    ),
)
_NERVE = (
    Field("alpha", "Share of the walk", "Higher carries words further, lower stays closer to the "
          "base's map (0 to 1)."),
    Field("beta", "Far before near", "Higher joins places that look alike anywhere, lower joins "
          "neighbours (0 to 1)."),
    Field("steps", "Steps of the walk", "More steps carry words further and take longer.",
          limits=(0, 1000, 5)),
    Field(
        "weighting",
        "Weights of heads",
        "How much each attention head of the diffusion model says, by how sharp it is (entropy).",
        ("exponential", "linear", "inverse", "the sharpest alone", "row by row", "all alike"),
    ),
    Field("radius", "Neighbours within", "Side of the near window, in patches to each side.",
          limits=(1, 16, 1)),
    Field("temperature", "Softness of weights", "Of exponential and row-by-row weights: higher "
          "makes heads more alike.", limits=(0.01, 100.0, 0.1)),
    Field("lowest", "Sharpest heads", "How many, where the sharpest alone say something.",
          limits=(1, 1000, 1)),
    Field(
        "local",
        "Near likeness from",
        "What joins a patch with its neighbours.",
        ("its attention", "alike rows of attention"),
    ),
    Field(
        "form",
        "Form of the walk",
        "How the walk is written in the paper, or solved without end (slow on large images).",
        ("with restart", "as a series", "to its end"),
    ),
    Field("score_threshold", "Words from", "With background words: a word below is not in the "
          "picture (0 to 1)."),
    Field("background_threshold", "Background from", "With background words: a pixel below stays "
          "unlabelled (0 to 1)."),
)  # fmt: skip
_REME = (
    Field(
        "outliers",
        "Pass over outliers of the set",
        "Segments that cleaning found unlike the others of their class do not answer.",
        folded=False,
    ),
    Field(
        "proposals.kind",
        "Segments",
        "How the picture is cut into the pieces that are compared with the set.",
        ("several sizes", "Felzenszwalb", "superpixels (SLIC)", "SAM", "SAM 2"),
    ),
    Field(
        "proposals.finest",
        "Finest segments",
        "Pixels of the smallest pieces: fewer keep thin things, more are faster.",
        limits=(1, 10_000, 4),
    ),
    Field(
        "temperature",
        "Nearest count",
        "Lower lets the most alike segments of the set decide alone (temperature).",
        limits=(0.001, 10.0, 0.01),
    ),
    Field("top_k", "References asked", "The most alike ones only; 0 asks all.",
          limits=(0, 1_000_000, 10)),
    Field(
        "normalise",
        "Votes",
        "How much a segment or a frequent word may say.",
        ("every word counts", "one vote a segment", "rare words count more"),
    ),
    Field("exponent", "Rare words by", "How strongly frequent words are held back (0 to 1)."),
    Field(
        "weighting",
        "Weights",
        "How likeness becomes a weight.",
        ("softmax (published)", "as in Tip-Adapter"),
    ),
    Field("sharpness", "Sharpness of weights", "Of Tip-Adapter's weights.",
          limits=(0.1, 100.0, 0.5)),
    Field(
        "words",
        "Words meet",
        "How the words of the set are matched with yours.",
        ("as the set allows", "by meaning (CLIP)", "by name and synonyms"),
    ),
    Field("text_temperature", "Sharpness of words", "Of words that meet by meaning; lower is "
          "stricter.", limits=(0.001, 10.0, 0.01)),
    Field("abstract", "Pass over words too general", "Words that cleaning found too general."),
    Field("synonyms", "Use synonyms of the set", "Words that cleaning found to mean the same."),
)  # fmt: skip
_CLIP = frozenset({"base", "logit_scale", "windows", "precision"})

FORMS: Mapping[str, Form] = {
    "freecp": Form(
        "FreeCP",
        "Takes the base's map, drops words that are not in the picture, and settles words that "
        "look alike.",
        "freecp",
        FreeCP(),
        _FREECP,
        _CLIP,
    ),
    "nerve": Form(
        "NERVE",
        "Carries the base's map along what a diffusion model sees as one thing, to its edges. "
        "Slow for the first time on an image; other words are quick.",
        "nerve",
        Nerve(),
        _NERVE,
        _CLIP,
    ),
    "base": Form(
        "Base alone",
        "Fast. Every pixel takes the word that fits it best. Good for a short list of words that "
        "are all in the picture.",
        rows=_CLIP | {"min_score"},
    ),
    "reme": Form(
        "ReME: learn from corrections",
        "Compares every piece of the picture with a reference set, made from images that you "
        "corrected.",
        "reme",
        ReME(),
        _REME,
        frozenset({"reference", "precision"}),
    ),
}


def value_of(values: Any, name: str) -> Any:
    """A parameter, or a parameter of a parameter, by its dotted name."""
    for part in name.split("."):
        values = getattr(values, part)
    return values


def with_values(values: Any, given: Mapping[str, Any]) -> Any:
    """Parameters with some of them replaced, by their dotted names; the others stay."""
    told: dict[str, Any] = {}
    inner: dict[str, dict[str, Any]] = {}
    for name, value in given.items():
        head, _, tail = name.partition(".")
        if tail:
            inner.setdefault(head, {})[tail] = value
        else:
            told[head] = value
    told |= {head: with_values(getattr(values, head), some) for head, some in inner.items()}
    return replace(values, **told)


def options_of(values: Any, name: str) -> tuple[str, ...]:
    """The options of a parameter that is a choice."""
    return setting(type(values), name).options
