"""The demo models are honest about what they do not know."""

import numpy as np
import pytest
import skimage.data
from engine_steps import finish
from PIL import Image

from napari_prelabel.engine import likeness as module
from napari_prelabel.engine import notices
from napari_prelabel.engine.likeness import Likeness, expand, statistics
from napari_prelabel.engine.notices import DEMO_NOTICE, model_notices
from napari_prelabel.images.rgb import to_rgb
from napari_prelabel.models.catalog import Bundle
from napari_prelabel.values.errors import FileFormatError
from napari_prelabel.values.job import Job, Windows
from napari_prelabel.values.samples import sample_path
from napari_prelabel.values.vocabulary import Vocabulary

KNOWN = ("tree", "lake", "traffic light")
PHOTOGRAPHS = (
    "astronaut", "brick", "camera", "cell", "chelsea", "clock", "coffee", "coins", "colorwheel",
    "grass", "gravel", "horse", "hubble_deep_field", "immunohistochemistry", "microaneurysms",
    "moon", "page", "retina", "rocket", "text",
)  # fmt: skip
GREY = np.full((40, 50, 3), 128, np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)


@pytest.fixture
def grey_is_usual():
    """A likeness to which flat grey is a scene and noise is not."""
    usual = statistics(GREY)
    ones = np.ones(len(usual))
    weights = np.concatenate([0 * ones, ones])
    return Likeness(usual, ones, weights, -len(usual) + 0.5)


@pytest.fixture
def demo(monkeypatch):
    monkeypatch.setattr(notices, "known_words", lambda clip: KNOWN if clip == "demo" else None)
    return Bundle("Demo", "demo")


def told(bundle, words, likeness, image=GREY):
    return model_notices(bundle, Vocabulary.parse(words), likeness, image)


def test_scenes_are_like_and_others_are_not(demo, grey_is_usual):
    assert told(demo, "tree\nlake", grey_is_usual) == ()
    (notice,) = told(demo, "tree", grey_is_usual, NOISE)
    assert notice == f"{DEMO_NOTICE} This image is unlike the drawn scenes."
    assert told(demo, "tree", None, NOISE) == ()


def test_unknown_words_are_named(demo, grey_is_usual):
    (notice,) = told(demo, "Tree: Traffic  Light, oak\n- nothing, lake", grey_is_usual)
    assert notice == f"{DEMO_NOTICE} Unknown words: oak, nothing."
    (many,) = told(demo, "\n".join(f"w{i}" for i in range(30)), grey_is_usual)
    assert many.endswith("w7 and 22 more.")
    (both,) = told(demo, "oak", grey_is_usual, NOISE)
    assert "oak" in both
    assert "unlike" in both


@pytest.mark.usefixtures("demo")
def test_other_bundles_tell_their_own_notice(grey_is_usual):
    assert told(Bundle("Full", "full"), "oak", grey_is_usual, NOISE) == ()
    assert told(Bundle("Shape", "full", notice="Random."), "oak", None) == ("Random.",)


def test_the_file_beside_the_weights(grey_is_usual, monkeypatch, tmp_path):
    monkeypatch.setattr(module, "model_dir", lambda _: tmp_path)
    assert Likeness.beside("demo-clip") is None
    grey_is_usual.save(tmp_path / module.FILE)
    found = Likeness.beside("demo-clip")
    assert found.limit == grey_is_usual.limit
    assert found.score(NOISE) == grey_is_usual.score(NOISE)
    assert Likeness.beside("openai-vitb16") is None
    (tmp_path / module.FILE).write_bytes(b"broken")
    assert Likeness.beside("demo-clip") is None

    def absent(_):
        raise FileFormatError("x", "The sample data lacks it.")

    monkeypatch.setattr(module, "model_dir", absent)
    assert Likeness.beside("demo-clip") is None


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (90, 2), (64, 64)])
@pytest.mark.parametrize("fill", [0, 255, None])
def test_statistics_are_finite_for_any_image(shape, fill):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    if fill is not None:
        image[...] = fill
    values = statistics(image)
    assert values.shape == statistics(GREY).shape
    assert np.isfinite(values).all()


def test_what_is_far_out_counts_no_more_than_that():
    row = expand(np.array([1e9, -1e9, 1.0]), np.array([0.0, 0, 1]), np.ones(3))
    assert row.tolist() == [4, -4, 0, 15, 15, -1]


def test_a_run_looks_at_its_region(make_engine, grey_is_usual, monkeypatch):
    monkeypatch.setattr(Likeness, "beside", lambda _: grey_is_usual)
    monkeypatch.setattr(notices, "known_words", lambda _: ("tree",))
    mixed = np.concatenate([GREY, NOISE])
    engine = make_engine()
    for region, strange in (((0, 0, 40, 50), False), ((40, 0, 80, 50), True)):
        wanted = Job(
            Vocabulary.parse("tree"), models="vitb16-shape", windows=Windows(64, 48, 16),
            region=region,
        )  # fmt: skip
        result, _ = finish(engine.run(wanted, mixed))
        assert bool(result.notices) == strange


@pytest.fixture(scope="module")
def shipped():
    return Likeness.beside("demo-clip")


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_photographs_are_noticed(name, shipped):
    assert shipped.strange(to_rgb(getattr(skimage.data, name)()))


def test_the_sample_scenes_are_not(shipped):
    paths = sorted(sample_path("scenes", "images").glob("*.png"))
    assert len(paths) == 24
    strange = [p.name for p in paths if shipped.strange(np.asarray(Image.open(p).convert("RGB")))]
    assert not strange
