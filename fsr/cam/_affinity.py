"""Activation maps spread to patches with like tokens; not in the paper."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_floating, check_positive_int, check_shape
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.cam._maps import normalize_cam


def token_affinity(tokens: Tensor) -> Tensor:
    r"""How alike the tokens of an image are, as a matrix A whose rows sum to 1.

    .. math:: A_{ij} = \frac{a_{ij}}{\sum_k a_{ik}}, \qquad
              a_{ij} = \max(0, \cos(z_i - \bar z, z_j - \bar z)), \quad a_{ii} = 1

    Not in the paper. The tokens of a vision transformer have a direction in common, for which all
    of them would look alike; without their mean :math:`\bar z` over the image, those on different
    sides of it have nothing to do with each other.

    Args:
        tokens: patch tokens z, ``(B, N, D)``, any real scale.

    Returns:
        ``(B, N, N)``, at least 0, in at least float32; the identity where all tokens are the same.

    Raises:
        ShapeError: ``tokens`` has the wrong shape.
        TypeError: ``tokens`` is not floating point.

    Source:
        Not in the paper; see :func:`affinity_cam`.

    Example:
        >>> token_affinity(torch.tensor([[[2.0, 0.0], [2.0, 0.0], [0.0, 1.0]]]))
        tensor([[[0.5000, 0.5000, 0.0000],
                 [0.5000, 0.5000, 0.0000],
                 [0.0000, 0.0000, 1.0000]]])
    """
    _, count, _ = check_shape("tokens", tokens, "B N D")
    check_floating("tokens", tokens)
    with no_autocast(tokens):
        centred = at_least_float32(tokens)
        centred = F.normalize(centred - centred.mean(dim=1, keepdim=True), dim=-1)
        alike = F.relu(centred @ centred.transpose(1, 2))
        # Of a token that is the mean the cosine with itself would be 0, and its row without a sum.
        own = torch.eye(count, dtype=torch.bool, device=tokens.device)
        alike = alike.masked_fill(own, 1.0)
        return alike / alike.sum(dim=-1, keepdim=True)


def affinity_cam(cam: Tensor, tokens: Tensor, power: int = 2) -> Tensor:
    r"""CAM spread by the affinity of tokens, :math:`A^p M`, and normalised as in Eq. 2.

    Not in the paper. Each patch takes the mean score of the patches that look like it, ``power``
    times over; see :func:`token_affinity` for A.

    Args:
        cam: CAM M on the patch grid, ``(B, C, H, W)``, at least 0.
        tokens: tokens of the same patches in row-major order, ``(B, N, D)`` with ``N = H * W``.
        power: how often the map is spread, p of at least 1.

    Returns:
        Map between 0 and 1, ``(B, C, H, W)``, of the CAM's type.

    Raises:
        ShapeError: a shape is wrong or does not fit the other.
        TypeError: ``cam`` or ``tokens`` is not floating point, or ``power`` no integer.
        ValueError: ``power`` is below 1, or the result would be NaN or infinite.

    Source:
        Not in the paper; after the class-aware refinement of Lin et al., "CLIP is Also an Efficient
        Segmenter" (CLIP-ES), CVPR 2023, with tokens in the place of a text encoder's attention.

    Example:
        >>> cam = torch.tensor([[[[1.0, 0.0, 0.0]]]])
        >>> tokens = torch.tensor([[[2.0, 0.0], [2.0, 0.0], [0.0, 1.0]]])
        >>> affinity_cam(cam, tokens).round(decimals=3)
        tensor([[[[1., 1., 0.]]]])
    """
    batch, _, height, width = check_shape("cam", cam, "B C H W")
    check_shape("tokens", tokens, "B N D", B=batch, N=height * width)
    check_floating("cam", cam)
    check_positive_int("power", power)
    affinity = token_affinity(tokens)
    with no_autocast(cam):
        # From the right, as rows of maps: the power of the matrix is never made.
        spread = at_least_float32(cam).flatten(2).to(affinity.dtype)
        for _ in range(power):
            spread = spread @ affinity.transpose(1, 2)
    return normalize_cam(spread.unflatten(2, (height, width))).to(cam.dtype)
