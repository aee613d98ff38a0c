"""Run as a script: children that add to a set are killed, and the set is looked at each time.

python set_breaker.py FOLDER steps|moments|together

steps : a child dies at its first file operation, the next at its second, and so on.
moments : children die 50 times at random moments.
together : two children add at once.
Prints one JSON line of what was seen; ends with an error when a set was ever broken.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
from reference_sets import addition, digest, small_set

from napari_prelabel.reference.store import ReferenceSet

OPERATIONS = ("open", "fsync", "replace", "unlink")


def child(work, *args):
    """Run `work` in a fork; returns its process id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work(*args)
        os._exit(0)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(3)


def die_at(number):
    """Let this process be killed just before its file operation of this number."""
    left = [number]
    for name in OPERATIONS:
        plain = getattr(os, name)

        def counted(*args, plain=plain, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return plain(*args, **kwargs)

        setattr(os, name, counted)


def add(folder, first, count):
    held = ReferenceSet.open(folder)
    for number in range(first, first + count):
        held.add([addition(f"image {number}")])


def check(folder):
    """Open the set and compare every image with what was added; returns how many there are."""
    held = ReferenceSet.open(folder)
    assert sum(len(rows) for _, rows in held.blocks()) == held.n_segments == held.links().shape[0]
    for source in held.sources():
        given, rows = addition(source.name), held.image_rows(source.hash)
        np.testing.assert_allclose(held.rows(rows), given.embeddings, atol=1e-3)
        assert held.thumbnails(rows) == given.thumbnails
        assert tuple(r.segment for r in held.records(rows)) == given.segments
    return held.n_images


def one_more(folder, number):
    held = ReferenceSet.open(folder)
    with held.one_step():
        held.add([addition(f"image {number}")])
        held.switch(held.image_rows(digest(f"image {number}"))[:1], False)


def one_more_or_die(folder, operation):
    die_at(operation)
    one_more(folder, 100)


def steps(folder):
    # Seven small shards: the next image joins them, which is the longest commit there is.
    for number in range(6):
        ReferenceSet.open(folder).add([addition(f"image {number}")])
    killed, seen = 0, set()
    while True:
        pid = child(one_more_or_die, folder, killed + 1)
        status = os.waitpid(pid, 0)[1]
        seen.add(check(folder))
        if status == 0:
            return {"killed": killed, "images": sorted(seen)}
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        killed += 1


def moments(folder):
    rng = random.Random(0)
    start = time.perf_counter()
    os.waitpid(child(add, folder, 10**6, 1), 0)
    usual = time.perf_counter() - start
    counts = [check(folder)]
    for turn in range(50):
        pid = child(add, folder, 1000 * turn, 1000)
        time.sleep(rng.uniform(0, 1.5 * usual))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        held = ReferenceSet.open(folder)
        counts.append(held.n_images)
        assert counts[-1] >= counts[-2], counts
    return {"killed": 50, "images": check(folder), "grew": counts[-1] > counts[0]}


def together(folder):
    pids = [child(add, folder, 1000 * turn, 6) for turn in range(2)]
    status = [os.waitpid(pid, 0)[1] for pid in pids]
    return {"status": status, "images": check(folder)}


if __name__ == "__main__":
    place = Path(sys.argv[1])
    small_set(place)
    print(
        json.dumps({"steps": steps, "moments": moments, "together": together}[sys.argv[2]](place))
    )
