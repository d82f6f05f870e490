"""The sum over pairs of patch-token contrast; the matrix that it is made of gives the gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fsr._core.distributed import is_distributed, joined_ratio
from fsr._core.numerics import no_autocast
from fsr._core.values import readable

# Rows of cosines at a time, where each pair's is computed once.
ROWS = 196


class PairSum(torch.autograd.Function):
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

        if not readable(unit):
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
