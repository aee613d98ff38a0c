"""Every single model of all tables: its kind, licence, size, folder and state. Loads no torch."""

from dataclasses import dataclass
from pathlib import Path

from ..values.errors import ModelError
from .catalog import BUNDLES, MODELS, folder_of, installed, model_dir
from .catalog_diffusion import DIFFUSIONS, diffusion_installed
from .catalog_visual import CAPTIONERS, SEGMENTERS, VISUALS, folder_installed


@dataclass(frozen=True, slots=True)
class Part:
    """One model.

    kind : what it is for, in a word or two. size : bytes to fetch, about; 0 for nothing.
    ready : it can be loaded as it is; random : seeded weights, which only measure speed.
    """

    name: str
    kind: str
    source: str
    licence: str
    size: int
    folder: Path
    ready: bool

    @property
    def random(self) -> bool:
        return self.source == "random"

    @property
    def fetchable(self) -> bool:
        """Whether it comes from a hub."""
        return self.source not in ("sample", "random")


_TABLES = (
    ("encoder", VISUALS),
    ("diffusion", DIFFUSIONS),
    ("segmenter", SEGMENTERS),
    ("captioner", CAPTIONERS),
)


def part(name: str) -> Part:
    """A model by its name, or a bundle's CLIP; raises ModelError listing the names there are."""
    name = BUNDLES[name].clip if name in BUNDLES else name
    if name in MODELS:
        clip = MODELS[name]
        return Part(
            name, "CLIP", clip.source, clip.licence, clip.size, model_dir(name), installed(name)
        )
    for kind, table in _TABLES:
        if name in table:
            entry = table[name]
            here = diffusion_installed if kind == "diffusion" else folder_installed
            folder = folder_of(name, entry)
            return Part(name, kind, entry.source, entry.licence, entry.size, folder, here(name))
    known = ", ".join([*BUNDLES, *names()])
    raise ModelError(name, f"There is no model {name!r}: choose one of {known}.")


def names() -> tuple[str, ...]:
    """Names of all single models."""
    return (*MODELS, *(name for _, table in _TABLES for name in table))
