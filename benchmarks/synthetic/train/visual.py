"""The demo visual encoder's training loop: segments seen twice; resumable, logged, exported.

The main path begins at ``train``: each step draws segments in their own scenes and pasted on
others, and a segment must be described alike in both, under other light, hue, scale and focus.
Scenes enter as pixels alone.
"""

import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import load_file
from torch import Tensor

from ..scenes import Scene
from . import distil
from .cache import open_cache
from .evaluate import validation_scenes
from .proposals import open_proposals
from .views import Batch, ViewSource, view_side
from .visual_evaluate import encoded, histogram, judged
from .visual_model import PATCH, WEIGHTS_FILE, Student, centred, export, normalised

WEIGHTS = {"contrast": 1.0, "redundancy": 0.05}
QUEUE = 4096
CENTRING = 32
"""Training scenes whose mean token is taken out of the exported encoder's tokens."""
EMA_DECAY = 0.997
LOGS = ("log.jsonl", "steps.jsonl")
SCENES, LAST_SCENES = 40, 120
"""Validation scenes while training, and of the last comparison."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What decides a training.

    Attributes
    ----------
    minutes : wall-clock budget; learning rate and curriculum follow the elapsed fraction
    steps : when given, the budget is this many steps instead, and a run is reproducible
    scenes : training scenes drawn into the cache
    validate_minutes : time between validations; the best weights so far are exported
    segments : per step; None takes what the views are made for
    begin : folder of an encoder whose weights are gone on from
    """

    out: Path
    minutes: float = 18.0
    steps: int | None = None
    seed: int = 0
    device: str = "auto"
    scenes: int = 5_000
    validate_minutes: float = 5.0
    rate: float = 5.0e-4
    segments: int | None = None
    begin: Path | None = None


@dataclass(slots=True)
class Run:
    """The moving state of a training: everything that a checkpoint holds.

    average : moving average of the weights; what is validated and exported
    queue : (QUEUE, D) unit rows of the latest segments; zeros until filled
    correlations : (D, D) moving mean over the channels of standardised segments
    """

    model: Student
    average: Student
    optimizer: torch.optim.AdamW
    queue: Tensor
    correlations: Tensor
    step: int = 0
    elapsed: float = 0.0
    best: float = 0.0

    def done(self, plan: Plan) -> float:
        """Fraction of the budget used, 0..1."""
        if plan.steps is not None:
            return min(self.step / plan.steps, 1.0)
        return min(self.elapsed / (60 * plan.minutes), 1.0)


def learning_rate(done: float, peak: float) -> float:
    """Warm-up over the first 4 % of the budget, then a cosine down to 1 % of the peak."""
    return peak * max(min(done / 0.04, 1.0), 0.02) * (0.01 + 0.495 * (1 + math.cos(math.pi * done)))


def start(plan: Plan, device: torch.device) -> Run:
    """A fresh run; the averaged weights begin as the model's."""
    torch.manual_seed(plan.seed)
    model = Student().to(device)
    if plan.begin is not None:
        model.encoder.load_state_dict(load_file(plan.begin / WEIGHTS_FILE))
    average = Student().to(device).requires_grad_(False).eval()
    average.load_state_dict(model.state_dict())
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=plan.rate, betas=(0.9, 0.98))
    width = model.encoder.config.hidden_size
    queue, unlike = torch.zeros(QUEUE, width, device=device), torch.eye(width, device=device)
    return Run(model.train(), average, optimizer, queue, unlike)


def save(run: Run, path: Path) -> None:
    """Write a checkpoint atomically."""
    state = {
        "model": run.model.state_dict(),
        "average": run.average.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "queue": run.queue,
        "correlations": run.correlations,
        "step": run.step,
        "elapsed": run.elapsed,
        "best": run.best,
    }
    torch.save(state, f"{path}.part")
    os.replace(f"{path}.part", path)


def resume(run: Run, path: Path, device: torch.device) -> None:
    """Load a checkpoint into a run."""
    state = torch.load(path, map_location=device, weights_only=True)
    run.model.load_state_dict(state["model"])
    run.average.load_state_dict(state["average"])
    run.optimizer.load_state_dict(state["optimizer"])
    run.queue, run.step, run.elapsed = state["queue"], state["step"], state["elapsed"]
    run.correlations, run.best = state["correlations"], state["best"]


def describe(model: Student, batch: Batch) -> Tensor:
    """Standardised rows (2 · P, D) of all segments: first in their own scene, then pasted."""
    device = next(model.parameters()).device
    with torch.autocast(device.type, torch.bfloat16):
        tokens = model(normalised(batch.images.to(device)))[:, 1:]
    rows = distil.pooled(tokens, batch.owner.to(device), batch.weights.to(device))
    standardised: Tensor = model.spread(rows)
    return standardised


def step_loss(run: Run, batch: Batch) -> tuple[Tensor, dict[str, float]]:
    """Loss of one batch and what the log tells of it; moves the queue on."""
    told = describe(run.model, batch)
    rows = F.normalize(told, dim=-1)
    run.correlations = distil.correlation(told.detach(), run.correlations)
    parts = {
        "contrast": distil.contrast(rows, run.queue[run.queue.any(dim=1)]),
        "redundancy": distil.redundancy(told, run.correlations),
    }
    run.queue = torch.cat([rows.detach(), run.queue])[:QUEUE]
    total = torch.stack([WEIGHTS[k] * v for k, v in parts.items()]).sum()
    alike = (rows * rows.roll(len(rows) // 2, dims=0)).sum(dim=1).mean()
    return total, {k: float(v.detach()) for k, v in (parts | {"alike": alike}).items()}


def advance(run: Run, plan: Plan, source: ViewSource) -> dict[str, float]:
    """One optimiser step; the batch depends on seed and step alone."""
    began = time.monotonic()
    done = run.done(plan)
    rng = np.random.default_rng([plan.seed, run.step])
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(done, plan.rate)
    total, parts = step_loss(run, source.batch(rng, view_side(rng, done), plan.segments))
    run.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(total)
    torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
    run.optimizer.step()
    keep = min(EMA_DECAY, (1 + run.step) / (10 + run.step))
    with torch.no_grad():
        for mean, new in zip(run.average.parameters(), run.model.parameters(), strict=True):
            mean.lerp_(new, 1 - keep)
    run.step += 1
    run.elapsed += time.monotonic() - began
    return parts


def validate(run: Run, plan: Plan, source: ViewSource, shown: Sequence[Scene]) -> dict[str, Any]:
    """Retrieval by the averaged weights' features, logged; the best so far are exported.

    Retrieval of classes can fall while the loss still does: it knows segments, not classes.
    """
    began = time.monotonic()
    ready = centred(run.average, source.images[:CENTRING])
    found = judged(shown, encoded(ready))
    if found["nearest"] >= run.best:
        run.best = found["nearest"]
        export(ready.state_dict(), plan.out / "export")
    entry = {"step": run.step, "minutes": round(run.elapsed / 60, 1), "encoder": found}
    entry |= {"best": run.best, "scenes": len(shown), "seconds": round(time.monotonic() - began, 1)}
    return _logged(plan, entry)


def compare(run: Run, plan: Plan, shown: Sequence[Scene]) -> dict[str, Any]:
    """Retrieval by the exported encoder, by one of random weights and by colours, logged."""
    torch.manual_seed(plan.seed)
    fresh, trained = Student().eval(), Student().eval()
    trained.encoder.load_state_dict(load_file(plan.out / "export" / WEIGHTS_FILE))
    entry = {
        "step": run.step,
        "exported": judged(shown, encoded(trained)),
        "random": judged(shown, encoded(fresh)),
        "histogram": judged(shown, histogram),
        "scenes": len(shown),
    }
    return _logged(plan, entry)


def _logged(plan: Plan, entry: dict[str, Any]) -> dict[str, Any]:
    with (plan.out / "log.jsonl").open("a") as log:
        log.write(json.dumps(entry) + "\n")
    return entry


def steps(run: Run, plan: Plan, source: ViewSource) -> Iterator[dict[str, float]]:
    """Advance until the budget is used."""
    while run.done(plan) < 1.0:
        yield advance(run, plan, source)


def train(plan: Plan, resumed: bool) -> Run:
    """Train the demo encoder; returns the finished run, its weights exported below ``plan.out``."""
    name = plan.device if plan.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    torch.set_flush_denormal(True)
    plan.out.mkdir(parents=True, exist_ok=True)
    checkpoint = plan.out / "checkpoint.pt"
    run = start(plan, device)
    if resumed and checkpoint.is_file():
        resume(run, checkpoint, device)
    else:  # an earlier run's figures are not this one's
        for file in LOGS:
            (plan.out / file).unlink(missing_ok=True)
    images = open_cache(plan.out / "cache", plan.scenes).images
    source = ViewSource(images, open_proposals(plan.out / "cache", images), PATCH)
    shown, last = validation_scenes(SCENES), run.elapsed
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with bar:
        task = bar.add_task("training", total=1.0)
        recent: list[dict[str, float]] = []
        for parts in steps(run, plan, source):
            recent.append(parts)
            bar.update(task, completed=run.done(plan), description=_told(run, recent[-50:]))
            if run.step % 50 == 0:
                _note(plan, run, recent[-50:])
                save(run, checkpoint)
            if run.elapsed - last > 60 * plan.validate_minutes:
                bar.console.print(validate(run, plan, source, shown))
                last = run.elapsed
    validate(run, plan, source, shown)
    save(run, checkpoint)
    print(json.dumps(compare(run, plan, validation_scenes(LAST_SCENES))))
    return run


def _average(recent: list[dict[str, float]]) -> dict[str, float]:
    keys = {k for parts in recent for k in parts}
    return {k: round(float(np.mean([p[k] for p in recent if k in p])), 3) for k in sorted(keys)}


def _told(run: Run, recent: list[dict[str, float]]) -> str:
    return f"step {run.step} " + " ".join(f"{k} {v:.2f}" for k, v in _average(recent).items())


def _note(plan: Plan, run: Run, recent: list[dict[str, float]]) -> None:
    with (plan.out / "steps.jsonl").open("a") as log:
        entry = {"step": run.step, "minutes": round(run.elapsed / 60, 2), **_average(recent)}
        log.write(json.dumps(entry) + "\n")
