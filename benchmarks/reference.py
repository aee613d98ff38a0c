"""A few corrected images, then all others: what a reference set saves, beside a random forest.

Of a folder of images with masks some are drawn as if an annotator had corrected them; the others
are labelled by each method, and the pixels still wrong are counted. The forest is what a napari
user trains today: scikit-image's multiscale basic features and scikit-learn's forest, pixel by
pixel. ReME takes the product's own path: a set made by the task Learn, a job, the engine.
"""

import json
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from napari_prelabel.engine.engine import Engine
from napari_prelabel.engine.samples import Sample
from napari_prelabel.engine.tasks import Learn, Reviewed
from napari_prelabel.images.rgb import Rgb, to_rgb
from napari_prelabel.models.catalog import recommended
from napari_prelabel.values.encoder import TEXTURE
from napari_prelabel.values.errors import FileFormatError, JobError
from napari_prelabel.values.job import Job, ReME
from napari_prelabel.values.labels import Ids
from napari_prelabel.values.metrics import confusion, miou, pixel_accuracy
from napari_prelabel.values.retrieval import Reference
from napari_prelabel.values.steps import finish
from napari_prelabel.values.vocabulary import IGNORE, UNLABELLED, Class, Vocabulary

NOTHING, FOREST, REME = "nothing", "random_forest", "reme"
METHODS = (NOTHING, FOREST, REME)
BACKGROUND = "background"
_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp")

# The forest: as many pixels of each image, and scikit-learn's own settings otherwise.
TREES, PIXELS = 100, 5000
SIGMAS = (0.5, 16.0)

Figures = dict[str, Any]
Labeller = Callable[[Sample], Ids]
Learner = Callable[[Sequence[Sample], int], Labeller]


@dataclass(frozen=True, slots=True)
class Folder:
    """Images with masks, ids of `vocabulary`, 65535 where the mask says 255."""

    name: str
    vocabulary: Vocabulary
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Draw:
    """One method on one draw: its summed confusion and the seconds of learning and labelling."""

    method: str
    matrix: npt.NDArray[np.int64]
    learned: float
    labelled: float


def load_folder(folder: Path, pattern: str = "*") -> Folder:
    """`images/` and `masks/` with equal stems; masks are label images of one channel.

    Every value of the masks is a class, 0 too, but 255 of 8-bit masks, which is ignored. Names
    come from classes.txt ("0 background", one a line) or classes.json ({"0": "background"} or a
    list), else value 0 is the background and value v "class v".

    pattern : of the images' names, "stained_*".

    Raises
    ------
    FileFormatError : no such folder, no pair of image and mask, or of other sizes, or in colour
    """
    found = sorted(p for p in (folder / "images").glob("*") if p.suffix.lower() in _SUFFIXES)
    chosen = [p for p in found if fnmatch(p.stem, pattern) or fnmatch(p.name, pattern)]
    masks = {p.stem: p for p in sorted((folder / "masks").glob("*"))}
    pairs = [(p, masks[p.stem]) for p in chosen if p.stem in masks]
    if not pairs:
        raise FileFormatError(
            folder,
            f"{folder} holds no images/{pattern} with masks of the same names: name a folder of "
            "images/ and masks/.",
        )
    read = [(image.stem, _read_image(image), _read_mask(mask)) for image, mask in pairs]
    for stem, image, mask in read:
        if image.shape[:2] != mask.shape:
            raise FileFormatError(folder, f"{stem}: its image and its mask are of different sizes.")
    values = sorted({int(v) for _, _, mask in read for v in np.unique(mask)} - {IGNORE})
    names = _names(folder)
    classes = tuple(
        Class(i, names.get(v, BACKGROUND if v == 0 else f"class {v}"))
        for i, v in enumerate(values, start=1)
    )
    table = np.zeros(65536, np.uint16)
    table[values] = np.arange(1, len(values) + 1)
    table[IGNORE] = IGNORE
    samples = tuple(Sample(stem, image, table[mask]) for stem, image, mask in read)
    return Folder(folder.name, Vocabulary(classes), samples)


def _read_image(path: Path) -> Rgb:
    with Image.open(path) as picture:
        if picture.mode in ("I;16", "I;16B", "I", "F"):
            return to_rgb(np.asarray(picture))
        return np.array(picture.convert("RGB"))


def _read_mask(path: Path) -> Ids:
    """(H, W) uint16 values, 255 of an 8-bit mask as IGNORE."""
    with Image.open(path) as picture:
        if picture.mode not in ("1", "L", "P", "I;16", "I;16B", "I"):
            raise FileFormatError(
                path, f"{path} is in colour ({picture.mode}): masks hold one number a pixel."
            )
        values = np.array(picture)
    if picture.mode in ("L", "P"):
        return np.where(values == 255, np.uint16(IGNORE), values.astype(np.uint16))
    return values.astype(np.uint16)


def _names(folder: Path) -> dict[int, str]:
    told = folder / "classes.json"
    if told.exists():
        given = json.loads(told.read_text(encoding="utf-8"))
        pairs = given.items() if isinstance(given, dict) else enumerate(given)
        return {int(v): str(n["name"] if isinstance(n, dict) else n) for v, n in pairs}
    told = folder / "classes.txt"
    if not told.exists():
        return {}
    lines = (line.split(maxsplit=1) for line in told.read_text(encoding="utf-8").splitlines())
    return {int(words[0]): words[1].strip() for words in lines if len(words) == 2}


def drawn(data: Folder, annotated: int, draws: int, seed: int = 0) -> Iterator[tuple[int, ...]]:
    """Which images are corrected, per draw; JobError when none would be left to label."""
    if not 0 < annotated < len(data.samples):
        raise JobError(
            "annotated",
            f"{data.name} has {len(data.samples)} images: annotate at least one and leave one.",
        )
    for number in range(draws):
        order = np.random.default_rng([seed, number]).permutation(len(data.samples))
        yield tuple(sorted(order[:annotated].tolist()))


def measure(
    data: Folder,
    *,
    annotated: int = 10,
    draws: int = 5,
    seed: int = 0,
    methods: Sequence[str] = METHODS,
    settings: ReME | None = None,
    position: bool = False,
) -> Generator[tuple[int, str], None, list[Draw]]:
    """Run every method on every draw.

    settings : of ReME, None for what suits the encoder. position : an option of the set.

    Yields (draw, method) before each; returns one entry per draw and method.
    """
    out = []
    with tempfile.TemporaryDirectory() as place:
        makers: dict[str, Learner] = {
            NOTHING: _Nothing(data.vocabulary).learn,
            FOREST: _Forests(Path(place), seed).learn,
            REME: _Sets(Path(place), data.vocabulary, settings, position).learn,
        }
        for number, chosen in enumerate(drawn(data, annotated, draws, seed)):
            known = [data.samples[i] for i in chosen]
            rest = [s for i, s in enumerate(data.samples) if i not in chosen]
            for method in methods:
                yield number, method
                began = time.perf_counter()
                label = makers[method](known, number)
                ready = time.perf_counter()
                matrix = sum(
                    confusion(s.truth, label(s), len(data.vocabulary.classes)) for s in rest
                )
                ended = time.perf_counter()
                out.append(Draw(method, np.asarray(matrix), ready - began, ended - ready))
    return out


class _Nothing:
    """All background where there is such a class, else all unlabelled."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._id = next((c.id for c in vocabulary.classes if c.name == BACKGROUND), UNLABELLED)

    def learn(self, known: Sequence[Sample], number: int) -> Labeller:
        del known, number
        return lambda sample: np.full_like(sample.truth, self._id)


class _Forests:
    """Random forests on pixels; the features of an image are computed once and kept on disk."""

    def __init__(self, place: Path, seed: int) -> None:
        self._place = place
        self._seed = seed

    def learn(self, known: Sequence[Sample], number: int) -> Labeller:
        from sklearn.ensemble import RandomForestClassifier

        rng = np.random.default_rng([self._seed, number])
        rows, classes = [], []
        for sample in known:
            ids = sample.truth.ravel()
            places = np.flatnonzero((ids != IGNORE) & (ids != UNLABELLED))
            places = np.sort(rng.permutation(places)[:PIXELS])
            rows.append(np.asarray(self._features(sample)[places]))
            classes.append(ids[places])
        forest = RandomForestClassifier(TREES, n_jobs=-1, random_state=number)
        forest.fit(np.concatenate(rows), np.concatenate(classes))

        def label(sample: Sample) -> Ids:
            found: Ids = forest.predict(self._features(sample)).reshape(sample.truth.shape)
            return found

        return label

    def _features(self, sample: Sample) -> npt.NDArray[np.float32]:
        """(H · W, F) float32, mapped."""
        from skimage.feature import multiscale_basic_features

        path = self._place / f"{sample.name}.npy"
        if not path.exists():
            low, high = SIGMAS
            found = multiscale_basic_features(
                sample.image, channel_axis=-1, sigma_min=low, sigma_max=high
            )
            np.save(path, found.reshape(-1, found.shape[2]).astype(np.float32))
        mapped: npt.NDArray[np.float32] = np.load(path, mmap_mode="r")
        return mapped


class _Sets:
    """Reference sets of the texture encoder; the engine keeps what it encoded."""

    def __init__(
        self, place: Path, vocabulary: Vocabulary, settings: ReME | None, position: bool
    ) -> None:
        self._place = place
        self._engine = Engine("cpu")
        self._vocabulary = vocabulary
        self._settings = settings or recommended(TEXTURE)
        self._position = position

    def learn(self, known: Sequence[Sample], number: int) -> Labeller:
        folder = str(self._place / f"set-{number}")
        words = self._vocabulary
        pairs = tuple(Reviewed(s.name, s.image, s.truth, words) for s in known)
        finish(self._engine.do(Learn(folder, TEXTURE, pairs, position=self._position)))
        job = Job(words, method="reme", reme=self._settings, reference=Reference(folder))

        def label(sample: Sample) -> Ids:
            found: Ids = finish(self._engine.run(job, sample.image)).ids
            return found

        return label


def report(data: Folder, draws: Sequence[Draw], annotated: int) -> Figures:
    """The figures as plain JSON values, in percent of the pixels: means over the draws.

    Rows have method, miou, pixel_accuracy, pixels_to_fix, interval (95%, Student's t over the
    draws, of mIoU), fix_interval (of the pixels to fix), draws (pixels to fix of each) and the
    seconds of learning from the annotated images and of labelling one. Rows after the first also
    have the pixels they save against the forest on the same draws, with its interval.
    """
    rows: list[Figures] = []
    wrong = {m: [_share_wrong(d) for d in draws if d.method == m] for m in METHODS}
    left = len(data.samples) - annotated
    for method in (m for m in METHODS if wrong[m]):
        mine = [d for d in draws if d.method == method]
        ious = [100 * float(miou(d.matrix)) for d in mine]
        row: Figures = {
            "method": method,
            "miou": round(float(np.mean(ious)), 2),
            "pixel_accuracy": round(100 - float(np.mean(wrong[method])), 2),
            "pixels_to_fix": round(float(np.mean(wrong[method])), 2),
            "interval": _interval(ious),
            "fix_interval": _interval(wrong[method]),
            "draws": [round(v, 2) for v in wrong[method]],
            "learn_seconds": round(float(np.mean([d.learned for d in mine])), 2),
            "label_seconds": round(float(np.mean([d.labelled / left for d in mine])), 3),
        }
        if method == REME and wrong[FOREST]:
            saved = [a - b for a, b in zip(wrong[FOREST], wrong[REME], strict=True)]
            row["saved"] = round(float(np.mean(saved)), 2)
            row["saved_interval"] = _interval(saved)
        rows.append(row)
    return {
        "rows": rows,
        "data": data.name,
        "images": len(data.samples),
        "annotated": annotated,
        "draws": len(wrong[rows[0]["method"]]) if rows else 0,
        "classes": list(data.vocabulary.names),
    }


def _share_wrong(draw: Draw) -> float:
    return 100 * (1 - float(pixel_accuracy(draw.matrix)))


def _interval(values: Sequence[float]) -> list[float] | None:
    """Student's 95% interval of a mean; None for a single draw."""
    if len(values) < 2:
        return None
    from scipy.stats import t

    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    middle = float(np.mean(values))
    return [round(middle - half, 2), round(middle + half, 2)]


HEAD = ("method", "mIoU", "95% interval", "pixels", "to fix", "95% interval", "learn s", "label s")


def rows_of(figures: Figures) -> Iterator[tuple[str, ...]]:
    """Rows of a table for people."""
    for row in figures["rows"]:
        yield (
            row["method"],
            f"{row['miou']:.1f}",
            _span(row["interval"]),
            f"{row['pixel_accuracy']:.1f}",
            f"{row['pixels_to_fix']:.2f}",
            _span(row["fix_interval"]),
            f"{row['learn_seconds']:.1f}",
            f"{row['label_seconds']:.2f}",
        )


def _span(ends: list[float] | None) -> str:
    return f"{ends[0]:.1f} to {ends[1]:.1f}" if ends else ""
