"""Images of the viewer with the labels drawn over them: what a set can learn from."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from napari.layers import Image, Labels

from ...annotation.annotation import planes_of
from ...images.masks import Two, black_and_white, filled, told, two_values, with_background
from ...values.errors import ImageError, VocabularyError
from ...values.faults import one_line, sentence_of
from ...values.labels import MODEL, Ids, one_channel, relabel
from ...values.vocabulary import Class, Vocabulary, key
from ..layers.images import LayerSource, guess_channel_axis
from ..layers.lying import belongs
from ..layers.opened import is_picture
from ..layers.result import METADATA, ResultLayer, owners_of

if TYPE_CHECKING:
    from ...engine.tasks import Reviewed

Plane = tuple[int, ...]
# In the metadata of Labels layers that only show something: no labels to learn from.
MARK = "prelabel_mark"
MARKS = frozenset({MARK, "prelabel_preview"})


@dataclass(slots=True, eq=False)
class Pair:
    """An Image layer and a Labels layer of the same size.

    result : what stands behind labels of ours, None for other people's layers.
    names : class names that its pixels hold, as far as they are known without looking.
    share : of the labelled pixels that are the person's, 0..1; None for other people's layers.
    problem : why nothing can be learnt from it, with the cure; "" when it can.
    """

    image: Image
    labels: Labels
    result: ResultLayer | None = None
    vocabulary: Vocabulary | None = None
    names: tuple[str, ...] = ()
    share: float | None = None
    problem: str = ""

    @property
    def key(self) -> tuple[int, int]:
        """Names the pair as long as its layers live."""
        return id(self.image), id(self.labels)

    def touched(self) -> bool:
        """Whether the person has drawn here, or brought the labels from elsewhere."""
        return bool(self.share) if self.result is not None else not self.problem


@dataclass(frozen=True, slots=True, eq=False)
class Taken:
    """A pair's labels as they were when they were asked for; the image is read later.

    ids : (..., Y, X) uint16 of `vocabulary`, or dask's of any whole numbers, read later, too.
    labels : name of their layer.
    ground : id of the class that what is unlabelled belongs to; 0 for none.
    notice : what values of black and white are taken for; "" for ids.
    """

    name: str
    source: LayerSource
    ids: Any
    vocabulary: Vocabulary
    labels: str = ""
    ground: int = 0
    notice: str = ""

    def plane(self, plane: Plane) -> Ids:
        """(Y, X) uint16 of one plane; raises VocabularyError for labels without a word."""
        found = self.ids[plane]
        if isinstance(found, np.ndarray):
            return found
        return _plain(np.asarray(found), self.labels, self.vocabulary)


def find_pairs(layers: Sequence[Any], typed: Vocabulary | None = None) -> list[Pair]:
    """Pairs in the order of the layer list, newest first.

    typed : the words of the Pre-label dock, which name the labels of layers without names.
    """
    images = [x for x in reversed(layers) if is_picture(x)]
    found = []
    for layer in reversed(layers):
        if not isinstance(layer, Labels) or not MARKS.isdisjoint(layer.metadata):
            continue
        image = _image_of(layer, images, layers)
        if image is not None:
            found.append(_pair(image, layer, typed))
        elif (meant := _meant(layer, images)) is not None:
            found.append(Pair(meant, layer, problem=_other_size(layer, meant)))
    return found


def _image_of(layer: Labels, images: list[Image], layers: Iterable[Any]) -> Image | None:
    result = ResultLayer.of(layer)
    if result is not None:
        made_from = result.image()
        return made_from if made_from in images else None
    fitting = [image for image in images if _source(image, layer) is not None]
    ours = [image for image in fitting if belongs(layer, image, layers)]
    near = sorted(fitting, key=lambda image: not layer.name.startswith(image.name))
    return next(iter([*ours, *near]), None)


def _meant(layer: Labels, images: list[Image]) -> Image | None:
    """The image that labels of another size were probably made for, by their name."""
    if ResultLayer.of(layer) is not None:
        return None
    return next((image for image in images if layer.name.startswith(image.name)), None)


def _other_size(labels: Labels, image: Image) -> str:
    """Why labels do not lie over an image, with the cure."""
    data = image.data[0] if image.multiscale else image.data
    sizes = (" x ".join(map(str, shape)) for shape in (labels.data.shape, data.shape))
    return f"It has {next(sizes)} pixels and the image {next(sizes)}: open labels of its size."


def _pair(image: Image, layer: Labels, typed: Vocabulary | None) -> Pair:
    result = ResultLayer.of(layer)
    if result is not None:
        counts = result.annotation.counts()
        labelled = sum(n for name, n in counts.items() if name)
        names = tuple(name for name, n in counts.items() if name and n)
        share = min(result.annotation.human_pixels() / labelled, 1.0) if labelled else 0.0
        problem = "" if labelled else "Nothing is labelled yet: paint, or press Run first."
        return Pair(image, layer, result, result.annotation.vocabulary, names, share, problem)
    if layer.multiscale:
        return Pair(image, layer, problem="Labels of several resolutions cannot be read.")
    vocabulary = _named(layer) or typed
    if vocabulary is None:
        problem = "Its labels have no names: type the words in the Pre-label dock, in their order."
        return Pair(image, layer, problem=problem)
    return Pair(image, layer, None, vocabulary, vocabulary.names)


def _named(layer: Labels) -> Vocabulary | None:
    """Names that a layer brings along: our metadata, else the column `name` of its features."""
    told = layer.metadata.get(METADATA)
    try:
        if isinstance(told, dict) and "classes" in told:
            return Vocabulary.from_dict(told["classes"])
        table = layer.features
        if "name" not in table or "index" not in table:
            return None
        named = {int(i): str(n) for i, n in zip(table["index"], table["name"], strict=True)}
        highest = max((i for i in named if i > 0), default=0)
        return Vocabulary(
            tuple(Class(i, named.get(i) or f"label {i}") for i in range(1, highest + 1))
        )
    except (VocabularyError, ValueError):
        return None


def _source(image: Image, labels: Labels) -> LayerSource | None:
    """Which level and channels of an image have the shape of the labels."""
    axis = guess_channel_axis(image)
    levels = range(len(image.data)) if image.multiscale else range(1)
    sources = [
        LayerSource(image, level, a) for level in levels for a in dict.fromkeys((axis, None))
    ]
    shape = tuple(labels.data.shape)
    found = next((s for s in sources if s.shape == shape), None)
    if found is None and len(shape) == 3 and shape[-1] in (3, 4):
        return next((s for s in sources if s.shape == shape[:2]), None)
    return found


def source_of(pair: Pair) -> LayerSource:
    """What of the image the labels lie over; raises ImageError when nothing fits."""
    told = pair.result.source if pair.result is not None else None
    if told is not None and told.layer is pair.image and told.shape == pair.labels.data.shape:
        return told
    found = _source(pair.image, pair.labels)
    if found is None:
        raise ImageError(
            f"{pair.labels.name!r} has another size than {pair.image.name!r}: choose labels that "
            "were drawn over the image."
        )
    return found


def take(pair: Pair, mine_only: bool = False) -> Taken:
    """Copy the labels of a pair, in the GUI thread; raises ImageError or VocabularyError.

    mine_only : leave out what only a model said.
    """
    if pair.problem or pair.vocabulary is None:
        raise ImageError(f"{pair.labels.name}: {pair.problem}")
    source = source_of(pair)
    if pair.result is None:
        ids: Any = pair.labels.data
        notice = ""
        if isinstance(ids, np.ndarray) or not hasattr(ids, "compute"):
            stored = np.asarray(ids)
            if stored.shape != source.shape:
                stored = _grey(pair)
            two = _two_of(stored, pair.vocabulary)
            notice = f"{pair.labels.name}: {told(pair.vocabulary, False, two)}" if two else ""
            ids = _plain(stored, pair.labels.name, pair.vocabulary)
            owners = owners_of(pair.labels.metadata, stored) if mine_only else None
            if owners is not None and owners.shape == ids.shape:
                ids[owners == MODEL] = 0
        named = pair.labels.name
        return Taken(pair.image.name, source, ids, pair.vocabulary, named, notice=notice)
    notes = pair.result.annotation
    notes.found_different(pair.labels.data)
    ids, vocabulary = notes.named()
    if mine_only:
        ids[notes.provenance == MODEL] = 0
    return Taken(pair.image.name, source, ids, vocabulary, pair.labels.name)


def grounded(taken: Taken) -> Taken:
    """The same labels, and a class "background" where there are none."""
    vocabulary, number = with_background(taken.vocabulary)
    return replace(taken, vocabulary=vocabulary, ground=number)


def _two_of(data: npt.NDArray[Any], vocabulary: Vocabulary) -> Two:
    """Whether labels are a mask of black and white, and no ids of the vocabulary."""
    known = len(vocabulary.classes)
    return two_values(data) if known <= 2 and data.size and data.max() > known else ""


def _grey(pair: Pair) -> npt.NDArray[Any]:
    """Labels that were made of a picture in colours which are all grey."""
    grey = one_channel(np.asarray(pair.labels.data))
    if grey is None:
        raise ImageError(
            f"{pair.labels.name!r} was a colour picture: labels have one number a pixel. Save it "
            "as a grey or indexed PNG, a number for each class."
        )
    return grey


def _plain(data: npt.NDArray[Any], name: str, vocabulary: Vocabulary) -> Ids:
    """A copy as uint16; raises VocabularyError for labels without a word."""
    known = len(vocabulary.classes)
    if _two_of(data, vocabulary):
        return black_and_white(data, vocabulary, repr(name))
    lowest, highest = int(data.min(initial=0)), int(data.max(initial=0))
    if lowest < 0 or highest > known:
        raise VocabularyError(
            f"{name!r} holds the label {lowest if lowest < 0 else highest}, but only {known} words "
            "are known: type a word for every label in the Pre-label dock."
        )
    return data.astype(np.uint16)


def reviewed(taken: Iterable[Taken], faults: list[str] | None = None) -> "Iterator[Reviewed]":
    """Read the images, plane by plane where something is labelled; off the GUI thread.

    faults : takes a sentence for each plane that cannot be read; without it the error is raised.
    """
    for item in taken:
        for plane in planes_of((), item.ids.shape):
            name = item.name + "".join(f" [{i}]" for i in plane)
            try:
                one = _reviewed(item, plane, name)
            except Exception as error:
                if faults is None:
                    raise
                faults.append(fault(name, error))
                continue
            if one is not None:
                yield one


def _reviewed(item: Taken, plane: Plane, name: str) -> "Reviewed | None":
    from ...engine.tasks import Reviewed

    ids = item.plane(plane)
    if not ids.any():
        return None
    whole = filled(ids, item.ground) if item.ground else ids
    return Reviewed(name, item.source.plane(plane), whole, item.vocabulary)


def fault(name: str, error: Exception) -> str:
    """What is told of an image that cannot be learnt from."""
    return one_line(f"{name}: {sentence_of(error, 'learnt from')}")


def joined(vocabularies: Iterable[Vocabulary]) -> Vocabulary:
    """One vocabulary with the classes of all, each word once, and the background words."""
    every = list(vocabularies)
    classes: list[Class] = []
    seen: set[str] = set()
    for vocabulary in every:
        for c in vocabulary.classes:
            if key(c.name) in seen:
                continue
            synonyms = tuple(s for s in c.synonyms if key(s) not in seen)
            seen |= {key(c.name), *map(key, synonyms)}
            classes.append(Class(len(classes) + 1, c.name, synonyms, c.colour, c.descriptions))
    background = {key(word): word for v in every for word in v.background if key(word) not in seen}
    return Vocabulary(tuple(classes), tuple(background.values()))


def in_words_of(item: "Reviewed", vocabulary: Vocabulary) -> "Reviewed":
    """The same labels with the ids that another vocabulary gives their names."""
    mapping = {
        c.id: found.id
        for c in item.vocabulary.classes
        if (found := vocabulary.find(c.name)) is not None and found.id != c.id
    }
    return replace(item, ids=relabel(item.ids, mapping), vocabulary=vocabulary)
