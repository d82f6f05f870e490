"""Does the memory of an evaluation grow with the data set? Peak at 100 and at 2,000 images.

    python benchmarks/evaluation_memory.py

Each size is evaluated in a process of its own: images of two dozen sizes drawn on the fly, 20
classes, a tiny network, with pseudo labels, a sweep of 99 thresholds and boundaries scored too. The
peak is that of the process, its imports included.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

RESULTS = Path(__file__).parent / "results" / "evaluation_memory.json"
CLASSES = 20


class Drawn:
    """Random images with random blocks as masks, a function of the index."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int):  # type: ignore[no-untyped-def]
        from fsr.data import Sample

        draw = np.random.default_rng(index)
        height, width = 64 + 8 * (index % 4), 64 + 8 * (index // 4 % 6)
        image = Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))
        target = torch.zeros(height, width, dtype=torch.long)
        labels = torch.zeros(CLASSES)
        for _ in range(2):
            label, top, left = draw.integers(0, (CLASSES, height // 2, width // 2)).tolist()
            target[top : top + 24, left : left + 24] = label + 1
            labels[label] = 1.0
        return Sample(image, labels, target, str(index))


def child(size: int) -> None:
    """Evaluate and print the peak in MiB."""
    from fsr import SingleStageSegmenter
    from fsr.inference import PseudoLabelOptions, evaluate
    from fsr.refine import PAR

    torch.manual_seed(0)
    small = {"embed_dim": 32, "depth": 3, "num_heads": 2}
    model = SingleStageSegmenter(
        CLASSES, "vit_tiny_patch16_224", image_size=64, projection_dim=8, backbone_options=small
    )
    result = evaluate(
        model,
        Drawn(size),
        scales=(1.0,),
        cam_scales=(1.0,),
        flip=False,
        cam_threshold=[step / 100 for step in range(1, 100)],
        pseudo=PseudoLabelOptions(PAR(2, (1, 2))),
        trimap_widths=(1, 3, 5),
    )
    unit = 2**20 if sys.platform == "darwin" else 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    print(json.dumps({"images": result.images, "peak_mib": peak}))


def main(argv: list[str] | None = None) -> int:
    """Measure both sizes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--sizes", nargs="+", type=int, default=[100, 2000])
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        child(options.child)
        return 0
    rows = []
    for size in options.sizes:
        command = [sys.executable, __file__, "--child", str(size)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(done.stdout))
        print(f"{size:>6} images: peak {rows[-1]['peak_mib']:.0f} MiB")
    grown = rows[-1]["peak_mib"] - rows[0]["peak_mib"]
    print(f"growth {grown:.0f} MiB")
    result = {
        "rows": rows,
        "growth_mib": grown,
        "machine": {"platform": platform.platform(), "torch": torch.__version__},
    }
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
