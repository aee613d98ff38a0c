"""`prelabel evaluate`: which method suits a person's own images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from . import screen
from .reference import Classes, FromZero, MineOnly, usable_pairs

app = typer.Typer()

Images = Annotated[Path, typer.Option(help="Folder of images.")]
Masks = Annotated[
    Path, typer.Option(help="Folder of label maps (PNG or TIFF of ids) with the images' names.")
]
Methods = Annotated[
    str,
    typer.Option(
        help="Names with commas: base, freecp, nerve, reme, and freecp+diffusion, FreeCP with the "
        "diffusion model's attention."
    ),
]
Bases = Annotated[
    str | None, typer.Option(help="Names with commas; without it the best of the models.")
]
Reference = Annotated[Path | None, typer.Option(help="Reference set that reme answers from.")]
Descriptions = Annotated[
    Path | None, typer.Option(help='JSON {"class": ["a sentence", ...]} for FreeCP.')
]
Absent = Annotated[
    str,
    typer.Option(
        help="Classes without a true pixel in the mean IoU: skip leaves them out, mmseg counts "
        "those that are predicted as 0."
    ),
]


@app.command(
    epilog="Example: prelabel evaluate --images photos --masks masks --classes 'tree, sky, grass' "
    "--methods base,freecp,nerve --json figures.json"
)
def evaluate(
    images: Images,
    masks: Masks,
    methods: Methods = "base,freecp",
    classes: Classes = None,
    from_zero: FromZero = False,
    mine_only: MineOnly = False,
    bases: Bases = None,
    models: screen.Bundle = "demo",
    reference: Reference = None,
    descriptions: Descriptions = None,
    absent: Absent = "skip",
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first images.")] = None,
    json_file: screen.JsonFile = None,
    device: screen.Device = "auto",
    worker: screen.Worker = None,
    tls: screen.Tls = None,
    precision: screen.Precision = None,
) -> None:
    """Compare methods on your own labelled images: mIoU, each class, pixels to fix."""
    from ..engine import accuracy
    from ..engine.compare import compare
    from ..jobs import choose, job_with, read_descriptions
    from ..models.catalog import bundle_of
    from ..values.metrics import ABSENT

    rule = choose("absent", absent, tuple(ABSENT))
    bundle = bundle_of(models)
    chosen = accuracy.variants([name.replace("+", ", ") for name in screen.names(methods)])
    wanted = screen.names(bases) if bases else [bundle.base]
    for name in wanted:
        choose("base", name, bundle.bases)
    _check(chosen, models, reference, there=worker is not None)
    every, failed = usable_pairs(
        images, masks, classes, from_zero, learn=False, mine_only=mine_only
    )
    pairs = every[:limit]
    vocabulary = pairs[0].vocabulary
    if descriptions is not None:
        vocabulary = vocabulary.with_descriptions(read_descriptions(descriptions))
    settings = {"models": models, "precision": precision}
    job = job_with(vocabulary, settings, reference=reference)
    with screen.engine_of(device, worker, tls) as runner:
        steps = compare(runner, pairs, job, chosen, wanted, rule)
        found = screen.follow(steps, len(pairs) * len(accuracy.rows_asked(chosen, wanted)))
        computed_on = runner.device
    figures = found.figures | {
        "unusable": failed,
        "failed": found.failed,
        "notes": list(found.notes),
        "models": models,
        "reference": None if reference is None else str(reference),
        "precision": job.precision,
        "device": computed_on,
    }
    _tell(figures)
    screen.write_json(json_file, figures)
    screen.end(failed + len(found.failed))


def _check(chosen: Mapping[str, Any], models: str, reference: Path | None, there: bool) -> None:
    """Fail before anything is read when a method lacks its models or its set; all are told.

    there : whether the models lie in another machine, which tells what it lacks.
    """
    from ..values.errors import PrelabelError

    faults: dict[str, PrelabelError] = {}
    for name, variant in chosen.items():
        try:
            _check_one(name, variant, models, reference)
            if not there:
                _check_files(variant, models, reference)
        except PrelabelError as fault:
            faults.setdefault(str(fault), fault)
    for sentence in list(faults)[:-1]:
        screen.err.print(f"[red]error:[/red] {screen.plain(sentence)}")
    for last in list(faults.values())[-1:]:
        raise last


def _check_one(name: str, variant: Any, models: str, reference: Path | None) -> None:
    from ..models.catalog import bundle_of
    from ..values.errors import JobError

    bundle, needs = bundle_of(models), variant.needs
    if variant.method not in bundle.methods or (needs.diffusion and not bundle.diffusion):
        raise JobError("method", f"The models {models!r} cannot do {name}: choose other models.")
    if needs.reference and reference is None:
        raise JobError("reference", f"{name} answers from a reference set: give it by --reference.")


def _check_files(variant: Any, models: str, reference: Path | None) -> None:
    if variant.needs.clip:
        screen.check_models(models, variant.needs.diffusion)
    if variant.needs.reference and reference is not None:
        screen.check_set(reference)


def _tell(figures: dict[str, Any]) -> None:
    """The tables: methods, then classes."""
    from ..engine import accuracy

    for name, sentence in figures["failed"].items():
        screen.err.print(f"[red]{screen.plain(name)}:[/red] {screen.plain(sentence)}")
    rows = figures["rows"]
    title = f"{figures['images']} images, {figures['classes']} classes, percent"
    screen.print_table(title, accuracy.head(), accuracy.lines(rows))
    columns = [r["method"] if r["base"] == accuracy.NO_BASE else f"{r['method']} {r['base']}"
               for r in rows]  # fmt: skip
    screen.print_table(
        "IoU of each class, percent",
        ("class", *columns),
        (
            (screen.plain(name), *(accuracy.number(r["class_iou"][name]) for r in rows))
            for name in rows[0]["class_iou"]
        ),
        words=1,
    )
    screen.out.print(
        f"mIoU: {figures['absent_classes_rule']} (--absent {figures['absent_classes']})."
    )
    for note in figures["notes"]:
        screen.note(note)
