"""What memory does an image of 10,000 x 10,000 pixels take, whole and in tiles?

    python benchmarks/large_image.py

Each way is a process of its own: a JPEG drawn here, a small ViT of 20 classes, one scale, on the
CPU. The peak is that of the process, its imports and the mask in int64 included.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

RESULTS = Path(__file__).parent / "results" / "large_image.json"
CLASSES = 20
WAYS: dict[str, dict[str, Any]] = {"whole": {}, "tiles": {"tile": 1024}}


def prepare(folder: Path, side: int) -> None:
    """Draw the picture and write the network."""
    from fsr import SingleStageSegmenter

    draw = np.random.default_rng(0).integers(0, 256, (side // 20, side // 20, 3), dtype=np.uint8)
    picture = Image.fromarray(draw).resize((side, side), Image.Resampling.BILINEAR)
    picture.save(folder / "large.jpg", quality=90)
    torch.manual_seed(0)
    small = {"embed_dim": 16, "depth": 3, "num_heads": 2}
    model = SingleStageSegmenter(
        CLASSES, "vit_tiny_patch16_224", image_size=224, projection_dim=8, backbone_options=small
    )
    model.save(folder / "model.safetensors")


def child(folder: Path, way: str) -> None:
    """Segment the picture one way and print what it took."""
    import fsr

    options: Any = {"scales": (1.0,), "flip": False, "device": "cpu", **WAYS[way]}
    predictor = fsr.load(folder / "model.safetensors", **options)
    start = time.perf_counter()
    result = predictor(folder / "large.jpg")
    seconds = time.perf_counter() - start
    row = {
        "way": way,
        **WAYS[way],
        "size": list(result.mask.shape),
        "peak_gib": round(_peak(), 2),
        "seconds": round(seconds, 1),
    }
    print(json.dumps(row))


def _peak() -> float:
    """Return the most memory of this process so far, in GiB."""
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (2**30 if sys.platform == "darwin" else 2**20)


def main() -> None:
    """Measure every way and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=10_000)
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(Path(options.child[0]), options.child[1])
        return
    rows = []
    with tempfile.TemporaryDirectory() as place:
        prepare(Path(place), options.side)
        for way in WAYS:
            command = [sys.executable, __file__, "--child", place, way]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            print(rows[-1])
    found = {
        "rows": rows,
        "classes": CLASSES,
        "threads": torch.get_num_threads(),
        "machine": {"platform": platform.platform(), "torch": torch.__version__},
    }
    options.output.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
