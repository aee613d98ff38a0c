"""ABOUT: the dense CLIP bases, what they are called and what their last block does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Base = Literal[
    "vanilla", "maskclip", "sclip", "clearclip", "gem", "naclip",
    "maskclip_residual", "maskclip_bare", "sclip_residual",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class BaseRow:
    """title : in lists and tables. help : one line on what is read off CLIP's last block."""

    title: str
    help: str


# In the order of `Base`; `methods.dense.BASES` computes them, docs/methods/bases.md compares them.
ABOUT: Mapping[str, BaseRow] = {
    "vanilla": BaseRow("CLIP as it is", "CLIP's own last block, unchanged."),
    "maskclip": BaseRow(
        "MaskCLIP",
        "Every patch looks at itself alone; MLP kept, residual left out (FreeCP's form).",
    ),
    "sclip": BaseRow(
        "SCLIP", "Patches look at alike ones; MLP kept, residual left out (FreeCP's form)."
    ),
    "clearclip": BaseRow("ClearCLIP", "Patches look at alike ones; neither residual nor MLP."),
    "gem": BaseRow("GEM", "Self-self attention in the last half of the blocks, at most six."),
    "naclip": BaseRow("NACLIP", "Patches look at alike and near ones; neither residual nor MLP."),
    "maskclip_residual": BaseRow(
        "MaskCLIP, official", "Every patch looks at itself alone; residual and MLP kept."
    ),
    "maskclip_bare": BaseRow(
        "MaskCLIP, bare", "Every patch looks at itself alone; neither residual nor MLP."
    ),
    "sclip_residual": BaseRow(
        "SCLIP, official", "Patches look at alike ones; residual and MLP kept."
    ),
}
