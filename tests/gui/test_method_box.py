"""What each method asks for: built from one table, to a Job and back without a loss."""

from dataclasses import replace

import pytest
from qtpy.QtCore import Qt

from napari_prelabel.gui import recent_sets
from napari_prelabel.gui.method_box import MethodBox
from napari_prelabel.gui.method_fields import FORMS, options_of, value_of, with_values
from napari_prelabel.values.bases import ABOUT
from napari_prelabel.values.job import BASES, FreeCP, Job, Proposals, Reference, ReME
from napari_prelabel.values.vocabulary import Vocabulary

from gui_steps import wait  # isort: skip

WORDS = Vocabulary.parse("cell")


@pytest.fixture
def box(qtbot):
    made = MethodBox()
    qtbot.addWidget(made)
    made.show()
    return made


def test_every_parameter_that_is_asked_for_exists_and_every_choice_has_its_words():
    for form in FORMS.values():
        for f in form.fields:
            value = value_of(form.default, f.name)
            if f.words:
                assert len(f.words) == len(options_of(form.default, f.name)), f.name
            elif not isinstance(value, bool):
                assert f.limits[0] <= value <= f.limits[1], f.name


def test_reme_goes_to_the_boxes_and_back_whatever_is_asked_for(box, tmp_path):
    reme = ReME(
        temperature=0.123, top_k=7, normalise="column", exponent=0.25, weighting="tip",
        sharpness=3.25, words="names", text_temperature=0.5, abstract=False, outliers=False,
        synonyms=False, proposals=Proposals("slic", finest=40, most=99, compactness=3.5),
    )  # fmt: skip
    job = Job(WORDS, method="reme", reme=reme, reference=Reference(str(tmp_path / "set")))
    box.show_job(job)
    again = box.apply(Job(WORDS))
    assert again.reme == reme  # most and compactness have no box and stay
    assert again.reference == job.reference
    assert again.freecp == FreeCP()


def test_only_what_applies_is_shown(box):
    box.method.choose("reme")
    assert box.reference.isVisible()
    assert not box.base.isVisible()
    box.method.choose("freecp")
    assert not box.reference.isVisible()
    assert box.base.isVisible()


def test_every_base_is_offered_with_a_line_that_says_what_it_is(box):
    listed = [box.base.itemData(i) for i in range(box.base.count())]
    assert listed == list(BASES)
    for i, base in enumerate(BASES):
        assert box.base.itemText(i) == ABOUT[base].title
        assert box.base.itemData(i, Qt.ItemDataRole.ToolTipRole) == ABOUT[base].help
        box.base.choose(base)
        assert ABOUT[base].help in box.base.toolTip()
        assert box.apply(Job(WORDS)).base == base
    box.show_job(Job(WORDS, base="sclip_residual"))
    assert box.base.currentText() == "SCLIP, official"
    box.offer(("base", "freecp"), ("vanilla", "maskclip_bare"), "base", "vanilla")
    assert box.base.currentData() == "vanilla"
    assert box.base.itemData(1, Qt.ItemDataRole.ToolTipRole) == ABOUT["maskclip_bare"].help


def test_reme_is_offered_whatever_the_models_can_do(box):
    box.method.choose("reme")
    box.offer(("base",), ("vanilla",), "base", "vanilla")
    assert box.method.currentData() == "reme"
    assert box.method.findData("freecp") == -1
    box.offer(("base", "freecp"), ("vanilla",), "base", "vanilla")
    assert box.method.findData("freecp") >= 0


def test_a_set_that_cannot_be_read_is_a_sentence_and_no_run(box, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("[]")
    box.reference.choose(tmp_path / "broken")
    wait(lambda: bool(box.reference.problem))
    assert box.reference.facts.text() == box.reference.problem
    with pytest.raises(Exception, match="broken"):
        box.reference.check()


def test_without_a_set_it_says_where_to_make_one(box):
    assert box.reference.folder is None
    assert "Reference dock" in box.reference.facts.text()
    with pytest.raises(Exception, match="Make one"):
        box.reference.check()


def test_the_set_used_last_is_offered_first(box, tmp_path):
    folder = tmp_path / "cells"
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    recent_sets.used(folder, [])
    wait(lambda: recent_sets.recent() == [folder])
    box.reference.refresh()
    assert box.reference.folder == folder


def test_dotted_names_change_one_parameter_and_leave_the_others():
    values = with_values(ReME(top_k=4), {"proposals.finest": 9, "temperature": 0.5})
    assert values == replace(ReME(top_k=4), temperature=0.5, proposals=Proposals(finest=9))
