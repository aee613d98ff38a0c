"""What napari.yaml names. Everything is imported when it is called: napari starts no slower."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import napari.viewer

from . import DOCK, PLUGIN, REFERENCE

OUR_MENU, PLUGINS_MENU = f"{PLUGIN}.menu", f"napari/plugins/{PLUGIN}"
LayerData = tuple[Any, dict[str, Any], str]


def open_dock(viewer: "napari.viewer.Viewer") -> None:
    """Show the Pre-label dock."""
    viewer.window.add_plugin_dock_widget(PLUGIN, DOCK)


def open_reference(viewer: "napari.viewer.Viewer") -> None:
    """Show the Reference dock."""
    _reference(viewer)


def export_labels(viewer: "napari.viewer.Viewer") -> None:
    """Export the chosen image's labels with the dock's format and folder."""
    dock = _dock(viewer)
    dock.sections["export"].expand()
    dock.export()


def open_labels(viewer: "napari.viewer.Viewer") -> None:
    """Ask for label files and open them with names and colours."""
    from .layers.opened import ask_open

    ask_open(getattr(viewer, "__wrapped__", viewer))


def run(viewer: "napari.viewer.Viewer") -> None:
    """Label the chosen image from the words."""
    _dock(viewer).run()


def cancel(viewer: "napari.viewer.Viewer") -> None:
    """End the run; slices that are done stay."""
    _dock(viewer).session.cancel()


def undo_run(viewer: "napari.viewer.Viewer") -> None:
    """Take the last run on the chosen image back."""
    _dock(viewer).undo_run()


def redo_run(viewer: "napari.viewer.Viewer") -> None:
    """Bring back the run that was undone last."""
    _dock(viewer).redo_run()


def next_best(viewer: "napari.viewer.Viewer") -> None:
    """Give the region under the cursor its next best class."""
    _dock(viewer).corrector.next_best()


def scribble(viewer: "napari.viewer.Viewer") -> None:
    """Take up the scribble tool, or put it down."""
    _dock(viewer).scribble.toggle()


def suggest(viewer: "napari.viewer.Viewer") -> None:
    """Ask what the image looks like."""
    _dock(viewer).lists.suggest.emit()


def tidy(viewer: "napari.viewer.Viewer") -> None:
    """Absorb small regions of the slice in view."""
    _dock(viewer).correct_box.tidy.emit("absorb")


def choose_models(viewer: "napari.viewer.Viewer") -> None:
    """Show which models there are, and what fetching them takes."""
    _dock(viewer).show_section("models")


def save_job(viewer: "napari.viewer.Viewer") -> None:
    """Write the settings to a job file."""
    _dock(viewer).files.ask_save()


def load_job(viewer: "napari.viewer.Viewer") -> None:
    """Set the dock from a job file."""
    _dock(viewer).files.ask_load()


def make_set(viewer: "napari.viewer.Viewer") -> None:
    """Learn from the images that are ticked in the Reference dock."""
    _reference(viewer).make()


def why(viewer: "napari.viewer.Viewer") -> None:
    """Ask, with a click on the picture, which references caused a label."""
    dock = _reference(viewer)
    dock.sections["why"].expand()
    dock.why.button.setChecked(True)


def keys(viewer: "napari.viewer.Viewer") -> None:
    """Show every key of the docks."""
    from .cheat_sheet import show_keys

    show_keys(viewer)


def list_in_plugins() -> None:
    """Put every command into *Plugins > Prelabel*, once a dock is open.

    A manifest may add to *Layers* and *File* only; there the commands are from the start.
    """
    from app_model import Application
    from app_model.types import MenuItem

    app = Application.get_app("napari")
    assert app is not None
    menus = app.menus
    here = {i.command.id for i in menus.get_menu(PLUGINS_MENU) if isinstance(i, MenuItem)}
    wanted = [i for i in menus.get_menu(OUR_MENU) if isinstance(i, MenuItem)]
    opening = {f"{PLUGIN}.open_dock", f"{PLUGIN}.open_reference"}  # napari lists the docks itself
    fresh = [i for i in wanted if i.command.id not in here | opening]
    menus.append_menu_items([(PLUGINS_MENU, item) for item in fresh])


def _dock(viewer: "napari.viewer.Viewer") -> Any:
    """The Pre-label dock in front, opened where it is not."""
    return _shown(viewer, DOCK)


def _reference(viewer: "napari.viewer.Viewer") -> Any:
    return _shown(viewer, REFERENCE)


def _shown(viewer: "napari.viewer.Viewer", name: str) -> Any:
    from .tabs import front

    _, shown = viewer.window.add_plugin_dock_widget(PLUGIN, name)
    front(shown)
    return shown.dock if name == DOCK else shown


def get_reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """A reader for files we wrote, None for all others."""
    from .layers.io import ours, read

    paths = [path] if isinstance(path, str) else path
    return read if all(ours(p) for p in paths) else None


def __getattr__(name: str) -> Callable[[str, Any, dict[str, Any]], list[str]]:
    """`write_<format>` for every format: saves a Labels layer with its names."""
    if name.startswith("write_"):
        from ..formats import FORMATS
        from .layers.io import write

        if (form := name.removeprefix("write_")) in FORMATS:
            return partial(write, form)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def sample_1() -> Sequence[LayerData]:
    """A sample scene with its words."""
    from .sample_scenes import scene

    return scene(0)


def sample_2() -> Sequence[LayerData]:
    """A second sample scene with its words."""
    from .sample_scenes import scene

    return scene(1)


def sample_3() -> Sequence[LayerData]:
    """A third sample scene with its words."""
    from .sample_scenes import scene

    return scene(2)


def sample_stack() -> Sequence[LayerData]:
    """Sample scenes of one size as a stack (T, Y, X, RGB) with their words."""
    from .sample_scenes import stack

    return stack()
