"""Where the sample scenes, vocabularies and demo models lie, installed or in a checkout."""

from pathlib import Path

from .errors import FileFormatError

_ROOT = Path(__file__).parent / "sample_data"


def sample_path(*parts: str) -> Path:
    """Path of a file or folder of the sample data.

    Raises FileFormatError when the installation lacks it.
    """
    path = _ROOT.joinpath(*parts).resolve()
    if not path.exists():
        raise FileFormatError(
            path, f"The sample data lacks {'/'.join(parts)}: install napari-prelabel again."
        )
    return path
