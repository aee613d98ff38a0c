"""The drawn world's classes: 12 stuff textures, 20 thing shapes, their words and their colours.

Every table here is data that both the generator and the captions read. Ids in a label map are the
position in ``CLASSES`` plus one; 0 is never drawn and means unlabelled.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["stuff", "thing"]


@dataclass(frozen=True, slots=True)
class SceneClass:
    """One class of the drawn world.

    Attributes
    ----------
    name : the word that vocabularies and captions use first
    kind : "stuff" is drawn as a texture, "thing" as a shape
    synonyms : other words that captions use for the same class
    family : a common word for several classes; captions sometimes say only this one
    looks : noun phrases that describe what the class looks like, without naming it
    """

    name: str
    kind: Kind
    synonyms: tuple[str, ...]
    family: str
    looks: tuple[str, ...]


def _stuff(name: str, synonyms: str, family: str, *looks: str) -> SceneClass:
    return SceneClass(name, "stuff", tuple(synonyms.split(", ")), family, looks)


def _thing(name: str, synonyms: str, family: str, *looks: str) -> SceneClass:
    return SceneClass(name, "thing", tuple(synonyms.split(", ")), family, looks)


CLASSES: tuple[SceneClass, ...] = (
    _stuff(
        "sky", "heaven, skies", "background",
        "a smooth area without any lines", "soft blurred clouds", "a pale empty gradient",
    ),
    _stuff(
        "sea", "ocean, waves", "water",
        "horizontal wave crests with white foam", "regular curved swell lines",
        "sharp bright crests over dark water",
    ),
    _stuff(
        "lake", "pond, lagoon", "water",
        "fine short horizontal ripples", "calm water with thin level dashes",
        "faint flat streaks lying side by side",
    ),
    _stuff(
        "river", "stream, creek", "water",
        "wavy slanted lines of flowing water", "a current of bent diagonal streaks",
        "long winding flow lines",
    ),
    _stuff(
        "grass", "lawn, meadow", "ground",
        "thin upright blades", "dense short vertical strokes", "fine vertical streaks",
    ),
    _stuff(
        "field", "farmland, furrows", "ground",
        "straight parallel rows", "evenly spaced slanted furrows", "regular ploughed stripes",
    ),
    _stuff(
        "sand", "beach, desert", "ground",
        "fine grain with tiny dots", "a grainy surface of small specks", "loose tiny grains",
    ),
    _stuff(
        "snow", "ice, snowdrift", "ground",
        "soft smooth mounds with sparkles", "gentle bumps with bright glitter points",
        "rounded drifts",
    ),
    _stuff(
        "road", "street, asphalt", "ground",
        "coarse dark blotches with light dashed lines", "painted lane marks on tarmac",
        "a speckled strip with dashes",
    ),
    _stuff(
        "rock", "cliff, stone", "ground",
        "angular facets with dark cracks", "broken flat faces and sharp edges",
        "jagged cells split by dark gaps",
    ),
    _stuff(
        "forest", "woods, woodland", "plants",
        "many round treetops close together", "overlapping lit bumps with dark gaps",
        "a dense roof of rounded crowns",
    ),
    _stuff(
        "pavement", "bricks, paving", "ground",
        "rectangular blocks laid in rows", "a brick pattern with dark joints",
        "staggered rectangles with thin gaps",
    ),
    _thing(
        "house", "cottage, home", "building",
        "a pointed triangular roof on a square wall", "a square wall with a door and windows",
    ),
    _thing(
        "barn", "shed, stable", "building",
        "a wide wall under a bent roof with a crossed door", "a broad gate marked with a cross",
    ),
    _thing(
        "tower", "castle, turret", "building",
        "a tall narrow wall with battlements on top", "a tall block with notches and slit windows",
    ),
    _thing(
        "tree", "oak, maple", "plant",
        "a round leafy crown on a trunk", "a ball of leaves above a bare stem",
    ),
    _thing(
        "bush", "shrub, hedge", "plant",
        "a low leafy mound without a trunk", "a wide dome of leaves on the ground",
    ),
    _thing(
        "pine", "fir, spruce", "plant",
        "stacked leafy triangles on a short trunk", "a cone of three pointed tiers",
    ),
    _thing(
        "car", "automobile, sedan", "vehicle",
        "a low body with a rounded cabin and two wheels", "a small cabin between bonnet and boot",
    ),
    _thing(
        "truck", "lorry, pickup", "vehicle",
        "a tall cargo box behind a small cab on wheels", "a big plain box and a lower cab",
    ),
    _thing(
        "bus", "coach, minibus", "vehicle",
        "a long box with a row of windows and two wheels", "a row of many equal windows",
    ),
    _thing(
        "boat", "sailboat, yacht", "vehicle",
        "a curved hull with a mast and triangular sails", "two pointed sails above a hull",
    ),
    _thing(
        "cow", "cattle, bull", "animal",
        "a heavy spotted body on four legs with horns", "dark patches on a broad body with legs",
    ),
    _thing(
        "sheep", "lamb, ewe", "animal",
        "a fluffy round body on thin legs with a dark head", "a woolly cloud with four thin legs",
    ),
    _thing(
        "person", "man, woman", "figure",
        "a round head above an upright body with arms and two legs", "a standing figure",
    ),
    _thing(
        "bird", "gull, sparrow", "animal",
        "two spread wings and a small beak", "a body between raised pointed wings",
    ),
    _thing(
        "fish", "trout, salmon", "animal",
        "an oval body with a forked tail and an eye", "a scaly oval with fins",
    ),
    _thing(
        "flower", "blossom, daisy", "plant",
        "round petals around a bright centre on a thin stem", "a ring of petals with leaves below",
    ),
    _thing(
        "umbrella", "parasol, brolly", "object",
        "a half round canopy with ribs over a hooked handle", "a dome of wedges on a thin stick",
    ),
    _thing(
        "ball", "football, globe", "object",
        "a round disc with curved bands", "a circle crossed by stripes",
    ),
    _thing(
        "kite", "rhombus, diamond", "object",
        "a four cornered diamond with crossed spars and a tail", "a pointed rhombus on a string",
    ),
    _thing(
        "fence", "railing, palisade", "object",
        "a row of pointed pickets joined by two rails", "upright boards with gaps between them",
    ),
)  # fmt: skip

CLASS_IDS: dict[str, int] = {c.name: i for i, c in enumerate(CLASSES, start=1)}
STUFF: tuple[str, ...] = tuple(c.name for c in CLASSES if c.kind == "stuff")
THINGS: tuple[str, ...] = tuple(c.name for c in CLASSES if c.kind == "thing")

DISTRACTORS: tuple[str, ...] = (
    "airplane", "piano", "banana", "keyboard", "elephant", "toilet", "guitar", "sofa",
    "pizza", "microscope", "candle", "scissors", "refrigerator", "zebra", "necktie", "violin",
)  # fmt: skip
"""Words for vocabularies that no scene ever shows and no training caption ever says."""

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.80, 0.16, 0.14),
    "orange": (0.90, 0.50, 0.12),
    "yellow": (0.88, 0.80, 0.22),
    "green": (0.24, 0.55, 0.20),
    "blue": (0.18, 0.40, 0.74),
    "purple": (0.50, 0.26, 0.62),
    "pink": (0.90, 0.55, 0.66),
    "brown": (0.48, 0.32, 0.18),
    "white": (0.92, 0.92, 0.90),
    "grey": (0.52, 0.53, 0.54),
    "black": (0.13, 0.13, 0.15),
}
COLOUR_NAMES: tuple[str, ...] = tuple(COLOURS)

STUFF_COLOURS: dict[str, tuple[str, ...]] = {
    "sky": ("blue", "grey", "white", "orange", "pink"),
    "sea": ("blue", "green", "grey", "purple"),
    "lake": ("blue", "green", "grey", "brown"),
    "river": ("blue", "green", "grey", "brown"),
    "grass": ("green", "yellow", "brown"),
    "field": ("green", "yellow", "brown", "orange"),
    "sand": ("yellow", "brown", "orange", "white", "grey"),
    "snow": ("white", "grey", "blue", "pink"),
    "road": ("grey", "black", "brown"),
    "rock": ("grey", "brown", "red", "black"),
    "forest": ("green", "orange", "brown", "yellow"),
    "pavement": ("red", "grey", "brown", "yellow"),
}
