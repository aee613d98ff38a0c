"""Labels outlive a crash: kept within seconds of a stroke, offered when the image comes back."""

import json
import os
import time
import zipfile

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication

from napari_prelabel.annotation import kept
from napari_prelabel.annotation.annotation import Annotation
from napari_prelabel.gui.correct import keeper
from napari_prelabel.gui.layers.result import METADATA
from napari_prelabel.gui.prelabel.dock import PrelabelDock
from napari_prelabel.gui.run.runner import Runner
from napari_prelabel.values.errors import FileFormatError
from napari_prelabel.values.labels import HUMAN, MODEL
from napari_prelabel.values.vocabulary import IGNORE, Vocabulary

from gui_steps import labels, run, wait  # isort: skip

AB = Vocabulary.parse("a: x\nb [#102030]")


def files():
    return sorted(kept.folder().glob("*"))


def stroke(viewer, label=1):
    layer = labels(viewer)
    layer.brush_size = 7
    layer.paint((30, 70), label)
    return layer


def start_anew(viewer, pool, pixels, name="ramp"):
    """A later session: another dock, the same image opened again."""
    for dock in list(viewer.window.dock_widgets.values()):
        viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()
    dock = PrelabelDock(viewer, Runner(lambda: pool))
    viewer.window.add_dock_widget(dock, name="Pre-label", area="right")
    dock.models.apply("vitb16-shape")
    return dock, viewer.add_image(pixels, name=name, rgb=True)


def test_a_stroke_is_kept_and_taken_up_in_the_next_session(done, viewer, image, pool):
    layer = stroke(viewer)
    wait(lambda: len(files()) == 1 and files()[0].suffix == ".npz", 8)
    drawn, pixels = layer.data.copy(), image.data.copy()
    mine = done.session.result(image).annotation.provenance.copy()
    dock, again = start_anew(viewer, pool, pixels)
    dock.words.set_text("")
    assert not dock.keeper.isHidden()
    assert f"{int((mine == HUMAN).sum()):,} pixels of yours" in dock.keeper.text.text()
    dock.keeper.take.click()
    wait(lambda: len(viewer.layers) == 2)
    np.testing.assert_array_equal(labels(viewer).data, drawn)
    notes = dock.session.result(again).annotation
    np.testing.assert_array_equal(notes.provenance, mine)
    assert dock.words.vocabulary.names == ("dark", "bright")
    assert dock.keeper.isHidden()
    run(dock)
    np.testing.assert_array_equal(labels(viewer).data, drawn)
    dock.results.undo_button.click()
    np.testing.assert_array_equal(labels(viewer).data, drawn)


def test_ignored_pixels_are_taken_up_as_ignored(dock, viewer, image, pool):
    dock.words.set_text("dark\nbright")
    ids = np.zeros((60, 80), np.uint16)
    ids[:10], ids[10:20] = 1, IGNORE
    about = {"classes": Vocabulary.parse("dark\nbright").to_dict(), "image": image.name}
    viewer.add_labels(ids, name="ramp [prelabel]", metadata={METADATA: about})
    assert dock.session.result(image) is not None
    labels(viewer).paint((40, 40), 2)
    wait(lambda: len(files()) == 1 and files()[0].suffix == ".npz", 8)
    drawn = labels(viewer).data.copy()
    dock, again = start_anew(viewer, pool, image.data.copy())
    dock.keeper.take.click()
    wait(lambda: len(viewer.layers) == 2)
    labels(viewer).paint((50, 50), 1)
    notes = dock.session.result(again).annotation
    assert notes.vocabulary.names == ("dark", "bright")
    np.testing.assert_array_equal(labels(viewer).data[:45], drawn[:45])
    assert (notes.shown[10:20] == IGNORE).all()


def test_a_stroke_just_before_the_dock_closes_is_kept(done, viewer, image, pool):
    stroke(viewer)
    assert not files()
    dock, _ = start_anew(viewer, pool, image.data.copy())
    dock.keeper.look()
    wait(lambda: files() and files()[0].suffix == ".npz")
    dock.keeper.look()
    assert not dock.keeper.isHidden()


def test_another_image_of_the_same_name_is_offered_nothing(done, viewer, image, pool):
    stroke(viewer)
    done.keeper.flush()
    wait(lambda: files() and files()[0].suffix == ".npz")
    dock, _ = start_anew(viewer, pool, 255 - image.data)
    assert dock.keeper.isHidden()


def test_a_run_alone_and_undone_strokes_keep_nothing(done, viewer, image):
    done.keeper.flush()
    assert not files()
    layer = stroke(viewer)
    done.keeper.flush()
    wait(lambda: files() and files()[0].suffix == ".npz")
    layer.undo()
    done.keeper.flush()
    wait(lambda: not files())


def test_export_ends_the_keeping_until_the_next_stroke(done, viewer, tmp_path):
    stroke(viewer)
    done.keeper.flush()
    wait(lambda: files() and files()[0].suffix == ".npz")
    wait(lambda: done.exporter.format.count() > 0)
    done.exporter.folder.setText(str(tmp_path / "out"))
    done.exporter.button.click()
    wait(lambda: done.exporter.button.isEnabled())
    assert not files()
    done.keeper.flush()
    assert not files()
    labels(viewer).paint((5, 5), 2)
    done.keeper.flush()
    wait(lambda: files() and files()[0].suffix == ".npz")


def test_forget_deletes_and_offers_the_next(done, viewer, image, pool):
    for place in ((30, 70), (5, 5)):
        done.session.result(image).kept = None
        labels(viewer).paint(place, 1)
        done.keeper.flush()
        done.keeper._writer.join()
    assert len(files()) == 2
    dock, _ = start_anew(viewer, pool, image.data.copy())
    dock.keeper.drop.click()
    assert len(files()) == 1
    assert not dock.keeper.isHidden()
    dock.keeper.drop.click()
    assert dock.keeper.isHidden()
    assert not files()


def test_a_folder_that_cannot_be_written_is_told_once(done, viewer, tmp_path, monkeypatch):
    (tmp_path / "full").write_text("no folder")
    monkeypatch.setattr(kept, "folder", lambda: tmp_path / "full")
    stroke(viewer)
    done.keeper.flush()
    wait(lambda: done.bar.notices.texts)
    assert "could not be kept for the next start" in done.bar.notices.texts[0]


def test_a_damaged_file_is_a_sentence_and_harms_nothing(done, viewer, image, pool):
    stroke(viewer)
    done.keeper.flush()
    done.keeper._writer.join()
    (path,) = files()
    dock, _ = start_anew(viewer, pool, image.data.copy())
    with zipfile.ZipFile(path) as archive:
        about = archive.read("about.json")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("about.json", about)
    dock.keeper.take.click()
    wait(lambda: dock.bar.notices.texts)
    assert "damaged" in dock.bar.notices.texts[0]
    path.write_bytes(b"no zip")
    dock.keeper.look()
    assert dock.keeper.isHidden()


def annotation():
    made = Annotation((4, 5), AB)
    ids = np.arange(20).reshape(4, 5) % 3
    made.adopt(ids.astype(np.uint16), HUMAN)
    made.threshold = 0.25
    return made


def test_a_file_gives_everything_back(tmp_path):
    made = annotation()
    made.provenance[0] = MODEL
    assert keeper.keep(made, tmp_path / "k.npz") == made.edits
    found = kept.read(tmp_path / "k.npz")
    assert found.vocabulary == AB
    fresh = Annotation((4, 5), found.vocabulary)
    kept.restore(fresh, found)
    for name in kept.ARRAYS:
        np.testing.assert_array_equal(getattr(fresh, name), getattr(made, name))
    assert fresh.threshold == 0.25
    assert fresh.human_pixels() == int((made.provenance != MODEL).sum())
    assert fresh.counts() == {"": 7, "a": 7, "b": 6}


def test_a_copy_that_an_edit_ran_into_is_made_again(done, viewer, image, monkeypatch):
    calls, keep = [], keeper.keep

    def moved_once(*how):
        calls.append(how)
        if len(calls) == 1:
            raise kept.Moved
        return keep(*how)

    monkeypatch.setattr(keeper, "keep", moved_once)
    stroke(viewer)
    done.keeper.flush()
    done.keeper._writer.join()
    assert len(calls) == 2
    assert len(files()) == 1


def test_a_stroke_just_before_the_window_is_gone_is_kept(done, viewer):
    stroke(viewer)
    writer = done.keeper._writer
    viewer.layers.clear()
    done.keeper.destroyed.emit()
    writer.join()
    assert len(files()) == 1


def test_labels_that_move_while_they_are_copied_are_not_written(tmp_path):
    made = annotation()
    with made._counting(), pytest.raises(kept.Moved):
        keeper.keep(made, tmp_path / "k.npz")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda a: a.update(classes={"classes": []}),
        lambda a: a.pop("threshold"),
        lambda a: a.update(facts=3),
    ],
)
def test_what_a_file_tells_is_checked(tmp_path, spoil):
    path = tmp_path / "k.npz"
    keeper.keep(annotation(), path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(parts["about.json"])
    spoil(about)
    parts["about.json"] = json.dumps(about).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(FileFormatError, match="damaged"):
        kept.read(path)


@pytest.mark.parametrize("about", [b"[]", b"{", b"1"])
def test_a_file_without_facts_is_damaged(tmp_path, about):
    path = tmp_path / "k.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("about.json", about)
    with pytest.raises(FileFormatError, match="damaged"):
        kept.read(path)


def test_old_and_many_files_are_pruned(monkeypatch):
    kept.folder().mkdir(parents=True)
    for number in range(4):
        path = kept.folder() / f"x-{number}.npz"
        path.write_bytes(b"")
        os.utime(path, (time.time() - number, time.time() - number))
    old = kept.folder() / "x-0.npz"
    os.utime(old, (time.time() - 91 * 86400,) * 2)
    monkeypatch.setattr(kept, "MOST_FILES", 2)
    kept.prune()
    assert [p.name for p in files()] == ["x-1.npz", "x-2.npz"]
    QApplication.processEvents()
