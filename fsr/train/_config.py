"""Options of a run: read from YAML files, changed by `option=value`, typed and checked.

Files are laid over each other in the order given, then the single values over them; a name that
does not exist or a value of another type is refused.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fsr._core.optional import import_extra
from fsr.errors import ConfigError
from fsr.train._checks import check_data, check_ranges
from fsr.train._files import brief, hint, shown
from fsr.train._layers import fitted, read_layers
from fsr.train._options import Config
from fsr.train._preset_options import build_method

DEFAULT = "default"
# What OmegaConf takes for a value that is yet to come; it would be left out in silence.
MISSING = "???"


def load_config(*names: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Lay files of options and single values over the defaults, and check the result.

    Args:
        names: shipped files by name (``"voc"``, ``"folder"``, ... see :func:`config_names`) or YAML
            files by path; later ones win. None at all: ``"default"``, the built-in scenes.
        overrides: strings such as ``"optim.lr=1e-4"``, over the files.

    Raises:
        ConfigError: with one line that names the option and, if it is unknown, the nearest one.
        ImportError: OmegaConf is not installed (extra ``train``).

    Example:
        >>> config = load_config("voc", overrides=["data.root=VOCdevkit", "optim.lr=1e-4"])
        >>> config.steps, config.optim.lr
        (20000, 0.0001)
    """
    config = read_config(*names, overrides=overrides)
    check_data(config)
    return config


def read_config(*names: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Do as :func:`load_config`, but do not ask for the data set: to look at what is resolved."""
    omegaconf = _omegaconf()
    layers = read_layers(names or (DEFAULT,), overrides)
    kinds = dict(option_kinds(Config))
    # All names first: a mistyped one explains a value that is missing elsewhere.
    for layer in layers:
        _check_layer(layer, kinds)
    try:
        config = omegaconf.OmegaConf.merge(_schema(), *fitted(layers))
        made = omegaconf.OmegaConf.to_object(config)
    except omegaconf.errors.OmegaConfBaseException as error:
        key = f"{error.full_key}: " if error.full_key else ""
        raise ConfigError(key + brief(str(error).partition("\n")[0])) from None
    except (RecursionError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(f"an option cannot be resolved: {brief(str(error))}") from None
    checked = typing.cast(Config, made)
    check_ranges(checked)
    return checked


def print_config(config: Config) -> str:
    """Return all options as YAML, those of the preset filled in, to be read as a file again.

    Example:
        >>> text = print_config(load_config())
        >>> "mask_ratio: 0.4" in text
        True
    """
    preset = build_method(config).to_dict()
    del preset["name"], preset["total_steps"]
    options = dataclasses.asdict(config)
    options["preset"] = {"base": config.preset.base, **_lists(preset)}
    text: str = _omegaconf().OmegaConf.to_yaml(options)
    return text


def option_kinds(group: type, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every option with its path and type."""
    for key, kind in typing.get_type_hints(group).items():
        yield f"{path}{key}", kind
        if dataclasses.is_dataclass(kind):
            yield from option_kinds(typing.cast(type, kind), f"{path}{key}.")


def nearest_option(name: str) -> list[str]:
    """Return the option that a name probably stands for, as a list of one or none.

    Example:
        >>> nearest_option("lr"), nearest_option("optim.lrr"), nearest_option("zzz")
        (['optim.lr'], ['optim.lr'], [])
    """
    kinds = dict(option_kinds(Config))
    same = [other for other in kinds if other.rpartition(".")[2] == name.replace("-", "_")]
    return (same or difflib.get_close_matches(name, kinds, n=1))[:1]


@functools.cache
def _schema() -> Any:
    """Return all options with types and defaults; merging copies it, and making it is slow."""
    return _omegaconf().OmegaConf.structured(Config)


def _omegaconf() -> Any:
    return import_extra("omegaconf", "train", "fsr.train")


def _check_layer(options: Any, kinds: Mapping[str, Any], path: str = "") -> None:
    """Raise for an option that does not exist, with the nearest that does, or is no such group.

    Other types are OmegaConf's to check, but it takes any number for true or false.
    """
    for key, value in options.items():
        name = f"{path}{key}"
        if name not in kinds:
            same = [other for other in kinds if other.rpartition(".")[2] == str(key)]
            near = same or difflib.get_close_matches(name, kinds, n=1)
            raise ConfigError(f"{shown(name)}: unknown option{hint(near[:1])}")
        kind = kinds[name]
        if value == MISSING:
            raise ConfigError(f"{name}: expected a value, got {value}")
        if kind in (bool, bool | None) and not isinstance(value, bool | None):
            raise ConfigError(f"{name}: expected true or false, got {brief(repr(value))}")
        if list[float] in (kind, *typing.get_args(kind)) and not isinstance(value, list | None):
            raise ConfigError(f"{name}: expected a list of numbers, got {brief(repr(value))}")
        if dataclasses.is_dataclass(kind):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{name}: expected options of its own, got {brief(repr(value))}")
            _check_layer(value, kinds, f"{name}.")


def _lists(value: Any) -> Any:
    """Return nested options with lists in place of tuples, which YAML has no word for."""
    if isinstance(value, Mapping):
        return {key: _lists(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value
