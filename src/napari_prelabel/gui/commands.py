"""What napari.yaml names. Everything is imported when it is called: napari starts no slower."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import napari.viewer

PLUGIN, DOCK, REFERENCE = "napari-prelabel", "Pre-label", "Reference"
LayerData = tuple[Any, dict[str, Any], str]


def open_dock(viewer: "napari.viewer.Viewer") -> None:
    """Show the Pre-label dock."""
    viewer.window.add_plugin_dock_widget(PLUGIN, DOCK)


def open_reference(viewer: "napari.viewer.Viewer") -> None:
    """Show the Reference dock."""
    viewer.window.add_plugin_dock_widget(PLUGIN, REFERENCE)


def export_labels(viewer: "napari.viewer.Viewer") -> None:
    """Export the chosen image's labels with the dock's format and folder."""
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, DOCK)
    dock.sections["export"].expand()
    dock.export()


def open_labels(viewer: "napari.viewer.Viewer") -> None:
    """Ask for label files and open them with names and colours."""
    from .opened import ask_open

    ask_open(getattr(viewer, "__wrapped__", viewer))


def get_reader(path: str | list[str]) -> Callable[[Any], list[LayerData]] | None:
    """A reader for files we wrote, None for all others."""
    from .io import ours, read

    paths = [path] if isinstance(path, str) else path
    return read if all(ours(p) for p in paths) else None


def write_png(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save a Labels layer as indexed PNG."""
    from .io import write

    return write("png", path, data, attributes)


def write_tiff(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save a Labels layer as TIFF with names and pixel size."""
    from .io import write

    return write("tiff", path, data, attributes)


def write_coco(path: str, data: Any, attributes: dict[str, Any]) -> list[str]:
    """Save a Labels layer as COCO JSON."""
    from .io import write

    return write("coco", path, data, attributes)


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
