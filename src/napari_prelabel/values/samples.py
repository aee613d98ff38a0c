"""Where the sample scenes, vocabularies and demo models lie, installed or in a checkout."""

from pathlib import Path

from .errors import FileFormatError

_HERE = Path(__file__).resolve().parents[1]  # the package
# A wheel carries the folder inside the package; a checkout has it at the top level.
_ROOTS = (_HERE / "sample_data", _HERE.parents[1] / "sample_data")


def sample_path(*parts: str) -> Path:
    """Path of a file or folder of the sample data.

    Raises FileFormatError when the installation lacks it.
    """
    for root in _ROOTS:
        path = root.joinpath(*parts)
        if path.exists():
            return path.resolve()
    raise FileFormatError(
        _ROOTS[0].joinpath(*parts),
        f"The sample data lacks {'/'.join(parts)}: install napari-prelabel again.",
    )
