"""How many bands an encoder takes, and how their values are normalised."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from timm.data.config import resolve_data_config
from torch import nn

# Options that the package takes itself; timm takes them as part of a configuration.
OWN = ("mean", "std")


def timm_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of ``timm.create_model``, with ``mean`` and ``std`` where timm wants them.

    Args:
        options: options of timm, and ``mean`` and ``std``, a number per band.

    Raises:
        TypeError: ``mean`` or ``std`` is no sequence of numbers.
        ValueError: a number is not finite, or a deviation not above 0.

    Example:
        >>> timm_options({"in_chans": 1, "mean": [900], "std": [250]})
        {'in_chans': 1, 'pretrained_cfg_overlay': {'mean': (900.0,), 'std': (250.0,)}}
    """
    others = {name: value for name, value in options.items() if name not in OWN}
    given = {name: _numbers(name, options[name]) for name in OWN if name in options}
    if not given:
        return others
    if any(value <= 0 for value in given.get("std", ())):
        raise ValueError(f"backbone_options: expected std above 0, got {options['std']}")
    overlay = {**(others.get("pretrained_cfg_overlay") or {}), **given}
    return {**others, "pretrained_cfg_overlay": overlay}


def band_count(model: nn.Module) -> int:
    """Return the number of bands of a network: those of its first convolution.

    Example:
        >>> band_count(nn.Sequential(nn.Identity(), nn.Conv2d(6, 8, 1)))
        6
    """
    return next(
        (module.in_channels for module in model.modules() if isinstance(module, nn.Conv2d)), 3
    )


def normalisation(model: nn.Module, bands: int = 3) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each band, those of a model's pretraining for three.

    Raises:
        ValueError: the model takes other bands than these are known of.
    """
    config = resolve_data_config(model=model)  # type: ignore[no-untyped-call]
    mean, std = (tuple(float(value) for value in config[key]) for key in ("mean", "std"))
    if len(mean) != bands or len(std) != bands:
        raise ValueError(
            f"backbone_options: a network of {bands} bands needs mean and std of each, in the "
            f"units of its images: backbone_options={{'in_chans': {bands}, 'mean': [...], "
            f"'std': [...]}}; got {len(mean)} and {len(std)} numbers"
        )
    return mean, std


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    """Return numbers, or raise unless they are some."""
    known = isinstance(values, Sequence) and not isinstance(values, str)
    if not known or not all(isinstance(v, (int, float)) for v in values):
        raise TypeError(f"backbone_options: expected numbers as {name}, got {values!r}")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"backbone_options: expected finite numbers as {name}, got {values!r}")
    return tuple(float(value) for value in values)
