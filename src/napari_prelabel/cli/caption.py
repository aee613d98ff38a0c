"""`prelabel reference caption`: a model describes images, for `reference build --captions`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import track

from . import screen

app = typer.Typer()


@app.command()
def caption(
    images: Annotated[Path, typer.Argument(help="Folder of images.")],
    out_file: Annotated[Path, typer.Option("--out", help="JSON lines for build --captions.")],
    model: Annotated[
        str, typer.Option(help="llava-1.5-7b or blip2-opt-2.7b: see 'prelabel models list'.")
    ] = "llava-1.5-7b",
    device: screen.Device = "auto",
    overwrite: Annotated[bool, typer.Option(help="Write over the file.")] = False,
) -> None:
    """Let a model describe every image; read the captions over before you build from them."""
    from ..batch import without_labels
    from ..formats.atomic import refuse_existing, write_atomic
    from ..images.find import find_images
    from ..models.captioner import load_captioner
    from ..models.opened import pick_device

    refuse_existing(out_file, overwrite)
    pictures = without_labels(find_images([str(images)], tell=screen.note))
    place = pick_device(device)
    half = "float32" if place.type == "cpu" else "float16"
    captioner = load_captioner(model, str(place), half)
    lines: list[str] = []
    failed = 0
    try:
        for picture in track(pictures, description="captions", console=screen.err):
            line = _described(captioner, picture)
            failed += not line
            lines += [line] if line else []
    finally:  # what ends the work early is told after what was done is kept
        if lines:
            write_atomic(out_file, ("\n".join(lines) + "\n").encode(), overwrite=overwrite)
            screen.out.print(f"{len(lines)} captions: {screen.plain(str(out_file))}")
    if failed:
        screen.out.print(f"{failed:,} images could not be captioned and are left out.")
    screen.end(failed)


def _described(captioner: Any, picture: Any) -> str:
    """The line of an image in a captions file; tells why where there is none."""
    from ..images.read import read_image
    from ..values.errors import PrelabelError
    from ..values.faults import ends_all, of_the_image, sentence_of

    try:
        try:
            image = read_image(picture.path).plane(0)
        except PrelabelError as error:
            raise of_the_image(error) from error
        told = captioner.caption(image)
    except BaseException as error:
        if ends_all(error):
            raise
        sentence = sentence_of(error, "captioned")
        screen.err.print(f"[red]{screen.plain(picture.source)}:[/red] {screen.plain(sentence)}")
        return ""
    # A name that is no Unicode is written with escapes, as JSON can.
    line = {"image": picture.relative, "caption": told}
    return json.dumps(line, ensure_ascii=picture.source != picture.relative)
