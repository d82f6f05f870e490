"""Ranges of every option of a run, by its dotted name; those of the preset are the method's own."""

from __future__ import annotations

import dataclasses
from typing import Any

from fsr._core.ranges import (
    BELOW_ONE,
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    POSITIVE_COUNT,
    SHARE,
    Range,
    check_numbers,
)

# An image of 64 times its size fits no memory.
SCALE = Range(0, 64, above=True)

RANGES: dict[str, Range] = {
    "seed": COUNT,
    "steps": POSITIVE_COUNT,
    "data.train_size": POSITIVE_COUNT,
    "data.eval_size": POSITIVE_COUNT,
    "data.label_noise": SHARE,
    "data.image_size": POSITIVE_COUNT,
    "data.batch_size": POSITIVE_COUNT,
    "data.micro_batch": POSITIVE_COUNT,
    "data.workers": COUNT,
    "data.scene_cache": COUNT,
    "data.max_pixels": POSITIVE_COUNT,
    "data.bits": Range(1, 32, whole=True),
    "views.flip": SHARE,
    "views.jitter_prob": SHARE,
    "views.blur_prob": SHARE,
    "views.solarize_prob": SHARE,
    "model.aux_block": Range(whole=True),
    "model.projection_dim": POSITIVE_COUNT,
    "optim.lr": NOT_NEGATIVE,
    "optim.weight_decay": NOT_NEGATIVE,
    "optim.head_lr_scale": NOT_NEGATIVE,
    "optim.classifier_lr_scale": NOT_NEGATIVE,
    "optim.bias_lr_scale": NOT_NEGATIVE,
    "optim.trained_blocks": COUNT,
    "optim.encoder_from": SHARE,
    "optim.power": POSITIVE,
    "optim.second_lr": NOT_NEGATIVE,
    "optim.second_from": SHARE,
    "optim.last_lr": NOT_NEGATIVE,
    "optim.sgd_momentum": SHARE,
    "optim.beta1": BELOW_ONE,
    "optim.beta2": BELOW_ONE,
    "optim.clip_norm": POSITIVE,
    "eval.every": POSITIVE_COUNT,
    "eval.image_size": POSITIVE_COUNT,
    "eval.batch_size": POSITIVE_COUNT,
    "eval.cam_threshold": SHARE,
    "run.log_every": POSITIVE_COUNT,
    "run.checkpoint_every": POSITIVE_COUNT,
    "run.keep_checkpoints": POSITIVE_COUNT,
    "run.timeout": POSITIVE,
    "run.sheet_images": COUNT,
}
# Lists of numbers: range of each, and how many there are, None for any number above 0.
LISTS: dict[str, tuple[Range, int | None]] = {
    "views.scale": (Range(0, 1, above=True), 2),
    "views.ratio": (POSITIVE, 2),
    "views.jitter": (NOT_NEGATIVE, 4),
    "views.rescale": (SCALE, 2),
    "eval.cam_scales": (SCALE, None),
    "eval.scales": (SCALE, None),
}
# Lists of the smallest and the largest of something.
ORDERED = ("views.scale", "views.ratio", "views.rescale")
HUE = Range(0, 0.5)


def check_every_range(config: Any) -> None:
    """Raise unless every number and every text among the options of a run makes sense by itself.

    Args:
        config: options of a run; None stands for a value that is chosen elsewhere.

    Raises:
        TypeError: an option has another type.
        ValueError: a number is out of its range, NaN or infinite, or a text is empty.

    Example:
        >>> from fsr.train import Config
        >>> config = Config()
        >>> config.optim.clip_norm = -1.0
        >>> check_every_range(config)
        Traceback (most recent call last):
        ValueError: optim.clip_norm: expected a number in (0.0, inf), got -1.0
    """
    for name, value in options_of(config).items():
        if value is None:
            continue
        if name in RANGES:
            RANGES[name].check(name, value)
        elif name in LISTS:
            _check_list(name, value)
        elif isinstance(value, str):
            _check_text(name, value)


def options_of(group: Any, path: str = "") -> dict[str, Any]:
    """Return the options of a group and of those in it by dotted name, without the preset's."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(group):
        name, value = f"{path}{field.name}", getattr(group, field.name)
        if not dataclasses.is_dataclass(value):
            found[name] = value
        elif name != "preset":
            found |= options_of(value, f"{name}.")
    return found


def _check_list(name: str, value: Any) -> None:
    each, count = LISTS[name]
    check_numbers(name, value, each, count)
    if name in ORDERED and value[0] > value[1]:
        raise ValueError(f"{name}: expected the smaller number first, got {list(value)}")
    if name == "views.jitter":
        HUE.check(f"{name}[3]", value[3])


def _check_text(name: str, value: str) -> None:
    if not value.strip():
        raise ValueError(f"{name}: expected a name or null, got an empty text")
    if "\0" in value:
        raise ValueError(f"{name}: expected text without a null character, got {value!r}")
