"""Class tokens of one image are told apart: each is to be like itself and no other."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_floating, check_multi_hot, check_same_device, check_shape
from fsr._core.numerics import at_least_float32, no_autocast
from fsr.errors import ShapeError


def class_token_separation(class_tokens: Tensor, labels: Tensor) -> Tensor:
    r"""Cross entropy of each present class token's similarities with all, its own being right.

    .. math:: L = \frac1B \sum_b \frac{1}{|P_b|} \sum_{c \in P_b} \frac1L \sum_l
              -\log \frac{\exp s^{(l)}_{cc}}{\sum_k \exp s^{(l)}_{ck}}, \qquad
              s^{(l)}_{ck} = \cos(t^{(l)}_c, t^{(l)}_k)

    P are the present classes of an image. Similarities are symmetric, so it is the same whether
    the softmax runs over rows or columns. Since no cosine is above 1 the loss does not fall below
    :math:`\log(1 + (C - 1) e^{-2})`, and where tokens are at right angles it is
    :math:`\log(1 + (C - 1) e^{-1})`.

    Args:
        class_tokens: class tokens t of the last L blocks, ``(L, B, C, D)``; MCTformer+ trains with
            all 12 blocks.
        labels: multi-hot image-level labels, ``(B, C)``; a class is present where they are > 0.

    Returns:
        Scalar of at least 0, in at least float32. An image without a class adds 0; without any the
        loss is a zero that is attached to the graph.

    Raises:
        ShapeError: a shape is wrong or does not fit the other, or there is no block, image or
            class.
        TypeError: ``class_tokens`` is not floating point.

    Source:
        Xu et al., "MCTformer+: Multi-Class Token Transformer for Weakly Supervised Semantic
        Segmentation", TPAMI 2024; xulianuwa/MCTformer@0acc27a.

    Example:
        >>> import torch
        >>> tokens = torch.eye(2).view(1, 1, 2, 2)
        >>> class_token_separation(tokens, torch.tensor([[1, 0]]))
        tensor(0.3133)
    """
    blocks, batch, classes, _ = check_shape("class_tokens", class_tokens, "L B C D")
    check_shape("labels", labels, "B C", B=batch, C=classes)
    check_multi_hot("labels", labels)
    check_same_device(class_tokens=class_tokens, labels=labels)
    check_floating("class_tokens", class_tokens)
    if min(blocks, batch, classes) < 1:
        raise ShapeError(
            "class_tokens: expected at least one block, image and class, "
            f"got {tuple(class_tokens.shape)}"
        )
    with no_autocast(class_tokens):
        unit = F.normalize(at_least_float32(class_tokens), dim=-1)
        similarities = unit @ unit.transpose(-1, -2)
        own = -similarities.log_softmax(dim=-1).diagonal(dim1=-2, dim2=-1)
        present = labels > 0
        per_class = own.mean(dim=0).masked_fill(~present, 0.0)
        return (per_class.sum(dim=1) / present.sum(dim=1).clamp(min=1)).mean()
