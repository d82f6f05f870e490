"""Images a second that decoding and augmentation give, piece by piece and by worker processes.

    python benchmarks/loading.py                        # JPEGs of 500x375, views of 448
    python benchmarks/loading.py --images FOLDER        # one's own JPEGs
    python benchmarks/loading.py --quick                # tiny: does everything run?

The files are read as the trainer reads them: decoded, both views drawn (crop, flip, colour), in
batches, with every draw seeded by its position. Set the rate beside the images a second that a step
consumes (`benchmarks/step.py`): one GPU step of 8 images in 0.4 s needs 20 images a second.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _machine import machine, write_json
from PIL import Image
from torch.utils.data import DataLoader

from fsr.data import FolderDataset, StepBatches, TwoViews, ViewStream, read_image

BATCH = 8


class TwoImages:
    """The images of two views.

    Args:
        views: maps an image to two views.
    """

    def __init__(self, views: TwoViews) -> None:
        self.views = views

    def __call__(self, image: Image.Image) -> tuple[torch.Tensor, torch.Tensor]:
        """Return two images."""
        first, second = self.views(image)
        return first.image, second.image


def write_photographs(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write JPEGs of about the bytes a pixel that photographs have."""
    generator = np.random.default_rng(0)
    for number in range(count):
        coarse = generator.integers(0, 256, (size[0] // 6, size[1] // 6, 3), dtype=np.uint8)
        image = Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC)
        image.save(folder / f"{number:04d}.jpg", quality=92)


def write_table(path: Path, files: list[Path]) -> None:
    """Write the table of labels that the data set asks for; what they are does not matter."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "labels"))
        writer.writerows((image.name, "thing") for image in files)


def seconds_each(call: Callable[[Any], Any], items: Iterable[Any]) -> float:
    """Return the mean seconds of a call over items, the first left out; making them is not timed.

    Large photographs come from a generator, so that they need not all lie in memory.
    """
    seconds = []
    for item in items:
        begun = time.perf_counter()
        call(item)
        seconds.append(time.perf_counter() - begun)
    return sum(seconds[1:]) / len(seconds[1:])


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return milliseconds of the pieces and images a second by workers."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(options.images or scratch)
        if not options.images:
            made = (90, 120) if options.quick else (375, 500)
            write_photographs(folder, 16 if options.quick else 200, made)
        files = sorted(folder.glob("*.jpg"))[:200]
        if len(files) < 2:
            raise SystemExit(f"--images: expected *.jpg in {folder}, found {len(files)}")
        table = Path(scratch) / "labels.csv"
        write_table(table, files)
        dataset = FolderDataset(folder, table)
        views = TwoViews(32 if options.quick else 448)
        sizes = {read_image(file).size for file in files}
        size = sizes.pop() if len(sizes) == 1 else None  # None: they differ
        torch.manual_seed(0)  # of the views that are timed alone
        pieces = {
            "decode": seconds_each(read_image, files),
            "decode, bytes in memory": seconds_each(
                lambda data: Image.open(io.BytesIO(data)).convert("RGB"),
                (file.read_bytes() for file in files),
            ),
            "two views": seconds_each(views, (read_image(file) for file in files)),
        }
        stream = ViewStream(dataset, TwoImages(views), seed=0)
        rates = {}
        steps = 2 if options.quick else 50
        for workers in options.workers:
            warm_up = max(2, workers)  # by then every process has started
            sampler = StepBatches(BATCH, steps=steps + warm_up)
            loader = DataLoader(stream, batch_sampler=sampler, num_workers=workers)
            batches = iter(loader)
            for _ in range(warm_up):
                next(batches)
            begun = time.perf_counter()
            count = sum(len(labels) for _, labels in batches)
            rates[str(workers)] = count / (time.perf_counter() - begun)
        bytes_each = sum(file.stat().st_size for file in files) / len(files)
    return {
        "what": "reading and augmenting JPEGs",
        "machine": machine(torch.device("cpu")),
        "quick": options.quick,
        "files": {"count": len(files), "mean_bytes": bytes_each, "size": size},
        "milliseconds_an_image": {name: 1e3 * value for name, value in pieces.items()},
        "images_per_second_by_workers": rates,
    }


def table(result: dict[str, Any]) -> str:
    """Spell the result."""
    lines = [
        f"{name:28}{value:>9.2f} ms an image"
        for name, value in result["milliseconds_an_image"].items()
    ]
    for workers, rate in result["images_per_second_by_workers"].items():
        lines.append(f"{workers + ' workers':28}{rate:>9.1f} images/s")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--images", metavar="FOLDER", help="JPEGs to read instead of made ones")
    parser.add_argument("--workers", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="tiny images")
    parser.add_argument("--output", type=Path, metavar="JSON")
    options = parser.parse_args(argv)
    result = measure(options)
    print(table(result))
    if options.output:
        write_json(options.output, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
