"""Everything that a step touches, built from the options: processes, networks, optimiser."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from fsr._core.optional import import_extra
from fsr.backbone import compile_blocks
from fsr.data import derive_seed
from fsr.errors import ConfigError
from fsr.objective import TrainingObjective, check_masks
from fsr.presets import Method
from fsr.schedules import Schedule
from fsr.segmenter import FEATURES, Aggregator, Decoder, SingleStageSegmenter, encoder_names
from fsr.teacher import EMATeacher, unwrap
from fsr.train._checks import accumulation
from fsr.train._loading import Loading, loading_here
from fsr.train._optimizer import build_learning_rate, build_optimizer, first_unscaled_step
from fsr.train._options import Config
from fsr.train._preset_options import build_method
from fsr.train._start import start_from

if TYPE_CHECKING:
    from accelerate import Accelerator

# What a seed is for; 0 and 1 are order and augmentation, in fsr.data._stream.
INITIAL_WEIGHTS, NETWORK_NOISE, MASKS, SHEET = 2, 3, 4, 5

TeacherFactory = Callable[[SingleStageSegmenter, Schedule], EMATeacher[SingleStageSegmenter]]


@dataclass
class Parts:
    """Everything that a step touches."""

    accelerator: Accelerator
    loading: Loading
    objective: TrainingObjective
    teacher: EMATeacher[SingleStageSegmenter] | None
    optimizer: Any
    learning_rate: Schedule
    momentum: Schedule | None
    clip_norm: float
    unscaled_from: int

    @property
    def accumulation(self) -> int:
        """Micro-batches per step and process."""
        return int(self.accelerator.gradient_accumulation_steps)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The networks and the state of the objective's terms, as a checkpoint holds them."""
        student = unwrap(self.objective.student)
        teacher = {} if self.teacher is None else {"teacher": self.teacher.module}
        return {"student": student, **teacher, "objective": self.objective}


def build_accelerator(config: Config) -> Accelerator:
    """Join the processes that were launched, on GPUs or, where there are none, on the CPU.

    Args:
        config: options of the run.

    Raises:
        ConfigError: launched for another form of parallelism, or the batch does not divide.
        ImportError: Accelerate is not installed (extra ``train``).
    """
    accelerate = import_extra("accelerate", "train", "fsr.train")
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    # Accelerate joins CPU processes only when told to; untold, each would make a run of its own.
    cpu = launched > 1 and not torch.accelerator.is_available()
    try:
        accelerator = accelerate.Accelerator(cpu=cpu, mixed_precision=config.optim.mixed_precision)
    except ValueError as error:  # of a precision that the device does not have
        raise ConfigError(
            f"optim.mixed_precision: {' '.join(str(error).split())}; optim.mixed_precision=no is "
            "full precision"
        ) from None
    if accelerator.distributed_type.value in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
        raise ConfigError(
            f"{accelerator.distributed_type.value}: the checkpoints of a run hold whole "
            "networks; launch it with plain data parallelism"
        )
    if accelerator.num_processes != launched:
        raise ConfigError(
            f"{launched} processes were launched, but Accelerate joins {accelerator.num_processes}"
        )
    accelerator.gradient_accumulation_steps = accumulation(config, launched)
    return accelerator


def build_student(config: Config, class_names: Sequence[str]) -> SingleStageSegmenter:
    """Build the student; its initial weights are a function of the seed.

    Args:
        config: options of the run.
        class_names: names of the classes, without background.

    Raises:
        ConnectionError: the encoder's weights are not here and cannot be fetched.
        FileNotFoundError: there is no file at the path ``model.start``.
        ValueError: an option of the network cannot be used, or the file does not fit the network.

    Example:
        >>> from fsr.train import load_config
        >>> build_student(load_config(), ["cat", "dog"]).class_names
        ('cat', 'dog')
    """
    preset, model = build_method(config), config.model
    torch.manual_seed(derive_seed(config.seed, INITIAL_WEIGHTS, 0))
    student = SingleStageSegmenter(
        len(class_names),
        model.backbone,
        pretrained=model.pretrained,
        image_size=config.data.image_size,
        aux_block=model.aux_block,
        aggregator=cast(Aggregator, model.aggregator),
        decoder=cast(Decoder, model.decoder),
        projection_dim=model.projection_dim,
        backbone_options={**_encoder_options(preset, model.backbone), **model.backbone_options},
        aggregator_options=model.aggregator_options,
        projector_options=model.projector_options,
        decoder_options=model.decoder_options,
        heads={**preset.heads(), **model.heads},
        class_tokens=preset.class_tokens,
    )
    if model.grad_checkpointing:
        for name in encoder_names(student):
            encoder: Any = student.get_submodule(name)
            encoder.model.set_grad_checkpointing(True)
    student.class_names = tuple(class_names)
    if model.start is not None:
        start_from(student, model.start)
    return student


def build_parts(
    config: Config,
    student: SingleStageSegmenter,
    accelerator: Accelerator,
    make_teacher: TeacherFactory = EMATeacher,
) -> Parts:
    """Build teacher, objective and optimiser around a student.

    Args:
        config: options of the run.
        student: the network to train.
        accelerator: what :func:`build_accelerator` returned.
        make_teacher: makes the teacher from the student and its momentum.
    """
    preset, optim = build_method(config), config.optim
    momentum = preset.momentum_schedule()
    teacher = None
    if momentum is not None:
        teacher = make_teacher(student, momentum).to(accelerator.device)
    # On a CPU the fused step saves little, and runs would not repeat those of earlier releases.
    fused = accelerator.device.type == "cuda"
    optimizer = build_optimizer(config, student, fused=fused)
    wrapped, optimizer = accelerator.prepare(student, optimizer)
    # What moves along with the steps moves once per micro-batch.
    preset = preset.per_micro_batch(accelerator.gradient_accumulation_steps)
    objective = TrainingObjective(wrapped, teacher, preset=preset)
    side = config.data.image_size
    grid = student.backbone.grid(torch.empty(1, 3, side, side, device="meta"))
    check_masks(objective.masks.values(), grid)
    if config.run.compile_blocks:
        _compile(*([student] if teacher is None else [student, teacher.module]))
    return Parts(
        accelerator=accelerator,
        loading=loading_here(config, accelerator),
        objective=objective.to(accelerator.device),
        teacher=teacher,
        optimizer=optimizer,
        learning_rate=build_learning_rate(config),
        momentum=momentum,
        clip_norm=float("inf") if optim.clip_norm is None else optim.clip_norm,
        unscaled_from=first_unscaled_step(config),
    )


def heading(config: Config, folder: Path, step: int, parts: Parts) -> str:
    """Say what runs where, and at which effective batch."""
    accelerator, batch = parts.accelerator, config.data.batch_size
    each = batch // (parts.accumulation * accelerator.num_processes)
    return (
        f"{folder}: steps {step} to {config.steps}, preset {parts.objective.recipe.name}, "
        f"effective batch {batch} = {each} images x {parts.accumulation} micro-batches x "
        f"{accelerator.num_processes} processes, on {accelerator.device}, "
        f"precision {accelerator.mixed_precision}, data workers {parts.loading.workers}"
    )


def _compile(*networks: SingleStageSegmenter) -> None:
    """Compile the blocks of networks; the error names the option."""
    for network in networks:
        try:
            compile_blocks(network)
        except ValueError as error:
            raise ConfigError(f"run.compile_blocks: {str(error).removeprefix('model: ')}") from None


def _encoder_options(preset: Method, backbone: str) -> dict[str, Any]:
    """Return a method's options of its encoder; networks of feature maps do not all have them."""
    if backbone.startswith(FEATURES):
        return {}
    return {"drop_path_rate": preset.drop_path_rate, **preset.backbone_options()}
