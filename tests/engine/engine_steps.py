"""Driving the engine's generator to its end."""


def finish(steps):
    """The result of a run and the steps on its way."""
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return end.value, seen
