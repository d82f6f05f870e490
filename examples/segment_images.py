"""Masks for any photographs by a network that was saved before, from Python.

python examples/segment_images.py runs/voc/teacher.safetensors photos one.jpg --output masks
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from fsr import SingleStageSegmenter
from fsr.data import read_photograph, write_label_map
from fsr.inference import predict_paths
from fsr.visualize import legend, overlay


def segment(args: argparse.Namespace) -> int:
    """Write a mask and a picture of it for every image; return how many could not be read."""
    model = SingleStageSegmenter.load(args.network)  # on the CPU, in eval mode
    names = model.class_names or tuple(f"class {c + 1}" for c in range(model.num_classes))
    args.output.mkdir(parents=True, exist_ok=True)
    legend(names).save(args.output / "legend.png")
    failed = 0
    predictions = predict_paths(
        model,
        args.images,
        scales=args.scales,
        flip=True,
        max_size=args.max_size,
        device="cuda" if torch.cuda.is_available() else "cpu",
    )
    for prediction in predictions:
        if prediction.labels is None:
            print(f"{prediction.path}: {prediction.error}", file=sys.stderr)
            failed += 1
            continue
        # A label map (height, width) at the photograph's own size: 0 background, c + 1 class c.
        mask = args.output / f"{prediction.name}.png"
        mask.parent.mkdir(parents=True, exist_ok=True)
        write_label_map(mask, prediction.labels)
        picture = overlay(read_photograph(prediction.path), prediction.labels)
        picture.save(mask.with_name(f"{mask.stem}_overlay.jpg"))
        found = [names[label - 1] for label in prediction.labels.unique().tolist() if label > 0]
        covered = (prediction.labels > 0).float().mean().item()
        print(f"{prediction.path}: {', '.join(found) or 'background'}, {covered:.0%} covered")
    return failed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", type=Path, help="file that a network was saved in")
    parser.add_argument("images", nargs="+", help="image files and folders of them")
    parser.add_argument("--output", type=Path, default=Path("masks"))
    parser.add_argument("--scales", type=float, nargs="+", default=(1.0, 1.25, 1.5))
    parser.add_argument("--max-size", type=int, default=1024, help="larger images are shrunk to it")
    sys.exit(1 if segment(parser.parse_args()) else 0)
