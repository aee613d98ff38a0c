"""Encoder: what turns an image and its segments into vectors that are compared."""

from dataclasses import dataclass
from typing import Literal

How = Literal["texture", "patches", "clip", "crops"]
_PREFIX = {"clip": "clip:", "crops": "clip-crops:"}
_WINDOWS = "@windows"


@dataclass(frozen=True, slots=True)
class Encoder:
    """An encoder of reference sets.

    how : "texture" needs no model; "patches" are a visual encoder's, "clip" a CLIP's in the space
        of words; "crops" shows CLIP every segment cut out.
    model : of the catalogue, "" for texture.
    windows : patches of square windows at the image's own proportions, not of the whole squashed.

    `str` gives the text form that job files, sets and the command line have; `parse` reads it.
    """

    how: How
    model: str = ""
    windows: bool = False

    def __str__(self) -> str:
        name = self.model or self.how
        return _PREFIX.get(self.how, "") + name + _WINDOWS * self.windows

    @classmethod
    def parse(cls, text: str) -> "Encoder":
        """The encoder of a text form: "texture", "MODEL", "MODEL@windows", "clip:MODEL" or
        "clip-crops:MODEL". Whether there is such a model, the catalogue tells."""
        if text == TEXTURE.how:
            return TEXTURE
        if text.startswith(_PREFIX["crops"]):
            return cls("crops", text.removeprefix(_PREFIX["crops"]))
        if text.startswith(_PREFIX["clip"]):
            return cls("clip", text.removeprefix(_PREFIX["clip"]))
        model = text.removesuffix(_WINDOWS)
        return cls("patches", model, model != text)


TEXTURE = Encoder("texture")
