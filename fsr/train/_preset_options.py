"""The preset among the options of a run: every field of it, to be changed or left as it is."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Mapping
from typing import Any

from fsr.errors import ConfigError
from fsr.presets import CAMSource, Preset, get_preset
from fsr.schedules import Schedule, warmup_cosine

if typing.TYPE_CHECKING:
    from fsr.train._options import Config


def documented(source: type) -> dict[str, str]:
    """Return the meaning of each argument of a class, from its docstring, first sentence.

    Example:
        >>> documented(CAMSource)["view"]
        '1 or 2, the view of the image that the network looks at'
    """
    text = (inspect.getdoc(source) or "").partition("Args:\n")[2]
    block = re.split(r"\n(?=\S)", text)[0]
    found = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", block, re.MULTILINE)
    told = {name: " ".join(meaning.split()).replace("``", "") for name, meaning in found}
    plain = {name: re.sub(r":\w+:`([^`]*)`", r"\1", meaning) for name, meaning in told.items()}
    return {name: re.split(r"(?<!Eq)\. |\.$", meaning)[0] for name, meaning in plain.items()}


def _optional_fields(source: type, name: str) -> type:
    """Make a dataclass with the fields of another, all optional: None keeps what the preset has."""
    hints, meanings = typing.get_type_hints(source), documented(source)
    made: list[tuple[str, Any, Any]] = []
    for field in dataclasses.fields(source):
        kind, told = hints[field.name], {"meaning": meanings[field.name]}
        if field.name in ("name", "total_steps"):
            continue
        if dataclasses.is_dataclass(kind):
            nested = dataclasses.field(default_factory=CAMConfig, metadata=told)
            made.append((field.name, CAMConfig, nested))
        else:
            # Choices stay text here: the preset refuses a wrong one and names the nearest.
            simpler = {tuple: list[float], typing.Literal: str}
            kept = simpler.get(typing.get_origin(kind), kind)
            made.append((field.name, kept | None, dataclasses.field(default=None, metadata=told)))
    return dataclasses.make_dataclass(name, made, namespace={"__doc__": source.__doc__})


CAMConfig = _optional_fields(CAMSource, "CAMConfig")
_PresetFields = _optional_fields(Preset, "PresetFields")


@dataclasses.dataclass
class PresetConfig(_PresetFields):  # type: ignore[misc, valid-type]
    """A preset and the fields of it to change; null keeps what the preset has."""

    base: str = dataclasses.field(
        default="reference", metadata={"meaning": "the preset: paper, reference or fast"}
    )


def build_preset(config: Config) -> Preset:
    """Return the preset with the changes of the config, for a run of its length.

    Where the config does not set it, the teacher's momentum is that of the preset, lowered in short
    runs so that its memory, 1 / (1 - momentum) steps, is at most a tenth of the run; the option
    ``preset.momentum_memories`` says how long it is by itself.

    Args:
        config: options of the run.

    Raises:
        ConfigError: a field is out of range.

    Example:
        >>> from fsr.train import Config
        >>> build_preset(Config(steps=100)).momentum
        0.9
    """
    changes = _given(dataclasses.asdict(config.preset))
    base = changes.pop("base")
    try:
        preset = get_preset(base, **changes, total_steps=config.steps)
        if config.preset.momentum is None and preset.momentum_memories is None:
            short = max(0.0, 1.0 - 10.0 / config.steps)
            preset = dataclasses.replace(preset, momentum=min(preset.momentum, short))
    except (ValueError, TypeError) as error:
        text = str(error).removeprefix("preset: ")
        raise ConfigError(f"preset: {text}") from None
    return preset


def build_learning_rate(config: Config) -> Schedule:
    """Return the learning rate of the encoder as a function of the step.

    Args:
        config: options of the run.

    Raises:
        ConfigError: the warm-up leaves no step for the decay.

    Example:
        >>> from fsr.train import Config
        >>> build_learning_rate(Config(steps=100))(100)
        0.0
    """
    preset = build_preset(config)
    try:
        return warmup_cosine(
            config.optim.lr,
            warmup_steps=preset.resolve()["learning_rate_warmup"],
            total_steps=config.steps,
            warmup_ratio=preset.learning_rate_warmup_ratio,
        )
    except ValueError as error:
        raise ConfigError(f"preset.learning_rate_warmup: {error}") from None


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what was set, at every level."""
    kept = {}
    for key, value in options.items():
        inner = _given(value) if isinstance(value, Mapping) else value
        if inner is not None and inner != {}:
            kept[key] = inner
    return kept
