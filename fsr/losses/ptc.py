"""Patch-token contrast (PTC): pull same-label tokens together, push others apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsr._checks import check_floating, check_integer, check_shape
from fsr._numerics import at_least_float32, no_autocast


def patch_token_contrast(tokens: Tensor, labels: Tensor, ignore_index: int = 255) -> Tensor:
    r"""Affinity loss :math:`L_{aff}` of Eq. 10 on cosine similarities of patch tokens.

    With :math:`s_{ij} = |\cos(z_i, z_j)|` over the ordered pairs :math:`i \ne j` of one image whose
    two labels are known,

    .. math:: \tfrac12 \Bigl(1 - \frac{\sum_{same} s_{ij}}{1 + |same|}\Bigr)
              + \tfrac12 \frac{\sum_{different} s_{ij}}{1 + |different|},

    where sums and counts run over the whole batch, as in the released code: an image with many
    pairs weighs more than one with few, and one image's share depends on the others.

    Args:
        tokens: patch tokens, ``(B, N, D)``, of any common scale: lengths do not matter.
        labels: one class per token, ``(B, N)`` integers; ``ignore_index`` leaves a token out.
        ignore_index: label of tokens without a known class.

    Returns:
        Scalar between 0 and 1, in float32 for half-precision tokens.

    Raises:
        ShapeError: ``tokens`` or ``labels`` has the wrong shape.
        TypeError: ``tokens`` is not floating point or ``labels`` is not integer.

    Source:
        Section "A Single-Stage Framework for WSSS"; Ru et al., "Token Contrast for Weakly
        Supervised Semantic Segmentation", CVPR 2023.

    Example:
        >>> tokens = torch.eye(3).unsqueeze(0)
        >>> patch_token_contrast(tokens, torch.tensor([[0, 1, 2]]))
        tensor(0.5000)
    """
    batch, count, _ = check_shape("tokens", tokens, "B N D")
    check_shape("labels", labels, "B N", B=batch, N=count)
    check_floating("tokens", tokens)
    check_integer("labels", labels)

    # Products of half-precision unit vectors lose the small similarities that matter here.
    with no_autocast(tokens):
        unit = F.normalize(at_least_float32(tokens), dim=-1, eps=1e-8)
        similarity = (unit @ unit.transpose(1, 2)).abs()

    known = labels != ignore_index
    pairs = known.unsqueeze(2) & known.unsqueeze(1)
    pairs = pairs & ~torch.eye(count, dtype=torch.bool, device=tokens.device)
    same = pairs & (labels.unsqueeze(2) == labels.unsqueeze(1))
    different = pairs & ~same
    attraction = (similarity * same).sum() / (same.sum() + 1)
    repulsion = (similarity * different).sum() / (different.sum() + 1)
    return 0.5 * (1 - attraction) + 0.5 * repulsion


class PTCLoss(nn.Module):
    """Module form of :func:`patch_token_contrast`, the affinity term of Eq. 10.

    Args:
        ignore_index: label of tokens without a known class.

    Source:
        Ru et al., CVPR 2023; section "A Single-Stage Framework for WSSS".

    Example:
        >>> loss = PTCLoss()
        >>> tokens = torch.ones(1, 4, 8)
        >>> loss(tokens, torch.tensor([[0, 0, 1, 255]]))
        tensor(0.5667)
    """

    def __init__(self, ignore_index: int = 255) -> None:
        super().__init__()
        self.ignore_index = ignore_index

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of tokens ``(B, N, D)`` with labels ``(B, N)``; a scalar."""
        return patch_token_contrast(tokens, labels, self.ignore_index)

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return f"ignore_index={self.ignore_index}"
