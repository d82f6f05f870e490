"""The preset among the options of a run: every field of it, to be changed or left as it is."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

from fsr.errors import ConfigError
from fsr.presets import METHODS, CAMSource, Method, Preset, get_method

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


def _optional_fields(sources: Iterable[type], name: str, about: str) -> type:
    """Make a dataclass with the fields of others, all optional: None keeps what the method has.

    A field that several have is one option; it has one type in all of them.
    """
    made: dict[str, tuple[str, Any, Any]] = {}
    for source in sources:
        hints, meanings = typing.get_type_hints(source), documented(source)
        for field in dataclasses.fields(source):
            kind, told = hints[field.name], {"meaning": meanings[field.name]}
            if field.name in ("name", "total_steps"):
                continue
            if dataclasses.is_dataclass(kind):
                nested = dataclasses.field(default_factory=CAMConfig, metadata=told)
                entry = (field.name, CAMConfig, nested)
            else:
                # Choices stay text here: the method refuses a wrong one and names the nearest.
                kept = _plain(kind)
                entry = (field.name, kept | None, dataclasses.field(default=None, metadata=told))
            if made.setdefault(field.name, entry)[1] != entry[1]:
                raise TypeError(f"{source.__name__}.{field.name}: other methods have another type")
    return dataclasses.make_dataclass(name, made.values(), namespace={"__doc__": about})


def _plain(kind: Any) -> Any:
    """Return the type of a field as options have it: text for choices, lists, dictionaries."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    simpler = {tuple: list[float], typing.Literal: str, Mapping: dict[str, Any]}
    return simpler.get(typing.get_origin(kind), kind)


CAMConfig = _optional_fields(
    [CAMSource],
    "CAMConfig",
    "Fields of :class:`fsr.presets.CAMSource` to change; null keeps what the method has.",
)
_PresetFields = _optional_fields(
    dict.fromkeys(map(type, METHODS.values())),
    "PresetFields",
    "Fields of the settings of all methods; null keeps what the method has.",
)


@dataclasses.dataclass
class PresetConfig(_PresetFields):  # type: ignore[misc, valid-type]
    """A method and the fields of its settings to change; null keeps what the method has."""

    base: str = dataclasses.field(
        default="reference",
        metadata={"meaning": "the method: paper, reference or fast of FSR, or one of fsr methods"},
    )


def build_method(config: Config) -> Method:
    """Return the settings of the method with the changes of the config, for a run of its length.

    Where the config does not set it, the teacher's momentum is that of the preset, lowered in short
    runs so that its memory, 1 / (1 - momentum) steps, is at most a tenth of the run; the option
    ``preset.momentum_memories`` says how long it is by itself.

    Args:
        config: options of the run.

    Raises:
        ConfigError: a field is out of range.

    Example:
        >>> from fsr.train import Config
        >>> build_method(Config(steps=100)).name
        'reference'
    """
    changes = _given(dataclasses.asdict(config.preset))
    base = changes.pop("base")
    try:
        preset = get_method(base, **changes, total_steps=config.steps)
        if config.preset.momentum is None:
            preset = preset.shortened()
    except (ValueError, TypeError) as error:
        text = str(error).removeprefix("preset: ")
        raise ConfigError(f"preset: {text}") from None
    return preset


def build_preset(config: Config) -> Preset:
    """Return the preset of a run of FSR; see :func:`build_method`.

    Args:
        config: options of the run.

    Raises:
        ConfigError: the method is another, or a field is out of range.

    Example:
        >>> from fsr.train import Config
        >>> build_preset(Config(steps=100)).momentum
        0.9
    """
    preset = build_method(config)
    if not isinstance(preset, Preset):
        raise ConfigError(f"preset.base: expected a preset of FSR, got {preset.name!r}")
    return preset


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what was set, at every level."""
    kept = {}
    for key, value in options.items():
        inner = _given(value) if isinstance(value, Mapping) else value
        if inner is not None and inner != {}:
            kept[key] = inner
    return kept
