"""How near do the approximate backends of the dense CRF come to the exact one, at what cost?

    python benchmarks/crf_agreement.py --voc VOC2012 --coco COCO

Photographs with masks are shrunk to a long side of 160 pixels. The unary of a pixel is its true
label with probability 0.7, the rest spread evenly; 20% of the pixels, drawn with a seed, have
another label. At native size the approximate ones run alone, with and without the classes that are
nowhere likely.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _machine import machine, write_json
from PIL import Image
from torch import Tensor

from fsr.data import COCO2014, VOC2012
from fsr.refine import Backend, CRFPool, CRFPreset, DenseCRF, label_map_probabilities

RESULTS = Path(__file__).parent / "results" / "crf_agreement.json"
SIDE, FLIPPED, CONFIDENCE = 160, 0.2, 0.7
# FSR's own; those of other methods differ in numbers alone.
PRESETS: tuple[CRFPreset, ...] = ("test", "labels")
APPROXIMATE: tuple[Backend, ...] = ("pydensecrf", "lattice")


def cases(voc: Path, coco: Path) -> list[tuple[str, Image.Image, Tensor, int]]:
    """Return name, photograph, mask and class count of three VOC and five COCO images."""
    found = []
    for dataset, count, classes in ((VOC2012(voc, "train"), 3, 20), (COCO2014(coco), 5, 80)):
        for index in range(count):
            sample: Any = dataset[index]
            found.append((sample.name, sample.image, sample.target, classes))
    return found


def unary(target: Tensor, classes: int, seed: int) -> Tensor:
    """Return noisy probabilities of a label map."""
    draw = np.random.default_rng(seed)
    labels = target.numpy().copy()
    wrong = draw.random(labels.shape) < FLIPPED
    shift = draw.integers(1, classes + 1, labels.shape)
    moved = (labels + shift) % (classes + 1)
    labels = np.where(wrong & (labels != 255), moved, labels)
    return label_map_probabilities(torch.from_numpy(labels), classes, CONFIDENCE)


def shrunk(image: Image.Image, target: Tensor) -> tuple[np.ndarray, Tensor]:
    """Return both at a long side of 160 pixels."""
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    labels = Image.fromarray(target.numpy().astype(np.uint8)).resize(size, Image.Resampling.NEAREST)
    return pixels, torch.from_numpy(np.asarray(labels).astype(np.int64))


def timed(crf: DenseCRF, pixels: np.ndarray, maps: Tensor) -> tuple[Tensor, float]:
    """Return labels and seconds."""
    begun = time.perf_counter()
    labels = crf(pixels, maps).argmax(dim=0)
    return labels, time.perf_counter() - begun


def agreement(images: list[Any]) -> list[dict[str, Any]]:
    """Compare the backends on every image with every preset."""
    rows = []
    for preset in PRESETS:
        exact = DenseCRF(preset, backend="torch", max_pixels=None)
        for seed, (name, image, target, classes) in enumerate(images):
            pixels, labels = shrunk(image, target)
            maps = unary(labels, classes, seed)
            right, seconds = timed(exact, pixels, maps)
            row: dict[str, Any] = {"preset": preset, "image": name, "pixels": labels.numel()}
            row |= {"agreement": {}, "seconds": {"torch": seconds}}
            for backend in APPROXIMATE:
                found, seconds = timed(DenseCRF(preset, backend=backend), pixels, maps)
                row["agreement"][backend] = (found == right).float().mean().item()
                row["seconds"][backend] = seconds
            row["changed_by_crf"] = (right != maps.argmax(0)).float().mean().item()
            rows.append(row)
            told = (f"{name} {share:.2%}" for name, share in row["agreement"].items())
            print(f"{preset:7}{name:32}{', '.join(told)}", flush=True)
    return rows


def leaving_out(found: list[Any]) -> list[dict[str, Any]]:
    """Measure what restricting the classes gains at native size."""
    rows = []
    for name, image, target, classes in (found[0], found[3]):
        # As a network would have it: a few classes share almost all of the probability.
        maps = unary(target, classes, 0)
        present = [0, *(int(label) for label in target.unique() if 0 < label < 255)]
        kept = torch.full_like(maps, 1e-9)
        kept[present] = maps[present]
        kept = kept / kept.sum(dim=0)
        pixels = np.asarray(image)
        for backend in APPROXIMATE:
            few = DenseCRF("test", backend=backend, min_probability=1e-6)
            every, all_seconds = timed(DenseCRF("test", backend=backend), pixels, kept)
            some, few_seconds = timed(few, pixels, kept)
            rows.append(
                {
                    "image": name,
                    "backend": backend,
                    "classes": classes + 1,
                    "kept": len(present),
                    "agreement": (every == some).float().mean().item(),
                    "seconds": all_seconds,
                    "restricted_seconds": few_seconds,
                }
            )
            print(
                f"{name}, {backend}: {classes + 1} classes {all_seconds:.2f} s, "
                f"{len(present)}: {few_seconds:.2f} s"
            )
    return rows


def pools(found: list[Any]) -> dict[str, float]:
    """Measure one worker against two on native photographs."""
    _, image, target, classes = found[0]
    pair = (np.asarray(image), unary(target, classes, 0))
    seconds = {}
    for workers in (1, 2):
        with CRFPool(DenseCRF("test"), workers) as pool:
            list(pool.map([pair] * workers))  # starts the processes
            begun = time.perf_counter()
            list(pool.map([pair] * 4))
            seconds[f"{workers} workers, 4 images"] = time.perf_counter() - begun
    print(seconds)
    return seconds


def main(argv: list[str] | None = None) -> int:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--voc", type=Path, required=True)
    parser.add_argument("--coco", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args(argv)
    found = cases(options.voc, options.coco)
    rows = agreement(found)
    overall = {
        preset: {
            backend: statistics.mean(
                row["agreement"][backend] for row in rows if row["preset"] == preset
            )
            for backend in APPROXIMATE
        }
        for preset in PRESETS
    }
    print(overall)
    result = {
        "agreement": overall,
        "images": rows,
        "min_probability": leaving_out(found),
        "pool_seconds": pools(found),
        "machine": machine(torch.device("cpu")),
    }
    write_json(options.output, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
