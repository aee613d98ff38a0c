"""One bad image never ends a batch: which errors are an image's own, and how they are told."""

from .errors import DiskRefused, FileFormatError, ImageError, OutOfMemory, PrelabelError, RunFailed

# Errors of ours that are an image's own; others end the batch, for no image would fare better.
_OF_THE_IMAGE = (ImageError, FileFormatError, OutOfMemory, RunFailed)
_LONGEST = 300


def ends_all(error: BaseException) -> bool:
    """Whether an error is no image's own: of the person, the run or the disk."""
    if isinstance(error, DiskRefused):
        return True
    if isinstance(error, PrelabelError):
        return not isinstance(error, _OF_THE_IMAGE)
    return isinstance(error, (KeyboardInterrupt, SystemExit, GeneratorExit))


def of_the_image(error: PrelabelError) -> PrelabelError:
    """An error of ours that came while an image was read, as that image's own."""
    return error if isinstance(error, _OF_THE_IMAGE) else ImageError(str(error))


def sentence_of(error: BaseException, aim: str = "labelled") -> str:
    """What is told of an image that this was raised for, in one line.

    aim : what was to be done with the image.
    """
    text = str(error) if isinstance(error, PrelabelError) else _unforeseen(error, aim)
    return one_line(text)


def one_line(text: str) -> str:
    """A sentence without line breaks, at most 300 characters long."""
    text = text.replace("\n", "\\n").replace("\r", "\\r")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _unforeseen(error: BaseException, aim: str) -> str:
    if isinstance(error, MemoryError):
        return "The image does not fit into memory: cut it into tiles, or close other programs."
    try:
        said = str(error)
    except Exception:
        said = ""
    cause = f"{type(error).__name__}: {said[:160]}" if said else type(error).__name__
    if isinstance(error, ImportError) and error.name:
        return f"The image needs {error.name}, which is not installed: run pip install {error.name}"
    return f"The image cannot be {aim} ({cause}): save it in another format, and try again."
