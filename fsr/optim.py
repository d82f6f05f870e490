"""Parameter groups of the released recipe: embeddings undecayed, heads learn faster."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer

from fsr._core.arguments import check_int, check_module
from fsr._core.checks import check_between, check_choice, check_dense

# Parameters that hold one learned vector per position or per special token: shrinking them towards
# zero would pull at what the tokens mean, not at how strongly features are mixed.
_EMBEDDING_NAMES = ("pos_embed", "token", "embedding")


def is_decayed(name: str, parameter: nn.Parameter) -> bool:
    """Tell whether weight decay applies: matrices and kernels yes, vectors and embeddings no.

    Args:
        name: dotted name of the parameter within its model.
        parameter: the parameter itself.

    Returns:
        False for tensors of at most one dimension (biases, norms) and for position embeddings and
        class, distillation, register and mask tokens, True for everything else.

    Example:
        >>> import torch
        >>> is_decayed("blocks.0.mlp.fc1.weight", nn.Parameter(torch.zeros(8, 4)))
        True
        >>> is_decayed("pos_embed", nn.Parameter(torch.zeros(1, 9, 4)))
        False
    """
    if not isinstance(name, str):
        raise TypeError(f"name: expected the name of a parameter, got {type(name).__name__}")
    check_dense("parameter", parameter)
    return parameter.ndim > 1 and not name.rpartition(".")[2].endswith(_EMBEDDING_NAMES)


def parameter_groups(
    model: nn.Module,
    lr: float,
    *,
    weight_decay: float = 0.05,
    head_lr_scale: float = 10.0,
    base: Iterable[str] = ("backbone", "aggregator"),
    classifier_lr_scale: float | None = None,
    classifiers: Iterable[str] = ("classifier", "aux_classifier"),
    bias_lr_scale: float = 1.0,
) -> list[dict[str, Any]]:
    """Split the trainable parameters into base and head, decayed and not, for an optimiser.

    Args:
        model: module whose submodules are named by ``base``; unwrapped (no DDP, not compiled).
        lr: learning rate of the base parameters.
        weight_decay: decay of the decayed groups.
        head_lr_scale: learning rate of everything outside ``base``, in units of ``lr``.
        base: children that learn at ``lr``, or parts of them by dotted name. The released code
            counts the aggregation blocks to its encoder and so trains them at the encoder's rate;
            the default follows it.
        classifier_lr_scale: learning rate of the classifiers, in units of ``lr``; None counts them
            to the heads. In short runs they need more than the decoder bears.
        classifiers: children that this is about; read only with ``classifier_lr_scale``.
        bias_lr_scale: learning rate of biases, in units of that of their part; recipes of
            convolutional networks take 2.

    Returns:
        At most six groups, three more where biases have a rate of their own, empty ones left out,
        each with ``name``, ``params``, ``parameter_names``, ``lr``, ``lr_scale`` (see
        :func:`set_learning_rate`) and ``weight_decay``. Frozen parameters are in none of them; a
        parameter shared by two modules is in one. timm's schedulers multiply by ``lr_scale`` too:
        for them set every group's ``lr`` to the one of the base.

    Raises:
        ValueError: a name in ``base`` or ``classifiers`` is no child of ``model``, or a number is
            negative.

    Source:
        Implementation details of the paper; group rules of the released code.

    Example:
        >>> from collections import OrderedDict
        >>> parts = OrderedDict(backbone=nn.Linear(4, 4), decoder=nn.Linear(4, 2))
        >>> groups = parameter_groups(nn.Sequential(parts), 1e-4, base=["backbone"])
        >>> [(group["name"], group["lr"], group["weight_decay"]) for group in groups]
        [('base', 0.0001, 0.05), ('base_no_decay', 0.0001, 0.0), ('head', 0.001, 0.05), ('head_no_decay', 0.001, 0.0)]
    """  # noqa: E501 - the last line is output of the example
    check_module("model", model)
    check_between("lr", lr, 0.0, float("inf"))
    check_between("weight_decay", weight_decay, 0.0, float("inf"))
    check_between("head_lr_scale", head_lr_scale, 0.0, float("inf"))
    check_between("bias_lr_scale", bias_lr_scale, 0.0, float("inf"))
    scales = {"base": 1.0, "head": head_lr_scale}
    owners = {"base": set(base)}
    if classifier_lr_scale is not None:
        check_between("classifier_lr_scale", classifier_lr_scale, 0.0, float("inf"))
        scales["classifier"] = classifier_lr_scale
        owners["classifier"] = set(classifiers)
    _check_children(model, owners)
    part_of = {name: part for part, names in owners.items() for name in names}
    kinds = {"": (weight_decay, 1.0), "_no_decay": (0.0, 1.0), "_bias": (0.0, bias_lr_scale)}
    groups = {
        part + kind: _empty_group(part + kind, lr, own * more, decay)
        for part, own in scales.items()
        for kind, (decay, more) in kinds.items()
    }
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        part = next((part_of[p] for p in part_of if name.startswith(f"{p}.")), "head")
        kind = "" if is_decayed(name, parameter) else "_no_decay"
        if bias_lr_scale != 1 and name.rpartition(".")[2] == "bias":
            kind = "_bias"
        group = groups[part + kind]
        group["params"].append(parameter)
        group["parameter_names"].append(name)
    return [group for group in groups.values() if group["params"]]


def _check_children(model: nn.Module, owners: dict[str, set[str]]) -> None:
    """Raise unless every name is that of a child of the model, or of one further inside."""
    modules = [name for name, _ in model.named_modules() if name]
    for part, names in owners.items():
        for name in sorted(names):
            known = [other for other in modules if other.count(".") == name.count(".")]
            check_choice("base" if part == "base" else "classifiers", name, known)


def _empty_group(name: str, lr: float, scale: float, weight_decay: float) -> dict[str, Any]:
    """Return a group without parameters yet."""
    return {
        "name": name,
        "params": [],
        "parameter_names": [],
        "lr": lr * scale,
        "lr_scale": scale,
        "weight_decay": weight_decay,
    }


def freeze_norms(model: nn.Module) -> int:
    """Stop the training of every normalisation layer's weights; return how many tensors that are.

    Batch norms also keep their running statistics, and normalise by them in training mode too.

    Args:
        model: a module; of its layers those with ``Norm`` in the name of their class are meant.

    Source:
        The recipe of AFA, and of the convolutional networks of 1Stage, SEAM, ReCAM and RRM.

    Example:
        >>> freeze_norms(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
        2
    """
    check_module("model", model)
    frozen = [
        parameter
        for module in model.modules()
        if "Norm" in type(module).__name__
        for parameter in module.parameters(recurse=False)
    ]
    for parameter in frozen:
        parameter.requires_grad_(False)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            # `model.train()` turns every layer on again: the last word is had right before its use.
            module.register_forward_pre_hook(_as_in_evaluation)
    return len(frozen)


def _as_in_evaluation(module: nn.Module, _: Any) -> None:
    """Put a layer into evaluation mode."""
    module.training = False


def freeze_early_blocks(encoder: Any, trained: int) -> int:
    """Stop the training of all of an encoder but its last blocks and its final norm.

    Args:
        encoder: a :class:`fsr.backbone.ViTBackbone`.
        trained: how many of the last blocks go on learning, from 0 to all of them.

    Returns:
        How many tensors are frozen.

    Raises:
        ValueError: the encoder has no blocks, or not so many.

    Source:
        The recipe of ViT-PCM.

    Example:
        >>> from fsr.backbone import ViTBackbone
        >>> encoder = ViTBackbone("fsr_scenes_tiny", image_size=96)
        >>> frozen = freeze_early_blocks(encoder, 2)
        >>> encoder.model.blocks[-2].mlp.fc1.weight.requires_grad
        True
    """
    if not hasattr(encoder, "model"):
        raise TypeError(
            f"encoder: expected a backbone of this package, got {type(encoder).__name__}"
        )
    check_int("trained", trained)
    blocks = list(getattr(encoder.model, "blocks", ()))
    if not 0 <= trained <= len(blocks) or not blocks:
        raise ValueError(
            f"trained_blocks: expected 0 to the number of the encoder's blocks, {len(blocks)}, "
            f"got {trained}"
        )
    learning = (*blocks[len(blocks) - trained :], encoder.norm)
    kept = {id(parameter) for module in learning for parameter in module.parameters()}
    frozen = [parameter for parameter in encoder.parameters() if id(parameter) not in kept]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return len(frozen)


def set_learning_rate(
    optimizer: Optimizer, lr: float, step: int | None = None, *, scaled: bool = True
) -> None:
    """Set every group's learning rate to ``lr`` times the group's ``lr_scale`` (1 if it has none).

    Args:
        optimizer: optimiser over groups such as :func:`parameter_groups` returns.
        lr: learning rate of the base groups, for example a value of
            :func:`fsr.schedules.warmup_cosine`.
        step: step of the run; before the step ``start`` of a group that has one its rate is 0.
        scaled: False sets ``lr`` itself, the same for all groups.

    Example:
        >>> import torch
        >>> weight = nn.Parameter(torch.zeros(2))
        >>> optimizer = torch.optim.AdamW([{"params": [weight], "lr_scale": 10.0}])
        >>> set_learning_rate(optimizer, 0.5)
        >>> optimizer.param_groups[0]["lr"]
        5.0
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer: expected one of torch's kind, got {type(optimizer).__name__}")
    check_between("lr", lr, 0.0, float("inf"), inclusive=True)
    if step is not None:
        check_int("step", step)
    for group in optimizer.param_groups:
        waits = step is not None and step < group.get("start", 0)
        rate = lr * group.get("lr_scale", 1.0) if scaled else lr
        group["lr"] = 0.0 if waits else rate
