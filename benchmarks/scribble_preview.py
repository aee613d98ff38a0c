"""How long a person waits for a scribble's preview: there and back through a real worker.

Run ``python -m benchmarks.scribble_preview [models]``. One image of 512 x 512 pixels is read,
then a stroke grows over it point by point, each time with a new preview, as a drag of the mouse
asks for them; median and longest of 20, after the first, for several radii.
"""

import statistics
import sys
import time

import numpy as np
from PIL import Image

from napari_prelabel.engine.tasks import ReadImage, Scribble, Scribbled
from napari_prelabel.values.samples import sample_path
from napari_prelabel.worker.pool import Pool

SIZE, PREVIEWS = 512, 20


def main() -> None:
    models = sys.argv[1] if sys.argv[1:] else "demo"
    with Image.open(sample_path("scenes", "images", "scene-18.png")) as scene:
        image = np.array(scene.convert("RGB").resize((SIZE, SIZE)))
    with Pool() as pool:
        start = time.perf_counter()
        name = pool.ask(ReadImage(image, models)).result().name
        print(f"{'reading the image, models and all':36}{time.perf_counter() - start:8.2f} s")
        start = time.perf_counter()
        pool.ask(ReadImage(image, models)).result()
        print(f"{'reading it again':36}{1000 * (time.perf_counter() - start):8.0f} ms")
        for radius in (32, 64, 102, 512):
            times = [1000 * seconds for seconds in previews(pool, models, name, radius)]
            print(
                f"{f'preview, radius {radius}':36}{statistics.median(times[1:]):8.0f} ms median, "
                f"{max(times[1:]):.0f} ms at most, {times[0]:.0f} ms the first"
            )


def previews(pool: Pool, models: str, name: str, radius: int) -> list[float]:
    """Seconds of each preview of a stroke that grows by six pixels between them."""
    strokes, took = np.zeros((SIZE, SIZE), np.uint8), []
    for i in range(PREVIEWS + 1):
        strokes[254:259, 200 + 6 * i : 210 + 6 * i] = 1
        start = time.perf_counter()
        y, x = np.nonzero(strokes)
        box = tuple(
            slice(max(0, v.min() - radius), min(SIZE, v.max() + radius + 1)) for v in (y, x)
        )
        part = strokes[box].astype(np.uint16)
        corner = int(box[0].start), int(box[1].start)
        task = Scribble(name, corner, part, np.zeros(part.shape, np.bool_), radius, models)
        assert isinstance(pool.ask(task).result(), Scribbled)
        took.append(time.perf_counter() - start)
    return took


if __name__ == "__main__":
    main()
