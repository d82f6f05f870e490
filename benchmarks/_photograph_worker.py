"""Score the network of one run on photographs, in a process of its own; train the bound first.

    python benchmarks/_photograph_worker.py FOLDER --crf 40 --config FILE option=value ...

`scores.json` appears in the folder beside `student.safetensors`. Scores of classes are means over
background and the six main ones (`_photograph_setting.MAIN`), but for those named "all".
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch
from _ablation_scores import OF_MASKS
from _ablation_setting import THRESHOLDS
from _machine import machine, write_json
from _photograph_setting import CHOSEN_ON, MAIN

from fsr.data import VOC2012
from fsr.inference import EvaluationResult, evaluate, versions
from fsr.metrics import SegmentationScores
from fsr.refine import DenseCRF
from fsr.segmenter import SingleStageSegmenter
from fsr.train import Config, load_config

# A class whose probability is nowhere above this takes no part in the CRF.
SEEN = 0.05


def main_miou(scores: SegmentationScores) -> float:
    """Return the mean IoU over background and the six main classes."""
    names = tuple(VOC2012.class_names)
    picked = [0, *(names.index(name) + 1 for name in MAIN)]
    return float(scores.iou[picked].nanmean())


def scores(config: Config, network: SingleStageSegmenter, crf: int) -> dict[str, float | None]:
    """Return every score of a network; None where there was nothing to score."""
    ev, root = config.eval, config.data.root or ""
    fixed = ev.cam_threshold
    others = [t for t in THRESHOLDS if t != fixed]

    def look(split: str, **changes: Any) -> EvaluationResult:
        chosen: dict[str, Any] = {
            "cam_threshold": fixed,
            "image_size": ev.image_size,
            "scales": ev.scales,
            "cam_scales": ev.cam_scales,
            "flip": ev.flip,
            "batch_size": ev.batch_size,
            "autocast": torch.bfloat16 if config.optim.mixed_precision == "bf16" else None,
        }
        return evaluate(network, VOC2012(root, split), **{**chosen, **changes})

    on_train = look("train", cam_threshold=[fixed, *others], max_images=CHOSEN_ON)
    best = max(on_train.cam_sweep, key=lambda threshold: on_train.cam_sweep[threshold][0])
    result = look("val", cam_threshold=[fixed, *others], trimap_widths=(3,))
    at_best = result if best == fixed else look("val", cam_threshold=best)
    found = {
        "cam": main_miou(result.cam),
        "cam_best": main_miou(at_best.cam),
        "threshold": best,
        "prediction": main_miou(result.segmentation),
        "trimap": result.trimap["segmentation"][3],
        "cam_all": result.cam_miou,
        "cam_best_all": at_best.cam_miou,
        "prediction_all": result.prediction_miou,
        "label_f1": result.label_f1,
    }
    if crf:
        refined = look("val", max_images=crf, crf=DenseCRF(min_probability=SEEN))
        if refined.segmentation_crf is not None:
            found["before_crf"] = main_miou(refined.segmentation)
            found["after_crf"] = main_miou(refined.segmentation_crf)
    made: dict[str, Any] = {name: None if math.isnan(v) else v for name, v in found.items()}
    made["cam_sweep"] = {f"{t:g}": pair[0] for t, pair in sorted(result.cam_sweep.items())}
    made["iou"] = [None if math.isnan(v) else round(v, 4) for v in result.segmentation.iou.tolist()]
    return made


def main(argv: list[str] | None = None) -> int:
    """Train if need be, score, and write the file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--crf", type=int, default=0, help="photographs to refine, the first ones")
    parser.add_argument("--config", required=True, help="file of options")
    parser.add_argument("--masks", action="store_true", help="train with full masks first")
    parser.add_argument("overrides", nargs="*", metavar="option=value")
    options = parser.parse_intermixed_args(argv)
    config = load_config(options.config, overrides=options.overrides)
    begun = time.perf_counter()
    path = options.folder / "student.safetensors"
    if options.masks:
        from upper_bound import train

        options.folder.mkdir(parents=True, exist_ok=True)
        train(config).save(path)
    trained = time.perf_counter()
    made = scores(config, SingleStageSegmenter.load(path), options.crf)
    if options.masks:
        of_masks = (*OF_MASKS, "prediction_all", "before_crf", "after_crf", "iou")
        made = {name: value for name, value in made.items() if name in of_masks}
    content = {
        "scores": {"student": made},
        "train_seconds": trained - begun,
        "machine": {**machine(torch.device("cpu")), "threads": torch.get_num_threads()},
        "versions": versions(),
    }
    write_json(options.folder / "scores.json", content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
