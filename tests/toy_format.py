"""A format that nothing in src knows of: one file, one row, as docs/extend.md says."""

from typing import Annotated

import numpy as np
from pydantic import Field

from napari_prelabel.formats import provenance
from napari_prelabel.formats.format import Format
from napari_prelabel.formats.one_image import only, put, subjects
from napari_prelabel.formats.table import BEGINNING, begins, dump, from_table, read_json, to_table
from napari_prelabel.values.declare import Ask, settings


@settings("toy")
class ToyOptions:
    spaces: Annotated[
        int, Field(ge=0, le=8, title="Spaces", description="Before each line of the toy."), Ask(1)
    ] = 2


def write(images, path, options):
    image = only(images, path)
    own, said = options.own or ToyOptions(), provenance.told(image)
    facts = to_table(image) | said | {"ids": image.ids.tolist()}
    return put(image, path, said, {path: dump(facts, path, own.spaces)}, options, read)


def read(path, _vocabulary=None):
    told = read_json(path)
    image = from_table(told, np.array(told["ids"], np.uint16), path, path.stem)
    return (provenance.restored_alone(image, told, path),)


TOY = Format(
    "toy",
    "Toy, for tests",
    "Toy: ids as lines of text.",
    "Toy with names",
    ".toy",
    write,
    read,
    lambda path: begins(path, rf"\A\s*\{{\s*{BEGINNING}"),
    lambda path, _vocabulary: subjects(lambda: read_json(path), path),
    (".toy",),
    opens=("*.toy",),
    lossless=False,
    options=ToyOptions,
)
