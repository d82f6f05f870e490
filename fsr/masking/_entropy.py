"""The teacher's entropy as a degree of uncertainty in place of Eq. 3's zone; not in the paper."""

from __future__ import annotations

import torch
from einops import reduce
from torch import Tensor

from fsr._core.checks import check_floating, check_positive_int, check_same_device, check_shape
from fsr._core.numerics import at_least_float32
from fsr._core.values import readable
from fsr.errors import ShapeError

# Entropies of one image that lie within this many nats of each other count as equal: rounding of
# thousands of terms must not be stretched into a ranking.
SAME = 1e-4


def token_entropy(probabilities: Tensor) -> Tensor:
    r"""Entropy :math:`-\sum_k P_k \ln P_k` of every token's distribution, in nats.

    Not in the paper. It is 0 for a token whose distribution is a single peak and :math:`\ln K` for
    one that is spread evenly.

    Args:
        probabilities: distributions P, ``(..., K)``, at least 0, summing to 1 over K; of the
            teacher, see :func:`fsr.losses.teacher_distribution`.

    Returns:
        Entropies in nats, 0 to :math:`\ln K`, ``(...)``, in at least float32.

    Raises:
        ShapeError: there is no axis K, or it is empty.
        TypeError: ``probabilities`` is no floating-point tensor.

    Source:
        Shannon, "A Mathematical Theory of Communication", 1948.

    Example:
        >>> token_entropy(torch.tensor([[1.0, 0.0], [0.5, 0.5]]))
        tensor([0.0000, 0.6931])
    """
    if not isinstance(probabilities, Tensor) or probabilities.ndim < 1:
        check_shape("probabilities", probabilities, "... K")
    if probabilities.shape[-1] < 1:
        raise ShapeError(
            f"probabilities: expected at least one outcome K, got {tuple(probabilities.shape)}"
        )
    check_floating("probabilities", probabilities)
    if bool((probabilities.detach() < 0).any()) if readable(probabilities) else False:
        raise ValueError("probabilities: expected numbers of at least 0, got negative ones")
    # entr(0) is 0, the limit: sharpened distributions underflow.
    entropy: Tensor = torch.special.entr(at_least_float32(probabilities)).sum(dim=-1)
    return entropy


def block_mean(values: Tensor, block: int) -> Tensor:
    """Mean over every square block of patches.

    Not in the paper, whose unit of masking is the patch.

    Args:
        values: one number per patch, ``(B, H, W)``, any unit.
        block: side of a block in patches.

    Returns:
        Means ``(B, H / block, W / block)`` in the unit of ``values``, in at least float32.

    Raises:
        ShapeError: ``values`` has the wrong shape, or ``block`` does not divide H and W.
        TypeError: ``values`` is not floating point, or ``block`` no integer.
        ValueError: ``block`` is below 1.

    Source:
        The blocks are those of the released code.

    Example:
        >>> block_mean(torch.tensor([[[0.0, 1.0, 4.0, 4.0], [2.0, 1.0, 4.0, 4.0]]]), 2)
        tensor([[[1., 4.]]])
    """
    _, height, width = check_shape("values", values, "B H W")
    check_floating("values", values)
    check_positive_int("block", block)
    if height % block or width % block:
        raise ShapeError(f"values: expected multiples of block={block}, got {(height, width)}")
    return reduce(at_least_float32(values), "b (h p) (w q) -> b h w", "mean", p=block, q=block)


def entropy_soft_mask(entropy: Tensor, noise: Tensor) -> Tensor:
    r"""Soft mask from entropies: Eq. 3 with a degree in place of the zone.

    Not in the paper. Where Eq. 3 adds 1 to the noise u inside the zone and 0 outside, this adds the
    entropy, min-max normalised over the image:

    .. math:: M_s^{(i)} = u_i + \frac{e_i - \min_j e_j}{\max_j e_j - \min_j e_j}

    So the most uncertain block comes before the most certain one whatever the noise, two blocks
    whose degrees differ by d swap with probability :math:`(1 - d)^2 / 2`, and equal ones are drawn
    at random. An image whose entropies all agree within 1e-4 nats is masked almost at random.

    Args:
        entropy: one entropy per block, ``(B, N)``, in nats, finite.
        noise: the u of Eq. 3, 0 to 1, ``(B, N)``.

    Returns:
        Values between 0 and 2, ``(B, N)``, in at least float32; the larger, the sooner masked.

    Raises:
        ShapeError: a shape is wrong or they differ.
        TypeError: a tensor is not floating point.

    Source:
        After Eq. 3.

    Example:
        >>> entropy_soft_mask(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.5, 0.5, 0.0]]))
        tensor([[0.5000, 1.0000, 1.0000]])
    """
    batch, count = check_shape("entropy", entropy, "B N")
    check_shape("noise", noise, "B N", B=batch, N=count)
    check_same_device(entropy=entropy, noise=noise)
    check_floating("entropy", entropy)
    check_floating("noise", noise)
    if count < 1:
        raise ShapeError(f"entropy: expected at least one block, got {tuple(entropy.shape)}")
    entropy = at_least_float32(entropy)
    lowest, highest = entropy.amin(dim=1, keepdim=True), entropy.amax(dim=1, keepdim=True)
    degree = (entropy - lowest) / (highest - lowest).clamp(min=SAME)
    return at_least_float32(noise) + degree
