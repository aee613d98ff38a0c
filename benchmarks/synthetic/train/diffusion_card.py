"""The demo diffusion model's card: its log, samples, and what its heads separate, as measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from numpy.typing import NDArray
from PIL import Image

from napari_prelabel.models.denoising import Diffusion

from ..scenes import Scene
from .diffusion_parts import AUTOENCODER, CHANNELS, FACTOR, UNET

Row = Mapping[str, Any]
SPOTS = ((0.25, 0.3), (0.55, 0.6), (0.85, 0.5))

CARD = """# Demo diffusion model

A small latent diffusion model of drawn scenes. It ships with napari-prelabel, so that NERVE and
the scribble that follows an object's edge can be tried without a download. It knows nothing of
real images; choose Stable Diffusion for those.

- Layout: that of diffusers' `StableDiffusionPipeline`, half precision, safetensors only.
  AutoencoderKL of widths {vae} ({factor} x {factor} pixels per latent, {channels} channels);
  UNet2DConditionModel of widths {unet} with self-attention at every level; a CLIPTextModel of one
  layer and a CLIPTokenizer of single bytes, untrained, for the empty prompt alone.
- Data: crops of {scenes:,} seeded scenes (`benchmarks.synthetic`, split "train"), images
  alone: no caption and no mask is used.
- Losses: L1 and a little KL for the autoencoder; squared error of the velocity for the UNet, on
  Stable Diffusion's noise schedule.
- Licence: weights BSD-3-Clause, as the package; scenes CC0.

## Training

{notes}

{log}

![Loss of the UNet by step](loss.svg)

Drawn from noise, 50 steps of DDIM:

![Samples](samples.png)

## Which heads tell regions apart

Pairs of pixels of {count} validation scenes of 256 to 512 pixels, scored by the attention from one
pixel's token to the other's: area under the ROC curve and mean average precision of "same label".
Plain distance of RGB values gets {colour}, chance {chance}. Entropy is relative to a uniform row.
In the catalogue: {chosen}, images squashed to {side} x {side} pixels, timestep {timestep}; chosen
on these validation scenes.

| layer | grid | AUC mean of heads | AUC by head | precision mean of heads | entropy |
|---|---|---|---|---|---|
{layers}

Best mean of heads of any one layer, by side of the image and timestep:

| side | timestep | layer | AUC | precision |
|---|---|---|---|---|
{choices}

Attention of the chosen heads, averaged, from the marked spots:

![Attention](attention.png)
"""


def loss_curve(rows: Sequence[Row]) -> str:
    """An SVG of the UNet's training loss, each point a mean over 50 steps."""
    points = [(row["step"], row["loss"]) for row in rows if row["stage"] == "unet"]
    last, top = points[-1][0], max(loss for _, loss in points)
    width, height, left, foot = 640, 260, 50, 30

    def place(step: float, loss: float) -> tuple[float, float]:
        return left + (width - left - 10) * step / last, 10 + (height - foot - 10) * (
            1 - loss / top
        )

    line = " ".join("{:.1f},{:.1f}".format(*place(*point)) for point in points)
    texts = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        _, y = place(0, share * top)
        x, _ = place(share * last, 0)
        texts.append(f'<text x="4" y="{y + 4:.0f}">{share * top:.2f}</text>')
        texts.append(f'<path d="M{left} {y:.0f}H{width - 10}" stroke="#ccc"/>')
        texts.append(
            f'<text x="{x:.0f}" y="{height - 8}" text-anchor="middle">{share * last:.0f}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{"".join(texts)}'
        f'<polyline fill="none" stroke="#2563eb" stroke-width="1.5" points="{line}"/></svg>\n'
    )


def samples(
    folder: Path, count: int = 8, side: int = 128, seed: int = 0, steps: int = 50
) -> NDArray[np.uint8]:
    """Images drawn by the pipeline itself, in two rows: (2 side, count side / 2, 3)."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline = pipeline.to("cpu", torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    drawn = pipeline(
        "",
        height=side,
        width=side,
        num_images_per_prompt=count,
        num_inference_steps=steps,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
    ).images
    tiles = (drawn * 255).round().astype(np.uint8)
    return np.concatenate([np.concatenate(list(half), 1) for half in np.split(tiles, 2)], 0)


def attention_picture(
    model: Diffusion, scenes: Sequence[Scene], side: int = 160
) -> NDArray[np.uint8]:
    """A row per scene: the image with its spots, then the chosen heads' mean attention of each."""
    rows = []
    for shown in scenes:
        image = np.array(Image.fromarray(shown.image).resize((side, side)))
        maps = model.attention(shown.image)
        tiles = [image]
        for y, x in SPOTS:
            total = np.zeros((side, side))
            for q, k, grid, scale in zip(
                maps.queries, maps.keys, maps.grids, maps.scales, strict=True
            ):
                token = int(y * grid[0]) * grid[1] + int(x * grid[1])
                row = (q[:, token].float()[:, None] @ k.float().mT * scale).softmax(-1).mean(0)
                small = Image.fromarray(row.reshape(grid).numpy())
                total += np.asarray(small.resize((side, side), Image.Resampling.NEAREST))
            grey = (255 * np.clip(total / np.quantile(total, 0.98), 0, 1)).astype(np.uint8)
            tiles.append(np.repeat(grey[..., None], 3, axis=2))
        for tile, spots in zip(tiles, [SPOTS, *([s] for s in SPOTS)], strict=True):
            for y, x in spots:
                place = np.s_[int(y * side) - 3 : int(y * side) + 3, :]
                tile[place][:, int(x * side) - 3 : int(x * side) + 3] = (255, 40, 40)
        rows.append(np.concatenate(tiles, axis=1))
    return np.concatenate(rows, axis=0)


def _log(rows: Sequence[Row]) -> str:
    lines = ["| stage | step | minutes | on validation scenes |", "|---|---|---|---|"]
    for row in rows:
        told = ", ".join(
            f"{k} {v}" for k, v in row.items() if k not in ("stage", "step", "minutes")
        )
        lines.append(f"| {row['stage']} | {row['step']} | {row['minutes']:.0f} | {told} |")
    return "\n".join(lines)


def _layers(rows: Sequence[Row]) -> str:
    lines = []
    for mean in sorted((r for r in rows if r["head"] == "mean"), key=lambda r: -r["auc"]):
        if mean["layer"] in ("colour", "chance"):
            continue
        heads = [str(r["auc"]) for r in rows if r["layer"] == mean["layer"] and r is not mean]
        name = mean["layer"].removesuffix(".transformer_blocks.0.attn1")
        lines.append(
            f"| {name} | {mean['grid']} x {mean['grid']} | {mean['auc']} | {', '.join(heads)} | "
            f"{mean['precision']} | {mean['entropy']} |"
        )
    return "\n".join(lines)


def _choices(rows: Sequence[Row]) -> str:
    lines = []
    for side, timestep in sorted({(r["side"], r["timestep"]) for r in rows}):
        some = [
            r for r in rows if (r["side"], r["timestep"], r["head"]) == (side, timestep, "mean")
        ]
        best = max(
            (r for r in some if r["layer"] not in ("colour", "chance")), key=lambda r: r["auc"]
        )
        name = best["layer"].removesuffix(".transformer_blocks.0.attn1")
        lines.append(f"| {side} | {timestep} | {name} | {best['auc']} | {best['precision']} |")
    return "\n".join(lines)


def card(
    log: Sequence[Row],
    heads: Sequence[Row],
    layers: Sequence[str],
    side: int,
    timestep: int,
    count: int,
    scenes: int,
    notes: str,
) -> str:
    """The card's Markdown.

    log : rows of log.jsonl. heads : rows of `diffusion-heads --to`. layers, side, timestep : the
    catalogue's. count : validation scenes of `heads`. scenes : training scenes.
    """
    here = [r for r in heads if (r["side"], r["timestep"]) == (side, timestep)]
    plain = {r["layer"]: f"{r['auc']} and {r['precision']}" for r in here if r["head"] == "mean"}
    return CARD.format(
        vae=", ".join(map(str, AUTOENCODER["block_out_channels"])),
        unet=", ".join(map(str, UNET["block_out_channels"])),
        factor=FACTOR,
        channels=CHANNELS,
        scenes=scenes,
        notes=notes,
        log=_log(log),
        count=count,
        colour=plain["colour"],
        chance=plain["chance"],
        chosen=" and ".join(n.removesuffix(".transformer_blocks.0.attn1") for n in layers),
        side=side,
        timestep=timestep,
        layers=_layers(here),
        choices=_choices(heads),
    )
