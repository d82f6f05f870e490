"""Options of the trainer: typed, read from YAML files, changed on the command line.

Every option is named once, here; `configs/voc.yaml` spells all of them out. Files are laid over
each other in the order given, then the command line over them; a name that does not exist or a
value of another type is refused.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from fsr._core.checks import check_between, check_choice, check_positive_int
from fsr.presets import CAMSource, Preset, get_preset
from fsr.schedules import Schedule, warmup_cosine

CONFIGS = Path(__file__).parent / "configs"
DATASETS = ("scenes", "voc", "coco", "folder")
# Options that only one data set reads.
ONLY = {"labels": "folder", "eval_labels": "folder", "masks": "folder", "cache": "coco"}


class ConfigError(ValueError):
    """An option is unknown, has another type, or makes no sense together with another."""


@dataclasses.dataclass
class DataConfig:
    """What is trained and evaluated on."""

    name: str = "voc"
    root: str | None = None
    train_split: str = "train_aug"
    eval_split: str = "val"
    labels: str | None = None
    eval_labels: str | None = None
    masks: str | None = None
    cache: str | None = None
    train_size: int | None = None
    eval_size: int | None = None
    image_size: int = 448
    batch_size: int = 8
    micro_batch: int | None = None
    workers: int | None = None


@dataclasses.dataclass
class ViewsConfig:
    """Options of `fsr.data.TwoViews`."""

    scale: list[float] = dataclasses.field(default_factory=lambda: [0.32, 1.0])
    ratio: list[float] = dataclasses.field(default_factory=lambda: [3 / 4, 4 / 3])
    flip: float = 0.5
    jitter: list[float] = dataclasses.field(default_factory=lambda: [0.4, 0.4, 0.2, 0.1])
    jitter_prob: float = 0.5
    blur_prob: float = 0.0
    solarize_prob: float = 0.0
    rand_augment: bool = False


@dataclasses.dataclass
class ModelConfig:
    """Options of `fsr.SingleStageSegmenter`."""

    backbone: str = "vit_base_patch16_224.orig_in21k_ft_in1k"
    pretrained: bool | str = True
    backbone_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    grad_checkpointing: bool = False
    aux_block: int = -3
    aggregator: str = "mca"
    decoder: str = "largefov"
    projection_dim: int = 4096
    projector_options: dict[str, Any] = dataclasses.field(default_factory=dict)
    decoder_options: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class OptimConfig:
    """AdamW; warm-up and its ratio are fields of the preset."""

    lr: float = 6e-5
    weight_decay: float = 0.05
    head_lr_scale: float = 10.0
    beta1: float = 0.9
    beta2: float = 0.999
    clip_norm: float | None = None
    mixed_precision: str | None = None


@dataclasses.dataclass
class EvalConfig:
    """How the student and the teacher are measured."""

    every: int = 2000
    at_start: bool = True
    image_size: int | None = None
    batch_size: int = 1
    cam_threshold: float = 0.5
    cam_scales: list[float] = dataclasses.field(default_factory=lambda: [1.0, 0.5, 1.5])
    scales: list[float] = dataclasses.field(default_factory=lambda: [1.0])
    flip: bool = True


@dataclasses.dataclass
class RunConfig:
    """What a run writes, and how often."""

    output: str = "runs/voc"
    log_every: int = 200
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    tensorboard: bool = True
    sheet_images: int = 8
    upper_bound: str | None = None


def _optional_fields(source: type, name: str) -> type:
    """Make a dataclass with the fields of another, all optional: None keeps what the preset has."""
    hints = typing.get_type_hints(source)
    made: list[tuple[str, Any, Any]] = []
    for field in dataclasses.fields(source):
        kind = hints[field.name]
        if field.name in ("name", "total_steps"):
            continue
        if dataclasses.is_dataclass(kind):
            made.append((field.name, _CAMConfig, dataclasses.field(default_factory=_CAMConfig)))
        elif typing.get_origin(kind) is tuple:
            made.append((field.name, list[float] | None, dataclasses.field(default=None)))
        else:
            made.append((field.name, kind | None, dataclasses.field(default=None)))
    return dataclasses.make_dataclass(name, made)


_CAMConfig = _optional_fields(CAMSource, "CAMConfig")
_PresetFields = _optional_fields(Preset, "PresetFields")


@dataclasses.dataclass
class PresetConfig(_PresetFields):  # type: ignore[misc, valid-type]
    """A preset and the fields of it to change; see `fsr.presets.Preset` for their meaning."""

    base: str = "reference"


@dataclasses.dataclass
class Config:
    """All options of `examples/train.py`."""

    seed: int = 0
    steps: int = 20_000
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    views: ViewsConfig = dataclasses.field(default_factory=ViewsConfig)
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    preset: PresetConfig = dataclasses.field(default_factory=PresetConfig)
    optim: OptimConfig = dataclasses.field(default_factory=OptimConfig)
    eval: EvalConfig = dataclasses.field(default_factory=EvalConfig)
    run: RunConfig = dataclasses.field(default_factory=RunConfig)


def parse_arguments(argv: Sequence[str]) -> tuple[Config, bool]:
    """Read the command line; return the options and whether to resume.

    Raises:
        ConfigError: a file or an option cannot be used.
        SystemExit: help was asked for, or an unknown switch was given.
    """
    parser = argparse.ArgumentParser(
        prog="train.py",
        allow_abbrev=False,
        description="Train a single-stage segmenter from image-level labels.",
        epilog="Example: train.py --config configs/voc.yaml data.root=VOCdevkit optim.lr=1e-4",
    )
    parser.add_argument(
        "--config",
        action="append",
        metavar="YAML",
        help="options file; may be given again, later files win (default: configs/default.yaml)",
    )
    parser.add_argument("--short", action="store_true", help="lay configs/smoke.yaml over it")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("overrides", nargs="*", metavar="option=value", help="for example seed=1")
    arguments = parser.parse_intermixed_args(argv)
    files = [Path(name) for name in arguments.config or [CONFIGS / "default.yaml"]]
    if arguments.short:
        files.append(CONFIGS / "smoke.yaml")
    return load_config(files, arguments.overrides), arguments.resume


def load_config(files: Sequence[Path | str] = (), overrides: Sequence[str] = ()) -> Config:
    """Lay YAML files and `option=value` strings over the defaults, and check the result.

    Raises:
        ConfigError: with one line that names the option and, if it is unknown, the nearest one.
    """
    config = OmegaConf.structured(Config)
    kinds = dict(_kinds(Config))
    try:
        layers = [_read_yaml(Path(file)) for file in files]
        for text in overrides:
            if "=" not in text:
                raise ConfigError(f"{text}: expected option=value")
            layers.append(OmegaConf.from_dotlist([text]))
        for layer in layers:
            _check_layer(OmegaConf.to_container(layer), kinds)
            config = OmegaConf.merge(config, layer)
        made = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        key = f"{error.full_key}: " if error.full_key else ""
        raise ConfigError(key + str(error).partition("\n")[0].strip()) from None
    checked = typing.cast(Config, made)
    _check(checked)
    return checked


def build_preset(config: Config) -> Preset:
    """Return the preset with the changes of the config, for a run of its length.

    Where the config does not set it, the teacher's momentum is that of the preset, lowered in short
    runs so that its memory, 1 / (1 - momentum) steps, is at most a tenth of the run.

    Raises:
        ConfigError: a field is out of range.
    """
    changes = _given(dataclasses.asdict(config.preset))
    base = changes.pop("base")
    try:
        preset = get_preset(base, **changes, total_steps=config.steps)
        if config.preset.momentum is None:
            short = max(0.0, 1.0 - 10.0 / config.steps)
            preset = dataclasses.replace(preset, momentum=min(preset.momentum, short))
    except (ValueError, TypeError) as error:
        text = str(error).removeprefix("preset: ")
        raise ConfigError(f"preset: {text}") from None
    return preset


def build_learning_rate(config: Config) -> Schedule:
    """Return the learning rate of the encoder as a function of the step.

    Raises:
        ConfigError: the warm-up leaves no step for the decay.
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


def check_same_run(config: Config, saved: dict[str, Any]) -> None:
    """Refuse to resume with options that would make it another run.

    Raises:
        ConfigError: an option differs that a step or a score depends on.
    """
    now = dataclasses.asdict(config)
    for options in (now, saved):
        del options["run"]
        for group, names in (
            ("data", ("root", "masks", "cache", "workers", "micro_batch")),
            ("eval", ("every", "at_start", "batch_size")),
        ):
            for name in names:
                options[group].pop(name, None)
    for name, before, after in _differences(saved, now):
        raise ConfigError(f"{name}: the run was started with {before!r}, --resume got {after!r}")


def accumulation(config: Config, processes: int) -> int:
    """Return the micro-batches per step and process that make up the effective batch.

    Raises:
        ConfigError: the effective batch does not divide.
    """
    data = config.data
    each = data.micro_batch or max(1, data.batch_size // processes)
    if data.batch_size % (each * processes):
        raise ConfigError(
            f"data.batch_size: expected a multiple of data.micro_batch * processes = "
            f"{each} * {processes}, got {data.batch_size}"
        )
    return data.batch_size // (each * processes)


def _read_yaml(path: Path) -> Any:
    """Read one file; an empty one has no options."""
    try:
        layer = OmegaConf.load(path)
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, [f.name for f in CONFIGS.glob("*.yaml")], n=1)
        raise ConfigError(f"--config: no file {path}{_hint(near)}") from None
    except OmegaConfBaseException:
        raise
    except Exception as error:  # PyYAML's errors span lines and have no common public base
        raise ConfigError(f"--config: {path}: {' '.join(str(error).split())}") from None
    if not OmegaConf.is_dict(layer):
        raise ConfigError(f"--config: {path}: expected options and values, got a list")
    return layer


def _kinds(group: type, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every option with its path and type."""
    for key, kind in typing.get_type_hints(group).items():
        yield f"{path}{key}", kind
        if dataclasses.is_dataclass(kind):
            yield from _kinds(typing.cast(type, kind), f"{path}{key}.")


def _check_layer(options: Any, kinds: Mapping[str, Any], path: str = "") -> None:
    """Raise for an option that does not exist, with the nearest that does, or is no such group.

    Other types are OmegaConf's to check, but it takes any number for true or false.
    """
    for key, value in options.items():
        name = f"{path}{key}"
        if name not in kinds:
            same = [other for other in kinds if other.rpartition(".")[2] == str(key)]
            near = same or difflib.get_close_matches(name, kinds, n=1)
            raise ConfigError(f"{name}: unknown option{_hint(near[:1])}")
        kind = kinds[name]
        if kind in (bool, bool | None) and not isinstance(value, bool | None):
            raise ConfigError(f"{name}: expected true or false, got {value!r}")
        if list[float] in (kind, *typing.get_args(kind)) and not isinstance(value, list | None):
            raise ConfigError(f"{name}: expected a list of numbers, got {value!r}")
        if dataclasses.is_dataclass(kind):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{name}: expected options of its own, got {value!r}")
            _check_layer(value, kinds, f"{name}.")


def _differences(before: Any, after: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield what differs between nested options, by dotted name."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted(before.keys() | after.keys()):
            yield from _differences(before.get(key), after.get(key), f"{name}.{key}".lstrip("."))
    elif before != after:
        yield name, before, after


def _hint(near: Sequence[str]) -> str:
    return f" (did you mean {near[0]!r}?)" if near else ""


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what was set, at every level."""
    kept = {}
    for key, value in options.items():
        inner = _given(value) if isinstance(value, Mapping) else value
        if inner is not None and inner != {}:
            kept[key] = inner
    return kept


def _check(config: Config) -> None:
    """Check ranges, so that a run of hours does not end at its first evaluation."""
    try:
        check_choice("data.name", config.data.name, DATASETS)
        positive = {
            "steps": config.steps,
            "data.image_size": config.data.image_size,
            "data.batch_size": config.data.batch_size,
            "data.micro_batch": config.data.micro_batch,
            "data.train_size": config.data.train_size,
            "data.eval_size": config.data.eval_size,
            "model.projection_dim": config.model.projection_dim,
            "eval.every": config.eval.every,
            "run.log_every": config.run.log_every,
            "run.checkpoint_every": config.run.checkpoint_every,
            "run.keep_checkpoints": config.run.keep_checkpoints,
        }
        for name, value in positive.items():
            if value is not None:
                check_positive_int(name, value)
        for name, number, high in (
            ("seed", config.seed, float("inf")),
            ("data.workers", config.data.workers or 0, float("inf")),
            ("run.sheet_images", config.run.sheet_images, float("inf")),
            ("optim.lr", config.optim.lr, float("inf")),
            ("optim.weight_decay", config.optim.weight_decay, float("inf")),
            ("optim.beta1", config.optim.beta1, 1.0),
            ("optim.beta2", config.optim.beta2, 1.0),
            ("eval.cam_threshold", config.eval.cam_threshold, 1.0),
        ):
            check_between(name, number, 0.0, high)
        if config.optim.mixed_precision is not None:
            check_choice(
                "optim.mixed_precision", config.optim.mixed_precision, ("no", "fp16", "bf16")
            )
    except (ValueError, TypeError) as error:
        raise ConfigError(str(error)) from None
    if config.data.name == "scenes" and not (config.data.train_size and config.data.eval_size):
        raise ConfigError("data.train_size, data.eval_size: scenes have no size of their own")
    if config.data.name != "scenes" and config.data.root is None:
        raise ConfigError(f"data.root: the data set {config.data.name!r} needs a folder")
    if config.data.name == "folder" and config.data.labels is None:
        raise ConfigError("data.labels: the data set 'folder' needs a table of labels")
    for option, name in ONLY.items():
        if getattr(config.data, option) is not None and config.data.name != name:
            raise ConfigError(
                f"data.{option}: only the data set {name!r} has it, not {config.data.name!r}"
            )
    build_learning_rate(config)
