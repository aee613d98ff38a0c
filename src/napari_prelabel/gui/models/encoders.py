"""The encoders a new set may have, as the dock names them. Loads no torch."""

from dataclasses import dataclass

from ...models.catalog import BUNDLES, MODELS, encoder_installed, model_dir, of_kind
from ...models.entries import VisualEntry
from ...values.encoder import TEXTURE, Encoder
from ...values.errors import ModelError
from .clips import clips
from .fetch_row import Fetchable, megabytes

GET = "Get this encoder…"
DEMO_CLIP, DEMO_VISUAL = Encoder("clip", "demo-clip"), Encoder("patches", "demo-visual")
TITLES = {
    TEXTURE: "Colour and texture (no model needed)",
    DEMO_VISUAL: "Demo DINOv2",
    DEMO_CLIP: "Demo CLIP",
    Encoder("patches", "dinov2b"): "DINOv2 base",
    Encoder("patches", "dinov2l"): "DINOv2 large",
}
NOTES = {
    TEXTURE: "Works on any picture at once: compares colours, edges and textures. Best where "
    "classes look different from each other.",
    DEMO_VISUAL: "Knows drawn scenes only.",
    DEMO_CLIP: "Knows drawn scenes only, and those better than the other demo encoder.",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """note : what a person must know of an encoder. size : bytes to fetch."""

    encoder: Encoder
    title: str
    note: str
    installed: bool = True
    size: int = 0


def choices() -> list[Choice]:
    """All encoders, the one that needs no model first; of CLIPs those that are here already."""
    here = [Encoder("clip", BUNDLES[clip.bundle].clip) for clip in clips()]
    networks = [Encoder("patches", n) for n, e in of_kind(VisualEntry).items() if not e.random]
    return [choice(encoder) for encoder in (TEXTURE, *here, *networks)]


def choice(encoder: Encoder) -> Choice:
    """What the dock says of one encoder; any that a set may bring."""
    plain = Encoder(encoder.how, encoder.model)
    title = TITLES.get(plain, str(plain)) + ", in windows" * encoder.windows
    entry, here = MODELS.get(encoder.model), encoder_installed(encoder)
    if entry is None:
        return Choice(encoder, title, NOTES.get(plain, ""), here)
    size = entry.size if encoder.how == "patches" else 0
    if encoder.how != "patches":
        titles = (b.title for b in BUNDLES.values() if b.clip == encoder.model)
        title = TITLES.get(plain) or next(titles, title)
    if here:
        state = "Installed."
    elif size:
        state = f"{megabytes(size)} to fetch."
    elif entry.fetchable:  # a CLIP is fetched where runs choose their models
        state = "Not here: get it in the Pre-label dock, under Models."
    else:
        state = "Missing: install napari-prelabel again."
    note = " ".join(filter(None, [state, f"Licence: {entry.licence}.", NOTES.get(plain, "")]))
    return Choice(encoder, title, note, here, size)


def squashes(encoder: Encoder) -> bool:
    """Whether an encoder squashes images, so that windows are another way to read them."""
    return encoder.how == "patches"


def fetchable(encoder: Encoder) -> Fetchable | None:
    """What fetching an encoder means, None for one that is never fetched."""
    told, name = choice(encoder), encoder.model
    if not told.size:
        return None
    entry = MODELS[name]
    return Fetchable(
        name, told.title, entry.source, told.size, entry.licence, model_dir(name), told.installed
    )


def check(encoder: Encoder) -> None:
    """Raise ModelError when an encoder is not here yet."""
    told = choice(encoder)
    if not told.installed:
        raise ModelError(
            str(encoder),
            f"{told.title} is not on this machine yet: "
            + (f"press “{GET}”" if told.size else "get it in the Pre-label dock, under Models")
            + ", or choose another encoder.",
        )
