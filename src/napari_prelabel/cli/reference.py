"""`prelabel reference`: make, extend, clean, describe, measure and join reference sets."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ..values.declare import Setting, changed, declared, said
from ..values.retrieval import Cleaning
from ..values.steps import Followed
from . import screen
from .settings import with_options

app = typer.Typer(
    no_args_is_help=True,
    help="Reference sets: segments with their words, which ReME labels other images from.",
)

# Synonyms that cleaning tells of at most.
_TOLD = 12

Set = Annotated[Path, typer.Argument(help="Folder of the reference set.")]
Images = Annotated[Path, typer.Option(help="Folder of images.")]
Labels = Annotated[
    Path | None,
    typer.Option(help="Folder of label maps (PNG or TIFF of class ids) with the images' names."),
]
Classes = Annotated[
    str | None,
    typer.Option(
        help="A class file, a preset or the words, in the order of the ids 1, 2, ... or with ids, "
        "'0 background, 1 tree'; without it the tables beside the label files."
    ),
]
FromZero = Annotated[
    bool, typer.Option("--from-zero", help="Id 0 is the first class, not 'unlabelled'.")
]
Ground = Annotated[
    bool,
    typer.Option("--unlabelled-is-background", help="What is unlabelled is a class, 'background'."),
]
MineOnly = Annotated[
    bool,
    typer.Option(
        "--mine-only", help="Leave out what only a model said, as label files of ours tell it."
    ),
]
Captions = Annotated[
    Path | None,
    typer.Option(
        help='In place of labels: a file of lines {"image": "a.jpg", "caption": "A red boat."}.'
    ),
]
Author = Annotated[str, typer.Option(help="Who corrected the images.")]
Licence = Annotated[str, typer.Option(help="Licence of images that no line tells one of.")]
Pairing = Annotated[
    str, typer.Option("--text", help="Captions only: bundle whose CLIP pairs phrases and segments.")
]
Crops = Annotated[
    bool,
    typer.Option(
        "--crops",
        help="Captions only: CLIP sees every segment cut out when it pairs; a pass for each.",
    ),
]
Bundle = Annotated[
    str, typer.Option(help="Bundle whose CLIP compares words; without it words meet by name.")
]


@app.command()
def build(
    folder: Set,
    images: Images,
    labels: Labels = None,
    classes: Classes = None,
    from_zero: FromZero = False,
    ground: Ground = False,
    mine_only: MineOnly = False,
    captions: Captions = None,
    encoder: Annotated[
        str,
        typer.Option(
            help="texture (no weights), a visual encoder (with @windows behind it for wide or "
            "tall images), clip:NAME or clip-crops:NAME."
        ),
    ] = "texture",
    text: Bundle = "",
    crops: Crops = False,
    name: Annotated[str, typer.Option(help="What the set is called; its folder's name.")] = "",
    author: Author = "",
    licence: Licence = "",
    position: Annotated[
        bool, typer.Option("--position", help="Compare places too: for fixed cameras.")
    ] = False,
    device: screen.Device = "auto",
) -> None:
    """Make a set from images and their label maps, or from images and captions.

    prelabel reference build nuclei --images photos --labels masks --classes 'nucleus, background'
    """
    from ..engine.tasks import Learn, LearnCaptions
    from ..reference.manifest import MANIFEST
    from ..values.encoder import Encoder
    from ..values.errors import FileFormatError, ReferenceSetError

    if (folder / MANIFEST).exists():
        raise ReferenceSetError(
            folder, f"{folder} is a reference set already: add to it, or choose another folder."
        )
    place, by = str(folder), Encoder.parse(encoder)
    if captions is not None:
        _refuse_labels(labels, classes, from_zero or ground or mine_only)
        listed = _captions(captions, images, author, licence)
        bundle = text or _DEFAULT
        task = LearnCaptions(
            place, by, listed, bundle, name=name, text=text, position=position, crops=crops
        )
        _learn(task, device)
        return
    if crops:
        raise FileFormatError(images, "--crops counts with --captions only: leave it away.")
    pairs, failed = usable_pairs(
        images, labels, classes, from_zero, ground=ground, mine_only=mine_only
    )
    given = Learn(place, by, pairs, name, text, author, licence, None, position)
    _learn(given, device, failed)


@app.command()
def add(
    folder: Set,
    images: Images,
    labels: Labels = None,
    classes: Classes = None,
    from_zero: FromZero = False,
    ground: Ground = False,
    mine_only: MineOnly = False,
    captions: Captions = None,
    text: Pairing = "",
    crops: Crops = False,
    author: Author = "",
    licence: Licence = "",
    device: screen.Device = "auto",
) -> None:
    """Add images to a set; those that are in it already are replaced."""
    from ..engine.tasks import Learn, LearnCaptions
    from ..reference.store import ReferenceSet
    from ..values.encoder import Encoder
    from ..values.errors import FileFormatError

    held = ReferenceSet.open(folder)
    place, encoder = str(folder), Encoder.parse(held.encoder.name)
    if captions is not None:
        _refuse_labels(labels, classes, from_zero or ground or mine_only)
        listed = _captions(captions, images, author, licence)
        _learn(LearnCaptions(place, encoder, listed, text or _DEFAULT, crops=crops), device)
        return
    if text or crops:
        which = "--text" if text else "--crops"
        raise FileFormatError(images, f"{which} counts with --captions only: leave it away.")
    pairs, failed = usable_pairs(
        images, labels, classes, from_zero, ground=ground, mine_only=mine_only
    )
    _learn(Learn(place, encoder, pairs, author=author, licence=licence), device, failed)


def _cleaning(
    folder: Set,
    settings: dict[str, str],
    abstract: Annotated[
        bool, typer.Option("--abstract", help="Drop words that stand at very many segments.")
    ] = False,
    keep: Annotated[str, typer.Option(help="Words with commas that no step may drop.")] = "",
    text: Bundle = "",
    device: screen.Device = "auto",
) -> None:
    """Clean a set: general words, outliers of a class, synonyms; `undo` takes it back."""
    from ..engine.tasks import Clean

    kept = tuple(word.strip() for word in keep.split(",") if word.strip())
    given = {name: said(Cleaning, name, value) for name, value in settings.items()}
    cleaning = changed(Cleaning(abstract=abstract, keep=kept), given)
    _tell_cleaned(_do(Clean(str(folder), cleaning, text), device))


def _cleaning_options() -> Iterator[tuple[str, Setting, str]]:
    """All but those that `_cleaning` asks for in its own way; no file gives other standards."""
    for told in declared(Cleaning):
        if told.name not in ("abstract", "keep"):
            standard = "none" if told.default is None else told.default
            text = f"{told.description} Standard: {standard}."
            yield told.name, replace(told, description=text), ""


app.command("clean")(with_options(_cleaning, _cleaning_options()))


@app.command()
def info(folder: Set, json_file: screen.JsonFile = None) -> None:
    """What a set holds: classes, images, licences, what cleaning did."""
    from ..reference.store import ReferenceSet

    held = ReferenceSet.open(folder)
    counts, stats = held.counts, held.class_stats()
    screen.print_table(
        screen.plain(f"{held.name}: {counts.segments:,} segments of {counts.images:,} images"),
        ("word", "synonyms", "segments", "images", "off", "dropped"),
        (
            (screen.plain(s.word), screen.plain(", ".join(s.synonyms)), f"{s.segments:,}",
             f"{s.images:,}", f"{s.off:,}", f"{s.dropped:,}")
            for s in stats
        ),
    )  # fmt: skip
    screen.out.print(screen.plain(f"Encoder {held.encoder.name}, {held.width} numbers a segment"))
    screen.out.print(screen.plain(f"Words meet by {held.text.name if held.text else 'name'}"))
    for licence, number in counts.licences.items():
        screen.out.print(screen.plain(f"{number:,} images: {licence or 'no licence told'}"))
    if held.cleaned is not None:
        _tell_cleaned(held.cleaned)
    screen.write_json(
        json_file,
        {
            "name": held.name,
            "digest": held.digest,
            "generation": held.generation,
            "encoder": asdict(held.encoder),
            "text": asdict(held.text) if held.text else None,
            "position": held.position,
            "counts": asdict(counts),
            "classes": [asdict(s) for s in stats],
            "cleaned": asdict(held.cleaned) if held.cleaned else None,
        },
    )


@app.command()
def evaluate(
    folder: Set,
    images: Images,
    labels: Annotated[Path, typer.Option(help="Folder of their corrected label maps.")],
    classes: Classes = None,
    from_zero: FromZero = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first images.")] = None,
    json_file: screen.JsonFile = None,
    device: screen.Device = "auto",
) -> None:
    """What a set is worth: each image labelled from the others, with and without each step."""
    from ..engine.tasks import Evaluate
    from ..values.job import Job
    from ..values.retrieval import Reference

    every, failed = usable_pairs(images, labels, classes, from_zero, learn=False)
    pairs = every[:limit]
    job = Job(pairs[0].vocabulary, "reme", reference=Reference(str(folder)))
    found = _do(Evaluate(str(folder), pairs, job), device)
    screen.print_table(
        f"{len(found.per_image)} images, percent",
        ("labels from", "mIoU, 95% interval", "mIoU", "pixels right", "pixels to fix"),
        (
            (r.name, _interval(r.interval), f"{r.miou:.1f}", f"{r.pixel_accuracy:.1f}",
             f"{r.pixels_to_fix:.1f}")
            for r in found.rows
        ),
    )  # fmt: skip
    for note in found.notes:
        screen.out.print(f"[yellow]note:[/yellow] {screen.plain(note)}")
    screen.write_json(
        json_file,
        {
            "rows": [asdict(r) for r in found.rows],
            "per_image": dict(found.per_image),
            "notes": list(found.notes),
        },
    )
    screen.end(failed)


@app.command()
def merge(
    folder: Set,
    others: Annotated[list[Path], typer.Argument(help="Sets whose images are added to it.")],
) -> None:
    """Add the images of other sets of the same encoder; the later review counts."""
    from ..reference.metric import fit_set
    from ..reference.store import ReferenceSet

    held = ReferenceSet.open(folder)
    given = [ReferenceSet.open(other) for other in others]
    before = held.digest
    with held.one_step():
        for other in given:
            held.merge(other)
        if new := held.digest != before:
            held.put_metric(fit_set(held))
    _tell_size(held)
    if new and any(s.cleaned is not None for s in (held, *given)):
        screen.out.print("What came was not cleaned: run 'prelabel reference clean' again.")


@app.command()
def undo(folder: Set) -> None:
    """Take the last change of a set back; once more brings it again."""
    from ..reference.store import ReferenceSet

    held = ReferenceSet.open(folder)
    held.undo()
    _tell_size(held)


_DEFAULT = "demo"
_BACKGROUND = (
    "[yellow]note:[/yellow] background words name no pixels, so nothing is learnt of id 0: to "
    "learn it, write '0 background' first in place of them."
)
# Faults of files that are told one by one.
_FAULTS = 10


def usable_pairs(
    images: Path,
    labels: Path | None,
    classes: str | None,
    from_zero: bool,
    *,
    learn: bool = True,
    ground: bool = False,
    mine_only: bool = False,
) -> Any:
    """Reviewed files of two folders that can be used, and how many cannot; tells the others."""
    from ..jobs import vocabulary_of
    from ..reviewed import find_pairs
    from ..values.errors import FileFormatError

    if labels is None:
        raise FileFormatError(images, "Give --labels, the folder of the label maps, or --captions.")
    vocabulary = vocabulary_of(classes) if classes else None
    from_zero = _from_zero(classes, from_zero) if classes else from_zero
    if learn and vocabulary is not None and vocabulary.background:
        screen.out.print(_BACKGROUND)
    pairs, notes = find_pairs(
        images, labels, vocabulary, from_zero=from_zero, ground=ground, mine_only=mine_only
    )
    good, faults = pairs.usable()
    for note in (*notes, *(good.doubts if mine_only else ())):
        screen.out.print(f"[yellow]note:[/yellow] {screen.plain(note)}")
    hint = "" if classes else " Name the ids 1, 2, ... with --classes 'sky, tree'."
    for fault in faults[not good : _FAULTS]:
        screen.err.print(f"[red]error:[/red] {screen.plain(fault)}")
    if len(faults) > _FAULTS:
        screen.err.print(f"[red]error:[/red] and so for {len(faults) - _FAULTS:,} more images.")
    if not good:
        raise FileFormatError(labels, faults[0] + hint)
    if faults:
        screen.err.print(
            f"{len(faults):,} of {len(pairs):,} images cannot be used and are left out."
            + screen.plain(hint)
        )
    return good, len(faults)


def _from_zero(classes: str, asked: bool) -> bool:
    """Whether id 0 is the first class: asked for, or told by ids beside the names."""
    from ..jobs import counts_from_zero
    from ..values.errors import FileFormatError

    told = counts_from_zero(classes)
    if asked and told is False:
        raise FileFormatError(
            classes, "The classes are numbered from 1: leave --from-zero away, or the numbers."
        )
    if told and not asked:
        screen.out.print("[yellow]note:[/yellow] the classes are numbered from 0, and so are ids.")
    return asked or bool(told)


def _refuse_labels(labels: Path | None, classes: str | None, from_zero: bool) -> None:
    """Options of label maps would do nothing beside captions."""
    from ..values.errors import FileFormatError

    if labels is not None or classes or from_zero:
        raise FileFormatError(
            labels or "",
            "Captions take the place of labels: leave --labels, --classes and --from-zero away, "
            "and add the labelled images by a command of their own.",
        )


def _captions(path: Path, images: Path, author: str, licence: str) -> Sequence[Any]:
    """The captioned images of a file; tells the lines that were left out."""
    from ..reference.captions import read_captions

    sidecar = read_captions(path, images)
    for fault in sidecar.faults:
        screen.err.print(f"[yellow]note:[/yellow] {screen.plain(fault)}")
    return [
        replace(one, author=one.author or author, licence=one.licence or licence)
        for one in sidecar.images
    ]


def _learn(task: Any, device: str, failed: int = 0) -> None:
    """Learn and sum up; `failed` images could not be used before."""
    if hasattr(task, "bundle"):
        screen.check_models(task.bundle)
    done = _do(task, device)
    screen.out.print(
        f"{done.added:,} segments learnt in {done.seconds:.1f} s; the set holds "
        f"{done.segments:,} of {done.images:,} images."
    )
    if done.skipped:
        screen.out.print(f"{done.skipped:,} segments were too small or had no word.")
    if done.doubled:
        screen.out.print(f"{done.doubled:,} images came twice: the later labels are kept.")
    for fault in done.unread[:_FAULTS]:
        screen.err.print(f"[red]error:[/red] {screen.plain(fault)}")
    if done.unread:
        screen.out.print(f"{len(done.unread):,} images could not be learnt and are left out.")
    if done.stacks:
        screen.out.print(
            f"{done.stacks:,} files hold several planes, of which the first was learnt: save the "
            "others as files with captions of their own."
        )
    if done.kept:
        screen.out.print(f"{done.kept:,} images stay as they were corrected.")
    if not done.segments:
        screen.out.print(
            "The set is empty: all pixels are unlabelled or ignored. Where id 0 is a class of its "
            "own, give --from-zero and name it first."
        )
    screen.end(failed + len(done.unread))


def _do(task: Any, device: str) -> Any:
    """Do a task, showing its progress."""
    steps = Followed(screen.engine(device).do(task))
    with screen.bar() as bar:
        task = bar.add_task("", total=1)
        for step in steps:
            told = screen.plain(f"{step.message} [{step.stage}]".strip())
            if step.stage in ("learn", "evaluate"):
                bar.update(task, completed=step.done, total=step.total, description=told)
    return steps.result


def _tell_cleaned(done: Any) -> None:
    screen.out.print(
        f"Cleaning dropped {done.dropped_abstract:,} pairs of general words and "
        f"{done.dropped_outliers:,} outliers, and added {done.added:,} synonyms."
    )
    if done.abstract:
        screen.out.print(screen.plain(f"General words: {', '.join(done.abstract)}"))
    if done.synonyms:
        told = [f"{a} = {b}" for a, b in done.synonyms[:_TOLD]]
        more = len(done.synonyms) - len(told)
        rest = f" and {more:,} more, all in `info --json FILE`" if more else ""
        screen.out.print(screen.plain(f"Same meaning: {', '.join(told)}{rest}"))


def _tell_size(held: Any) -> None:
    screen.out.print(
        screen.plain(f"{held.name} holds {held.n_segments:,} segments of {held.n_images:,} images.")
    )


def _interval(ends: tuple[float, float] | None) -> str:
    return f"{ends[0]:.1f} to {ends[1]:.1f}" if ends else ""
