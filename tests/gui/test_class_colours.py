"""Colours in the dock: a class on the screen keeps its own, and no two have one."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from napari.layers import Labels
from qtpy.QtGui import QColor

from napari_prelabel.gui.prelabel import class_table
from napari_prelabel.gui.prelabel.class_table import ClassModel
from napari_prelabel.values.colours import rgb_of
from napari_prelabel.values.vocabulary import Class

from gui_steps import run, wait  # isort: skip

NAMES = "tree sky lake road hut sand".split()
names = st.lists(st.sampled_from(NAMES), max_size=6, unique=True)
typed = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["#3cb44b", "#102030"]), max_size=1)


def classes(words, colours) -> list[Class]:
    return [Class(i, w, colour=colours.get(w, "")) for i, w in enumerate(words, start=1)]


@given(st.lists(st.tuples(names, names, typed), min_size=1, max_size=12))
def test_a_class_keeps_its_colour_while_it_is_in_the_table(states):
    table = ClassModel()
    before: dict[str, str] = {}
    for words, kept, colours in states:
        kept = [w for w in kept if w not in words]
        table.set_classes(classes(words, colours), classes(kept, {}))
        now = table.colours
        assert len(set(now.values())) == len(now) == len(words) + len(kept)
        chosen = {w: c for w, c in colours.items() if w in words}
        assert chosen.items() <= now.items()
        for name in now.keys() & before.keys() - chosen.keys():
            # It gives way only to a colour that a person typed, now or until now.
            moved = before[name] in chosen.values()
            assert now[name] == before[name] or moved
        before = now


def canvas(layer: Labels) -> dict[str, tuple[float, ...]]:
    """Colours of the classes that a layer draws, by name."""
    table = layer.colormap.color_dict
    shown = np.unique(np.asarray(layer.data))
    return {
        str(layer.features["name"][i]): tuple(np.round(table[i][:3], 3)) for i in shown if i > 0
    }


def unchanged(now, before) -> bool:
    """Whether classes that were and are drawn have the colour they had."""
    both = now.keys() & before.keys()
    assert {n: now[n] for n in both} == {n: before[n] for n in both}
    return True


def looked_at(dock, layer) -> dict[str, tuple[float, ...]]:
    """The canvas's colours, which the table shows, too, and which are no two the same."""
    found = canvas(layer)
    assert len(set(found.values())) == len(found)
    rows = {r.entry.name: QColor(r.colour).getRgbF()[:3] for r in dock.table.classes.rows}
    for name, colour in found.items():
        np.testing.assert_allclose(rows[name], colour, atol=2e-3)
    _, words = dock.session.result(dock.place.layer).annotation.named()
    palette = words.palette()
    assert len(set(palette)) == len(palette)
    return found


def test_lines_swapped_words_replaced_and_labels_opened_from_an_export(
    dock, viewer, image, tmp_path
):
    dock.words.set_text("tree\nsky\nlake")
    run(dock)
    layer = viewer.layers["ramp [prelabel]"]
    first = looked_at(dock, layer)
    dock.exporter.folder.setText(str(tmp_path))
    dock.export()
    wait(lambda: (tmp_path / "ramp.png").exists() and dock.exporter.button.isEnabled())
    viewer.layers.remove(layer)
    viewer.window._qt_viewer._qt_open([str(tmp_path / "ramp.labels.json")], stack=False)
    layer = viewer.layers[-1]
    dock.legend.show(dock.session.result(image))
    assert looked_at(dock, layer) == first
    layer.brush_size = 4
    layer.paint((5, 5), 2)  # some sky stays, whatever the words become
    for words in ("sky\ntree\nlake", "sky\nroad\nlake", "hut\nroad", "hut\nroad\nsky\ntree"):
        before = canvas(layer)
        dock.words.set_text(words)
        run(dock)
        now = looked_at(dock, layer)
        assert unchanged(now, before)
        assert now["sky"] == first["sky"]
    before = canvas(layer)
    dock.undo_run()
    now = looked_at(dock, layer)
    assert unchanged(now, before)


@settings(deadline=None, max_examples=6, suppress_health_check=list(HealthCheck))
@given(st.lists(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True), max_size=3))
def test_any_words_one_after_the_other(dock, viewer, image, lists):
    dock.words.set_text("tree\nsky")
    run(dock)
    layer = viewer.layers["ramp [prelabel]"]
    layer.paint((5, 5), 1)
    for words in lists:
        before = looked_at(dock, layer)
        dock.words.set_text("\n".join(words))
        run(dock)
        now = looked_at(dock, layer)
        assert unchanged(now, before)


def test_a_colour_that_another_class_has_is_refused_in_one_sentence(done, monkeypatch):
    table = done.table
    taken = table.classes.rows[1].colour

    def picks(colour):
        monkeypatch.setattr(
            class_table.QColorDialog, "getColor", staticmethod(lambda *_: QColor(colour))
        )
        table._ask_colour(0)

    before = table.classes.rows[0].colour
    picks(taken)
    assert table.classes.rows[0].colour == before
    assert f"{taken} is the colour of bright: choose another." in done.bar.notices.texts[0]
    picks("#000000")
    assert "what has no label" in done.bar.notices.texts[0]
    picks("#010203")
    assert table.classes.rows[0].colour == "#010203"


@pytest.mark.parametrize("colour", ["#3cb44b", "#ff8800"])
def test_typed_colours_move_others_out_of_the_way(done, viewer, colour):
    done.words.set_text(f"dark\nbright\nnew [{colour}]")
    run(done)
    layer = viewer.layers["ramp [prelabel]"]
    found = looked_at(done, layer)
    wanted = np.array(rgb_of(colour)) / 255
    np.testing.assert_allclose(found["new"], wanted, atol=2e-3)
