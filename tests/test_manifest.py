"""napari finds the plugin: the manifest is complete, and every command it names exists."""

from pathlib import Path

import pytest
from npe2 import PluginManifest

ROOT = Path(__file__).parents[1]


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
