"""The dock and napari's hooks; nothing else of the package imports napari or Qt."""

# PySide6's import hook reads the source of every module imported after it, which breaks
# pydantic's lazy attributes: pydantic has to come first.
import pydantic.fields as _pydantic  # noqa: F401

PLUGIN, DOCK, REFERENCE = "napari-prelabel", "Pre-label", "Reference"
