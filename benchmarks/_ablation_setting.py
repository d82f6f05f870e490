"""What all runs of an ablation share: options, scenes, how it is scored, and a hash of all that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _ablation_scores import TRIMAP_WIDTH
from _ablation_variants import Variant

import fsr
from fsr.data import SCENE_SEEDS, Scenes
from fsr.inference import file_hash
from fsr.objective import TrainingObjective
from fsr.objective._views import check_block
from fsr.teacher import EMATeacher
from fsr.train import Config, build_preset, build_student, load_config

OPTIONS = Path(__file__).with_name("ablation.yaml")
# Which scenes a run is scored on, and from which on: earlier experiments of this repository have
# scored the first 120 test scenes, so those of the ablation start behind them.
SPLITS = {"design": "tune", "test": "test"}
FIRST_SCENE = {"tune": 0, "test": 200}
# Where else CAMs are scored; the tables show `eval.cam_threshold` alone.
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(1, 15))
# Options that change no score, or that the script sets itself.
LEFT_OUT = ("seed", "run", "data.workers", "data.eval_split", "eval.every", "eval.at_start")
FINGERPRINTED = 8


@dataclass(frozen=True)
class Setting:
    """The common setting of all variants.

    Attributes:
        scenes: "design" or "test".
        overrides: changes to the file of options, as for `fsr train`.
        file: the file of options.
        options: every option by dotted name, and what else a score depends on.
    """

    scenes: str
    overrides: tuple[str, ...] = ()
    file: Path = OPTIONS
    options: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", dict(sorted(self._options().items())))

    @property
    def split(self) -> str:
        """The split of `SCENE_SEEDS` that runs are scored on."""
        return SPLITS[self.scenes]

    @property
    def hash(self) -> str:
        """Twelve letters that change with any option."""
        text = json.dumps(self.options)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def arguments(self, variant: Variant) -> list[str]:
        """Return what of the trainer's command line makes a variant."""
        return ["--config", str(self.file), *self.overrides, *variant.overrides]

    def config(self, variant: Variant) -> Config:
        """Return all options of a variant.

        Raises:
            ConfigError: the trainer does not know one, or refuses its value.
        """
        return load_config(self.file, overrides=[*self.overrides, *variant.overrides])

    def _options(self) -> dict[str, Any]:
        config = load_config(self.file, overrides=self.overrides)
        preset = asdict(build_preset(config))
        named = dict(_flat({**asdict(config), "preset": preset}))
        kept = {
            name: value
            for name, value in named.items()
            if value is not None and not any(f"{name}.".startswith(f"{o}.") for o in LEFT_OUT)
        }
        data = config.data
        return {
            **kept,
            "scored.split": self.split,
            "scored.first": FIRST_SCENE[self.split],
            "scored.trimap": TRIMAP_WIDTH,
            "encoder": _encoder(config),
            "drawn.train": _fingerprint(data.train_split, data.image_size),
            "drawn.scored": _fingerprint(self.split, data.image_size),
        }


def refusal(setting: Setting, variant: Variant) -> str:
    """Return why the trainer cannot make a variant, in one line; empty if it can."""
    try:
        config = setting.config(variant)
        if variant.masks:
            return ""
        preset = build_preset(config)
        student = build_student(config, Scenes.class_names)
        TrainingObjective(student, EMATeacher(student, preset.momentum_schedule()), preset=preset)
        size = config.data.image_size
        check_block(preset.mask_block, student.backbone.grid(torch.zeros(1, 3, size, size)))
    except (ValueError, TypeError, ImportError) as error:
        return f"{variant.name}: {str(error).partition(chr(10))[0]}"
    return ""


def _flat(options: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def _encoder(config: Config) -> str:
    """Return what the encoder's initial weights are."""
    model = config.model
    if model.backbone == "fsr_scenes_tiny" and model.pretrained is True:
        weights = Path(fsr.__file__).parent / "weights" / "fsr_scenes_tiny.safetensors"
        return file_hash(weights)[:16]
    return str(model.pretrained)


def _fingerprint(split: str, image_size: int) -> list[float]:
    """Return the mean brightness of the first scenes of a split: it changes if the drawing does.

    To one decimal, so that another processor's last bits do not show.
    """
    scenes = Scenes(
        FINGERPRINTED, seed=getattr(SCENE_SEEDS, split), image_size=image_size, masks=False
    )
    return [round(float(np.mean(np.asarray(scenes[i].image))), 1) for i in range(FINGERPRINTED)]
