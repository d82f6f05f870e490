"""Masked tokens follow the teacher's tokens themselves, without prototypes; not in the paper."""

from __future__ import annotations

from typing import Literal, get_args

from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import (
    check_bool,
    check_choice,
    check_floating,
    check_same_device,
    check_shape,
    check_some,
)
from fsr._core.numerics import at_least_float32, no_autocast

RegressionForm = Literal["cosine", "smooth_l1"]
REGRESSION_FORMS: tuple[RegressionForm, ...] = get_args(RegressionForm)


def regression_loss(
    student_tokens: Tensor, teacher_tokens: Tensor, mask: Tensor, form: RegressionForm = "cosine"
) -> Tensor:
    r"""Distance of the student's masked tokens from the teacher's, averaged as Eq. 8 is.

    .. math:: \frac1B \sum_b \frac{1}{\max(1, |M_b|)} \sum_{i \in M_b} d(s_i, \bar t_i),
              \qquad \bar t_i = \frac{t_i - \mathrm{mean}(t_i)}{\mathrm{std}(t_i)}

    Not in the paper, whose Eq. 8 compares distributions over prototypes. The target is the
    teacher's token, normalised over its D entries without an affine part, and :math:`d` is
    :math:`1 - \cos(s_i, \bar t_i)` for ``"cosine"`` and, for ``"smooth_l1"``, the mean over the
    entries of :math:`e^2 / 2` where :math:`|e| < 1` and :math:`|e| - 1/2` elsewhere,
    :math:`e = s_i - \bar t_i`.

    Args:
        student_tokens: final tokens s of the student's masked view, ``(B, N, D)``, any real scale.
        teacher_tokens: final tokens t of the teacher's same view, whole, ``(B, N, D)``; constants.
        mask: True where a patch was masked, ``(B, N)`` boolean.
        form: ``"cosine"`` or ``"smooth_l1"``.

    Returns:
        Scalar of at least 0 (to rounding), in at least float32. An image without a masked token
        counts as 0; so does a whole batch of them, still attached to the graph.

    Raises:
        ShapeError: a shape is wrong or does not fit the others.
        TypeError: the tokens are not floating point, or ``mask`` not boolean.
        ValueError: there is no such form.

    Source:
        Not in the paper; the targets of Baevski et al., "data2vec", ICML 2022.

    Example:
        >>> import torch
        >>> student, teacher = torch.tensor([[[1.0, -1.0]]]), torch.tensor([[[7.0, 3.0]]])
        >>> mask = torch.tensor([[True]])
        >>> regression_loss(student, teacher, mask).round(decimals=4).abs()
        tensor(0.)
        >>> regression_loss(student, -teacher, mask, "smooth_l1").round(decimals=4)
        tensor(1.5000)
    """
    check_choice("form", form, REGRESSION_FORMS)
    batch, count, width = check_shape("student_tokens", student_tokens, "B N D")
    check_shape("teacher_tokens", teacher_tokens, "B N D", B=batch, N=count, D=width)
    check_shape("mask", mask, "B N", B=batch, N=count)
    check_some("student_tokens", student_tokens)
    check_same_device(student_tokens=student_tokens, teacher_tokens=teacher_tokens, mask=mask)
    check_floating("student_tokens", student_tokens)
    check_floating("teacher_tokens", teacher_tokens)
    check_bool("mask", mask)
    with no_autocast(student_tokens):
        student = at_least_float32(student_tokens)
        target = F.layer_norm(at_least_float32(teacher_tokens.detach()), (width,))
        if form == "cosine":
            distance = 1 - F.cosine_similarity(student, target, dim=-1)
        else:
            distance = F.smooth_l1_loss(student, target, reduction="none").mean(dim=-1)
    # Of every token, masked or not: rows picked by a mask make shapes depend on values.
    masked = mask.sum(dim=1).clamp(min=1)
    return ((distance * mask).sum(dim=1) / masked).mean()
