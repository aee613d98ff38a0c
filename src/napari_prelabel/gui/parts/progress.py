"""How far a run is, in words of the person's work, and how long all of it still takes."""

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

from ...values.job import Progress

# What is done in each stage, and in what it is counted: {} stands for "2 of 9", or a share.
STAGES = {
    "models": "Loading the models",
    "text": "Reading the words",
    "encode": "Looking at the picture, {} windows",
    "score": "Comparing it with the words, {} windows",
    "purify": "Telling the words apart, {%}",
    "diffusion": "Looking at the picture with the diffusion model",
    "walk": "Following outlines",
    "segment": "Cutting the picture into segments",
    "retrieve": "Comparing with the reference set",
    "learn": "Learning from image {}",
    "evaluate": "Checking: step {}",
    "decide": "Writing the labels, {%}",
}
# Where in the work on a slice each stage begins and ends, in per mille.
SHARES = {
    "models": (0, 50),
    "text": (50, 100),
    "encode": (100, 600),
    "score": (600, 700),
    "purify": (700, 970),
    "diffusion": (600, 800),
    "walk": (800, 970),
    "segment": (100, 300),
    "retrieve": (600, 970),
    "learn": (50, 1000),
    "evaluate": (50, 1000),
    "decide": (970, 1000),
}
# What comes once a run, before the first slice is looked at.
_ONCE = ("models", "text")
_LEAST_SHARE, _LEAST_SECONDS = 0.05, 1.0


def told(step: Progress) -> str:
    """A stage in words, with what is done of it where it has several parts."""
    text = STAGES[step.stage]
    if step.total <= 1 and not step.message:
        return text.partition(",")[0].removesuffix(" {}")
    share = f"{100 * step.done // max(step.total, 1)} %"
    return text.format(f"{min(step.done + 1, step.total)} of {step.total}", **{"%": share})


def time_left(seconds: float | None) -> str:
    """ ", about 35 s left", "" where it is not known or over at once."""
    if seconds is None or seconds < 1:
        return ""
    if seconds < 100:
        return f", about {seconds:.0f} s left"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f", about {minutes} min left"
    return f", about {minutes / 60:.1f} h left"


def within(step: Progress) -> float:
    """How much of the work on a slice is done, 0..1."""
    low, high = SHARES[step.stage]
    part = step.done / step.total if step.total else 0
    return (low + (high - low) * part) / 1000


class RunClock:
    """Tells how long the whole run still takes: from slices that are done, else from this one."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._slice: int | None = None
        self._began = 0.0
        self._took: list[float] = []

    def left(self, number: int, planes: int, step: Progress) -> float | None:
        """Seconds until the last of `planes` slices is done, at a step of slice `number`."""
        now = self._now()
        if number != self._slice:
            if self._slice is not None:
                self._took.append(now - self._began)
            self._slice, self._began = number, now
        if not self._took and step.stage in _ONCE:
            self._began = now
            return None
        first = SHARES["text"][1] / 1000
        share = max(within(step) - first, 0.0) / (1 - first)
        after, spent = planes - number - 1, now - self._began
        if self._took:
            whole = median(self._took)
            return max(whole - spent, whole * (1 - share) / 2) + whole * after
        if share < _LEAST_SHARE or spent < _LEAST_SECONDS:
            return None if step.seconds_left is None or after else step.seconds_left
        return spent / share * (1 - share + after)


class Clock:
    """Tells how long a stage still takes where the engine does not, from its steps so far."""

    def __init__(self) -> None:
        self._stage: tuple[str, int] | None = None
        self._began = 0.0
        self._first = 0

    def timed(self, step: Progress) -> Progress:
        """The step with seconds left once they can be told."""
        now, stage = time.monotonic(), (step.stage, step.total)
        if stage != self._stage or step.done < self._first:
            self._stage, self._began, self._first = stage, now, step.done
        steps = step.done - self._first
        if step.seconds_left is not None or not steps or step.total < 2:
            return step
        return replace(step, seconds_left=(now - self._began) / steps * (step.total - step.done))
