"""What all runs of an ablation share: options, scenes, how it is scored, and a hash of all that."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
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
WORKER = Path(__file__).with_name("_ablation_worker.py")
# How often a design run is evaluated.
LOOKS = 4
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
    def scored_on(self) -> str:
        """What runs are scored on, in two words."""
        return f"{self.split} scenes"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The foreground classes of the images."""
        return Scenes.class_names

    def worker(self, folder: Path) -> list[str]:
        """Return the command, without python, that scores the networks in a folder."""
        return [str(WORKER), str(folder), "--scenes", self.scenes]

    def quiet(self, variant: Variant, folder: Path) -> list[str]:
        """Return options of a run that change no weight: what it writes and when it looks.

        It looks at tuning scenes alone; runs that count look once, at two, as the trainer must.
        """
        config = self.config(variant)
        design = self.scenes == "design"
        return [
            "data.eval_split=tune",
            f"data.eval_size={min(100, config.data.eval_size or 1) if design else 2}",
            f"eval.every={max(1, config.steps // LOOKS) if design else config.steps}",
            *silent(config, folder),
        ]

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
        kept = flat(config, LEFT_OUT)
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


def flat(config: Config, left_out: Sequence[str]) -> dict[str, Any]:
    """Return every option that is set by dotted name, the preset's resolved."""
    preset = asdict(build_preset(config))
    return {
        name: value
        for name, value in _flat({**asdict(config), "preset": preset})
        if value is not None and not any(f"{name}.".startswith(f"{o}.") for o in left_out)
    }


def silent(config: Config, folder: Path) -> list[str]:
    """Return options by which a run writes its networks and log into a folder, and little else."""
    return [
        "eval.at_start=false",
        f"run.output={folder}",
        f"run.checkpoint_every={config.steps}",
        "run.tensorboard=false",
        "run.sheet_images=0",
        "run.upper_bound=null",
    ]


def refusal(setting: Setting, variant: Variant) -> str:
    """Return why the trainer cannot make a variant, in one line; empty if it can."""
    try:
        config = setting.config(variant)
        if variant.masks:
            return ""
        preset = build_preset(config)
        student = build_student(config, setting.class_names)
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
