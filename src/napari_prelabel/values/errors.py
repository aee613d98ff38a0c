"""Every error a person can meet. Each sentence names the cure; each class carries its facts."""

from pathlib import Path
from typing import Any


class PrelabelError(Exception):
    """Base of all our errors; never a RuntimeError, which Qt worker threads swallow."""

    def __reduce__(self) -> Any:
        # An exception pickles by calling its class with `args`, which here hold only the sentence.
        return _rebuild, (type(self), str(self), vars(self))


def _rebuild(kind: type["PrelabelError"], sentence: str, facts: dict[str, Any]) -> "PrelabelError":
    error = kind.__new__(kind)
    error.args = (sentence,)
    vars(error).update(facts)
    return error


class VocabularyError(PrelabelError):
    """A line of the vocabulary text cannot be understood."""

    def __init__(self, message: str, line: int | None = None, text: str = "") -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.line = line
        self.text = text


class JobError(PrelabelError):
    """A setting of the job is out of range or does not fit the others."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class ImageError(PrelabelError):
    """The image cannot be segmented as it is."""


class ModelError(PrelabelError):
    """A model is unknown, missing, broken or refused."""

    def __init__(self, model: str, message: str) -> None:
        super().__init__(message)
        self.model = model


class ChecksumMismatch(ModelError):
    """A weights file is not the one that was published."""

    def __init__(self, model: str, path: Path, expected: str, found: str) -> None:
        super().__init__(
            model,
            f"{path.name} of {model} is damaged (checksum {found[:12]} instead of "
            f"{expected[:12]}): delete it and fetch the model again.",
        )
        self.path = path
        self.expected = expected
        self.found = found


class FileFormatError(PrelabelError):
    """A file cannot be read or written in the wanted format."""

    def __init__(self, path: Path | str, message: str) -> None:
        super().__init__(message)
        self.path = Path(path)


class DiskRefused(FileFormatError):
    """The disk of the output is full or read-only: no other file can be written there either."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(
            path, f"{path} cannot be written ({reason}): choose another folder or free some space."
        )
        self.reason = reason


class ReferenceSetError(PrelabelError):
    """A reference set cannot be read, changed or used as it is."""

    def __init__(self, path: Path | str, message: str) -> None:
        super().__init__(message)
        self.path = Path(path)


class EncoderMismatch(ReferenceSetError):
    """A reference set was made with another encoder than the one at hand."""

    def __init__(self, path: Path | str, stored: str, given: str) -> None:
        super().__init__(
            path,
            f"The reference set {Path(path).name} was made with {stored}, not with {given}: choose "
            f"{stored}, or make the set again with {given}.",
        )
        self.stored = stored
        self.given = given


class MissingExtra(PrelabelError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, command: str) -> None:
        super().__init__(f"{package} is not installed: run {command}")
        self.package = package
        self.command = command


class Cancelled(PrelabelError):
    """The run was stopped by the person."""

    def __init__(self) -> None:
        super().__init__("The run was cancelled; nothing was changed.")


class Superseded(Cancelled):
    """The run was ended by a newer one, perhaps from another window of the same process."""

    def __init__(self) -> None:
        PrelabelError.__init__(
            self,
            "Another run was started and took this one's place: press Run to do this one again.",
        )


class WorkerDied(PrelabelError):
    """The worker process ended in the middle of a run.

    event : what happened, as a sentence that says nothing of what was changed.
    """

    def __init__(self, reason: str = "") -> None:
        told = f" ({reason})" if reason else ""
        super().__init__(
            f"The worker process stopped during the run{told}. It was started again; nothing was "
            "changed: press Run to try once more."
        )
        self.event = f"The worker process stopped{told} and was started again."
        self.reason = reason


class ConnectionLost(WorkerDied):
    """The connection to a worker elsewhere broke in the middle of a run."""

    def __init__(self, address: str) -> None:
        PrelabelError.__init__(
            self,
            f"The connection to the worker at {address} was lost during the run. It is tried "
            "again; nothing was changed: press Run to try once more.",
        )
        self.event = f"The connection to the worker at {address} was lost and is tried again."
        self.address = address


class NotConnected(PrelabelError):
    """A worker at an address cannot be reached, or must not be used."""

    def __init__(self, address: str, reason: str) -> None:
        super().__init__(f"The worker at {address} cannot be used: {reason}")
        self.address = address
        self.reason = reason


class OutOfMemory(PrelabelError):
    """The models or the image need more memory than there is."""

    def __init__(self, device: str, tried: str) -> None:
        super().__init__(
            f"Out of memory on {device} even with {tried}: choose a smaller region, "
            "a smaller short side or a smaller model."
        )
        self.device = device
        self.tried = tried


class WorkerNotStarted(PrelabelError):
    """The worker process could not be started."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The worker process did not start: {reason} Press Run to try again; if it stays so, "
            "start napari from a terminal and read what is printed there."
        )
        self.reason = reason


class RunFailed(PrelabelError):
    """Something unforeseen went wrong inside a run; `details` is the traceback."""

    def __init__(self, cause: str, details: str = "") -> None:
        super().__init__(
            f"The run failed ({cause}). Nothing was changed; please report it with its details."
        )
        self.cause = cause
        self.details = details
