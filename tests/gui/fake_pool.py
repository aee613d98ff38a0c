"""A pool without a worker: answers in a thread, learns by colour into a true reference set."""

import io
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from napari_prelabel.engine.tasks import (
    Cause,
    Clean,
    Evaluate,
    Evaluation,
    EvaluationRow,
    Explain,
    Explanation,
    Learn,
    LearnCaptions,
    Learned,
)
from napari_prelabel.images.rgb import content_hash
from napari_prelabel.reference.store import ReferenceSet
from napari_prelabel.reference.values import Addition, Cleaned, EncoderId, Segment, Source
from napari_prelabel.values.errors import Cancelled, PrelabelError
from napari_prelabel.values.job import Progress

ENCODER = EncoderId("texture", "0" * 64, 4)
TEXT = EncoderId("demo-clip", "1" * 64, 8)
LEAST = 30


@dataclass
class FakeRun:
    """Ends when it is cancelled, or by itself."""

    ended: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)

    def cancel(self):
        self.stop.set()


class FakePool:
    """`asked` holds every task; `fail` is raised by the next; `pause` seconds a step."""

    def __init__(self):
        self.asked = []
        self.fail = None
        self.pause = 0.0
        self.where = self.trouble = ""

    def start(self):
        return None

    def memory(self):
        return 0

    def ask(self, task, on_progress=None, on_done=None):
        run = FakeRun()
        self.asked.append(task)
        threading.Thread(
            target=self._work, args=(run, task, on_progress, on_done), daemon=True
        ).start()
        return run

    def _work(self, run, task, on_progress, on_done):
        try:
            for step in range(4):
                on_progress(Progress("encode", step, 4))
                time.sleep(self.pause)
                if run.stop.is_set():
                    raise Cancelled
            if self.fail is not None:
                error, self.fail = self.fail, None
                raise error
            answer = ANSWERS[type(task)](task)
        except PrelabelError as error:
            answer = error
        run.ended.set()
        on_done(answer)


def learn(task):
    folder = Path(task.folder)
    fresh = not (folder / "manifest.json").exists()
    held = (
        ReferenceSet.create(folder, ENCODER, name=task.name)
        if fresh
        else (ReferenceSet.open(folder))
    )
    before = held.n_segments
    additions, skipped = [], 0
    for pair in task.pairs:
        addition, small = _addition(pair, task)
        additions.append(addition)
        skipped += small
    held.add(additions)
    return Learned(task.folder, held.digest, held.n_segments, held.n_images,
                   held.n_segments - before, skipped, 1.25)  # fmt: skip


def learn_captions(task):
    """One segment for every image, called by the last word of its caption; one image stays."""
    held = ReferenceSet.create(task.folder, ENCODER, TEXT if task.text else None, task.name)
    for number, image in enumerate(task.images):
        word = image.captions[0].rstrip(".").split()[-1]
        source = Source(f"{number:064x}", image.name, (9, 9), image.author, "", image.licence)
        segment = Segment((0, 0, 5, 5), 20, (word,), "caption")
        row = np.eye(4, dtype=np.float32)[[number % 4]]
        held.add([Addition(source, row, (segment,), (_png(np.zeros((5, 5, 3), np.uint8)),))])
    return Learned(task.folder, held.digest, held.n_segments, held.n_images, held.n_segments, 7,
                   0.5, kept=1)  # fmt: skip


def _addition(pair, task):
    height, width = pair.ids.shape
    source = Source(content_hash(pair.image), pair.name, (height, width), task.author,
                    "2026-11-20T10:00:00+00:00", task.licence)  # fmt: skip
    segments, rows, pictures, skipped = [], [], [], 0
    for c in pair.vocabulary.classes:
        regions, _ = ndimage.label(pair.ids == c.id)
        for number, box in enumerate(ndimage.find_objects(regions), 1):
            mask = regions == number
            if mask.sum() < LEAST:
                skipped += 1
                continue
            y, x = box
            segments.append(Segment((y.start, x.start, y.stop, x.stop), int(mask.sum()), (c.name,)))
            rows.append(_row(pair.image[mask].mean(0)))
            pictures.append(_png(pair.image[box]))
    embeddings = np.asarray(rows, np.float32).reshape(-1, 4)
    return Addition(source, embeddings, tuple(segments), tuple(pictures)), skipped


def _row(colour):
    row = np.array([*(colour / 255 - 0.5), 0.3], np.float32)
    return row / np.linalg.norm(row)


def _png(pixels):
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((64, 64))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def evaluate(task):
    rows = (
        EvaluationRow("nothing", 0.0, 0.0, 100.0, None),
        EvaluationRow("set", 71.5, 88.0, 12.0, (64.0, 78.0)),
        EvaluationRow("set, outliers kept", 66.0, 82.0, 18.0, (60.0, 73.0)),
        EvaluationRow("set, no synonyms added", 72.0, 90.0, 10.0, (65.0, 79.0)),
    )
    images = {p.name: {"nothing": 100.0, "set": 10.0} for p in task.pairs}
    images[task.pairs[0].name]["set"] = 31.0
    return Evaluation(rows, images)


def explain(task):
    held = ReferenceSet.open(task.job.reference.folder)
    y, x = task.point
    here = _row(task.image[y, x].astype(float))
    rows = np.concatenate([block for _, block in held.blocks()]).astype(np.float32)
    weights = np.exp((rows @ here - 1) / 0.05)
    weights /= weights.sum()
    best = np.argsort(-weights)[: task.count]
    records = held.records(best)
    causes = tuple(
        Cause(r.row, float(weights[r.row]), r.words, r.source.name, r.segment.box) for r in records
    )
    mask = np.zeros(task.image.shape[:2], bool)
    mask[max(y - 12, 0) : y + 12, max(x - 12, 0) : x + 12] = True
    found = task.job.vocabulary.find(causes[0].words[0])
    return Explanation(found.id if found else 0, 0.83, mask, causes)


def clean(task):
    return Cleaned(task.cleaning)


ANSWERS = {
    Learn: learn,
    LearnCaptions: learn_captions,
    Evaluate: evaluate,
    Explain: explain,
    Clean: clean,
}
