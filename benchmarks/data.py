"""The drawn scenes of a split as images with truth."""

from collections.abc import Iterator

from napari_prelabel.engine.samples import DataSet, Sample, data_set, load_shipped
from napari_prelabel.values.errors import JobError

from .synthetic.scenes import Split, scene, split_seeds

SPLITS: tuple[Split, ...] = ("train", "val", "test")
VAL_SCENES = 24


def load_synthetic(split: str, limit: int | None = None) -> DataSet:
    """The drawn scenes: 24 shipped ones for "test", as many fresh ones for "train" and "val".

    Raises JobError for another split.
    """
    if split not in SPLITS:
        raise JobError("split", f"There is no split {split!r}: choose {', '.join(SPLITS)}.")
    if split == "test":
        return load_shipped(split, limit)
    return data_set(split, _drawn(split, limit or VAL_SCENES))


def _drawn(split: str, count: int) -> Iterator[Sample]:
    for seed in split_seeds(split)[:count]:
        shown = scene(seed, split)
        yield Sample(f"{split}-{seed}", shown.image, shown.labels)
