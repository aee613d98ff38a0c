"""What a method is worth and what it takes: the benches, as tables and as JSON."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from napari_prelabel.cli import screen
from napari_prelabel.values.job import FreeCP
from napari_prelabel.values.steps import Followed

app = typer.Typer(
    cls=screen.Sentences,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Measure accuracy, speed and the window; JSON for machines.",
)


@app.command()
def accuracy(
    data: Annotated[str, typer.Option(help="synthetic: the drawn scenes.")] = "synthetic",
    split: Annotated[str, typer.Option(help="val (to choose thresholds on) or test.")] = "test",
    methods: Annotated[
        str,
        typer.Option(
            help="Names with commas: base, freecp, nerve, 'freecp, diffusion' as "
            "freecp+diffusion, reme."
        ),
    ] = "base,freecp",
    reference: Annotated[
        Path | None, typer.Option(help="Reference set that reme answers from.")
    ] = None,
    bases: Annotated[str | None, typer.Option(help="Names with commas; all of the bundle.")] = None,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Also refinement alone, RP, AP, true classes given.")
    ] = False,
    models: screen.Bundle = "demo",
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first images.")] = None,
    rp: Annotated[float | None, typer.Option(help="Threshold of redundancy purification.")] = None,
    ap: Annotated[float | None, typer.Option(help="Threshold of ambiguity purification.")] = None,
    logit_scale: Annotated[float | None, typer.Option(help="In place of the model's.")] = None,
    absent_classes: Annotated[
        str,
        typer.Option(
            help="Classes without a true pixel in the mean IoU: skip leaves them out, mmseg counts "
            "those that are predicted as 0."
        ),
    ] = "skip",
    json_file: screen.JsonFile = None,
    device: screen.Device = "auto",
    precision: screen.Precision = None,
) -> None:
    """mIoU, pixel accuracy, boundary F and pixels to fix, all in percent, with intervals."""
    from napari_prelabel.engine import accuracy as measure
    from napari_prelabel.jobs import choose, job_with
    from napari_prelabel.models.catalog import bundle_of
    from napari_prelabel.values.metrics import ABSENT

    from .ablations import ABLATIONS
    from .data import load_synthetic
    from .figures import HEAD, report, rows_of

    choose("data", data, ("synthetic",))
    absent = choose("absent_classes", absent_classes, tuple(ABSENT))
    bundle = bundle_of(models)
    named = [name.replace("+", ", ") for name in screen.names(methods)]
    named += ABLATIONS if ablation else ()
    chosen = measure.variants(named, measure.METHODS | ABLATIONS)
    wanted = screen.names(bases) if bases else list(bundle.bases)
    for name in wanted:
        choose("base", name, bundle.bases)
    scenes = load_synthetic(split, limit)
    diffusion = any(v.needs.diffusion for v in chosen.values())
    screen.check_models(models, diffusion)
    job = job_with(
        scenes.vocabulary, {"models": models, "precision": precision}, reference=reference
    )
    job = replace(job, freecp=_thresholds(job.freecp, rp, ap), logit_scale=logit_scale)
    runner = screen.engine(device)
    steps = measure.measure(runner, scenes.samples, job, chosen, wanted, job.freecp)
    rows = len(measure.rows_asked(chosen, wanted))
    tallies = screen.follow(steps, len(scenes.samples) * rows)
    figures = report(tallies, scenes, absent)
    figures |= {"models": models, "precision": job.precision, "device": runner.device}
    title = f"{scenes.name} {split}: {len(scenes.samples)} images, percent"
    screen.print_table(title, HEAD, rows_of(figures))
    screen.out.print(f"mIoU: {figures['absent_classes_rule']} (--absent-classes {absent}).")
    screen.write_json(json_file, figures)


def _thresholds(freecp: FreeCP, rp: float | None, ap: float | None) -> FreeCP:
    return replace(
        freecp,
        rp_threshold=freecp.rp_threshold if rp is None else rp,
        ap_threshold=freecp.ap_threshold if ap is None else ap,
    )


@app.command()
def speed(
    method: Annotated[str, typer.Option(help="freecp or base.")] = "freecp",
    base: Annotated[str, typer.Option(help="Base, as in prelabel run.")] = "sclip",
    models: screen.Bundle = "vitb16-shape",
    classes: Annotated[int, typer.Option(min=1, help="Words of COCO-Stuff, then made-up.")] = 171,
    size: Annotated[str, typer.Option(help="Height x width in pixels.")] = "448x600",
    repeats: Annotated[int, typer.Option(min=1, help="Images per figure; the middle counts.")] = 3,
    rp: Annotated[
        float | None,
        typer.Option(help="Threshold of redundancy purification; 0 on random weights: all stay."),
    ] = None,
    json_file: screen.JsonFile = None,
    device: screen.Device = "auto",
    precision: screen.Precision = None,
) -> None:
    """Seconds of every stage, the cost beside CLIP's passes, peak memory, a changed word."""
    from napari_prelabel.jobs import job_with, read_size
    from napari_prelabel.models.catalog import MODELS, bundle_of
    from napari_prelabel.values import presets

    height, width = read_size(size)
    screen.check_models(models)
    from . import speed as measure

    words = presets.load("coco_stuff").names
    job = job_with(
        measure.vocabulary_of(words, classes),
        {"method": method, "base": base, "models": models, "precision": precision},
    )
    if rp is None and MODELS[bundle_of(models).clip].random:
        rp = 0.0
    if rp is not None:
        job = replace(job, freecp=replace(job.freecp, rp_threshold=rp))
    with screen.err.status("running"):
        runner = measure.fresh_engine(device)
        figures = measure.measure(runner, job, (height, width), repeats=repeats)
    rows = (
        (s["name"], f"{s['seconds']:.3f}", "CLIP" if s["forward"] else "")
        for s in figures["stages"]
    )
    screen.print_table("Stages of a run", ("stage", "seconds", "pass"), rows)
    for name, value in figures.items():
        if name != "stages":
            screen.out.print(f"{name}: {value}")
    screen.write_json(json_file, figures)


@app.command()
def worker(
    repeats: Annotated[int, typer.Option(min=1, help="Round trips; the middle counts.")] = 60,
    address: Annotated[
        str | None, typer.Option("--worker", help="Of a worker elsewhere with this bench's engine.")
    ] = None,
    tls: screen.Tls = None,
    json_file: screen.JsonFile = None,
) -> None:
    """Milliseconds of 3 MiB to the worker and 1 MiB back; gaps in the thread of a window."""
    from . import worker as measure

    figures = measure.measure(repeats, address, tls)
    for name, value in figures.items():
        screen.out.print(f"{name}: {value}")
    screen.write_json(json_file, figures)


@app.command()
def affinity(
    split: Annotated[str, typer.Option(help="val or test.")] = "val",
    models: screen.Bundle = "demo",
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first images.")] = None,
    json_file: screen.JsonFile = None,
    device: screen.Device = "auto",
) -> None:
    """AUC of "same label" from the attention of every layer, from FreeCP's choice, from colour."""
    from napari_prelabel.models.catalog import bundle_of

    from .affinity import affinity_auc
    from .data import load_synthetic

    scenes = load_synthetic(split, limit)
    bundle = bundle_of(models)
    screen.check_models(models)
    from napari_prelabel.models.clip import load_clip
    from napari_prelabel.models.opened import pick_device

    with screen.err.status("running"):
        clip = load_clip(bundle.clip, str(pick_device(device)))
        rows = affinity_auc(clip, bundle.windows, scenes.samples)
    screen.print_table(
        "AUC of 'same label'",
        ("affinity", "AUC"),
        ((r["affinity"], f"{r['auc']:.3f}") for r in rows),
    )
    screen.write_json(json_file, {"rows": rows, "split": split, "images": len(scenes.samples)})


@app.command("reme-ablation")
def reme_ablation(
    split: Annotated[str, typer.Option(help="val or test.")] = "test",
    corrections: Annotated[
        str, typer.Option(help="Numbers of corrected images, with commas.")
    ] = "10,30,100",
    captions: Annotated[int, typer.Option(min=1, help="Scenes of the caption set.")] = 200,
    wrong: Annotated[float, typer.Option(min=0, max=1, help="Share of pairs made wrong.")] = 0.3,
    encoder: Annotated[str, typer.Option(help="demo-visual, clip:demo-clip.")] = "clip:demo-clip",
    models: screen.Bundle = "demo",
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first images.")] = None,
    json_file: screen.JsonFile = None,
) -> None:
    """ReME from corrections and from captions, cleaned in each way, beside base and FreeCP."""
    from napari_prelabel.jobs import job_with
    from napari_prelabel.models.catalog import bundle_of

    from . import reme
    from .data import load_synthetic
    from .figures import HEAD, report, rows_of

    scenes = load_synthetic(split, limit)
    screen.check_models(models)
    job = job_with(scenes.vocabulary, {"models": models})
    plan = reme.Plan(reme.counts_of(corrections), captions, wrong)
    with screen.err.status("loading") as status:
        models_of = reme.Bench.load(bundle_of(models).clip, encoder)
        steps = Followed(reme.compare(screen.engine("cpu"), models_of, scenes, job, plan))
        for step in steps:
            status.update(screen.plain(step))
    tallies, facts = steps.result
    figures = report(tallies, scenes) | {"models": models, "encoder": encoder, **facts}
    title = f"{scenes.name} {split}: {len(scenes.samples)} images, percent"
    screen.print_table(title, HEAD, rows_of(figures))
    screen.write_json(json_file, figures)


@app.command("reference-speed")
def reference_speed(
    segments: Annotated[int, typer.Option(min=1, help="References of the set.")] = 200_000,
    width: Annotated[int, typer.Option(min=1, help="Values of each.")] = 1024,
    labels: Annotated[int, typer.Option(min=1)] = 5_000,
    classes: Annotated[int, typer.Option(min=1)] = 150,
    queries: Annotated[int, typer.Option(min=1, help="Segments of the image.")] = 300,
    top_k: Annotated[int, typer.Option(min=1, help="Of the run with the nearest only.")] = 64,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; the fastest counts.")] = 3,
    no_faiss: Annotated[
        bool, typer.Option("--no-faiss", help="Without faiss, which holds the set in memory.")
    ] = False,
    json_file: screen.JsonFile = None,
) -> None:
    """Seconds and memory of retrieval from a large set, beside one faiss top-1 search."""
    from .reference_speed import Size, measure

    size = Size(segments, width, labels, classes, queries)
    with screen.err.status("running"):
        figures = measure(size, top_k=top_k, repeats=repeats, faiss_too=not no_faiss)
    for name, value in figures.items():
        screen.out.print(f"{name}: {value}")
    screen.write_json(json_file, figures)


@app.command()
def reference(
    data: Annotated[Path, typer.Option(help="Folder of images/ and masks/ with equal names.")],
    only: Annotated[str, typer.Option(help="Pattern of the images' names: 'stained_*'.")] = "*",
    annotated: Annotated[int, typer.Option(min=1, help="Images taken as corrected.")] = 10,
    draws: Annotated[int, typer.Option(min=1, help="Random choices of them.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the choices.")] = 0,
    position: Annotated[
        bool, typer.Option("--position", help="Also compare the place in the frame.")
    ] = False,
    json_file: screen.JsonFile = None,
) -> None:
    """Pixels that are left to fix: nothing, a random forest, ReME from the same few images."""
    from . import reference as measure

    found = measure.load_folder(data, only)
    steps = Followed(
        measure.measure(found, annotated=annotated, draws=draws, seed=seed, position=position)
    )
    with screen.bar() as bar:
        task = bar.add_task("", total=draws * len(measure.METHODS))
        for number, method in steps:
            bar.update(task, description=f"draw {number + 1} {method}")
            bar.advance(task)
    figures = measure.report(found, steps.result, annotated)
    title = f"{found.name}: {annotated} of {len(found.samples)} images corrected, percent"
    screen.print_table(title, measure.HEAD, measure.rows_of(figures))
    screen.write_json(json_file, figures)
