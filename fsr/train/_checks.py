"""What is refused before anything is loaded: ranges, and options that make no sense together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from fsr._core.checks import check_choice
from fsr.data import Reading
from fsr.errors import ConfigError
from fsr.presets import VIEWS
from fsr.segmenter import AGGREGATORS, DECODERS
from fsr.train._optimizer import OPTIMIZERS, SCHEDULES, build_learning_rate
from fsr.train._options import Config, reading_options
from fsr.train._preset_options import build_method
from fsr.train._ranges import check_every_range
from fsr.train._table import upper_bound
from fsr.train._trackers import check_tracker

DATASETS = ("scenes", "voc", "coco", "folder")
# Options that only one data set reads.
ONLY = {"labels": "folder", "eval_labels": "folder", "masks": "folder", "cache": "coco"}
# What a step is given beside a first view, by the kind of views; nobody needs the box of padding.
GIVEN: dict[str, frozenset[str]] = {
    "two": frozenset({"a second view"}),
    "one": frozenset(),
    "padded": frozenset(),
    "padded_and_second": frozenset({"a second view"}),
    "labelled": frozenset({"label maps"}),
}
# What a run may go on with changed, as no step and no score depends on it.
FREE = {
    "data": (
        "root",
        "masks",
        "allow_contradictions",
        "cache",
        "workers",
        "scene_cache",
        "micro_batch",
        "max_pixels",
    ),
    "eval": ("every", "at_start", "batch_size"),
}


def check_ranges(config: Config) -> None:
    """Check every option by itself, so that a run of hours does not end at its first evaluation.

    Raises:
        ConfigError: with one line that names the option.
    """
    try:
        check_choice("data.name", config.data.name, DATASETS)
        check_every_range(config)
        check_choice("optim.name", config.optim.name, OPTIMIZERS)
        check_choice("optim.schedule", config.optim.schedule, SCHEDULES)
        check_choice("model.aggregator", config.model.aggregator, AGGREGATORS)
        check_choice("model.decoder", config.model.decoder, DECODERS)
        if config.views.kind is not None:
            check_choice("views.kind", config.views.kind, VIEWS)
        precision = config.optim.mixed_precision
        if precision is not None:
            check_choice("optim.mixed_precision", precision, ("no", "fp16", "bf16"))
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from None
    try:
        Reading(**reading_options(config.data))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"data.{error}") from None
    check_tracker(config.run.tracker)
    build_learning_rate(config)
    _check_views(config)


def _check_views(config: Config) -> None:
    """Raise if a step is not given what the method's terms read."""
    method, kind = build_method(config), config.views.kind
    if kind is not None and (lacking := GIVEN[method.views] - GIVEN[kind]):
        raise ConfigError(
            f"views.kind: {method.name} reads {', '.join(sorted(lacking))}, "
            f"which {kind!r} does not give"
        )


def check_data(config: Config) -> None:
    """Check that the data set has what it needs, and nothing that belongs to another.

    Raises:
        ConfigError: with one line that names the option.
    """
    data = config.data
    upper_bound(config)
    if data.name == "scenes" and not (data.train_size and data.eval_size):
        raise ConfigError("data.train_size, data.eval_size: scenes have no size of their own")
    if data.name != "scenes" and data.root is None:
        raise ConfigError(f"data.root: the data set {data.name!r} needs a folder")
    if data.name == "folder" and data.labels is None:
        raise ConfigError("data.labels: the data set 'folder' needs a table of labels")
    if data.name == "scenes" and (given := [*reading_options(data)]):
        raise ConfigError(f"data.{given[0]}: only data sets of files have it, not 'scenes'")
    for name, owner in ONLY.items():
        if getattr(data, name) is not None and data.name != owner:
            raise ConfigError(f"data.{name}: only the data set {owner!r} has it, not {data.name!r}")


def check_same_run(config: Config, saved: dict[str, Any]) -> None:
    """Refuse to resume with options that would make it another run.

    Args:
        config: options now.
        saved: options that the run was started with, as nested dictionaries.

    Raises:
        ConfigError: an option differs that a step or a score depends on.

    Example:
        >>> check_same_run(Config(), dataclasses.asdict(Config(seed=1)))
        Traceback (most recent call last):
        fsr.errors.ConfigError: seed: the run was started with 1, --resume got 0
    """
    before, now = {**saved}, dataclasses.asdict(config)
    for options in (before, now):
        options.pop("run", None)
        for group, names in FREE.items():
            kept = options.get(group, {})
            options[group] = {key: kept[key] for key in kept if key not in names}
    for name, then, here in differences(before, now):
        raise ConfigError(f"{name}: the run was started with {then!r}, --resume got {here!r}")


def accumulation(config: Config, processes: int) -> int:
    """Return the micro-batches per step and process that make up the effective batch.

    Args:
        config: options of the run.
        processes: training processes, on all machines together.

    Raises:
        ConfigError: the effective batch does not divide.

    Example:
        >>> config = Config()
        >>> config.data.micro_batch = 2
        >>> accumulation(config, processes=2)
        2
    """
    data = config.data
    each = data.micro_batch or max(1, data.batch_size // processes)
    if data.batch_size % (each * processes):
        raise ConfigError(
            f"data.batch_size: expected a multiple of data.micro_batch * processes = "
            f"{each} * {processes}, got {data.batch_size}"
        )
    return data.batch_size // (each * processes)


def differences(before: Any, after: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs between nested options, by dotted name."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted(before.keys() | after.keys()):
            inner = f"{name}.{key}".lstrip(".")
            yield from differences(before.get(key), after.get(key), inner)
    elif before != after:
        yield name, before, after
