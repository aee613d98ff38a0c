"""The rows of the class table sorted by their headings."""

from qtpy.QtCore import Qt

from napari_prelabel.gui.prelabel.class_table import ID, LOCK, NAME, ONLY, PIXELS, SHOW, ClassTable
from napari_prelabel.values.vocabulary import Class, Vocabulary

TYPED = list(Vocabulary.parse("tree\nlake\nRoad\nsky").classes)
KEPT = [Class(3, "barn")]
COUNTS = {"tree": 5, "lake": 90, "Road": 5, "barn": 7}


def names(table):
    return [row.entry.name for row in table.classes.rows]


def made(qtbot):
    table = ClassTable()
    qtbot.addWidget(table)
    table.classes.set_classes(TYPED, KEPT)
    table.classes.set_counts(COUNTS)
    return table


def test_headings_sort_and_rows_keep_what_belongs_to_them(qtbot):
    table = made(qtbot)
    assert names(table) == ["tree", "lake", "Road", "sky", "barn"]
    table.classes.setData(table.classes.index(1, LOCK), 2, Qt.ItemDataRole.CheckStateRole)
    table.horizontalHeader().sectionClicked.emit(PIXELS)
    assert names(table) == ["lake", "barn", "tree", "Road", "sky"]
    assert table.classes.locked == {"lake"}
    assert table.classes.rows[0].locked
    table.horizontalHeader().sectionClicked.emit(NAME)
    assert names(table) == ["barn", "lake", "Road", "sky", "tree"]
    table.horizontalHeader().sectionClicked.emit(LOCK)
    assert names(table) == ["barn", "lake", "Road", "sky", "tree"]
    table.horizontalHeader().sectionClicked.emit(ID)
    assert names(table) == ["tree", "lake", "Road", "sky", "barn"]


def test_the_order_holds_for_the_next_run_and_strokes_move_no_row(qtbot):
    table = made(qtbot)
    table.classes.sort_by(PIXELS)
    table.classes.set_counts(COUNTS | {"sky": 200})
    assert names(table) == ["lake", "barn", "tree", "Road", "sky"]
    table.classes.set_classes(TYPED, KEPT)
    table.classes.set_counts(COUNTS | {"sky": 200})
    assert names(table) == ["sky", "lake", "barn", "tree", "Road"]
    table.classes.sort_by(NAME)
    table.classes.set_classes(TYPED, KEPT)
    assert names(table) == ["barn", "lake", "Road", "sky", "tree"]


def test_headings_that_sort_say_so(qtbot):
    model, tip = made(qtbot).classes, Qt.ItemDataRole.ToolTipRole
    told = ["sort" in model.headerData(i, Qt.Orientation.Horizontal, tip) for i in range(6)]
    assert told == [False, True, True, True, False, False]


def ticked(table, number, column):
    index = table.classes.index(number, column)
    state = table.classes.data(index, Qt.ItemDataRole.CheckStateRole)
    return state == Qt.CheckState.Checked


def test_only_shows_one_class_and_then_all_again(qtbot):
    table = made(qtbot)
    model = table.classes
    model.setData(model.index(1, ONLY), 2, Qt.ItemDataRole.CheckStateRole)
    assert model.hidden == {"tree", "Road", "sky", "barn"}
    assert ticked(table, 1, ONLY)
    assert [ticked(table, n, SHOW) for n in range(5)] == [False, True, False, False, False]
    model.setData(model.index(3, ONLY), 2, Qt.ItemDataRole.CheckStateRole)
    assert not ticked(table, 1, ONLY)
    assert "sky" not in model.hidden
    assert len(model.hidden) == 4
    model.setData(model.index(3, ONLY), 0, Qt.ItemDataRole.CheckStateRole)
    assert not model.hidden
    model.setData(model.index(0, SHOW), 0, Qt.ItemDataRole.CheckStateRole)
    assert model.hidden == {"tree"}
