"""The optimiser of a run and its learning rate, from the options."""

from __future__ import annotations

import torch
from torch.optim import Optimizer

from fsr.errors import ConfigError
from fsr.optim import freeze_early_blocks, freeze_norms, parameter_groups
from fsr.schedules import Schedule, constant, switch, two_poly, warmup_cosine, warmup_poly
from fsr.segmenter import SingleStageSegmenter, encoder_names
from fsr.train._options import Config
from fsr.train._preset_options import build_method

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("warmup_cosine", "warmup_poly", "two_poly", "constant", "switch")


def build_learning_rate(config: Config) -> Schedule:
    """Return the learning rate of the encoder as a function of the step.

    Args:
        config: options of the run.

    Raises:
        ConfigError: the warm-up leaves no step for the decay, or a number is out of range.

    Example:
        >>> build_learning_rate(Config(steps=100))(100)
        0.0
    """
    preset, optim, steps = build_method(config), config.optim, config.steps
    ratio = getattr(preset, "learning_rate_warmup_ratio", 0.1)
    warmup = preset.learning_rate_warmup_steps()
    try:
        if optim.schedule == "constant":
            if warmup > 0:
                raise ValueError(f"expected 0 with optim.schedule=constant, got {warmup} steps")
            return constant(optim.lr)
        if optim.schedule == "warmup_poly":
            return warmup_poly(
                optim.lr,
                warmup_steps=warmup,
                total_steps=steps,
                warmup_ratio=ratio,
                power=optim.power,
            )
        second = optim.lr if optim.second_lr is None else optim.second_lr
        if optim.schedule == "switch":
            return switch(optim.lr, second, round(optim.second_from * steps))
        if optim.schedule == "two_poly":
            return two_poly(
                optim.lr,
                second,
                at_step=round(optim.second_from * steps),
                total_steps=steps,
                power=optim.power,
            )
        return warmup_cosine(
            optim.lr,
            warmup_steps=warmup,
            total_steps=steps,
            warmup_ratio=ratio,
            final=optim.last_lr,
        )
    except ValueError as error:
        where = "optim" if optim.schedule == "two_poly" else "preset.learning_rate_warmup"
        raise ConfigError(f"{where}: {error}") from None


def first_unscaled_step(config: Config) -> int:
    """Return the step from which on all parts of the network learn at one rate.

    Args:
        config: options of the run.

    Returns:
        A step counted from 0; past the end of the run where parts keep their scales.

    Example:
        >>> from fsr.train import load_config
        >>> options = ["optim.schedule=two_poly", "optim.second_scaled=false", "steps=10"]
        >>> first_unscaled_step(load_config(overrides=options)), first_unscaled_step(Config())
        (5, 20001)
    """
    optim = config.optim
    if optim.schedule == "two_poly" and not optim.second_scaled:
        return round(optim.second_from * config.steps)
    return config.steps + 1


def build_optimizer(
    config: Config, student: SingleStageSegmenter, *, fused: bool = False
) -> Optimizer:
    """Return the optimiser over the student's groups of parameters; norms are frozen where asked.

    Args:
        config: options of the run.
        student: the network to train, unwrapped.
        fused: make an AdamW step in few kernels, for which the host waits nowhere. It rounds in
            another way; states of both go on with each other.
    """
    optim = config.optim
    encoders = encoder_names(student)
    if optim.freeze_norms:
        for name in encoders:
            freeze_norms(student.get_submodule(name))
    if optim.trained_blocks is not None:
        freeze_early_blocks(student.backbone, optim.trained_blocks)
    groups = parameter_groups(
        student,
        optim.lr,
        weight_decay=optim.weight_decay,
        head_lr_scale=optim.head_lr_scale,
        base=[*encoders, *(["aggregator"] if student.aggregator is not None else [])],
        classifier_lr_scale=optim.classifier_lr_scale,
        classifiers=[
            name for name in ("classifier", "aux_classifier") if getattr(student, name) is not None
        ],
        bias_lr_scale=optim.bias_lr_scale,
    )
    if optim.encoder_from:
        for group in groups:
            if group["name"].startswith("base"):
                group["start"] = round(optim.encoder_from * config.steps)
    if optim.name == "sgd":
        return torch.optim.SGD(groups, momentum=optim.sgd_momentum)
    # None is torch's own choice, which is not the fused one.
    betas = (optim.beta1, optim.beta2)
    return torch.optim.AdamW(groups, betas=betas, fused=fused or None)
