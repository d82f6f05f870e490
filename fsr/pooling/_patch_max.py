"""Class scores of patches that compete: the largest probability that any patch gives a class."""

from __future__ import annotations

from torch import Tensor

from fsr._core.checks import check_floating, check_shape
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.errors import ShapeError


def patch_max(logits: Tensor) -> Tensor:
    r"""Probability of every class at the patch that is surest of it.

    .. math:: s_c = \max_i \operatorname{softmax}_c(z_i)

    Softmax over the classes, background among them, at every patch, then the maximum over patches.
    Where several patches share a maximum, the gradient goes to one of them.

    Args:
        logits: patch scores with background first, ``(B, C + 1, h, w)``, any real scale.

    Returns:
        ``(B, C + 1)``, 0 to 1, in at least float32; the scores of an image do not sum to 1.

    Raises:
        ShapeError: ``logits`` has the wrong shape, or there is no class or patch.
        TypeError: ``logits`` is not floating point.

    Source:
        Rossetti et al., "Max Pooling with Vision Transformers Reconciles Class and Shape in Weakly
        Supervised Semantic Segmentation", ECCV 2022; deepplants/ViT-PCM@1fea66f (CC0).

    Example:
        >>> import torch
        >>> patch_max(torch.tensor([[[[0.0, 9.0]], [[0.0, 0.0]]]]))
        tensor([[0.9999, 0.5000]])
    """
    _, channels, height, width = check_shape("logits", logits, "B C+1 h w")
    check_floating("logits", logits)
    if min(channels, height, width) < 1:
        raise ShapeError(
            f"logits: expected at least one class and patch, got {tuple(logits.shape)}"
        )
    with no_autocast(logits):
        return at_least_float32(logits).softmax(dim=1).flatten(2).max(dim=2).values
