"""Images a second of multi-scale prediction with flips; beside the released loop if given.

    python benchmarks/inference.py                      # this machine
    python benchmarks/inference.py --precisions fp32 bf16
    python benchmarks/inference.py --reference PATH     # beside a clone of the released code
    python benchmarks/inference.py --quick              # tiny: does everything run?

A step is one photograph of 500x375 at scales 1, 1.25 and 1.5 with its mirror images, from the
normalised (released) or decoded (ours) image to its label map at its own size. Each side lives in a
process of its own and they take turns. The released loop also writes each image's scores to disk,
as it does; its drawings of CAMs are left out. Then the dense CRF's worker processes are timed.

The network's forward passes are timed within each loop too. What they take alone bounds how many
times faster the loop can become by better work around them.

`PATH` is a clone of Jessie459/feature-self-reinforcement. Nothing of it is part of this package.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from _children import (
    PassClock,
    Patience,
    alternate,
    serve,
    serve_loop,
    start_serving,
    times_faster,
    variants,
)
from _machine import machine, peak_bytes, write_json
from torch import Tensor

SCALES = (1.0, 1.25, 1.5)


def photographs(options: argparse.Namespace, count: int) -> Tensor:
    """Return smooth random images ``(count, 3, height, width)``, uint8."""
    generator = torch.Generator().manual_seed(0)
    size = (75, 100) if options.quick else (375, 500)
    coarse = 255 * torch.rand(count, 3, 12, 16, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size, mode="bicubic")
    return images.clamp(0, 255).to(torch.uint8)


def child(options: argparse.Namespace) -> None:
    """Serve predictions to the parent process."""
    serving = start_serving(options.threads, options.precision or "fp32")
    device = torch.device(options.device)
    clock = PassClock(device)
    if options.child == "released":
        from _released_step import run_released_prediction

        images = photographs(options, 1).float().sub(127.0).div(60.0)

        def run(between: Callable[[], bool], imported: Callable[[], None]) -> None:
            def between_images() -> bool:
                going = between()
                clock.next_step()
                return going

            run_released_prediction(
                Path(options.reference),
                images=images,
                between_images=between_images,
                device=device.type,
                imported=imported,
                built=clock.watch,
                options={"scales": SCALES, "num_classes": options.classes + 1},
            )

        serve_loop(serving, device, run, clock.more)
        return
    from fsr import SingleStageSegmenter
    from fsr.inference import SegmenterRunner

    base = peak_bytes(device)
    torch.manual_seed(0)
    network = SingleStageSegmenter(
        options.classes,
        options.backbone,
        image_size=448,
        projection_dim=options.projection_dim,
        backbone_options={"class_token": False, "global_pool": ""},
    ).to(device)
    low = torch.bfloat16 if options.precision == "bf16" else None
    clock.watch(network)
    runner = SegmenterRunner(network, autocast=low)
    pictures = list(photographs(options, options.batch).to(device))

    def step() -> list[Tensor]:
        clock.next_step()
        return [maps.argmax(dim=0) for maps in runner.probabilities(pictures, SCALES)]

    serve(serving, device, step, base, clock.more)


def wanted(options: argparse.Namespace) -> dict[str, Sequence[str]]:
    """Return the command line of every variant that was asked for; the released loop first."""
    common = [
        *("--device", options.device),
        *("--threads", str(options.threads)),
        *("--classes", str(options.classes)),
        *("--backbone", options.backbone),
        *("--projection-dim", str(options.projection_dim)),
        *["--quick"] * options.quick,
    ]
    found: dict[str, Sequence[str]] = {}
    if options.reference:
        found["released"] = ["--child", "released", "--reference", options.reference, *common]
    for precision in options.precisions:
        for batch in options.batches:
            arguments = ["--child", "ours", "--precision", precision, "--batch", str(batch)]
            found[f"fsr, {precision}, batch {batch}"] = [*arguments, *common]
    return found


def time_crf(options: argparse.Namespace) -> dict[str, float]:
    """Return images a second of the dense CRF, by worker processes; empty without its extra."""
    from fsr.refine import CRFPool, DenseCRF

    try:
        crf = DenseCRF()
    except ImportError as error:
        print(f"dense CRF: {error}", file=sys.stderr)
        return {}
    count = 2 if options.quick else 8
    images = photographs(options, count)
    generator = torch.Generator().manual_seed(1)
    coarse = 2 * torch.randn(count, options.classes + 1, 12, 16, generator=generator)
    maps = torch.nn.functional.interpolate(coarse, images.shape[-2:], mode="bilinear")
    pairs = list(zip(images.permute(0, 2, 3, 1).contiguous(), maps.softmax(dim=1), strict=True))
    rates = {}
    for workers in options.workers:
        with CRFPool(crf, workers) as pool:
            list(pool.map(pairs[:workers]))  # starts every worker
            begun = time.perf_counter()
            list(pool.map(pairs))
            rates[str(workers)] = count / (time.perf_counter() - begun)
        print(f"dense CRF, {workers} workers: done", file=sys.stderr, flush=True)
    return rates


def time_variants(
    options: argparse.Namespace, *, patience: Patience | None = None, together: bool = False
) -> dict[str, dict[str, Any]]:
    """Return every variant's figures, and ratios to the released loop.

    `patience` and `together` are those of `_children.variants`.
    """
    with variants(__file__, wanted(options), patience=patience, together=together) as running:
        alternate(running, options.steps)
        rows = {each.name: {**each.row(), **each.more()} for each in running}
    released = rows.get("released", {})
    for name, row in rows.items():
        if "failure" in row:
            continue
        images = int(name.rpartition(" ")[2]) if "batch" in name else 1
        row["images_per_second"] = images / row["median_seconds"]
        if "network_seconds" in row:
            row["network_share"] = sum(row["network_seconds"]) / sum(row["seconds"])
        if "seconds" in released:
            row["times_faster_than_released"] = images * times_faster(row, released)
        if "seconds" in released and "network_seconds" in row:
            # What no work outside the network's passes would give.
            alone = {"seconds": row["network_seconds"]}
            row["times_faster_at_most"] = images * times_faster(alone, released)
    return rows


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return what every variant needs, and what the dense CRF's processes do."""
    rows = time_variants(options)
    return {
        "what": "prediction of 500x375 photographs at 3 scales with flips",
        "options": {"backbone": options.backbone, "classes": options.classes},
        "threads": options.threads,
        "quick": options.quick,
        "machine": machine(torch.device(options.device)),
        "variants": rows,
        "crf_images_per_second_by_workers": time_crf(options),
    }


def table(result: dict[str, Any]) -> str:
    """Spell the result."""
    lines = []
    for name, row in result["variants"].items():
        if "failure" in row:
            lines.append(f"{name:24}{row['failure']}")
            continue
        text = f"{name:24}{row['images_per_second']:>10.3f} images/s"
        text += f"{row['memory_bytes'] / 2**20:>8.0f} MiB"
        if "times_faster_than_released" in row:
            text += f"{row['times_faster_than_released']:>8.2f}x the released loop"
        if "network_share" in row:
            text += f"{row['network_share']:>8.1%} of it in the network's passes"
        if "times_faster_at_most" in row:
            text += f", which alone would be {row['times_faster_at_most']:.2f}x"
        lines.append(text)
    for workers, rate in result["crf_images_per_second_by_workers"].items():
        lines.append(f"{'dense CRF, ' + workers + ' workers':24}{rate:>10.3f} images/s")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--precisions", nargs="+", default=["fp32"], choices=("fp32", "bf16"))
    parser.add_argument("--batches", nargs="+", type=int, default=[1], help="images at a time")
    parser.add_argument("--reference", metavar="PATH", help="clone of the released code")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 2], help="CRF processes")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--backbone", default="vit_base_patch16_224")
    parser.add_argument("--projection-dim", type=int, default=4096)
    parser.add_argument("--quick", action="store_true", help="a tiny network and image")
    parser.add_argument("--output", type=Path, metavar="JSON")
    parser.add_argument("--batch", type=int, default=1, help=argparse.SUPPRESS)
    for name in ("--child", "--precision"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.quick:
        options.backbone, options.projection_dim, options.steps = "vit_tiny_patch16_224", 64, 1
    if options.child:
        child(options)
        return 0
    result = measure(options)
    print(table(result))
    if options.output:
        write_json(options.output, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
