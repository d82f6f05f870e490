"""What a run is made of, written at its start: the report of an unfinished one needs it too."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fsr._core.records import to_json, write_atomically
from fsr._core.version import __version__
from fsr.train._help import list_options
from fsr.train._labels import class_counts
from fsr.train._options import Config
from fsr.train._parts import Parts
from fsr.train._preset_options import PresetConfig
from fsr.train._writing import writing

ABOUT = "about.json"


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    import timm
    import torchvision

    return {
        "fsr": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "timm": timm.__version__,
        "platform": platform.platform(),
    }


def option_table(config: Config) -> list[dict[str, Any]]:
    """Return every option with its value, its default and its meaning.

    The defaults of the recipe's options are those of the preset that the run names.

    Args:
        config: options of the run.

    Example:
        >>> from fsr.train import load_config
        >>> rows = option_table(load_config(overrides=["optim.lr=0.5"]))
        >>> next(row for row in rows if row["name"] == "optim.lr")["default"]
        6e-05
    """
    plain = Config(steps=config.steps, preset=PresetConfig(base=config.preset.base))
    defaults = {each.name: each.value for each in list_options(plain) if not each.group}
    defaults["steps"], defaults["preset.base"] = Config().steps, PresetConfig().base
    return [
        {
            "name": each.name,
            "value": each.value,
            "default": defaults.get(each.name),
            "meaning": each.meaning,
        }
        for each in list_options(config)
        if not each.group
    ]


def about(
    config: Config, train: Any, evaluation: Any, parts: Parts, warnings: Sequence[str]
) -> dict[str, Any]:
    """Return what the run is made of, as plain data.

    Args:
        config: options of the run.
        train: what is trained on.
        evaluation: what is evaluated on.
        parts: networks and processes.
        warnings: lines to warn with.
    """
    accelerator = parts.accelerator
    return {
        "steps": config.steps,
        "method": parts.objective.recipe.name,
        "class_names": list(train.class_names),
        "data": {
            "name": config.data.name,
            "train": {"images": len(train), "with_class": class_counts(train)},
            "evaluation": {"images": len(evaluation)},
        },
        "warnings": list(warnings),
        "options": option_table(config),
        "versions": versions(),
        "device": str(accelerator.device),
        "processes": accelerator.num_processes,
        "mixed_precision": accelerator.mixed_precision,
        "threads": torch.get_num_threads(),
    }


def write_about(folder: Path, content: dict[str, Any]) -> None:
    """Write it beside the log.

    Args:
        folder: folder of the run.
        content: what :func:`about` returned.
    """
    with writing(folder / ABOUT):
        write_atomically(folder / ABOUT, to_json(content, indent=1) + "\n")
