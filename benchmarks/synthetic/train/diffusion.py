"""The demo diffusion model's training: first the autoencoder, then the UNet on its latents.

Images alone: crops of drawn training scenes at varied scales. The main path begins at ``train``;
both stages advance by the same ``advance``, resume from their own checkpoints and log their losses.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from numpy.typing import NDArray
from PIL import Image
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from napari_prelabel.values.errors import FileFormatError

from ..scenes import scene, split_seeds
from .cache import SceneCache, open_cache
from .clip import learning_rate
from .diffusion_parts import (
    CHANNELS,
    FACTOR,
    build_autoencoder,
    build_scheduler,
    build_text,
    build_unet,
    empty_prompt,
    export,
)

STAGES = ("autoencoder", "unet")
LOGS = ("log.jsonl", "steps.jsonl")
SHARE = {"autoencoder": 0.22, "unet": 0.78}
RATE = {"autoencoder": 2e-3, "unet": 1e-3}
EMA_DECAY = 0.998
AUTOENCODER_SIDE, AUTOENCODER_BATCH = 64, 14
BATCH = {96: 12, 128: 7, 192: 3}
"""Crop side in pixels -> crops per step of the UNet (about equal cost)."""

MIX = {"early": {96: 0.8, 128: 0.2, 192: 0.0}, "late": {96: 0.4, 128: 0.35, 192: 0.25}}
LATE = 0.6
KL_WEIGHT = 1e-3
TINTS = ((1 / 3, 1 / 3, 1 / 3), (-1.0, 0.0, 1.0), (-2.5, 5.0, -2.5))
"""Axes of colour by their weight: light, blue against red, green against magenta."""
SHOWN_SCALES = (0.9, 2.5)
"""Scene pixels per crop pixel: images of 256 to 512 pixels are squashed to 128 to 256."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What decides a training.

    Attributes
    ----------
    minutes : wall-clock budget of both stages; SHARE says how it is divided
    steps : when given, the budget is this many steps of each stage, and a run is reproducible
    scenes : training scenes drawn into the cache
    cache : folder of drawn scenes, None for one below ``out``
    validate_minutes : time between validations
    batch : crops per step, None for what the stage takes
    """

    out: Path
    minutes: float = 70.0
    steps: int | None = None
    seed: int = 0
    device: str = "auto"
    scenes: int = 12_000
    cache: Path | None = None
    validate_minutes: float = 5.0
    batch: int | None = None


@dataclass(slots=True)
class Stage:
    """The moving state of one stage: everything that its checkpoint holds.

    Attributes
    ----------
    scale : the factor that gives latents unit deviation; 1 until it was measured
    """

    name: str
    model: torch.nn.Module
    average: dict[str, Tensor]
    optimizer: torch.optim.AdamW
    step: int = 0
    elapsed: float = 0.0
    scale: float = 1.0

    def done(self, plan: Plan) -> float:
        """Fraction of the stage's budget used, 0..1."""
        if plan.steps is not None:
            return min(self.step / plan.steps, 1.0)
        return min(self.elapsed / (60 * plan.minutes * SHARE[self.name]), 1.0)


Loss = Callable[[Stage, np.random.Generator, float], Tensor]


def crop(rng: np.random.Generator, images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """One crop (side, side, 3) of a random scene (N, H, W, 3): scale, aspect, flip, tone vary."""
    image = images[int(rng.integers(len(images)))]
    limit = image.shape[0]
    low, high = SHOWN_SCALES
    size = side * np.exp(rng.uniform(np.log(low), np.log(high)))
    stretch = np.exp(rng.normal(0, 0.15) / 2)
    height, width = (float(min(s, limit)) for s in (size * stretch, size / stretch))
    top, left = rng.uniform(0, limit - height), rng.uniform(0, limit - width)
    frame = (left, top, left + width, top + height)
    cut = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR, box=frame)
    gain, lift = rng.uniform(0.85, 1.15), rng.uniform(-12, 12)
    table = np.clip(np.arange(256) * gain + lift, 0, 255).astype(np.uint8)
    toned: NDArray[np.uint8] = table[np.asarray(cut)]
    return toned[:, ::-1] if rng.random() < 0.5 else toned


def crops(
    rng: np.random.Generator, images: NDArray[np.uint8], side: int, count: int, device: torch.device
) -> Tensor:
    """(count, 3, side, side) float32 in [-1, 1]."""
    return pixels(np.stack([crop(rng, images, side) for _ in range(count)]), device)


def pixels(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(B, H, W, 3) uint8 to (B, 3, H, W) float32 in [-1, 1]."""
    given = torch.as_tensor(np.ascontiguousarray(images), device=device).permute(0, 3, 1, 2)
    return (given.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def unet_side(rng: np.random.Generator, done: float) -> int:
    """Crop side of a UNet step: larger ones come late, so that attention learns longer rows."""
    mix = MIX["early" if done < LATE else "late"]
    return int(rng.choice(list(mix), p=list(mix.values())))


def timesteps(rng: np.random.Generator, count: int) -> Tensor:
    """(count,) int64 in 0..999: three in four around 300, where regions must be told apart."""
    near = 1000 / (1 + np.exp(0.8 - rng.normal(0, 1, count)))
    drawn = np.where(rng.random(count) < 0.75, near, rng.uniform(0, 1000, count))
    return torch.as_tensor(drawn.astype(np.int64).clip(0, 999))


def autoencoder_loss(model: Any, shown: Tensor, noise: Tensor | None) -> Tensor:
    """L1 of pixels, of their differences and of tints, and a little KL to the unit normal.

    Tints are means of 4 x 4 pixels along TINTS, the rarer axes counted more: without them the
    texture takes all of a short training and green against magenta is never learned.

    noise : what the posterior is sampled with, None for its mean.
    """
    posterior = model.encode(shown).latent_dist
    latents = posterior.mean if noise is None else posterior.mean + posterior.std * noise
    again = model.decode(latents).sample.float()
    rough = (again - shown).abs().mean()
    rows = (again.diff(dim=2) - shown.diff(dim=2)).abs().mean()
    columns = (again.diff(dim=3) - shown.diff(dim=3)).abs().mean()
    missed = F.avg_pool2d(again - shown, FACTOR)
    axes = torch.tensor(TINTS, dtype=missed.dtype, device=missed.device)
    tint = torch.einsum("kc,bchw->bkhw", axes, missed).abs().mean()
    mean, logvar = posterior.mean.float(), posterior.logvar.float()
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    total: Tensor = rough + 0.5 * (rows + columns) + 3 * tint + KL_WEIGHT * kl
    return total


def denoising_loss(
    model: Any, scheduler: DDIMScheduler, latents: Tensor, noise: Tensor, t: Tensor, prompt: Tensor
) -> Tensor:
    """Squared error of the predicted velocity, (B,)."""
    noisy = scheduler.add_noise(latents, noise, t)
    wanted = scheduler.get_velocity(latents, noise, t)
    states = prompt.expand(len(latents), -1, -1)
    found = model(noisy.contiguous(memory_format=torch.channels_last), t, states).sample
    error: Tensor = (found.float() - wanted).square().mean(dim=(1, 2, 3))
    return error


def start(name: str, plan: Plan, device: torch.device) -> Stage:
    """A fresh stage, or the one that its checkpoint below ``plan.out`` holds."""
    torch.manual_seed(plan.seed)
    build = {"autoencoder": build_autoencoder, "unet": build_unet}[name]
    model = build().to(device)
    rest = [p for p in model.parameters() if p.ndim < 2]
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=RATE[name], betas=(0.9, 0.99))
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    return Stage(name, model, average, optimizer)


def save(stage: Stage, plan: Plan) -> None:
    """Write a stage's checkpoint atomically."""
    state = {
        "model": stage.model.state_dict(),
        "average": stage.average,
        "optimizer": stage.optimizer.state_dict(),
        "step": stage.step,
        "elapsed": stage.elapsed,
        "scale": stage.scale,
    }
    path = plan.out / f"{stage.name}.pt"
    torch.save(state, f"{path}.part")
    os.replace(f"{path}.part", path)


def resume(stage: Stage, plan: Plan, device: torch.device) -> bool:
    """Load a stage's checkpoint where there is one."""
    path = plan.out / f"{stage.name}.pt"
    if not path.is_file():
        return False
    state = torch.load(path, map_location=device, weights_only=True)
    stage.model.load_state_dict(state["model"])
    stage.average = state["average"]
    stage.optimizer.load_state_dict(state["optimizer"])
    stage.step, stage.elapsed, stage.scale = state["step"], state["elapsed"], state["scale"]
    return True


def advance(stage: Stage, plan: Plan, loss: Loss) -> float:
    """One optimiser step; what is drawn depends on seed, stage and step alone."""
    began = time.monotonic()
    done = stage.done(plan)
    rng = np.random.default_rng([plan.seed, STAGES.index(stage.name), stage.step])
    for group in stage.optimizer.param_groups:
        group["lr"] = learning_rate(done, RATE[stage.name])
    total = loss(stage, rng, done)
    stage.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(total)
    torch.nn.utils.clip_grad_norm_(stage.model.parameters(), 1.0)
    stage.optimizer.step()
    keep = min(EMA_DECAY, (1 + stage.step) / (10 + stage.step))
    with torch.no_grad():
        for name, value in stage.model.state_dict().items():
            stage.average[name].lerp_(value, 1 - keep)
    stage.step += 1
    stage.elapsed += time.monotonic() - began
    return float(total.detach())


def _normal(rng: np.random.Generator, shape: torch.Size, device: torch.device) -> Tensor:
    return torch.as_tensor(rng.standard_normal(tuple(shape), np.float32), device=device)


def autoencoder_step(plan: Plan, images: NDArray[np.uint8], device: torch.device) -> Loss:
    """What the autoencoder is trained on."""

    def loss(stage: Stage, rng: np.random.Generator, _done: float) -> Tensor:
        count = plan.batch or AUTOENCODER_BATCH
        shown = crops(rng, images, AUTOENCODER_SIDE, count, device)
        grid = AUTOENCODER_SIDE // FACTOR
        place = torch.Size((count, CHANNELS, grid, grid))
        with torch.autocast(device.type, torch.bfloat16):
            return autoencoder_loss(stage.model, shown, _normal(rng, place, device))

    return loss


def averaged(stage: Stage, device: torch.device) -> Any:
    """A stage's model with its averaged weights, for reading."""
    build = {"autoencoder": build_autoencoder, "unet": build_unet}[stage.name]
    model = build().to(device).eval().requires_grad_(False)
    model.load_state_dict(stage.average)
    return model


@torch.no_grad()
def encoded(autoencoder: Any, shown: Tensor, scale: float) -> Tensor:
    """Scaled posterior means of pixels in [-1, 1], float32."""
    with torch.autocast(shown.device.type, torch.bfloat16):
        latents: Tensor = autoencoder.encode(shown).latent_dist.mean
    return latents.float() * scale


def unet_step(
    plan: Plan, images: NDArray[np.uint8], first: Stage, prompt: Tensor, device: torch.device
) -> Loss:
    """What the UNet is trained on: latents of crops, encoded as they are needed."""
    autoencoder, scheduler = averaged(first, device), build_scheduler()

    def loss(stage: Stage, rng: np.random.Generator, done: float) -> Tensor:
        side = unet_side(rng, done)
        count = plan.batch or BATCH[side]
        latents = encoded(autoencoder, crops(rng, images, side, count, device), first.scale)
        t, noise = timesteps(rng, count).to(device), _normal(rng, latents.shape, device)
        with torch.autocast(device.type, torch.bfloat16):
            return denoising_loss(stage.model, scheduler, latents, noise, t, prompt).mean()

    return loss


def latent_scale(stage: Stage, images: NDArray[np.uint8], device: torch.device) -> float:
    """One over the deviation of the latents of fixed crops of training scenes."""
    shown = crops(np.random.default_rng(9), images, 128, 64, device)
    return round(1 / float(encoded(averaged(stage, device), shown, 1.0).std()), 5)


def validation_images(count: int = 16) -> NDArray[np.uint8]:
    """(count, 128, 128, 3) validation scenes, drawn at 256 and halved."""
    drawn = (scene(s, "val", (256, 256)).image for s in split_seeds("val")[:count])
    return np.stack([np.asarray(Image.fromarray(i).reduce(2)) for i in drawn])


@torch.no_grad()
def validated(stage: Stage, first: Stage, prompt: Tensor, shown: Tensor) -> dict[str, float]:
    """Losses of the averaged weights on validation images: pixels, or velocity by timestep."""
    device = shown.device
    with torch.autocast(device.type, torch.bfloat16):
        model = averaged(stage, device)
        if stage.name == "autoencoder":
            again = model.decode(model.encode(shown).latent_dist.mean).sample.float()
            error = F.mse_loss(again.clamp(-1, 1), shown)
            return {"psnr": round(10 * float(torch.log10(4 / error)), 2)}
        latents = encoded(averaged(first, device), shown, first.scale)
        noise = _normal(np.random.default_rng(3), latents.shape, device)
        rows, scheduler = {}, build_scheduler()
        for at in (50, 100, 300, 600):
            t = torch.full((len(latents),), at, device=device)
            loss = denoising_loss(model, scheduler, latents, noise, t, prompt)
            rows[f"loss at {at}"] = round(float(loss.mean()), 4)
    return rows


def _log(plan: Plan, stage: Stage, row: dict[str, float], file: str) -> None:
    entry = {"stage": stage.name, "step": stage.step, "minutes": round(stage.elapsed / 60, 2)}
    with (plan.out / file).open("a") as log:
        log.write(json.dumps(entry | row) + "\n")


def run_stage(
    stage: Stage, plan: Plan, loss: Loss, check: Callable[[], dict[str, float]], bar: Progress
) -> None:
    """Advance a stage until its budget is used; checkpoints and logs on the way."""
    task = bar.add_task(stage.name, total=1.0)
    recent: list[float] = []
    last = stage.elapsed
    while stage.done(plan) < 1.0:
        recent = [*recent[-49:], advance(stage, plan, loss)]
        told = f"{stage.name} step {stage.step} loss {np.mean(recent):.4f}"
        bar.update(task, completed=stage.done(plan), description=told)
        if stage.step % 50 == 0:
            _log(plan, stage, {"loss": round(float(np.mean(recent)), 5)}, "steps.jsonl")
            save(stage, plan)
        if stage.elapsed - last > 60 * plan.validate_minutes:
            _log(plan, stage, check(), "log.jsonl")
            last = stage.elapsed
    if recent:
        _log(plan, stage, check(), "log.jsonl")


def export_checkpoints(plan: Plan, folder: Path) -> Path:
    """Write the pipeline folder from the checkpoints below ``plan.out``, at any time.

    Raises FileFormatError where a stage has none.
    """
    device = torch.device("cpu")
    first, second = (start(name, plan, device) for name in STAGES)
    for stage in (first, second):
        if not resume(stage, plan, device):
            path = plan.out / f"{stage.name}.pt"
            raise FileFormatError(path, f"{path} is missing: train the model first.")
    return export(first.average, first.scale, second.average, plan.seed, folder)


def train(plan: Plan, resumed: bool) -> Path:
    """Train both stages; returns the exported pipeline folder below ``plan.out``."""
    name = plan.device if plan.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    torch.set_flush_denormal(True)
    plan.out.mkdir(parents=True, exist_ok=True)
    cache: SceneCache = open_cache(plan.cache or plan.out / "cache", plan.scenes)
    prompt = empty_prompt(*build_text(plan.out / "tokenizer", plan.seed)).to(device)
    shown = pixels(validation_images(), device)
    first, second = (start(stage, plan, device) for stage in STAGES)
    if resumed:
        resume(first, plan, device)
        resume(second, plan, device)
    else:
        for file in LOGS:
            (plan.out / file).unlink(missing_ok=True)
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()) as bar:
        loss = autoencoder_step(plan, cache.images, device)
        if first.scale == 1.0:
            run_stage(first, plan, loss, lambda: validated(first, first, prompt, shown), bar)
            first.scale = latent_scale(first, cache.images, device)
            save(first, plan)
        loss = unet_step(plan, cache.images, first, prompt, device)
        run_stage(second, plan, loss, lambda: validated(second, first, prompt, shown), bar)
        save(second, plan)
    return export_checkpoints(plan, plan.out / "export")
