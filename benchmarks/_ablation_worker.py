"""Score the networks of one run, in a process of its own; train them first for the bound.

    python benchmarks/_ablation_worker.py FOLDER --scenes test --config FILE option=value ...

`scores.json` appears in the folder beside `student.safetensors` and `teacher.safetensors`.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from _ablation_scores import OF_MASKS, TRIMAP_WIDTH
from _ablation_setting import FIRST_SCENE, SPLITS, THRESHOLDS
from _machine import machine, write_json

from fsr.data import SCENE_SEEDS, Sample, Scenes
from fsr.inference import PseudoLabelOptions, evaluate, versions
from fsr.refine import PAR
from fsr.segmenter import SingleStageSegmenter
from fsr.train import Config, build_preset, load_config


class SceneRange:
    """Scenes of a split from one on.

    Args:
        split: name of the split.
        first: the first of them.
        size: how many.
        image_size: side in pixels.
    """

    def __init__(self, split: str, first: int, size: int, image_size: int) -> None:
        self.first = first
        seed = getattr(SCENE_SEEDS, split)
        self.scenes = Scenes(first + size, seed=seed, image_size=image_size)

    def __len__(self) -> int:
        return len(self.scenes) - self.first

    def __getitem__(self, index: int) -> Sample:
        return self.scenes[self.first + index]


def scored_scenes(config: Config, scenes: str) -> SceneRange:
    """Return the scenes that a run is scored on.

    Args:
        config: options of the run.
        scenes: "design" or "test".
    """
    split, data = SPLITS[scenes], config.data
    return SceneRange(split, FIRST_SCENE[split], data.eval_size or 0, data.image_size)


def scores(config: Config, network: SingleStageSegmenter, scenes: SceneRange) -> dict[str, Any]:
    """Return every score of a network; None where there was nothing to score."""
    ev, preset = config.eval, build_preset(config)
    result = evaluate(
        network,
        scenes,
        device="cuda" if torch.cuda.is_available() else "cpu",
        scales=ev.scales,
        cam_scales=ev.cam_scales,
        flip=ev.flip,
        cam_threshold=[ev.cam_threshold, *(t for t in THRESHOLDS if t != ev.cam_threshold)],
        batch_size=ev.batch_size,
        pseudo=PseudoLabelOptions(PAR(), preset.pseudo_low, preset.pseudo_high),
        trimap_widths=(TRIMAP_WIDTH,),
    )
    found = {
        "cam": result.cam_miou,
        "prediction": result.prediction_miou,
        "trimap": result.trimap["segmentation"][TRIMAP_WIDTH],
        "pseudo": float("nan") if result.pseudo_label is None else result.pseudo_label.miou,
        "pseudo_decided": result.pseudo_label_decided,
        "label_f1": result.label_f1,
    }
    made: dict[str, Any] = {name: None if math.isnan(v) else v for name, v in found.items()}
    made["cam_sweep"] = {f"{t:g}": pair[0] for t, pair in sorted(result.cam_sweep.items())}
    return made


def main(argv: list[str] | None = None) -> int:
    """Train if need be, score, and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scenes", choices=SPLITS, required=True)
    parser.add_argument("--config", required=True, help="file of options")
    parser.add_argument("--masks", action="store_true", help="train with full masks first")
    parser.add_argument("overrides", nargs="*", metavar="option=value")
    options = parser.parse_intermixed_args(argv)
    config = load_config(options.config, overrides=options.overrides)
    begun = time.perf_counter()
    if options.masks:
        from upper_bound import train

        options.folder.mkdir(parents=True, exist_ok=True)
        train(config).save(options.folder / "student.safetensors")
    trained = time.perf_counter()
    scenes = scored_scenes(config, options.scenes)
    made = {}
    for name in ("student", "teacher"):
        path = options.folder / f"{name}.safetensors"
        if path.exists():
            made[name] = scores(config, SingleStageSegmenter.load(path), scenes)
    if options.masks:
        made = {n: {s: v for s, v in m.items() if s in OF_MASKS} for n, m in made.items()}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    content = {
        "scores": made,
        "train_seconds": trained - begun,
        "machine": {**machine(device), "threads": torch.get_num_threads()},
        "versions": versions(),
    }
    write_json(options.folder / "scores.json", content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
