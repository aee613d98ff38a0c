"""The demo CLIP's training loop: a curriculum by elapsed time, resumable, logged, exported.

The main path begins at ``train``: each step cuts a batch of crops, encodes captions and phrases,
runs the trunk once and several last-block tails on it, and adds up the losses of ``losses``.
"""

import json
import math
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from . import losses
from .crops import CropSource
from .evaluate import dense, normalised, retrieval, validation_scenes
from .loader import Order, Step, make, open_source, orders_ahead
from .model import TAILS, build, encode_text, export, tail, trunk

EMA_DECAY = 0.998
LOGS = ("log.jsonl", "steps.jsonl")
# Reading a loss waits for the device that works on it.
_TOLD_EVERY = 10
_SAVED_EVERY = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """What decides a training.

    Attributes
    ----------
    minutes : wall-clock budget; learning rate and curriculum follow the elapsed fraction
    steps : when given, the budget is this many steps instead, and a run is reproducible
    scenes : training scenes drawn into the cache
    validate_minutes : time between validations, each of which exports the averaged weights
    batch : crops of a step, whatever their side; None takes the table's, `times` over
    workers : processes that make batches ahead, for a GPU; 0 makes each when it is needed
    """

    out: Path
    minutes: float = 60.0
    steps: int | None = None
    seed: int = 0
    device: str = "auto"
    scenes: int = 12_000
    validate_minutes: float = 6.0
    rate: float = 1.5e-3
    batch: int | None = None
    times: int = 1
    workers: int = 0


@dataclass(slots=True)
class Run:
    """The moving state of a training: everything that a checkpoint holds."""

    model: open_clip.CLIP
    average: dict[str, Tensor]
    optimizer: torch.optim.AdamW
    step: int = 0
    elapsed: float = 0.0

    def done(self, plan: Plan) -> float:
        """Fraction of the budget used, 0..1."""
        if plan.steps is not None:
            return min(self.step / plan.steps, 1.0)
        return min(self.elapsed / (60 * plan.minutes), 1.0)


def learning_rate(done: float, peak: float) -> float:
    """Warm-up over the first 2 % of the budget, then a cosine down to 1 % of the peak."""
    warm = min(done / 0.02, 1.0) if done < 0.02 else 1.0
    return peak * max(warm, 0.02) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))


def start(plan: Plan, device: torch.device) -> Run:
    """A fresh run, or the one that the checkpoint in ``plan.out`` holds."""
    torch.manual_seed(plan.seed)
    model = build().to(device)
    decayed = [
        p for p in model.parameters() if p.ndim >= 2 and p is not model.token_embedding.weight
    ]
    rest = [p for p in model.parameters() if all(p is not d for d in decayed)]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98))
    average = {k: v.detach().clone() for k, v in model.state_dict().items()}
    return Run(model, average, optimizer)


def save(run: Run, path: Path) -> None:
    """Write a checkpoint atomically."""
    state = {
        "model": run.model.state_dict(),
        "average": run.average,
        "optimizer": run.optimizer.state_dict(),
        "step": run.step,
        "elapsed": run.elapsed,
    }
    torch.save(state, f"{path}.part")
    os.replace(f"{path}.part", path)


def resume(run: Run, path: Path, device: torch.device) -> None:
    """Load a checkpoint into a run."""
    state = torch.load(path, map_location=device, weights_only=True)
    run.model.load_state_dict(state["model"])
    run.average = state["average"]
    run.optimizer.load_state_dict(state["optimizer"])
    run.step, run.elapsed = state["step"], state["elapsed"]


def tails_for(rng: np.random.Generator, done: float) -> list[str]:
    """Last-block tails trained in a step: vanilla, and two of the dense bases' own."""
    dense_tails = ["maskclip", "sclip", "sclip_residual", "clearclip", "naclip"]
    weights = np.asarray([0.26, 0.26, 0.10, 0.26, 0.12])
    chosen = ["vanilla", *(str(t) for t in rng.choice(dense_tails, 2, replace=False, p=weights))]
    if done > 0.15 and rng.random() < 0.15:
        chosen[-1] = "gem"
    return chosen


def step_loss(
    run: Run, batch: Step, rng: np.random.Generator, done: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of one batch and its parts."""
    side, count = batch.side, len(batch.images)
    model, device = run.model, run.model.logit_scale.device
    named = torch.as_tensor(batch.named, device=device)
    grid = (side // 8, side // 8)
    with torch.autocast(device.type, torch.bfloat16):
        vectors = encode_text(model, torch.as_tensor(batch.tokens), device)
        caption, words = vectors.tensor_split([count])
        with_attention = done > 0.12 and side >= 48
        states, maps = trunk(model.visual, normalised(batch.images, device), with_attention)
        names = tails_for(rng, done)
        outputs = [tail(model.visual, states, n, grid) for n in names]
    scale = model.logit_scale.exp().clamp(max=100.0)
    cls = F.normalize(outputs[0][:, 0].float(), dim=-1)
    mean = F.normalize(outputs[0][:, 1:].float().mean(dim=1), dim=-1)
    logps = [losses.log_probabilities(o[:, 1:], words, scale) for o in outputs]
    parts = {
        "cls": losses.contrastive(cls, caption, scale, named),
        "mean": 0.5 * losses.contrastive(mean, caption, scale, named),
        "naming": 0.5 * losses.naming(cls, words, scale, named),
        "found": torch.stack([losses.found(p, named) for p in logps]).mean(),
    }
    if done < 0.12:
        parts["patch"] = torch.stack([losses.explained(p, named) for p in logps]).mean()
    else:
        belief = losses.consensus(logps, named, power=1.0 + 0.5 * done)
        parts["patch"] = torch.stack([losses.agreement(p, belief, named) for p in logps]).mean()
        if maps:
            parts["affinity"] = losses.affinity(maps, belief, named)
    total = torch.stack(list(parts.values())).sum()
    return total, {k: v.detach() for k, v in parts.items()} | {"side": torch.tensor(side)}


def advance(run: Run, plan: Plan, batch: Step) -> dict[str, Tensor]:
    """One optimiser step; it depends on seed, step and batch alone."""
    done = run.done(plan)
    rng = np.random.default_rng([plan.seed, run.step, 1])
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(done, plan.rate)
    total, parts = step_loss(run, batch, rng, done)
    run.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(total)
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimizer.step()
    keep = min(EMA_DECAY, (1 + run.step) / (10 + run.step))
    with torch.no_grad():
        state = run.model.state_dict()
        torch._foreach_lerp_([run.average[k] for k in state], list(state.values()), 1 - keep)
    run.step += 1
    return parts


def blend(early: Path, late: Path, share: float, out: Path) -> Path:
    """Export a weighted mean of the averaged weights of two checkpoints of one run.

    share : of the late one, 0..1. Between the two lies what each has learned better than the other.
    """
    first, last = (
        torch.load(path, map_location="cpu", weights_only=True)["average"] for path in (early, late)
    )
    export({name: torch.lerp(first[name], last[name], share) for name in first}, out)
    return out


def validate(run: Run, plan: Plan, scenes: int, source: CropSource) -> dict[str, Any]:
    """Figures of the averaged weights on validation scenes, logged; exports the weights."""
    device = run.model.logit_scale.device
    model = build().to(device).eval()
    model.load_state_dict(run.average)
    close = source.batch(np.random.default_rng(5), 64, 256)
    began = time.monotonic()
    with torch.autocast(device.type, torch.bfloat16):
        figures: dict[str, object] = {"retrieval": retrieval(model, close, device)}
        figures |= dense(model, validation_scenes(scenes), TAILS, device)
    entry = {"step": run.step, "minutes": round(run.elapsed / 60, 1), **figures}
    entry["logit_scale"] = round(model.logit_scale.exp().item(), 1)
    entry["seconds"] = round(time.monotonic() - began, 1)
    with (plan.out / "log.jsonl").open("a") as log:
        log.write(json.dumps(entry) + "\n")
    export(run.average, plan.out / "export")
    return entry


def batches(run: Run, plan: Plan, source: CropSource) -> Iterator[Step]:
    """The batches of all steps to come."""

    def order(step: int) -> Order:
        done = replace(run, step=step).done(plan)
        return Order(plan.seed, step, done, plan.times, plan.batch)

    if plan.workers:
        folder = plan.out / "cache"
        yield from orders_ahead(order, run.step, folder, plan.scenes, plan.workers)
    while True:
        yield make(source, order(run.step))


def steps(run: Run, plan: Plan, source: CropSource) -> Iterator[dict[str, Tensor]]:
    """Advance until the budget is used."""
    made = batches(run, plan, source)
    while run.done(plan) < 1.0:
        began = time.monotonic()
        parts = advance(run, plan, next(made))
        run.elapsed += time.monotonic() - began
        yield parts


def train(plan: Plan, resumed: bool) -> Run:
    """Train the demo CLIP; returns the finished run, its weights exported below ``plan.out``."""
    name = plan.device if plan.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    # Moments of rarely seen words decay into denormal numbers, which are slow on CPUs.
    torch.set_flush_denormal(True)
    plan.out.mkdir(parents=True, exist_ok=True)
    checkpoint = plan.out / "checkpoint.pt"
    run = start(plan, device)
    if resumed and checkpoint.is_file():
        resume(run, checkpoint, device)
    else:  # an earlier run's figures are not this one's
        for file in LOGS:
            (plan.out / file).unlink(missing_ok=True)
    source = open_source(plan.out / "cache", plan.scenes)
    last = run.elapsed
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with bar:
        task = bar.add_task("training", total=1.0)
        recent: deque[dict[str, Tensor]] = deque(maxlen=50)
        for parts in steps(run, plan, source):
            recent.append(parts)
            if run.step % _TOLD_EVERY == 0:
                bar.update(task, completed=run.done(plan), description=_told(run, recent))
            if run.step % 50 == 0:
                _note(plan, run, recent)
            if run.step % _SAVED_EVERY == 0:
                save(run, checkpoint)
            if run.elapsed - last > 60 * plan.validate_minutes:
                save(run, checkpoint)
                bar.console.print(validate(run, plan, 12, source))
                last = run.elapsed
    save(run, checkpoint)
    print(json.dumps(validate(run, plan, 24, source)))
    return run


def _average(recent: Sequence[dict[str, Tensor]]) -> dict[str, float]:
    keys = {k for parts in recent for k in parts}
    return {
        k: round(float(np.mean([float(p[k]) for p in recent if k in p])), 3) for k in sorted(keys)
    }


def _told(run: Run, recent: Sequence[dict[str, Tensor]]) -> str:
    means = _average(list(recent)[-_TOLD_EVERY:])
    return f"step {run.step} " + " ".join(f"{k} {v:.2f}" for k, v in means.items())


def _note(plan: Plan, run: Run, recent: Sequence[dict[str, Tensor]]) -> None:
    with (plan.out / "steps.jsonl").open("a") as log:
        entry = {"step": run.step, "minutes": round(run.elapsed / 60, 2), **_average(recent)}
        log.write(json.dumps(entry) + "\n")
