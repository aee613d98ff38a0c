"""ABOUT: the dense CLIP bases, what they are called and what their last block does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Base = Literal[
    "vanilla", "maskclip", "sclip", "clearclip", "gem", "naclip",
    "maskclip_residual", "maskclip_bare", "sclip_residual",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class About:
    """title : in lists and tables. help : one line on what is read off CLIP's last block."""

    title: str
    help: str


# In the order of `Base`; `methods.dense.BASES` computes them, docs/methods/bases.md compares them.
ABOUT: Mapping[str, About] = {
    "vanilla": About("CLIP as it is", "CLIP's own last block, unchanged."),
    "maskclip": About(
        "MaskCLIP",
        "Every patch looks at itself alone; MLP kept, residual left out (FreeCP's form).",
    ),
    "sclip": About(
        "SCLIP", "Patches look at alike ones; MLP kept, residual left out (FreeCP's form)."
    ),
    "clearclip": About("ClearCLIP", "Patches look at alike ones; neither residual nor MLP."),
    "gem": About("GEM", "Self-self attention in the last half of the blocks, at most six."),
    "naclip": About("NACLIP", "Patches look at alike and near ones; neither residual nor MLP."),
    "maskclip_residual": About(
        "MaskCLIP, official", "Every patch looks at itself alone; residual and MLP kept."
    ),
    "maskclip_bare": About(
        "MaskCLIP, bare", "Every patch looks at itself alone; neither residual nor MLP."
    ),
    "sclip_residual": About(
        "SCLIP, official", "Patches look at alike ones; residual and MLP kept."
    ),
}
