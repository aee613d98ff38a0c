"""What each method asks for: built from one table, to a Job and back without a loss."""

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication

from napari_prelabel.gui.models import recent_sets
from napari_prelabel.gui.prelabel.method_box import MethodBox
from napari_prelabel.gui.prelabel.method_fields import asked, value_of
from napari_prelabel.values.bases import ABOUT
from napari_prelabel.values.job import (
    BASES,
    FreeCP,
    Job,
    Nerve,
    Proposals,
    Reference,
    ReME,
    Windows,
)
from napari_prelabel.values.methods import METHODS
from napari_prelabel.values.vocabulary import Vocabulary

from gui_steps import wait  # isort: skip

WORDS = Vocabulary.parse("cell")


@pytest.fixture
def box(qtbot):
    made = MethodBox()
    qtbot.addWidget(made)
    made.show()
    return made


ASKED = [(m, name, told) for m, row in METHODS.items() for name, told in asked(row.settings)]


@pytest.mark.parametrize(("method", "name", "told"), ASKED, ids=lambda v: getattr(v, "name", v))
def test_every_box_says_what_its_declaration_says(box, method, name, told):
    field = box._fields[method, name]
    assert field.value == value_of(METHODS[method].settings, name) == told.default
    assert told.description in field.native.toolTip()
    assert field.native.accessibleName() == told.title
    if told.options:
        assert [value for _, value in field.widget._widget._mgui_get_choices()] == [*told.options]
        assert field.widget.choices == told.options
    elif told.kind in (int, float):
        assert field.native.maximum() == told.high
        assert field.native.minimum() == (told.ask.step if told.above else told.low)
    else:
        assert field.native.text() == told.title


@pytest.mark.parametrize("method", METHODS)
def test_at_most_six_fields_of_a_method_are_seen_without_unfolding(box, method):
    box.method.choose(method)
    told = [told for owner, _, told in ASKED if owner == method]
    seen = [f for (owner, _), f in box._fields.items() if owner == method and f.native.isVisible()]
    assert len(seen) == sum(t.ask.first for t in told) <= 6
    box.more.expand()
    assert all(f.native.isVisible() for (owner, _), f in box._fields.items() if owner == method)


def test_readings_of_code_and_paper_are_not_asked_for_but_told_and_kept(box):
    seen = {name for method, name, _ in ASKED if method == "freecp"}
    assert not seen & {"refinement", "overlap", "similarity", "losers", "gem_affinity"}
    assert not box.kept.isVisible()
    job = Job(WORDS, freecp=FreeCP(refinement="paper", similarity="paper"))
    box.show_job(job)
    assert box.kept.isVisible()
    assert box.kept.text() == "From the job: Refinement: paper; Likeness measured: paper."
    assert box.apply(Job(WORDS)) == job
    box.method.choose("base")
    assert not box.kept.isVisible()


@pytest.mark.parametrize(
    "job",
    [
        Job(WORDS, method="nerve", nerve=Nerve(temperature=1e-5, alpha=0.123456789, steps=999)),
        Job(WORDS, method="nerve", nerve=Nerve(alpha=1.0), logit_scale=1e-3),
        Job(WORDS, freecp=FreeCP(ap_threshold=1 / 3), windows=Windows(0, 0, 0, True)),
    ],
)
def test_a_job_at_the_limits_goes_to_the_boxes_and_back(box, job):
    box.show_job(job)
    assert box.apply(Job(WORDS)) == job


def test_zero_says_what_it_means(box):
    box.method.choose("reme")
    assert box._fields["reme", "top_k"].native.text() == "all"
    assert box._fields["", "logit_scale"].native.text() == "the models' own"
    box.set_windows(Windows(0, 0))
    shown = [box._fields["", f"windows.{n}"].native.text() for n in ("short_side", "crop")]
    assert shown == ["own size", "whole image"]


def test_scrolling_over_a_number_or_a_choice_changes_nothing(box):
    box.more.expand()
    box.method.choose("nerve")
    for name in ("alpha", "steps", "weighting"):
        native = box._fields["nerve", name].native
        before = box.given("nerve")
        at = QPointF(native.rect().center())
        QApplication.sendEvent(native, QWheelEvent(
            at, native.mapToGlobal(at), QPoint(), QPoint(0, 120), Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
        ))  # fmt: skip
        assert box.given("nerve") == before


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
