"""Agreement of a second view's patches with the first view's, moved as the picture was."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr._core.checks import check_floating, check_same_device, check_shape, check_unit_interval
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.cam import crop_maps, filter_by_labels, flip_maps, unflip_maps
from fsr.errors import ShapeError

EPS = 1e-7


def equivariance_targets(
    probabilities: Tensor,
    labels: Tensor,
    *,
    flips: Tensor,
    target_flips: Tensor,
    size: tuple[int, int],
    box: Tensor | None = None,
) -> Tensor:
    """What the first view's probabilities say of the second view's patches.

    The flips of the first view are undone; then comes what made the second view of the picture, in
    this order: the crop, resized, and the flips. Last come the labels: see
    :func:`fsr.cam.filter_by_labels`.

    Args:
        probabilities: of the first view's patches, background first, ``(B, C + 1, S, S)``.
        labels: multi-hot labels, background first, ``(B, C + 1)``; the background's is 1 in every
            image. (The released code takes it from the ground truth.)
        flips: the first view's: left-right, up-down, transposed, ``(B, 3)``, where > 0.
        target_flips: the second view's.
        size: the second view's patches, height and width, the same number.
        box: top, bottom, left and right of the second view in patches of the picture, half-open,
            ``(B, 4)`` integers; all of it if None.

    Returns:
        ``(B, C + 1, *size)``, 0 to 1, in at least float32 and without gradient.

    Raises:
        ShapeError: a shape is wrong or does not fit the others, or a map is not square.
        TypeError: ``probabilities`` is not floating point or ``box`` not integer.
        ValueError: a box is empty or not within the map (not tested under ``torch.compile``).

    Source:
        Rossetti et al., "Max Pooling with Vision Transformers Reconciles Class and Shape in Weakly
        Supervised Semantic Segmentation", ECCV 2022; deepplants/ViT-PCM@1fea66f (CC0).

    Example:
        >>> first = torch.tensor([[[[0.9, 0.2], [0.9, 0.2]], [[0.1, 0.8], [0.1, 0.8]]]])
        >>> plain, mirrored = torch.tensor([[0, 0, 0]]), torch.tensor([[1, 0, 0]])
        >>> equivariance_targets(
        ...     first, torch.ones(1, 2), flips=plain, target_flips=mirrored, size=(2, 2)
        ... )[0, 1]
        tensor([[0.8182, 0.1111],
                [0.8182, 0.1111]])
    """
    check_shape("probabilities", probabilities, "B C+1 S S")
    check_same_device(
        probabilities=probabilities, labels=labels, flips=flips, target_flips=target_flips, box=box
    )
    if probabilities.shape[2] != probabilities.shape[3]:
        raise ShapeError(f"probabilities: expected square maps, got {tuple(probabilities.shape)}")
    check_floating("probabilities", probabilities)
    with torch.no_grad():
        plain = unflip_maps(probabilities, flips)
        return filter_by_labels(flip_maps(crop_maps(plain, box, size), target_flips), labels)


def patch_cross_entropy(probabilities: Tensor, targets: Tensor) -> Tensor:
    r"""Cross entropy of every patch's probabilities with its target, averaged over the patches.

    .. math:: L = -\frac{1}{B h w} \sum_{b,i,c} \hat p_{b,c,i}
              \log \max(p_{b,c,i}, 10^{-7}).

    Args:
        probabilities: softmax over background and classes, ``(B, K, h, w)``, 0 to 1. Below 1e-7
            they have no gradient, as in the released code.
        targets: of the same shape, 0 to 1, from :func:`equivariance_targets`; constants. A patch
            whose target is 0 in every channel adds 0 but counts.

    Returns:
        Scalar of at least 0, in at least float32.

    Raises:
        ShapeError: the shapes are wrong or differ, or there is no patch.
        TypeError: an argument is not floating point.
        ValueError: a value is outside 0 to 1 (not tested under ``torch.compile``).

    Source:
        Rossetti et al., "Max Pooling with Vision Transformers Reconciles Class and Shape in Weakly
        Supervised Semantic Segmentation", ECCV 2022; deepplants/ViT-PCM@1fea66f (CC0).

    Example:
        >>> probabilities = torch.tensor([[[[0.5]], [[0.5]]]])
        >>> patch_cross_entropy(probabilities, torch.tensor([[[[1.0]], [[0.0]]]]))
        tensor(0.6931)
    """
    shape = check_shape("probabilities", probabilities, "B K h w")
    check_shape("targets", targets, "B K h w", **dict(zip("BKhw", shape, strict=True)))
    check_same_device(probabilities=probabilities, targets=targets)
    check_floating("probabilities", probabilities, finite=False)
    check_floating("targets", targets, finite=False)
    if min(shape) < 1:
        raise ShapeError(f"probabilities: expected at least one patch, got {shape}")
    check_unit_interval(probabilities=probabilities, targets=targets)
    with no_autocast(probabilities):
        logarithms = at_least_float32(probabilities).clamp(min=EPS).log()
        return -(targets.detach().to(logarithms.dtype) * logarithms).sum(dim=1).mean()
