"""The encoders a new set may have, as the dock names them. Loads no torch."""

from dataclasses import dataclass, replace

from ...models.catalog import BUNDLES, MODELS, folder_of, installed
from ...models.catalog_visual import (
    CLIP_PREFIX,
    IN_WINDOWS,
    VISUALS,
    folder_installed,
    weights_of,
)
from ...values.errors import ModelError
from .clips import clips
from .fetch_row import Fetchable, megabytes

TEXTURE = "texture"
GET = "Get this encoder…"
HIDDEN = "-random"
TITLES = {
    TEXTURE: "Colour and texture (no model needed)",
    "demo-visual": "Demo DINOv2",
    "clip:demo-clip": "Demo CLIP",
    "dinov2b": "DINOv2 base",
    "dinov2l": "DINOv2 large",
}
NOTES = {
    TEXTURE: "Works on any picture at once: compares colours, edges and textures. Best where "
    "classes look different from each other.",
    "demo-visual": "Knows drawn scenes only.",
    "clip:demo-clip": "Knows drawn scenes only, and those better than the other demo encoder.",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """name : of the encoder. note : what a person must know of it. size : bytes to fetch."""

    name: str
    title: str
    note: str
    installed: bool = True
    size: int = 0
    licence: str = ""
    source: str = ""


def choices() -> list[Choice]:
    """All encoders, the one that needs no model first; of CLIPs those that are here already."""
    here = [CLIP_PREFIX + BUNDLES[clip.bundle].clip for clip in clips()]
    networks = [name for name in VISUALS if not name.endswith(HIDDEN)]
    return [choice(name) for name in (TEXTURE, *here, *networks)]


def choice(name: str) -> Choice:
    """What the dock says of one encoder; any name that a set may bring."""
    title = TITLES.get(name, name)
    if name.startswith(CLIP_PREFIX):
        return _clip(name, title)
    if name.endswith(IN_WINDOWS):
        told = choice(weights_of(name))
        return replace(told, name=name, title=f"{told.title}, in windows")
    entry = VISUALS.get(name)
    if name == TEXTURE or entry is None:
        return Choice(name, title, NOTES.get(name, ""))
    installed = folder_installed(name)
    state = "Installed." if installed else f"{megabytes(entry.size)} to fetch."
    if not installed and not entry.size:
        state = "Missing: install napari-prelabel again."
    note = " ".join(filter(None, [state, f"Licence: {entry.licence}.", NOTES.get(name, "")]))
    return Choice(name, title, note, installed, entry.size, entry.licence, entry.source)


def _clip(name: str, title: str) -> Choice:
    """Features of a CLIP; one that is missing is fetched where runs choose their models."""
    model = name.removeprefix(CLIP_PREFIX)
    if model not in MODELS:
        return Choice(name, title, "", False)
    titles = (b.title for b in BUNDLES.values() if b.clip == model)
    title = TITLES.get(name) or next(titles, title)
    here = installed(model)
    state = "Installed." if here else "Not here: get it in the Pre-label dock, under Models."
    parts = (state, f"Licence: {MODELS[model].licence}.", NOTES.get(name, ""))
    return Choice(name, title, " ".join(filter(None, parts)), here)


def squashes(name: str) -> bool:
    """Whether an encoder squashes images, so that windows are another way to read them."""
    return name in VISUALS


def fetchable(name: str) -> Fetchable | None:
    """What fetching an encoder means, None for one that is never fetched."""
    entry, told = VISUALS.get(name), choice(name)
    if entry is None or not told.size:
        return None
    folder = folder_of(name, entry)
    return Fetchable(name, told.title, entry.source, told.size, told.licence, folder,
                     told.installed)  # fmt: skip


def check(name: str) -> None:
    """Raise ModelError when an encoder is not here yet."""
    told = choice(name)
    if not told.installed:
        raise ModelError(
            name,
            f"{told.title} is not on this machine yet: "
            + (f"press “{GET}”" if told.size else "get it in the Pre-label dock, under Models")
            + ", or choose another encoder.",
        )
