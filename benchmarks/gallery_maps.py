"""Maps of every method on the same few test scenes, for the gallery of the documentation.

    python benchmarks/gallery_maps.py --steps 400       # trains what is missing
    python benchmarks/gallery_maps.py --runs FOLDER     # keeps the networks there

Each method trains from its configuration for the built-in scenes, with the options of
`methods.py`; of one in two stages the first alone. What its network says of the scenes goes into
`results/gallery_maps.npz` as soon as it is trained; a method that is there with as many steps is
not trained again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from methods import ROWS, train
from numpy.typing import NDArray

from fsr.data import SCENE_SEEDS, Scenes
from fsr.segmenter import SingleStageSegmenter

RESULTS = Path(__file__).resolve().parent / "results" / "gallery_maps.npz"
NAMES = {
    "FSR": "FSR",
    "ToCo": "ToCo",
    "AFA": "AFA",
    "ViT-PCM": "ViT-PCM",
    "RRM": "RRM",
    "1Stage": "1Stage",
    "ReCAM": "ReCAM, segmentation",
    "SEAM": "SEAM, segmentation",
    "MCTformer+": "MCTformer+, segmentation",
}
SCENES = range(6)


def maps(path: Path, size: int = 96) -> NDArray[np.uint8]:
    """Return a network's CAMs of the scenes' own classes.

    Args:
        path: file of the network.
        size: side of the scenes in pixels.

    Returns:
        Strongest CAM over the classes of each scene, ``(scenes, size, size)`` in 0 to 255.
    """
    model = SingleStageSegmenter.load(path)
    scenes = Scenes(len(SCENES), seed=SCENE_SEEDS.test, image_size=size)
    pictures = np.stack([np.asarray(sample.image) for sample in scenes])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (model.backbone.mean, model.backbone.std))
    images = (torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255 - mean) / std
    present = torch.stack([sample.labels for sample in scenes])[:, :, None, None]
    cam = (model.cam(images, scales=(1.0,), flip=True)[0] * present).amax(dim=1)
    heat: NDArray[np.uint8] = (255 * cam).round().to(torch.uint8).numpy()
    return heat


def main(argv: list[str] | None = None) -> int:
    """Train what is missing and record it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=400, help="of each method")
    parser.add_argument("--methods", nargs="+", choices=NAMES, default=list(NAMES), metavar="NAME")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE")
    parser.add_argument("--runs", type=Path, metavar="FOLDER", help="where runs are kept")
    options = parser.parse_args(argv)
    options.results.parent.mkdir(exist_ok=True)
    for name in options.methods:
        known = dict(np.load(options.results)) if options.results.exists() else {}
        if known.get(f"{name} steps") == options.steps:
            continue
        with tempfile.TemporaryDirectory(prefix="gallery-") as scratch:
            folder = (options.runs or Path(scratch)) / name
            row = ROWS[NAMES[name]]
            if not (folder / "student.safetensors").exists():
                train(
                    folder, options.steps, 0, [row.config], (*row.options, "data.train_size=2000")
                )
            heat = maps(folder / "student.safetensors")
        known |= {f"{name} steps": np.int64(options.steps), f"{name} cam": heat}
        np.savez_compressed(options.results, **known)
        print(f"{name}: recorded", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
