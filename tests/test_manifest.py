"""napari finds the plugin: the manifest is complete, and every command it names exists."""

from pathlib import Path

import pytest
import yaml
from npe2 import PluginManifest
from toy_format import TOY

from napari_prelabel.formats import FORMATS

ROOT = Path(__file__).parents[1]


def entries_of(form):
    """What napari.yaml must say of a format, beside its patterns in `readers`."""
    command = f"napari-prelabel.write_{form.name}"
    return {
        "commands": {
            "id": command,
            "title": f"Save labels: {form.saved}",
            "python_name": f"napari_prelabel.gui.commands:write_{form.name}",
            "enablement": "False",
        },
        "writers": {
            "command": command,
            "layer_types": ["labels"],
            "filename_extensions": list(form.suffixes),
            "display_name": form.saved,
        },
    }


def lacking(contributions, formats):
    """What napari.yaml lacks of the formats, or says otherwise, as it is to be written there."""
    wrong = []
    for form in formats.values():
        for section, entry in entries_of(form).items():
            if entry not in contributions[section]:
                wrong.append(f"{section}:\n{yaml.safe_dump([entry], sort_keys=False)}")
    (reader,) = contributions["readers"]
    patterns = [pattern for form in formats.values() for pattern in form.opens]
    if reader["filename_patterns"] != patterns:
        wrong.append(f"readers: filename_patterns: {patterns}")
    writers = {f"napari-prelabel.write_{name}" for name in formats}
    more = [w["command"] for w in contributions["writers"] if w["command"] not in writers]
    return wrong + [f"no writer {command}" for command in more]


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_distribution("napari-prelabel")


def test_it_is_found_and_every_import_works(manifest):
    assert manifest.name == "napari-prelabel"
    manifest.validate_imports()


def test_the_file_at_the_top_is_the_one_in_the_package():
    top = ROOT / "napari.yaml"
    assert top.read_bytes() == (ROOT / "src" / "napari_prelabel" / "napari.yaml").read_bytes()


def test_commands_and_contributions_name_each_other(manifest):
    parts = manifest.contributions
    known = {c.id for c in parts.commands}
    assert all(c.startswith("napari-prelabel.") for c in known)
    used = {x.command for x in [*parts.widgets, *parts.readers, *parts.writers]}
    used |= {x.command for x in parts.sample_data}
    listed = [item for items in parts.menus.values() for item in items]
    used |= {item.command for item in listed if hasattr(item, "command")}
    submenus = {item.submenu for item in listed if hasattr(item, "submenu")}
    assert submenus == {s.id for s in parts.submenus}
    assert used == known


def test_menus_are_ones_napari_lets_plugins_add_to(manifest):
    from napari._app_model.constants import MenuId

    napari = {menu for menu in manifest.contributions.menus if menu.startswith("napari/")}
    assert napari <= {m.value for m in MenuId.contributables()}


def test_it_says_of_every_format_what_the_table_says(manifest):
    told = yaml.safe_load((ROOT / "napari.yaml").read_text(encoding="utf-8"))["contributions"]
    assert not (wrong := lacking(told, FORMATS)), "napari.yaml needs\n" + "\n".join(wrong)
    # napari asks "which reader?" as soon as two name a suffix: none of ours is another's.
    assert not [p for f in FORMATS.values() for p in f.opens if p in ("*.png", "*.tif", "*.json")]
    # Saved without a suffix and a filter, labels become TIFF, as napari does.
    assert manifest.contributions.writers[0].command == "napari-prelabel.write_tiff"


def test_a_format_that_it_does_not_know_is_told_with_its_entries():
    told = yaml.safe_load((ROOT / "napari.yaml").read_text(encoding="utf-8"))["contributions"]
    wrong = "\n".join(lacking(told, FORMATS | {"toy": TOY}))
    for line in (
        "id: napari-prelabel.write_toy",
        "display_name: Toy with names",
        "- .toy",
        "*.toy",
    ):
        assert line in wrong
    assert "png\n" not in wrong
    without = {name: form for name, form in FORMATS.items() if name != "coco"}
    assert "no writer napari-prelabel.write_coco" in lacking(told, without)
