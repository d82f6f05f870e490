"""Layers of options: what files and single values say, before they are typed and checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fsr._core.optional import import_extra
from fsr.errors import ConfigError
from fsr.presets import METHODS
from fsr.segmenter import FEATURES
from fsr.train._files import brief, find_config, shown
from fsr.train._options import ModelConfig

Layer = dict[str, Any]


def read_layers(names: Iterable[str | Path], overrides: Sequence[str]) -> list[Layer]:
    """Return the options of files, each with those it is laid over before it, and of overrides.

    Args:
        names: shipped files by name or YAML files by path.
        overrides: strings such as ``"optim.lr=1e-4"``.

    Raises:
        ConfigError: a file or an override cannot be read.

    Example:
        >>> read_layers([], ["optim.lr=1e-4", "optim.name=sgd"])
        [{'optim': {'lr': 0.0001, 'name': 'sgd'}}]
    """
    omegaconf = _omegaconf()
    layers = [layer for name in names for layer in _read_file(name)]
    given = [_read_override(text) for text in overrides]
    if given:
        layers.append(_plain(omegaconf.OmegaConf.merge(*given)))
    return layers


def fitted(layers: Sequence[Layer]) -> list[Layer]:
    """Return layers without what a later one makes meaningless.

    Where a layer names a method, settings go that only the method of a layer below has; where it
    names an encoder of feature maps, options of a transformer go, and back. What the layer sets
    itself stays, and is refused later if nothing knows it.

    Args:
        layers: options, lowest first.

    Example:
        >>> below = {"preset": {"base": "fast", "mask_ratio": 0.5}}
        >>> fitted([below, {"preset": {"base": "urn"}}])
        [{'preset': {'base': 'fast'}}, {'preset': {'base': 'urn'}}]
    """
    below: list[Layer] = []
    features = ModelConfig().backbone.startswith(FEATURES)
    for layer in layers:
        backbone = layer.get("model", {}).get("backbone")
        if backbone is not None and str(backbone).startswith(FEATURES) != features:
            features = not features
            for each in below:
                each.get("model", {}).pop("backbone_options", None)
        layer = {group: dict(v) if isinstance(v, dict) else v for group, v in layer.items()}
        _drop_others(below, layer.get("preset", {}))
        below.append(layer)
    return below


def _omegaconf() -> Any:
    return import_extra("omegaconf", "train", "fsr.train")


def _plain(layer: Any) -> Layer:
    """Return a layer as nested dictionaries; what refers to other options still does."""
    plain: Layer = _omegaconf().OmegaConf.to_container(layer)
    return plain


def _read_override(text: str) -> Any:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        raise ConfigError(f"{shown(text)}: expected option=value")
    try:
        return _omegaconf().OmegaConf.from_dotlist([text])
    except Exception as error:  # PyYAML's and OmegaConf's have no common public base
        quoted = f"""'{name.strip()[:40]}="..."'"""
        raise ConfigError(
            f"{shown(name)}: {shown(value)} is no value in YAML; text with such characters is "
            f"given in quotes, {quoted} ({brief(str(error)) or type(error).__name__})"
        ) from None


def _read_file(name: str | Path, above: tuple[Path, ...] = ()) -> list[Layer]:
    """Read a file and, before it, the one that its entry ``over`` says it is laid over."""
    path = find_config(name)
    if path in above:
        raise ConfigError(f"over: {path.stem} is laid over itself")
    layer = _read_yaml(path)
    over = layer.pop("over", None)
    if over is None:
        return [layer]
    if not isinstance(over, str):
        raise ConfigError(f"--config: {path}: over: expected a name, got {brief(repr(over))}")
    return [*_read_file(over, (*above, path)), layer]


def _read_yaml(path: Path) -> Layer:
    """Read one file; an empty one has no options."""
    omegaconf = _omegaconf()
    try:
        layer = omegaconf.OmegaConf.load(path)
        plain = _plain(layer)
    except Exception as error:  # PyYAML's errors span lines and have no common public base
        told = brief(str(error)) or type(error).__name__
        raise ConfigError(f"--config: {path}: {told}") from None
    if not omegaconf.OmegaConf.is_dict(layer):
        raise ConfigError(f"--config: {path}: expected options and values, got a list")
    return plain


def _drop_others(below: Iterable[Layer], preset: Layer) -> None:
    """Take settings out of lower layers that the method named above them does not have."""
    base = preset.get("base")
    method = METHODS.get(base) if isinstance(base, str) else None
    if method is None:
        return  # none is named, or it is refused later, with the nearest name
    own = {field.name for field in dataclasses.fields(method)}  # type: ignore[arg-type]
    kept = {"base", *own, *preset}
    for layer in below:
        settings = layer.get("preset", {})
        for name in set(settings) - kept:
            del settings[name]
