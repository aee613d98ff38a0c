"""Keys, commands and the cheat sheet: one table, and every place that shows it."""

from pathlib import Path

import napari
import pytest
from app_model import Application
from napari._qt.widgets.qt_keyboard_settings import ShortcutEditor
from napari.settings import get_settings
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QLabel

from napari_prelabel.gui import keys, remember
from napari_prelabel.gui.cheat_sheet import CheatSheet

from gui_steps import labels, press, wait  # isort: skip

GUIDE = Path(__file__).parents[2] / "docs" / "guide.md"
OURS = ("run", "undo", "next", "scribble")


@pytest.fixture(autouse=True)
def _as_before():
    yield
    get_settings().shortcuts.reset()


def open_sheet(viewer):
    return viewer.window._qt_window.findChild(CheatSheet)


def palette():
    menus = Application.get_app("napari").menus
    return {item.command.title: item.command for item in menus.get_menu(menus.COMMAND_PALETTE_ID)}


def test_the_guide_has_the_table_as_it_is():
    assert keys.markdown() in GUIDE.read_text(encoding="utf-8")


def test_a_question_mark_shows_every_key(dock, viewer):
    viewer.window._qt_window.activateWindow()
    canvas = viewer.window._qt_viewer.canvas.native
    wait(canvas.isActiveWindow)
    QTest.keyClick(canvas, "?")
    wait(lambda: open_sheet(viewer) is not None)
    sheet = open_sheet(viewer)
    shown = [x.text() for x in sheet.findChildren(QLabel)]
    for key in keys.TABLE:
        assert key.keys in shown
        assert key.does in shown
    QTest.keyClick(sheet, Qt.Key.Key_Escape)
    wait(lambda: open_sheet(viewer) is None)


def test_a_question_mark_among_the_words_is_a_sign(dock, viewer):
    dock.words.edit.setFocus()
    QTest.keyClick(dock.words.edit, "?")
    assert dock.words.text == "?"
    assert open_sheet(viewer) is None


def test_preferences_list_our_keys_and_a_change_is_kept(done, viewer):
    editor = ShortcutEditor()
    rows = editor.key_bindings_strs[editor.VIEWER_KEYBINDINGS]
    assert {keys.PREFIX + name for name in OURS} <= set(rows)
    assert rows[keys.PREFIX + "undo"].description == "Prelabel: take the last run back"
    changed = editor.value() | {keys.PREFIX + "undo": ["Shift+G"]}
    editor.setValue(changed)
    get_settings().shortcuts.shortcuts = changed
    wait(lambda: (remember.load(keys.FILE) or {}).get("undo") == ["Shift+G"])
    assert keys.pressed("undo") == "Shift+G"
    # napari itself keeps none of ours: it would warn of them at its next start.
    assert not [n for n in get_settings().shortcuts.shortcuts if n.startswith(keys.PREFIX)]
    press(viewer, Qt.Key.Key_U)
    assert labels(viewer).data.any()
    press(viewer, Qt.Key.Key_G)
    assert not labels(viewer).data.any()
    get_settings().shortcuts.reset()
    wait(lambda: keys.pressed("undo") == "Shift+U")


def test_chosen_keys_are_there_when_the_dock_opens_again(viewer):
    remember.update({"undo": ["Shift+G"], "run": []}, keys.FILE)
    wait(lambda: bool(keys._kept()))
    commands = {"undo": lambda: None, "run": lambda: None}
    keys.CANVAS_KEYS.hold(viewer, commands)
    bound = {str(k) for k in napari.Viewer.class_keymap}
    assert "Shift+G" in bound
    assert not {"Shift+U", "Shift+R"} & bound
    keys.CANVAS_KEYS.release(commands)
    assert "Shift+G" not in {str(k) for k in napari.Viewer.class_keymap}


def test_every_command_is_in_the_palette_and_in_plugins(dock, viewer):
    menus = Application.get_app("napari").menus
    ours = {i.command.id for i in menus.get_menu("napari-prelabel.menu")}
    shown = {command.id for command in palette().values()}
    assert ours <= shown
    plugins = {i.command.id for i in menus.get_menu("napari/plugins/napari-prelabel")}
    assert ours - plugins == {"napari-prelabel.open_dock", "napari-prelabel.open_reference"}


@pytest.mark.parametrize("name", ["read", "write_png", "write_tiff", "write_coco"])
def test_what_napari_calls_with_files_cannot_be_called_from_the_palette(dock, name):
    command = next(c for c in palette().values() if c.id == f"napari-prelabel.{name}")
    assert command.enablement is not None
    assert not command.enablement.eval({})


def test_commands_act_on_the_open_dock(viewer):
    run = Application.get_app("napari").commands.execute_command

    def dock():
        return viewer.window.add_plugin_dock_widget("napari-prelabel", "Pre-label")[1].dock

    run("napari-prelabel.choose_models").result()
    assert dock().sections["models"].isExpanded()
    run("napari-prelabel.undo_run").result()
    assert "no run to undo" in dock().bar.notices.texts[0]
    run("napari-prelabel.next_best").result()
    run("napari-prelabel.cancel").result()
    run("napari-prelabel.tidy").result()
    run("napari-prelabel.run").result()
    assert "Type at least one word" in dock().bar.notices.texts[0]
    run("napari-prelabel.suggest").result()
    assert "Open an image first" in dock().bar.notices.texts[0]
    run("napari-prelabel.export").result()
    assert dock().sections["export"].isExpanded()
    run("napari-prelabel.keys").result()
    assert open_sheet(viewer).isVisible()
    open_sheet(viewer).close()
    run("napari-prelabel.why").result()
    _, reference = viewer.window.add_plugin_dock_widget("napari-prelabel", "Reference")
    assert reference.why.button.isChecked()
    run("napari-prelabel.make_set").result()
    assert reference.bar.notices.texts
