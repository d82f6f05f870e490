"""Small networks and pictures for the tests of the commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fsr.segmenter import SingleStageSegmenter


def tiny_network(names: Sequence[str]) -> SingleStageSegmenter:
    """Build a network whose labels differ between pixels, untrained as it is."""
    torch.manual_seed(1)
    network = SingleStageSegmenter(
        len(names),
        "vit_tiny_patch16_224",
        image_size=32,
        projection_dim=8,
        projector_options={"hidden_dim": 16, "bottleneck_dim": 8},
        decoder_options={"hidden_dim": 8},
        backbone_options={"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2},
    )
    with torch.no_grad():
        for module in (network.decoder, network.classifier):
            for parameter in module.parameters():
                parameter.normal_(std=0.5)
    network.class_names = tuple(names)
    return network


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    """Draw a picture of noise."""
    draw = np.random.default_rng(seed)
    return Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))


def write_images(folder: Path, sizes: Iterable[tuple[int, int]]) -> list[Path]:
    """Write pictures of noise, named by number."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, (height, width) in enumerate(sizes):
        paths.append(folder / f"{index:02}.png")
        noise(height, width, index).save(paths[-1])
    return paths
