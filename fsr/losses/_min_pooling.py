"""The lowest quarter of an image's class activation map is held down."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_floating, check_shape
from fsr._core.numerics import at_least_float32
from fsr.errors import ShapeError


def min_pooling_loss(cam: Tensor) -> Tensor:
    r"""Mean of the lowest quarter of the pixels, each at its highest class.

    .. math:: L = \frac{1}{B k} \sum_b \sum_{i \in Q_b} \mathrm{ReLU}(\max_c z_{bci}), \qquad
              k = \lfloor HW / 4 \rfloor

    with Q the k pixels of least :math:`\max_c z`. SEAM gives it the revised maps of each view at
    their own size, before :func:`fsr.cam.max_norm`: ``(revised * labels)[:, 1:]``.

    Args:
        cam: raw scores of the foreground channels, absent ones set to 0, ``(B, C, H, W)``.

    Returns:
        Scalar of at least 0, in at least float32; of fewer than four pixels the quarter is empty,
        and the loss a zero that is attached to the graph.

    Raises:
        ShapeError: ``cam`` has the wrong shape, or there is no image or class.
        TypeError: ``cam`` is not floating point.

    Source:
        Wang et al., "Self-Supervised Equivariant Attention Mechanism for Weakly Supervised
        Semantic Segmentation", CVPR 2020; YudeWang/SEAM@3212261 (MIT).

    Example:
        >>> import torch
        >>> min_pooling_loss(torch.tensor([[[[3.0, 9.0], [0.0, 5.0]], [[2.0, 1.0], [0.5, 1.0]]]]))
        tensor(0.5000)
    """
    batch, classes, height, width = check_shape("cam", cam, "B C H W")
    check_floating("cam", cam)
    if min(batch, classes) < 1:
        raise ShapeError(f"cam: expected at least one image and class, got {tuple(cam.shape)}")
    count = height * width // 4
    highest = at_least_float32(cam).amax(dim=1).flatten(1)
    lowest = highest.topk(count, dim=1, largest=False).values
    return F.relu(lowest).sum() / (batch * max(count, 1))
