"""What the methods of values.methods.METHODS do: one module each, with the same two steps."""

import traceback
from collections.abc import Generator
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from ...values.errors import PrelabelError, RunFailed
from ...values.job import Job, Progress
from ...values.labels import LabelMap
from ...values.methods import METHODS

if TYPE_CHECKING:
    from ..workbench import Workbench

Steps = Generator[Progress, None, LabelMap]


class Labeller(Protocol):
    """A module that does a method's work, in two steps.

    see : the image through the models, kept by pixels and models, tile by tile where it is large.
    label : the job's words against what was seen; changed words start here. The map's record and
        notices say what is the method's own; the engine adds the rest.
    """

    def see(self, job: Job, bench: "Workbench") -> Generator[Progress, None, Any]: ...

    def label(self, job: Job, seen: Any, bench: "Workbench") -> Steps: ...


def labelled(job: Job, bench: "Workbench") -> Steps:
    """See and label by the job's method.

    Raises what the method's steps tell; RunFailed for what else goes wrong in a method of another
    package, which it names.
    """
    row = METHODS[job.method]
    if not row.package:
        return (yield from _steps(row.doing or f"{__name__}.{job.method}", job, bench))
    try:
        labels = yield from _steps(row.doing, job, bench)
        if labels.ids.shape != bench.size or labels.vocabulary != job.vocabulary:
            raise ValueError(f"a label map of {labels.ids.shape} pixels, or of other words")
    except (PrelabelError, MemoryError):
        raise
    except Exception as error:
        cause = f"{job.method} of {row.package}: {type(error).__name__}: {error}"
        raise RunFailed(cause, traceback.format_exc()) from error
    return labels


def _steps(module: str, job: Job, bench: "Workbench") -> Steps:
    labeller = cast(Labeller, import_module(module))
    seen = yield from labeller.see(job, bench)
    return (yield from labeller.label(job, seen, bench))
