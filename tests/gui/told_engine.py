"""The worker's own engine, which writes down what it was made with.

A line of JSON goes to the file PRELABEL_TOLD for every engine.
"""

import json
import os
from typing import Any

from napari_prelabel.engine.engine import Engine


class ToldEngine(Engine):
    """As the product's."""

    def __init__(self, **given: Any) -> None:
        told = given | {"models": os.environ.get("PRELABEL_MODELS"), "pid": os.getpid()}
        with open(os.environ["PRELABEL_TOLD"], "a", encoding="utf-8") as file:
            file.write(json.dumps(told) + "\n")
        super().__init__(**given)
