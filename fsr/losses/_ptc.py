"""Patch-token contrast (PTC): pull same-label tokens together, push others apart."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.arguments import check_int
from fsr._core.checks import check_floating, check_integer, check_same_device, check_shape
from fsr._core.module import TypedModule
from fsr._core.numerics import at_least_float32, no_autocast
from fsr._core.values import readable
from fsr.losses._pair_sum import PairSum
from fsr.losses._unit import EPS, UnitVectors


def patch_token_contrast(
    tokens: Tensor, labels: Tensor, ignore_index: int = 255, *, joined: bool = False
) -> Tensor:
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
        joined: the counts are those of all processes, each of which must call: the mean of their
            losses is then that of their batches together. False counts this process's alone.

    Returns:
        Scalar, in float32 for half-precision tokens, between 0 and 1; of several joined processes
        the mean is.

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
    check_int("ignore_index", ignore_index)
    batch, count, _ = check_shape("tokens", tokens, "B N D")
    check_shape("labels", labels, "B N", B=batch, N=count)
    check_same_device(tokens=tokens, labels=labels)
    check_floating("tokens", tokens)
    check_integer("labels", labels)

    if readable(tokens):
        tokens, labels = _leave_unknown_out(tokens, labels, ignore_index)
    # Products of half-precision unit vectors lose the small similarities that matter here.
    with no_autocast(tokens):
        unit = _unit(at_least_float32(tokens))
        loss: Tensor = PairSum.apply(unit, labels, ignore_index, joined)[0]
    return loss


def _unit(tokens: Tensor) -> Tensor:
    """Return tokens of length 1; zero where one has none."""
    if torch.compiler.is_compiling() or tokens.device.type != "cpu":
        return F.normalize(tokens, dim=-1, eps=EPS)
    unit: Tensor = UnitVectors.apply(tokens)[0]
    return unit


def _leave_unknown_out(tokens: Tensor, labels: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Shorten every image to the most tokens that one of them knows; they make no pair."""
    known = labels != ignore_index
    most = max(1, int(known.sum(dim=1).max())) if labels.numel() else labels.shape[1]
    if most == labels.shape[1]:
        return tokens, labels
    order = (~known).byte().argsort(dim=1, stable=True)[:, :most]
    rows = order.unsqueeze(2).expand(-1, -1, tokens.shape[2])
    return tokens.gather(1, rows), labels.gather(1, order)


class PTCLoss(TypedModule):
    """Module form of :func:`patch_token_contrast`, the affinity term of Eq. 10.

    Args:
        ignore_index: label of tokens without a known class.
        joined: in training mode, count the pairs of all processes together; each must call.

    Source:
        Ru et al., CVPR 2023; section "A Single-Stage Framework for WSSS".

    Example:
        >>> loss = PTCLoss()
        >>> tokens = torch.ones(1, 4, 8)
        >>> loss(tokens, torch.tensor([[0, 0, 1, 255]]))
        tensor(0.5667)
    """

    def __init__(self, ignore_index: int = 255, *, joined: bool = False) -> None:
        check_int("ignore_index", ignore_index)
        super().__init__()
        self.ignore_index, self.joined = ignore_index, joined

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of tokens ``(B, N, D)`` with labels ``(B, N)``; a scalar."""
        joined = self.joined and self.training
        return patch_token_contrast(tokens, labels, self.ignore_index, joined=joined)

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        joined = ", joined=True" if self.joined else ""
        return f"ignore_index={self.ignore_index}{joined}"
