"""Stalls of the window: what our actions cost the GUI thread beyond napari's own of the kind."""

import gc
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from . import opening
from .watch import Felt, felt, summary

# What napari does of the same kind in the same window.
ACTIONS = {
    "first stroke": "the same stroke on a bare Labels layer",
    "slider": "other data for a bare Labels layer",
    "Scribble taken up": "a bare Labels layer, added empty and selected",
    "first dab of Scribble": "a bare Labels layer, added empty",
    "a first result": "a bare Labels layer, added with the labels",
    "a next result": "other data for a bare Labels layer",
    "first opening of the dock": "an empty widget in a dock",
}
# A stroke is counted 150 ms later and kept on disk after 1.5 s.
SETTLE_S = 2.0
OPENING = "first opening of the dock"
NAMES = tuple(ACTIONS)


@dataclass(frozen=True, slots=True)
class Row:
    """One action: napari's own and ours, every repetition; the first pays for what is lazy."""

    name: str
    napari: tuple[Felt, ...]
    ours: tuple[Felt, ...]

    def beyond(self, figure: str) -> float:
        """Ours over napari's own, medians, in ms."""
        own, mine = summary(self.napari), summary(self.ours)
        return round(mine[figure]["median"] - own[figure]["median"], 1)


def measure(
    megapixels: float, repeats: int, names: Sequence[str] = NAMES, settle_s: float = SETTLE_S
) -> list[Row]:
    """Do every action several times, napari's own and ours in turn.

    settle_s : how long the window is left alone before and after an action.
    """
    rows = []
    inside = [name for name in NAMES if name in names and name != OPENING]
    if OPENING in names:
        rows.append(_row(OPENING, min(repeats, 3), lambda who: opening.once(who, settle_s)))
    if inside:
        from .window import Room

        with tempfile.TemporaryDirectory() as folder:
            room = Room(megapixels, Path(folder), settle_s)
            try:
                for name in inside:
                    rows.append(_row(name, repeats, partial(_once, room, settle_s, name)))
            finally:
                room.close()
    return sorted(rows, key=lambda row: NAMES.index(row.name))


def _row(name: str, repeats: int, once: Callable[[str], Felt]) -> Row:
    pairs = [(once("napari"), once("ours")) for _ in range(repeats)]
    row = Row(name, tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))
    print(f"{name}: {row.beyond('stall'):.0f} ms beyond napari's own", file=sys.stderr, flush=True)
    return row


def _once(room: Any, settle_s: float, name: str, who: str) -> Felt:
    steps = room.prepare(name, who)
    gc.collect()
    value = felt(steps, settle_s, room.settled)
    room.check(name, who)
    return value


def table(rows: Sequence[Row], megapixels: float) -> str:
    """The figures as lines of text."""
    lines = [
        f"{megapixels:g} megapixels; ms of the GUI thread, median (max) of the repetitions",
        f"{'':27}{'napari: stall':>18}{'gap':>16}{'total':>16}"
        f"{'ours: stall':>18}{'gap':>16}{'total':>16}{'beyond: stall':>16}{'gap':>8}{'total':>8}",
    ]
    for row in rows:
        cells = [row.name.ljust(27)]
        for values in (row.napari, row.ours):
            told = summary(values)
            for wide, figure in ((18, "stall"), (16, "gap"), (16, "total")):
                cell = f"{told[figure]['median']:.0f} ({told[figure]['max']:.0f})"
                cells.append(cell.rjust(wide))
        cells.append(f"{row.beyond('stall'):.0f}".rjust(16))
        cells += [f"{row.beyond(figure):.0f}".rjust(8) for figure in ("gap", "total")]
        lines.append("".join(cells))
    return "\n".join(lines)


def as_json(rows: Sequence[Row], megapixels: float) -> dict[str, Any]:
    """The figures as plain values."""
    made: dict[str, Any] = {
        "megapixels": megapixels,
        "actions": {
            row.name: {
                "napari_does": ACTIONS[row.name],
                "napari": summary(row.napari),
                "ours": summary(row.ours),
                "beyond": {f: row.beyond(f) for f in ("stall", "gap", "total")},
            }
            for row in rows
        },
    }
    return made
