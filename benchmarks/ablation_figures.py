"""The paper's Figures 4 to 6 from the networks of the ablation.

    python benchmarks/ablation.py --scenes test --tier 1 --seeds 0 --keep runs/ablation
    python benchmarks/ablation_figures.py runs/ablation --seed 0

Writes `figure4.png` (CAM and prediction of the baseline and of FSR), `figure5_boundaries.png` and
`figure5_attention.png` (boundaries; attention of the aggregated token by head) and `figure6.png`
(entropy of the encoder's attention with and without L_u). Which scenes: the first scored ones that
hold two classes or more, whatever they show; the entropy is the mean over `--images` scenes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from _ablation_processes import KEPT_SETTING, kept_networks
from _ablation_scores import changed
from _ablation_setting import SPLITS, Setting
from _ablation_variants import BASELINE, FULL, VARIANTS
from _ablation_worker import scored_scenes
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from fsr.data import Sample
from fsr.segmenter import SingleStageSegmenter
from fsr.visualize import (
    attention_sheet,
    boundary_overlay,
    comparison_sheet,
    encoder_entropy,
    plot_attention_entropy,
)

OUTPUT = Path(__file__).resolve().parents[1] / "docs" / "_static" / "evidence"
UNCERTAIN = "uncertain"
# Truth, baseline, FSR, in the order they are drawn.
TRUE, BASE, OURS = (255, 255, 255), (255, 200, 0), (255, 0, 60)
SCALE = 4  # scenes are small: boundaries are drawn on enlarged ones
DPI = 110


def network_input(network: SingleStageSegmenter, sample: Sample) -> Tensor:
    """Return a scene as the network takes it, `(1, 3, height, width)`."""
    pixels = TF.to_dtype(TF.pil_to_tensor(sample.image), torch.float32, scale=True)
    own = network.backbone
    normalised: Tensor = TF.normalize(pixels, list(own.mean), list(own.std))
    return normalised[None]


def unfit(folder: Path, setting: Setting) -> str:
    """Return why the networks of a folder cannot be drawn; empty if they can."""
    if not (folder / "student.safetensors").exists():
        return "no network; ablation.py --keep makes it"
    others = changed(json.loads((folder / KEPT_SETTING).read_text()), setting.options)
    return f"made with another {', '.join(others)}" if others else ""


def maps(network: SingleStageSegmenter, sample: Sample) -> tuple[Tensor, Tensor]:
    """Return the CAM, the largest of the present classes' `(h, w)`, and the predicted labels."""
    images = network_input(network, sample)
    with torch.no_grad():
        cam, _ = network.cam(images, scales=[1.0])
        prediction = network.predict(images, scales=[1.0]).argmax(1)[0]
    return (cam[0] * sample.labels[:, None, None]).amax(0), prediction


def enlarged(sample: Sample, labels: Tensor) -> tuple[Sample, Tensor]:
    """Return a scene and one of its label maps, enlarged without new labels or colours."""
    image = sample.image.resize([SCALE * side for side in sample.image.size])
    larger = labels.repeat_interleave(SCALE, 0).repeat_interleave(SCALE, 1)
    return sample._replace(image=image), larger


def draw(networks: dict[str, SingleStageSegmenter], samples: list[Sample], output: Path) -> None:
    """Write Figures 4 and 5."""
    found = {n: [maps(networks[n], sample) for sample in samples] for n in (BASELINE, FULL)}
    truth = [sample.target for sample in samples if sample.target is not None]
    images = [sample.image for sample in samples]
    columns: list[tuple[str, list[Any]]] = [
        ("scene", images),
        ("CAM, baseline", [cam for cam, _ in found[BASELINE]]),
        ("CAM, FSR", [cam for cam, _ in found[FULL]]),
        ("baseline", [labels for _, labels in found[BASELINE]]),
        ("FSR", [labels for _, labels in found[FULL]]),
        ("truth", truth),
    ]
    names = networks[FULL].class_names or ()
    figure = comparison_sheet(columns, images=images, class_names=names)
    figure.savefig(output / "figure4.png", dpi=DPI)

    sides = {
        "truth": (TRUE, truth),
        "baseline": (BASE, [labels for _, labels in found[BASELINE]]),
        "FSR": (OURS, [labels for _, labels in found[FULL]]),
    }
    columns = [("scene", images)]
    for name, (colour, labels) in sides.items():
        pairs = [enlarged(sample, own) for sample, own in zip(samples, labels, strict=True)]
        columns.append(
            (name, [boundary_overlay(s.image, own, colour=colour, width=1) for s, own in pairs])
        )
    comparison_sheet(columns).savefig(output / "figure5_boundaries.png", dpi=DPI)

    batch = torch.cat([network_input(networks[FULL], sample) for sample in samples])
    attention = networks[FULL].attention_maps(batch)[:, -1]
    rows = ["\n".join(n for n, on in zip(names, s.labels, strict=True) if on) for s in samples]
    sheet = attention_sheet(images, attention, labels=list(truth), rows=rows)
    sheet.savefig(output / "figure5_attention.png", dpi=DPI, bbox_inches="tight")


def draw_entropy(
    networks: dict[str, SingleStageSegmenter], samples: list[Sample], output: Path
) -> None:
    """Write Figure 6."""
    entropies = {}
    for title, name in (("without", BASELINE), ("with L_u", UNCERTAIN)):
        network = networks[name]
        batches = (network_input(network, sample) for sample in samples)
        entropies[title] = encoder_entropy(network, batches, normalize=True).mean
        print(f"{title}: mean entropy by block", entropies[title].mean(1).tolist())
    figure = plot_attention_entropy(entropies, normalized=True)
    figure.savefig(output / "figure6.png", dpi=DPI)


def main(argv: list[str] | None = None) -> int:
    """Draw the figures; return the exit status."""
    parser = argparse.ArgumentParser(description="The paper's Figures 4 to 6 from our runs.")
    parser.add_argument("networks", type=Path, help="the folder given to ablation.py --keep")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--scenes", choices=SPLITS, default="test", help="default: test")
    parser.add_argument("--set", nargs="+", default=[], metavar="option=value")
    parser.add_argument("--rows", type=int, default=6, help="scenes of Fig. 4 and 5, default: 6")
    parser.add_argument("--images", type=int, default=100, help="scenes of Fig. 6, default: 100")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(argv)
    setting = Setting(options.scenes, tuple(options.set))
    networks = {}
    for name in (BASELINE, UNCERTAIN, FULL):
        folder = kept_networks(options.networks, name, options.seed)
        if reason := unfit(folder, setting):
            print(f"ablation_figures.py: error: {folder}: {reason}", file=sys.stderr)
            return 2
        networks[name] = SingleStageSegmenter.load(folder / "student.safetensors").eval()
    scenes = scored_scenes(setting.config(VARIANTS[FULL]), options.scenes)
    samples = [scenes[i] for i in range(len(scenes))]
    options.output.mkdir(parents=True, exist_ok=True)
    several = [sample for sample in samples if sample.labels.sum() > 1]
    draw(networks, several[: options.rows], options.output)
    draw_entropy(networks, samples[: options.images], options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
