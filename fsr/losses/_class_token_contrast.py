"""Class-token contrast (CTC): crops that show the image's objects are drawn to it, others apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_between, check_floating, check_same_device, check_shape
from fsr._core.module import TypedModule
from fsr._core.numerics import at_least_float32, no_autocast

EPS = 1e-4


def class_token_contrast(
    student: Tensor, teacher: Tensor, positive: Tensor, temperature: float = 0.5
) -> Tensor:
    r"""InfoNCE loss of an image's crops against its global views as the teacher sees them.

    With :math:`e_{tv} = \exp(\langle q_t, p_v \rangle / \tau)` of teacher view t and student view v
    of one image, :math:`P` its positive views and :math:`n_t` the sum of :math:`e_{tv}` over its
    negative views plus :math:`10^{-4}`,

    .. math:: \frac{1}{T\,(|P| + 10^{-4})} \sum_t \Bigl[
              - \log \frac{1}{1 + n_t}
              - \sum_{v \in P} \log \frac{e_{tv}}{e_{tv} + n_t} \Bigr]

    averaged over the images. The first term, that of a positive of similarity 0, is always there,
    as released. Projections enter as they are, of any length. It is computed through logarithms of
    sums, so that no exponential overflows.

    Args:
        student: projections p of the class tokens of V views, ``(V, B, K)``.
        teacher: projections q of the global views, ``(T, B, K)``; two in ToCo. Constants.
        positive: which views are positive, ``(B, V)``, where they are > 0. Global views always are,
            a view of itself included; a local crop is by :func:`fsr.masking.crop_flags`.
        temperature: :math:`\tau` above 0; 0.5 on VOC, 1.0 on COCO.

    Returns:
        Scalar, in at least float32; an attached zero for a batch without images.

    Raises:
        ShapeError: a shape is wrong or does not fit the others.
        TypeError: projections are not floating point, or ``temperature`` is no number.
        ValueError: ``temperature`` is not above 0.

    Source:
        Ru et al., "Token Contrast for Weakly Supervised Semantic Segmentation", CVPR 2023, class
        token contrast (rulixiang/ToCo@e13514d).

    Example:
        >>> student = torch.tensor([[[0.0]], [[0.0]]])
        >>> teacher = torch.tensor([[[1.0]]])
        >>> class_token_contrast(student, teacher, torch.tensor([[True, False]])).round(decimals=3)
        tensor(1.3860)
    """
    views, batch, width = check_shape("student", student, "V B K")
    check_shape("teacher", teacher, "T B K", B=batch, K=width)
    check_shape("positive", positive, "B V", B=batch, V=views)
    check_same_device(student=student, teacher=teacher, positive=positive)
    check_floating("student", student)
    check_floating("teacher", teacher)
    check_between("temperature", temperature, 0.0, math.inf, inclusive=False)
    with no_autocast(student):
        own, other = at_least_float32(student), at_least_float32(teacher.detach())
        scores = torch.einsum("tbk,vbk->btv", other.to(own), own) / temperature
        chosen = (positive > 0)[:, None, :]
        # The constant stands among the negative views: the sum is never empty.
        negatives = F.pad(scores.masked_fill(chosen, -torch.inf), (1, 0), value=math.log(EPS))
        rest = negatives.logsumexp(dim=2)
        each = F.softplus(rest[:, :, None] - scores).masked_fill(~chosen, 0.0)
        total = (each.sum(dim=2) + F.softplus(rest)).mean(dim=1)
        shown = chosen.sum(dim=(1, 2)).to(total)
        return (total / (shown + EPS)).sum() / max(batch, 1)


class ClassTokenContrastLoss(TypedModule):
    """Module form of :func:`class_token_contrast`.

    Args:
        temperature: above 0; 0.5 on VOC, 1.0 on COCO.

    Raises:
        TypeError: ``temperature`` is no number.
        ValueError: ``temperature`` is not above 0.

    Source:
        Ru et al., CVPR 2023 (rulixiang/ToCo@e13514d).

    Example:
        >>> loss = ClassTokenContrastLoss(temperature=1.0)
        >>> loss(torch.zeros(10, 2, 4), torch.zeros(2, 2, 4), torch.ones(2, 10)).round(decimals=6)
        tensor(0.0001)
    """

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        check_between("temperature", temperature, 0.0, math.inf, inclusive=False)
        self.temperature = temperature

    def forward(self, student: Tensor, teacher: Tensor, positive: Tensor) -> Tensor:
        """Return the loss of projections ``(V, B, K)`` and ``(T, B, K)``; a scalar."""
        return class_token_contrast(student, teacher, positive, self.temperature)

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"temperature={self.temperature}"
