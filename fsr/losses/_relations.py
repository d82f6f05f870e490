"""Tokens that relate to each other as another encoder's do; not in the paper."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_floating, check_same_device, check_shape, check_some
from fsr._core.numerics import at_least_float32, no_autocast


def relation_loss(tokens: Tensor, target_tokens: Tensor) -> Tensor:
    r"""Squared error of the cosine similarities among the tokens of each image.

    .. math:: L = \frac{1}{B N^2} \sum_b \sum_{i,j}
              \bigl(\cos(s_i, s_j) - \cos(t_i, t_j)\bigr)^2

    Not in the paper. The tokens of the two encoders are never compared with each other, so their
    widths may differ and nothing between them has to be learned.

    Args:
        tokens: the student's patch tokens s, ``(B, N, D)``, any real scale.
        target_tokens: the other encoder's tokens t of the same patches, ``(B, N, E)``; constants.

    Returns:
        Scalar from 0 to 4, in at least float32. A token of zeros is like no other.

    Raises:
        ShapeError: a shape is wrong or does not fit the other.
        TypeError: the tokens are not floating point.

    Source:
        Not in the paper; the relational distillation of Park et al., "Relational Knowledge
        Distillation", CVPR 2019, and Tung and Mori, "Similarity-Preserving Knowledge Distillation",
        ICCV 2019, among the tokens of an image.

    Example:
        >>> import torch
        >>> tokens = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
        >>> relation_loss(tokens, torch.tensor([[[3.0], [2.0]]]))
        tensor(0.5000)
    """
    batch, count, _ = check_shape("tokens", tokens, "B N D")
    check_shape("target_tokens", target_tokens, "B N E", B=batch, N=count)
    check_some("tokens", tokens)
    check_same_device(tokens=tokens, target_tokens=target_tokens)
    check_floating("tokens", tokens)
    check_floating("target_tokens", target_tokens)
    with no_autocast(tokens):
        student, other = (
            F.normalize(at_least_float32(value), dim=-1)
            for value in (tokens, target_tokens.detach())
        )
        errors = student @ student.transpose(1, 2) - other @ other.transpose(1, 2)
        return errors.square().mean()
