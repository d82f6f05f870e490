"""What a folder with a table of labels costs as its images grow: opening, shuffling, a worker.

    python benchmarks/table_growth.py                          # 10^3 to 10^6 images, ten minutes
    python benchmarks/table_growth.py --images 1000 10000

Files are empty, a thousand in a folder, and a table names the one to three of 80 classes of each:
nothing is decoded, so what is left is what the data set itself costs. Every point lives in a
process of its own, with one thread. Opening is `FolderDataset`, the median of `--repeats`, without
masks and with one for every image, and `COCO2014` of annotations of as many images, seven polygons
an image, up to `--most-coco`. Its seconds are those of the processor, so that other processes count
little; those of a clock stand beside them (`all_seconds`). Its memory is the peak of the process
less what it held after its imports (`peak`), and the private memory that stays (`kept`). Shuffling
is the first draw of a new order of all images. A worker is one of torch's `DataLoader`, forked,
that looks up path, labels and name of images in shuffled order, of 10^5 where there are more, which
lie on all pages. Its memory is all that it shares with no other process, what it writes of the
interpreter's included (Linux alone tells).

Each figure has the exponent of its growth: over all points, and between the two largest.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from _growth import exponents
from _machine import machine, peak_bytes, write_json

RESULTS = Path(__file__).parent / "results" / "table_growth.json"
CLASSES, OBJECTS, PER_FOLDER, BATCH, LOOKUPS = 80, 7, 1000, 500, 10**5
# Kind: its figures with their units.
FIGURES = {
    "folder": ("open_cpu_seconds", "peak_bytes", "kept_bytes", "shuffle_seconds", "worker_bytes"),
    "masks": ("open_cpu_seconds", "peak_bytes", "kept_bytes"),
    "coco": ("open_cpu_seconds", "peak_bytes", "kept_bytes"),
}


class Lookups(torch.utils.data.Dataset[int]):
    """Looks up all that is known of an image but its pixels; items are what the process holds."""

    def __init__(self, dataset: Any) -> None:
        from fsr.data import ViewStream

        self.dataset = dataset
        self.stream = ViewStream(dataset, lambda image: image)

    def __getitem__(self, position: int) -> int:
        index = self.stream.index(position)
        self.dataset.image_path(index)
        self.dataset.load_labels(index)
        assert self.dataset.names[index]
        return private_bytes() if position % BATCH == BATCH - 1 else 0


def private_bytes() -> int:
    """Return the memory that this process shares with no other."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def names_of(images: int) -> list[str]:
    """Return the paths of images without their ending, in no order."""
    names = [f"{n // PER_FOLDER:04}/{n:012}" for n in range(images)]
    random.Random(0).shuffle(names)
    return names


def make_folder(root: Path, images: int, masks: bool) -> None:
    """Make empty files, and the table that names them."""
    draw = random.Random(1)
    lines = ["image,labels"]
    for name in names_of(images):
        classes = draw.sample(range(CLASSES), draw.randint(1, 3))
        lines.append(f"{name}.jpg,{';'.join(f'class{c}' for c in sorted(classes))}")
        for kind, ending in (("images", "jpg"), ("masks", "png"))[: 1 + masks]:
            path = root / kind / f"{name}.{ending}"
            try:
                path.touch()
            except FileNotFoundError:
                path.parent.mkdir(parents=True)
                path.touch()
    (root / "labels.csv").write_text("\n".join(lines) + "\n")


def make_coco(root: Path, images: int) -> None:
    """Make annotations of polygons; images are not there, which opening does not ask for."""
    draw = random.Random(2)
    for folder in ("annotations", "train2014"):
        (root / folder).mkdir(parents=True)
    entries = [
        {"id": n, "file_name": f"COCO_train2014_{n:012}.jpg", "width": 640, "height": 480}
        for n in range(images)
    ]
    annotations = []
    for number in range(images * OBJECTS):
        x, y = draw.randint(0, 600), draw.randint(0, 440)
        polygon = [v for n in range(12) for v in (x + 3.25 * n, y + 2.5 * (n % 5))]
        annotations.append(
            {"id": number, "image_id": number % images, "category_id": 1 + draw.randrange(CLASSES)}
            | {"area": 900.0 + number % 77, "iscrowd": 0, "segmentation": [polygon]}
            | {"bbox": [x, y, 36, 10]}
        )
    categories = [{"id": 1 + c, "name": f"class{c}"} for c in range(CLASSES)]
    content = {"images": entries, "annotations": annotations, "categories": categories}
    path = root / "annotations" / "instances_train2014.json"
    path.write_text(json.dumps(content))


def open_dataset(kind: str, root: Path) -> Any:
    """Open what was made."""
    from fsr.data import COCO2014, FolderDataset

    if kind == "coco":
        return COCO2014(root, masks=True)
    masks = root / "masks" if kind == "masks" else None
    return FolderDataset(root / "images", root / "labels.csv", masks)


def child(kind: str, root: Path, repeats: int) -> dict[str, Any]:
    """Return the figures of one point."""
    import fsr.data  # what an import costs is not the table's

    torch.set_num_threads(1)
    if kind == "coco":
        import pycocotools.mask  # noqa: F401
    base, before = peak_bytes(torch.device("cpu")), private_bytes()
    dataset, kept = None, 0
    seconds: list[float] = []
    clocks: list[float] = []
    for repeat in range(repeats):
        dataset = None
        gc.collect()
        begun, clock = time.process_time(), time.perf_counter()
        dataset = open_dataset(kind, root)
        seconds.append(time.process_time() - begun)
        clocks.append(time.perf_counter() - clock)
        if not repeat:
            gc.collect()
            kept = private_bytes() - before
            peak = peak_bytes(torch.device("cpu")) - base
    row: dict[str, Any] = {
        "open_cpu_seconds": statistics.median(seconds),
        "all_cpu_seconds": seconds,
    }
    row["all_seconds"] = clocks
    row |= {"peak_bytes": peak, "kept_bytes": kept}
    if kind == "folder":
        lookups = Lookups(dataset)
        begun = time.perf_counter()
        lookups.stream.index(0)
        row["shuffle_seconds"] = time.perf_counter() - begun
        lookups = Lookups(dataset)  # a worker draws its own order
        batches = fsr.data.StepBatches(BATCH, steps=min(len(dataset), LOOKUPS) // BATCH)  # type: ignore[arg-type]
        loader = torch.utils.data.DataLoader(
            lookups, batch_sampler=batches, num_workers=1, multiprocessing_context="fork"
        )
        begun = time.perf_counter()
        row["worker_bytes"] = max(int(each.max()) for each in loader)
        row["pass_seconds"] = time.perf_counter() - begun
    return row


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return all points; what is known is written after every one."""
    result: dict[str, Any] = {
        "what": "a table of labels as its images grow: files are empty, one thread",
        "machine": machine(torch.device("cpu")),
        "kinds": {},
    }
    for kind in options.kinds:
        points: list[dict[str, Any]] = []
        for images in options.images:
            if kind == "coco" and images > options.most_coco:
                continue
            root = Path(tempfile.mkdtemp(prefix="table_growth", dir=options.folder))
            try:
                make_coco(root, images) if kind == "coco" else make_folder(
                    root, images, kind == "masks"
                )
                command = [sys.executable, __file__, "--child", kind, "--folder", str(root)]
                command += ["--repeats", str(options.repeats)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
            finally:
                shutil.rmtree(root)
            points.append({"images": images, **json.loads(done.stdout)})
            told = {name: points[-1][name] for name in FIGURES[kind]}
            print(kind, images, spelled(told), flush=True)
            sizes = [point["images"] for point in points]
            grown = {
                name: exponents(sizes, [point[name] for point in points]) for name in FIGURES[kind]
            }
            result["kinds"][kind] = {"points": points, "exponents": grown}
            if options.output:
                write_json(options.output, result)
    return result


def spelled(figures: dict[str, float]) -> str:
    """Spell the figures of a point."""
    return ", ".join(
        f"{name.removesuffix('_bytes')} {value / 2**20:.0f} MiB"
        if name.endswith("bytes")
        else f"{name.removesuffix('_seconds')} {value:.3f} s"
        for name, value in figures.items()
    )


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--images", nargs="+", type=int, default=[10**3, 10**4, 10**5, 10**6])
    parser.add_argument("--kinds", nargs="+", default=list(FIGURES), choices=list(FIGURES))
    parser.add_argument("--most-coco", type=int, default=10**5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where files are made, for a while")
    parser.add_argument("--output", type=Path, metavar="JSON")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        print(json.dumps(child(options.child, options.folder, options.repeats)))
        return 0
    measure(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
