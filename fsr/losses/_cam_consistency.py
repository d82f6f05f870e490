"""The student's class activation maps follow the teacher's; not in the paper."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import (
    check_floating,
    check_multi_hot,
    check_same_device,
    check_shape,
    check_unit_interval,
)
from fsr._core.numerics import at_least_float32, no_autocast

# Maps whose scores differ by less are stretched no further: the gradient grows as they flatten.
FLAT = 0.1


def cam_consistency_loss(scores: Tensor, target: Tensor, labels: Tensor) -> Tensor:
    r"""Squared error of the student's normalised CAM of each present class.

    .. math:: L = \frac{1}{|P|} \sum_{(b, c) \in P} \frac{1}{HW} \sum_i (p_{bci} - q_{bci})^2,
              \qquad p = \frac{r - \min r}{\max(\max r - \min r,\ 0.1)},
              \quad r = \mathrm{ReLU}(z)

    Not in the paper. P are the classes of the batch's images whose target is not 0 everywhere, as
    that of a constant map is: it says nothing. The CAM p of the student is that of Eq. 2, but for
    scores that hardly differ, which are not stretched to 1. A cross entropy has no finite gradient
    where p is 0, and one of sigmoids would have another minimum than p = q, at which maps shrink.

    Args:
        scores: the student's class scores z of every patch, before or after ReLU, ``(B, C, H, W)``.
        target: the teacher's normalised CAM q of the same view, ``(B, C, H, W)``, 0 to 1;
            constants.
        labels: multi-hot image-level labels, ``(B, C)``; a class is present where they are > 0.

    Returns:
        Scalar from 0 to 1, in at least float32; without any such class a zero that is attached to
        the graph.

    Raises:
        ShapeError: a shape is wrong or does not fit the others.
        TypeError: ``scores`` or ``target`` is not floating point.
        ValueError: ``target`` holds NaN or values outside 0 to 1.

    Source:
        Not in the paper; after the swapped targets of Yang et al., "Weakly Supervised Co-training
        with Swapping Assignments for Semantic Segmentation" (CoSA), ECCV 2024.

    Example:
        >>> import torch
        >>> scores = torch.tensor([[[[-1.0, 2.0, 4.0]]]])
        >>> target = torch.tensor([[[[0.0, 0.5, 1.0]]]])
        >>> cam_consistency_loss(scores, target, torch.ones(1, 1))
        tensor(0.)
    """
    batch, classes, height, width = check_shape("scores", scores, "B C H W")
    check_shape("target", target, "B C H W", B=batch, C=classes, H=height, W=width)
    check_shape("labels", labels, "B C", B=batch, C=classes)
    check_multi_hot("labels", labels)
    check_same_device(scores=scores, target=target, labels=labels)
    check_floating("scores", scores)
    check_floating("target", target, finite=False)
    check_unit_interval(target=target)
    with no_autocast(scores):
        taught = at_least_float32(target.detach())
        rectified = F.relu(at_least_float32(scores))
        raised = rectified - rectified.amin(dim=(2, 3), keepdim=True)
        cam = raised / raised.amax(dim=(2, 3), keepdim=True).clamp(min=FLAT)
        errors = (cam - taught).square().mean(dim=(2, 3))
        counted = (labels > 0) & (taught.amax(dim=(2, 3)) > 0)
        return (errors * counted).sum() / counted.sum().clamp(min=1)
