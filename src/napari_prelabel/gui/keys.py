"""One table of all keys: what the canvas binds, what tooltips, cheat sheet and guide say.

Keys on the canvas are actions of napari, so that *Preferences > Shortcuts* lists and changes them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import napari
from napari.settings import get_settings
from napari.utils.action_manager import action_manager
from napari.utils.shortcuts import default_shortcuts

from . import remember

FILE = "keys.json"
PREFIX = "napari-prelabel:"
CANVAS, SCRIBBLE, WINDOW, NAPARI = "On the canvas", "While scribbling", "Anywhere", "napari's own"
DOCK = "In the dock"


@dataclass(frozen=True, slots=True)
class Key:
    """name : of the command, "" where nothing is bound by name; keys : as people write them."""

    name: str
    keys: str
    does: str
    where: str


TABLE = (
    Key("run", "Shift+R", "label the image from the words", CANVAS),
    Key("undo", "Shift+U", "take the last run back", CANVAS),
    Key("redo", "Shift+Y", "bring back the run that was undone", CANVAS),
    Key("next", "Shift+N", "give the region under the cursor its next best class", CANVAS),
    Key("scribble", "Shift+S", "take up Scribble, or put it down", CANVAS),
    Key("", "drag", "draw a stroke of the selected class; the label 0 erases", SCRIBBLE),
    Key("", "right button, Alt", "“not this”: what it wins stays as it is", SCRIBBLE),
    Key("", "Enter", "take what the preview shows, in one step of undo", SCRIBBLE),
    Key("", "Esc", "drop the strokes; once more puts the tool down", SCRIBBLE),
    Key("", "[ and ]", "how far from a stroke pixels may change", SCRIBBLE),
    Key("", "Space, held", "move the picture", SCRIBBLE),
    Key("", "Ctrl+Enter", "in the words: label the image", DOCK),
    Key("", "Esc", "leave a field: keys go to the canvas again", DOCK),
    Key("keys", "?", "show these keys", WINDOW),
    Key("", "Ctrl+Z", "take back what came last: a stroke, a correction, a run", NAPARI),
    Key("", "Ctrl+Shift+Z", "bring back what was undone last", NAPARI),
    Key("", "2, 4, 1", "paint, fill, erase", NAPARI),
    Key("", "− and =", "step through the classes", NAPARI),
    Key("", "[ and ]", "a smaller or larger brush", NAPARI),
    Key("", "Ctrl+Shift+P", "every command by name: the command palette", NAPARI),
)
PLACES = tuple(dict.fromkeys(key.where for key in TABLE))


def pressed(name: str) -> str:
    """The keys of a command as people write them, those chosen in Preferences included."""
    chosen = _kept().get(name)
    return " or ".join(_written(k) for k in chosen) if chosen else _entry(name).keys


def listed(where: str) -> list[tuple[str, str]]:
    """(keys, what they do) of one place, in order."""
    rows = [key for key in TABLE if key.where == where]
    return [(pressed(k.name) if k.name else k.keys, k.does) for k in rows]


def markdown() -> str:
    """The table as the guide has it, with the keys that are there at first."""
    lines = ["| keys | what they do |", "|---|---|"]
    for place in PLACES:
        lines.append(f"| *{place}* | |")
        lines += [f"| {k.keys} | {k.does} |" for k in TABLE if k.where == place]
    return "\n".join(lines)


def _entry(name: str) -> Key:
    return next(key for key in TABLE if key.name == name)


def _written(keys: str) -> str:
    return keys.replace("Control", "Ctrl")


def _kept() -> dict[str, list[str]]:
    """Keys that a person chose, by command; an empty list where they chose none."""
    kept = remember.load(FILE) or {}
    return {n: [str(k) for k in keys] for n, keys in kept.items() if isinstance(keys, list)}


class CanvasKeys:
    """The keys of all docks: bound once while any dock holds them, they act in its own viewer."""

    def __init__(self) -> None:
        self._held: list[tuple[Any, Mapping[str, Callable[[], Any]]]] = []
        self._quiet = False

    def hold(self, viewer: Any, commands: Mapping[str, Callable[[], Any]]) -> None:
        """A dock opens: from now on keys call its commands, by name of the table."""
        if not self._held:
            get_settings().shortcuts.events.shortcuts.connect(self._chosen)
        self._held.append((viewer, commands))
        for name in commands:
            does = f"Prelabel: {_entry(name).does}"
            action_manager.register_action(PREFIX + name, self._pressing(name), does, napari.Viewer)
            for keys in _kept().get(name, [_entry(name).keys]):
                action_manager.bind_shortcut(PREFIX + name, keys)

    def release(self, commands: Mapping[str, Callable[[], Any]]) -> None:
        """A dock closes: its keys are free again, unless another dock holds them."""
        before, self._held = self._held, [h for h in self._held if h[1] is not commands]
        if self._held or not before:
            return
        get_settings().shortcuts.events.shortcuts.disconnect(self._chosen)
        for name in commands:
            action_manager.unbind_shortcut(PREFIX + name)

    def _pressing(self, name: str) -> Callable[[napari.Viewer], None]:
        def press(viewer: napari.Viewer) -> None:
            here = getattr(viewer, "__wrapped__", viewer)
            for theirs, commands in reversed(self._held):
                if theirs is here and name in commands:
                    commands[name]()
                    return

        return press

    def _chosen(self, event: Any) -> None:
        """Keep what was chosen in Preferences in a file of ours.

        napari would keep it, too, and warn of unknown actions at its next start, before the
        plugin is loaded. Where none of ours are among its keys, they were reset.
        """
        if self._quiet:
            return
        chosen = {n: k for n, k in event.value.items() if n.startswith(PREFIX)}
        if chosen:
            kept = {n.removeprefix(PREFIX): [str(k) for k in keys] for n, keys in chosen.items()}
            remember.update(kept, FILE)
        elif event.value == default_shortcuts:
            self._reset()
        self._quiet = True
        try:
            shortcuts = get_settings().shortcuts
            shortcuts.shortcuts = {n: k for n, k in event.value.items() if n not in chosen}
        finally:
            self._quiet = False

    def _reset(self) -> None:
        remember.save({}, FILE)
        for name in {name for _, commands in self._held for name in commands}:
            action_manager.unbind_shortcut(PREFIX + name)
            action_manager.bind_shortcut(PREFIX + name, _entry(name).keys)


CANVAS_KEYS = CanvasKeys()
