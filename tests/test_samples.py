"""The sample data is reachable, and complete."""

import pytest

from napari_prelabel.values.errors import FileFormatError
from napari_prelabel.values.samples import sample_path


def test_what_is_missing_is_named():
    with pytest.raises(FileFormatError, match=r"lacks scenes/nothing\.png"):
        sample_path("scenes", "nothing.png")


def test_the_sample_folder_is_found():
    assert sample_path().is_dir()


@pytest.mark.parametrize(
    "path",
    [
        "models/demo-clip/open_clip_config.json",
        "models/demo-clip/open_clip_model.safetensors",
        "models/demo-clip/words.txt",
        "models/demo-clip/likeness.safetensors",
        "models/demo-clip/README.md",
        "vocabularies/scenes.txt",
        "vocabularies/distractors.txt",
        "descriptions/scenes.json",
    ],
)
def test_nothing_is_missing(path):
    assert sample_path(*path.split("/")).stat().st_size > 100


def test_there_are_24_scenes_with_their_truth_and_the_weights_are_small():
    images = {p.stem for p in sample_path("scenes", "images").iterdir()}
    masks = {p.stem for p in sample_path("scenes", "masks").iterdir()}
    assert images == masks
    assert len(images) == 24
    weights = sample_path("models", "demo-clip", "open_clip_model.safetensors")
    assert weights.stat().st_size <= 20_000_000
