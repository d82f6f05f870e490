"""Maps of class tokens and of patches made one, and spread along the affinity of patches."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_floating, check_same_device, check_shape
from fsr._core.numerics import at_least_float32, no_autocast


def fuse_maps(class_maps: Tensor, patch_maps: Tensor) -> Tensor:
    r"""Geometric mean of class attention and the positive part of the patch classifier's maps.

    .. math:: M_{ci} = \sqrt{a_{ci}\, \mathrm{ReLU}(p_{ci})}

    Args:
        class_maps: a from :func:`class_attention_maps`, ``(B, C, H, W)``, at least 0.
        patch_maps: p, what the patch classifier gives before the pooling, ``(B, C, H, W)``.

    Returns:
        ``(B, C, H, W)`` of at least 0, in at least float32. Where it is 0, so is the gradient,
        which of a root would be infinite.

    Raises:
        ShapeError: a shape is wrong or does not fit the other.
        TypeError: an argument is not floating point.

    Source:
        Xu et al., "MCTformer+: Multi-Class Token Transformer for Weakly Supervised Semantic
        Segmentation", TPAMI 2024; xulianuwa/MCTformer@0acc27a.

    Example:
        >>> fuse_maps(torch.tensor([[[[0.5, 0.2]]]]), torch.tensor([[[[2.0, -1.0]]]]))
        tensor([[[[1., 0.]]]])
    """
    batch, classes, height, width = check_shape("class_maps", class_maps, "B C H W")
    check_shape("patch_maps", patch_maps, "B C H W", B=batch, C=classes, H=height, W=width)
    check_same_device(class_maps=class_maps, patch_maps=patch_maps)
    check_floating("class_maps", class_maps)
    check_floating("patch_maps", patch_maps)
    product = at_least_float32(class_maps) * F.relu(at_least_float32(patch_maps))
    positive = product > 0
    return torch.where(positive, torch.where(positive, product, 1.0).sqrt(), 0.0)


def refine_maps(maps: Tensor, affinity: Tensor) -> Tensor:
    r"""Maps spread along an affinity, row by row: :math:`R_{ci} = \sum_j A_{ij} M_{cj}`.

    Args:
        maps: M on the patch grid, ``(B, C, H, W)``.
        affinity: A of the patches in row-major order, ``(B, N, N)`` with ``N = H * W``, for example
            from :func:`patch_affinity`.

    Returns:
        ``(B, C, H, W)``, in at least float32. Rows are taken as they are: the sum over blocks of
        :func:`patch_affinity` makes values larger, which min-max takes back.

    Raises:
        ShapeError: a shape is wrong or does not fit the other.
        TypeError: an argument is not floating point.

    Source:
        Xu et al., "MCTformer+: Multi-Class Token Transformer for Weakly Supervised Semantic
        Segmentation", TPAMI 2024; xulianuwa/MCTformer@0acc27a.

    Example:
        >>> affinity = torch.tensor([[[1.0, 3.0], [0.0, 1.0]]])
        >>> refine_maps(torch.tensor([[[[1.0, 2.0]]]]), affinity)
        tensor([[[[7., 2.]]]])
    """
    batch, classes, height, width = check_shape("maps", maps, "B C H W")
    check_shape("affinity", affinity, "B N N", B=batch, N=height * width)
    check_same_device(maps=maps, affinity=affinity)
    check_floating("maps", maps)
    check_floating("affinity", affinity)
    with no_autocast(maps):
        weights = at_least_float32(affinity)
        spread = at_least_float32(maps).flatten(2).to(weights.dtype) @ weights.transpose(1, 2)
        return spread.reshape(batch, classes, height, width)
