"""The demo CLIP's model card, written from the training's own log."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..classes import CLASSES, DISTRACTORS
from .model import CONFIG, TAILS

HEAD = """# Demo CLIP

A small CLIP that knows {classes} classes of drawn scenes and nothing else. It ships with
napari-prelabel, so that every method can be tried without a download. For images of your own,
choose the full models.

- Architecture: open_clip ViT, {layers} blocks of width {width}, patch {patch}, trained at 32 to
  128 pixels with resized position embeddings; text tower {tlayers} blocks of width {twidth},
  context {context}, the standard tokenizer. Half precision.
- Data: crops of {scenes:,} seeded scenes (`benchmarks.synthetic`, split "train") with
  alt-text-like captions that name what a crop shows: names, synonyms, family words, colours and
  short descriptions. Some combinations of thing, colour and ground are held out.
- Losses: image-caption pairs alone, no mask. CLIP's contrastive loss on the class token and on the
  mean of the patches; patches against the phrases of their own caption (text-conditioned pooling
  and agreement of the last block's tails: vanilla, MaskCLIP, SCLIP, ClearCLIP, NACLIP, GEM); and
  layer-averaged attention is asked to stay within what the tails agree to be one region. The last
  of these makes attention a useful affinity. Real CLIPs get theirs from data: read FreeCP's
  gain on the demo models with this in mind.
- Licence: weights BSD-3-Clause, as the package; scenes and captions CC0.

## Training

{notes}

| step | minutes | retrieval class token | retrieval mean | {tails} | attention AUC |
|---|---|---|---|{bars}---|
{history}

mIoU in percent on validation scenes of 192 x 256 pixels, windows of 128, all {classes} classes and
{strange} words that no scene shows in the vocabulary. Retrieval: share of 256 close-ups of training
scenes whose best caption names the same classes.

## Last validation ({count} scenes, step {step})

| base | mIoU | stuff | things | true classes given | and FreeCP's affinity |
|---|---|---|---|---|---|
{bases}

AUC of "same label" from head-averaged attention, by layer, then of the layers' mean (what FreeCP
uses): {auc}. Temperature {scale}.
"""


def _history(entries: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for e in entries:
        figures = " | ".join(str(e[t]["miou"]) for t in TAILS)
        retrieved = e["retrieval"]
        lines.append(
            f"| {e['step']} | {e['minutes']} | {retrieved['cls']} | {retrieved['mean']} "
            f"| {figures} | {e['attention_auc'][-1]} |"
        )
    return "\n".join(lines)


def _bases(entry: Mapping[str, Any]) -> str:
    lines = []
    for t in TAILS:
        row = entry[t]
        true, refined = entry[f"{t}_true"]["miou"], entry[f"{t}_true_refined"]["miou"]
        lines.append(
            f"| {t} | {row['miou']} | {row['stuff']} | {row['things']} | {true} | {refined} |"
        )
    return "\n".join(lines)


def card(log: Path, scenes: int, count: int, notes: str) -> str:
    """The card's Markdown.

    Parameters
    ----------
    log : the training's log.jsonl
    scenes : training scenes
    count : validation scenes of the last entry
    notes : what a reader must know of this particular training
    """
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    last = entries[-1]
    vision, text = CONFIG["model_cfg"]["vision_cfg"], CONFIG["model_cfg"]["text_cfg"]
    return HEAD.format(
        classes=len(CLASSES),
        strange=len(DISTRACTORS),
        layers=vision["layers"],
        width=vision["width"],
        patch=vision["patch_size"],
        tlayers=text["layers"],
        twidth=text["width"],
        context=text["context_length"],
        scenes=scenes,
        notes=notes,
        tails=" | ".join(TAILS),
        bars="---|" * len(TAILS),
        history=_history(entries),
        count=count,
        step=last["step"],
        bases=_bases(last),
        auc=", ".join(str(v) for v in last["attention_auc"]),
        scale=last["logit_scale"],
    )
