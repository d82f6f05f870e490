"""Patch-token contrast (PTC): pull same-label tokens together, push others apart."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.arguments import check_int
from fsr._core.checks import check_floating, check_integer, check_same_device, check_shape
from fsr._core.distributed import is_distributed, joined_ratio
from fsr._core.module import TypedModule
from fsr._core.numerics import at_least_float32, no_autocast
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

    if not torch.compiler.is_compiling() and tokens.device.type == "cpu":
        tokens, labels = _leave_unknown_out(tokens, labels, ignore_index)
    # Products of half-precision unit vectors lose the small similarities that matter here.
    with no_autocast(tokens):
        unit = _unit(at_least_float32(tokens))
        loss: Tensor = _PairSum.apply(unit, labels, ignore_index, joined)[0]
    return loss


# Rows of cosines at a time, where each pair's is computed once.
ROWS = 196


class _PairSum(torch.autograd.Function):
    r"""Half plus :math:`\sum_{ij} w_{ij} |u_i^\top u_j|` of unit vectors; w holds signs and counts.

    The signed weights are the gradient's matrix and all that is kept. It is symmetric, so one
    product gives the gradient, where autograd would make two and keep the masks. On a CPU half of
    the cosines are computed.
    """

    @staticmethod
    def forward(
        unit: Tensor, labels: Tensor, ignore_index: int, joined: bool
    ) -> tuple[Tensor, Tensor]:
        """Return the loss and the signed weights ``(B, N, N)`` of vectors ``(B, N, D)``."""
        known = labels != ignore_index
        tokens, same_pairs = known.sum(dim=1), _count_same(labels, known)
        different_pairs = (tokens.square() - tokens).sum() - same_pairs
        half, joined = unit.new_full((), 0.5), joined and is_distributed()
        attraction = -joined_ratio(half, same_pairs, extra=1, joined=joined)
        repulsion = joined_ratio(half, different_pairs, extra=1, joined=joined)

        if torch.compiler.is_compiling() or unit.device.type != "cpu":
            member = known.to(unit.dtype)
            cosine = unit @ unit.transpose(1, 2)
            cosine.diagonal(dim1=1, dim2=2).zero_()
            same = (labels.unsqueeze(2) == labels.unsqueeze(1)) & known.unsqueeze(1)
            weights = torch.where(same, attraction, (repulsion * member).unsqueeze(1))
            weights = weights.mul_(member.unsqueeze(2)).mul_(cosine.sign())
            loss = half + torch.dot(weights.flatten(), cosine.flatten())
        else:
            weights, loss = unit.new_empty(*labels.shape, labels.shape[1]), half
            for part in zip(unit, labels, known, weights, strict=True):
                loss = loss + _half_of_pairs(*part, attraction, repulsion)
        return (loss if joined else loss.clamp(0, 1)), weights

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        """Keep what the gradient needs."""
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(inputs[0], output[1])

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Any) -> tuple[Tensor, None, None, None]:
        """Return the gradient of the vectors."""
        unit, weights = ctx.saved_tensors
        with no_autocast(grad):
            return (weights @ unit).mul_(2 * grad), None, None, None


def _count_same(labels: Tensor, known: Tensor) -> Tensor:
    """Return the number of ordered pairs of different known tokens of one label, over all images.

    Sorted, equal labels lie side by side, so that no matrix of pairs is needed.
    """
    unknown = torch.iinfo(torch.long).max
    ordered = labels.long().masked_fill(~known, unknown).sort(dim=1).values
    equal = torch.searchsorted(ordered, ordered, right=True) - torch.searchsorted(ordered, ordered)
    return ((equal - 1) * (ordered != unknown)).sum()


def _unit(tokens: Tensor) -> Tensor:
    """Return tokens of length 1; zero where one has none."""
    if torch.compiler.is_compiling() or tokens.device.type != "cpu":
        return F.normalize(tokens, dim=-1, eps=EPS)
    unit: Tensor = UnitVectors.apply(tokens)[0]
    return unit


def _half_of_pairs(
    unit: Tensor,
    labels: Tensor,
    known: Tensor,
    weights: Tensor,
    attraction: Tensor,
    repulsion: Tensor,
) -> Tensor:
    """Fill in the signed weights of one image and return their sum with the cosines.

    Both matrices are symmetric: of each pair one cosine is computed, some rows at a time, which
    stay in the cache, from the diagonal on.

    Args:
        unit: unit vectors ``(N, D)``.
        labels: their labels ``(N,)``.
        known: whether these count.
        weights: ``(N, N)``, to be filled in.
        attraction: weight of a pair of one label.
        repulsion: weight of a pair of two.
    """
    total = unit.new_zeros(())
    gap, outside = attraction - repulsion, None if bool(known.all()) else ~known
    for start in range(0, len(unit), ROWS):
        stop = min(start + ROWS, len(unit))
        cosine = unit[start:stop] @ unit[start:].T
        square = cosine[:, : stop - start]
        square.fill_diagonal_(0)
        signed = torch.eq(labels[start:stop, None], labels[start:], out=torch.empty_like(cosine))
        signed.mul_(gap).add_(repulsion).mul_(cosine.sign())
        if outside is not None:
            signed.masked_fill_(outside[start:], 0).masked_fill_(outside[start:stop, None], 0)
        # The square on the diagonal holds its pairs twice, as all of them count.
        inner = torch.dot(signed[:, : stop - start].flatten(), square.flatten())
        total += 2 * torch.dot(signed.flatten(), cosine.flatten()) - inner
        weights[start:stop, start:] = signed
        weights[stop:, start:stop] = signed[:, stop - start :].T
    return total


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
