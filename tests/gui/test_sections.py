"""The parts of a dock that fold: what their titles tell, and that an unfolded one is seen."""

import pytest
from qtpy.QtWidgets import QApplication, QLabel, QWidget

from napari_prelabel.gui.parts.pieces import Section, column, over_bar

from gui_steps import wait  # isort: skip

TOLD = "Demo, Base alone, ClearCLIP"


@pytest.fixture
def small(qapp):
    """(section, scroll area): a dock of 460 x 200 with a folded section far below its top."""
    dock, body = QWidget(), QWidget()
    dock.setObjectName("prelabel")
    rows = column(body)
    above = QLabel("above")
    above.setFixedHeight(400)
    rows.addWidget(above)
    section = Section("Models", opened=False)
    rows.addWidget(section)
    scroll = over_bar(dock, body, QLabel("bar"))
    dock.resize(460, 200)
    dock.show()
    wait(lambda: section.y() > 400)
    yield section, scroll
    dock.close()
    dock.deleteLater()


@pytest.mark.parametrize("height", [60, 500])
def test_a_section_that_is_unfolded_comes_into_view(small, height):
    section, scroll = small
    content = QLabel("content")
    content.setFixedHeight(height)
    section.add(content)
    bar = scroll.verticalScrollBar()
    bar.setValue(section.y() - scroll.viewport().height() + 20)  # its title can be pressed
    section.toggleButton().click()
    low = height > scroll.viewport().height()

    def seen():
        top, bottom = bar.value(), bar.value() + scroll.viewport().height()
        end = section.y() + section.height()
        return section.height() > height and (top == section.y() if low else end == bottom)

    wait(seen)


def test_a_section_that_is_folded_leaves_the_view_where_it_is(small):
    section, scroll = small
    section.expand()
    QApplication.processEvents()
    scroll.verticalScrollBar().setValue(300)
    section.toggleButton().click()
    QApplication.processEvents()
    assert scroll.verticalScrollBar().value() == min(300, scroll.verticalScrollBar().maximum())


def test_a_title_is_whole_where_there_is_room_and_cut_where_not(small):
    section, scroll = small
    section.tell(TOLD)
    assert section.toggleButton().text().endswith(TOLD)
    scroll.window().resize(240, 200)
    QApplication.processEvents()
    assert section.toggleButton().text().endswith("…")
    assert TOLD in section.toggleButton().toolTip()
    scroll.window().resize(460, 200)
    QApplication.processEvents()
    assert section.toggleButton().text().endswith(TOLD)
