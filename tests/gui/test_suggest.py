"""What the image looks like: the words of a ready list that win pixels."""

import numpy as np

from napari_prelabel.gui.prelabel import suggest
from napari_prelabel.gui.prelabel.suggest import ready_list, winners
from napari_prelabel.values.labels import LabelMap
from napari_prelabel.values.vocabulary import Vocabulary

from gui_steps import run, wait  # isort: skip

LIST = Vocabulary.parse("night\ndusk: evening\nday")


def told(dock):
    return dock.suggester.text.text()


def ask(dock, monkeypatch):
    monkeypatch.setattr(suggest, "ready_list", lambda _: LIST)
    dock.lists.suggest.emit()
    wait(lambda: "looks most like" in told(dock) or dock.suggester.isHidden())


def test_shares_of_a_list_are_told_and_words_added(done, viewer, image, monkeypatch):
    before = viewer.layers["ramp [prelabel]"].data.copy()
    done.words.set_text("dark\nEvening")
    ask(done, monkeypatch)
    assert told(done) == (
        "Of a ready list, the image looks most like: night 34%, day 34%, dusk 32%."
    )
    done.suggester.add.click()
    assert done.words.text == "dark\nEvening\nnight\nday\ndusk"
    assert done.suggester.isHidden()
    np.testing.assert_array_equal(viewer.layers["ramp [prelabel]"].data, before)


def test_words_that_are_typed_are_not_added_again(done, monkeypatch):
    done.words.set_text("Night\nlight: dusk\n- day")
    ask(done, monkeypatch)
    assert done.suggester.fresh() == []
    assert done.suggester.add.isHidden()
    done.suggester.close_button.click()
    assert done.suggester.isHidden()


def test_it_asks_no_words_to_be_typed(dock, image, monkeypatch):
    ask(dock, monkeypatch)
    dock.suggester.add.click()
    assert dock.words.vocabulary.names == ("night", "day", "dusk")


def test_a_run_ends_the_looking(done, monkeypatch):
    monkeypatch.setattr(suggest, "ready_list", lambda _: LIST)
    done.lists.suggest.emit()
    assert not done.suggester.isHidden()
    run(done)
    assert done.suggester.isHidden()
    assert done.bar.stage.text() == "Done."


def test_without_an_image_or_in_a_run_it_says_why_not(dock, viewer):
    dock.lists.suggest.emit()
    assert "Open an image first" in dock.bar.notices.texts[0]
    viewer.add_image(np.zeros((60, 80), np.uint8), name="ramp")
    dock.words.set_text("a\nb")
    dock.run()
    dock.lists.suggest.emit()
    assert "Wait for the run" in dock.bar.notices.texts[0]
    wait(lambda: not dock.session.running)


def test_a_worker_that_dies_is_told(done, monkeypatch):
    monkeypatch.setattr(suggest, "ready_list", lambda _: Vocabulary.parse("die"))
    done.lists.suggest.emit()
    wait(lambda: done.suggester.isHidden())
    assert "worker process stopped" in done.bar.notices.texts[0]
    run(done)
    assert done.bar.stage.text() == "Done."


def test_a_run_that_finds_nothing_asks_by_itself_where_it_is_quick(done, monkeypatch):
    monkeypatch.setattr(suggest, "ready_list", lambda _: LIST)
    done.words.set_text("nothing")
    run(done)
    assert "Suggest words" in done.bar.notices.texts[0]
    assert done.suggester.isHidden()
    monkeypatch.setattr(suggest, "known_words", lambda _: ("night",))
    run(done)
    wait(lambda: "looks most like" in told(done))


def test_ready_lists():
    assert "kite" in ready_list("vitb16").names
    assert set(ready_list("demo").names) >= {"sky", "sea", "truck"}
    sampled, suggest.samples = suggest.samples, list
    try:
        assert "heaven" in ready_list("demo").names
    finally:
        suggest.samples = sampled


def test_winners_are_few_and_large():
    names = Vocabulary.parse("\n".join("abcdefghijkl"))
    ids = np.repeat(np.arange(13, dtype=np.uint16), [50, 3, *range(20, 31)])[None]
    found = LabelMap(ids, np.ones(ids.shape, np.float16), np.zeros_like(ids), names)
    assert [name for name, _ in winners(found)] == list("lkjihgfe")
    assert winners(found)[0][1] == 30 / ids.size
