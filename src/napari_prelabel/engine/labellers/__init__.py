"""METHODS: what each method is and needs, as a table. NumPy only: napari's process reads it."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

from ...values.job import FreeCP, Job, Nerve, Progress, ReME
from ...values.labels import LabelMap

if TYPE_CHECKING:
    from ..desk import Desk


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be there before a job can run.

    clip, diffusion : these models of the job's bundle. reference : the job's reference set, which
        brings its own encoder.
    """

    clip: bool = True
    diffusion: bool = False
    reference: bool = False


class HasFreeCP(Protocol):
    """What a method's needs hang on: a Job has it, and whatever stands for one."""

    @property
    def freecp(self) -> FreeCP: ...


@dataclass(frozen=True, slots=True)
class Method:
    """One way to make a label map.

    title, help : for a person who chooses. page : of the docs.
    field : of the Job that holds its settings, "" when it has none of its own.
    settings : their standard values. applies : which of the Job's other fields it heeds.
    needs : asked of the settings of a job with this method.
    """

    title: str
    help: str
    page: str
    needs: Callable[[HasFreeCP], Needs]
    applies: frozenset[str]
    field: str = ""
    settings: Any = None


class Labeller(Protocol):
    """How a method does its work, in two steps; the module of this package that bears its name.

    see : the image through the models, kept by pixels and models, tile by tile where it is large.
    label : the job's words against what was seen; changed words start here. The map's record and
        notices say what is the method's own; the engine adds the rest.
    """

    def see(self, job: Job, desk: "Desk") -> Generator[Progress, None, Any]: ...

    def label(self, job: Job, seen: Any, desk: "Desk") -> Generator[Progress, None, LabelMap]: ...


_CLIP = frozenset({"base", "logit_scale", "windows", "precision"})

METHODS: Mapping[str, Method] = {
    "freecp": Method(
        "FreeCP",
        "Takes the base's map, drops words that are not in the picture, and settles words that "
        "look alike.",
        "docs/methods/freecp.md",
        lambda job: Needs(diffusion=job.freecp.source == "diffusion"),
        _CLIP,
        "freecp",
        FreeCP(),
    ),
    "nerve": Method(
        "NERVE",
        "Carries the base's map along what a diffusion model sees as one thing, to its edges. "
        "Slow for the first time on an image; other words are quick.",
        "docs/methods/nerve.md",
        lambda _: Needs(diffusion=True),
        _CLIP,
        "nerve",
        Nerve(),
    ),
    "base": Method(
        "Base alone",
        "Fast. Every pixel takes the word that fits it best. Good for a short list of words that "
        "are all in the picture.",
        "docs/methods/bases.md",
        lambda _: Needs(),
        _CLIP | {"min_score"},
    ),
    "reme": Method(
        "ReME: learn from corrections",
        "Compares every piece of the picture with a reference set, made from images that you "
        "corrected.",
        "docs/methods/reme.md",
        lambda _: Needs(clip=False, reference=True),
        frozenset({"reference", "precision"}),
        "reme",
        ReME(),
    ),
}


def needs(job: Job) -> Needs:
    """What must be there before this job can run; the dock, the command line and the engine ask."""
    return METHODS[job.method].needs(job)


def labeller(job: Job) -> Labeller:
    """What sees and labels for this job; loads the models' libraries."""
    return cast(Labeller, import_module(f".{job.method}", __name__))
