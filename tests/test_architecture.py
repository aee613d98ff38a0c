"""The direction of imports, as docs/architecture.md draws it, read from the source by `ast`."""

import ast
import subprocess
import sys
from collections import defaultdict
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import napari_prelabel

ROOT = Path(napari_prelabel.__file__).parent
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
# Which of our own parts a part may import.
MAY_USE = {
    "values": set(),
    "annotation": {"values"},
    "images": {"values"},
    "batch": {"values", "formats", "images"},
    "reviewed": {"values", "engine", "formats", "images"},
    "jobs": {"values", "formats", "models", "reference"},
    "methods": {"values"},
    "models": {"values", "methods"},
    "formats": {"values"},
    "reference": {"values", "methods", "images", "formats"},
    "engine": {"values", "images", "methods", "models", "reference"},
    "worker": {"values", "engine"},
    "report": {"values", "batch", "engine", "formats", "models"},
}
RIM = {"gui", "cli"}
# The floors of gui/, from the lowest; a floor imports those below it. Modules that stand in gui/
# itself are the hooks of napari and what all floors know (keys, preferences, the thread helper).
FLOORS = (
    "parts", "layers", "run", "models", "correct", "scribble", "export", "prelabel", "reference",
)  # fmt: skip
ONLY = {
    "torch": {"models", "methods", "engine"},
    "open_clip": {"models"},
    "diffusers": {"models"},
    "transformers": {"models"},
    "napari": {"gui"},
    "qtpy": {"gui"},
    "superqt": {"gui"},
    "magicgui": {"gui"},
    "PySide6": set(),
}


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT)
        if relative.parts[0] != "sample_data":
            yield path, relative.with_suffix("").parts


@cache
def known():
    """The dotted names of all our modules."""
    return {_dotted(parts) for _, parts in modules()}


def imports(path, parts):
    """(absolute module name, line, at module level) of every import in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ("napari_prelabel", *parts[:-1])
    inside = {
        id(n)
        for f in ast.walk(tree)
        if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef)) or _type_checking(f)
        for n in ast.walk(f)
    }
    for node in ast.walk(tree):
        top = id(node) not in inside
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno, top
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            name = ".".join([*base, node.module] if node.module else base)
            named = [f"{name}.{alias.name}" for alias in node.names]
            if not set(named) <= known():
                yield name, node.lineno, top
            for one in named:
                yield one, node.lineno, top


def _type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


@pytest.mark.parametrize(
    ("path", "parts"), list(modules()), ids=lambda v: "/".join(v) if isinstance(v, tuple) else ""
)
def test_imports_point_one_way(path, parts):
    part = parts[0]
    for name, line, _ in imports(path, parts):
        where = f"{path.name}:{line} imports {name}"
        words = name.split(".")
        assert words[0] != "benchmarks", f"{where}, which no wheel carries"
        if words[0] in ONLY:
            assert part in ONLY[words[0]], where
        if words[0] == "napari_prelabel" and len(words) > 1 and part not in RIM | {"__init__"}:
            other = words[1]
            known = other in MAY_USE or other in RIM or other in {"__version__", "__init__"}
            assert known, f"{where}: add {other} to the layers"
            if other != part and other != "__version__":
                assert other in MAY_USE[part], where


def _arrows():
    """Module -> modules of ours that it imports, early or late, all by their dotted names."""
    return {
        _dotted(parts): {
            name for name, _, _ in imports(path, parts) if name in known()
        } - {_dotted(parts)}
        for path, parts in modules()
    }  # fmt: skip


def _dotted(parts):
    return ".".join(("napari_prelabel", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def test_no_circle_of_any_length_between_modules():
    try:
        order = list(TopologicalSorter(_arrows()).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
    assert len(order) > 200


def test_a_floor_of_the_window_imports_those_below_it():
    under = ("napari_prelabel", "gui")
    for path, parts in modules():
        if parts[0] != "gui" or len(parts) < 3:
            continue
        assert parts[1] in FLOORS, f"gui/{parts[1]} is no floor yet: add it to FLOORS"
        for name, line, top in imports(path, parts):
            words = tuple(name.split("."))
            if top and words[:2] == under and len(words) > 2 and words[2] in FLOORS:
                where = f"{'/'.join(parts)}.py:{line} imports {name}"
                assert FLOORS.index(words[2]) <= FLOORS.index(parts[1]), where


@pytest.mark.parametrize(
    "module",
    ["napari_prelabel", "napari_prelabel.worker.pool", "napari_prelabel.models.catalog",
     "napari_prelabel.cli", "napari_prelabel.formats",
     "napari_prelabel.reference.values", "napari_prelabel.reference.store",
     "napari_prelabel.reference.odd", "napari_prelabel.images.rgb",
     "napari_prelabel.values.presets", "napari_prelabel.annotation.annotation",
     "napari_prelabel.annotation.kept", "napari_prelabel.gui.prelabel.dock",
     "napari_prelabel.gui.reference.dock"],
)  # fmt: skip
def test_the_napari_process_never_imports_torch(module):
    code = (
        f"import sys, {module}; heavy = {{'torch', 'open_clip', 'transformers', 'diffusers', "
        "'huggingface_hub', 'distributed', 'faiss'}; print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_functions_fit_on_a_screen():
    long = [
        f"{path}:{f.lineno} {f.name} has {f.end_lineno - f.lineno + 1} lines"
        for path in (*(path for path, _ in modules()), *BENCHMARKS.rglob("*.py"))
        for f in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(f, (ast.FunctionDef, ast.AsyncFunctionDef)) and f.end_lineno - f.lineno > 70
    ]
    assert not long, "\n".join(long)


def test_no_two_public_classes_share_a_name():
    places = defaultdict(list)
    for path, parts in modules():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append("/".join(parts))
    twice = {n: p for n, p in places.items() if len(p) > 1}
    assert not twice, twice


def test_generators_are_followed_by_a_loop_not_by_hand():
    by_hand = [
        f"{path.name}:{node.lineno}"
        for path in (*(path for path, _ in modules()), *BENCHMARKS.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler)
        and node.type
        and "StopIteration" in ast.dump(node.type)
    ]
    assert not by_hand, "use values.steps: " + ", ".join(by_hand)
