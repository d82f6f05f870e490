"""Precision helpers: where half precision would spoil a result, compute in float32."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr._core.checks import check_same_device, under_autocast


def at_least_float32(value: Tensor) -> Tensor:
    """Return float16 and bfloat16 tensors as float32, everything else unchanged.

    Example:
        >>> at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def like_weights(name: str, images: Tensor, weight: Tensor) -> Tensor:
    """Return images of any floating-point type in that of a network's weights.

    Under autocast they are left as they are: torch brings both to one type.

    Raises:
        ValueError: they are on another device.

    Example:
        >>> like_weights("images", torch.zeros(1).double(), torch.zeros(1)).dtype
        torch.float32
    """
    check_same_device(network=weight, **{name: images})
    if images.dtype == weight.dtype or under_autocast(images):
        return images
    return images.to(weight.dtype)


def no_autocast(value: Tensor) -> torch.autocast:
    """Return a context that switches autocast off on the tensor's device."""
    # Tensors without values, of "meta", know no autocast.
    device = value.device.type.replace("meta", "cpu")
    return torch.autocast(device_type=device, enabled=False)


def attached_zero(value: Tensor) -> Tensor:
    """Return a zero that stays in the graph of ``value``, whatever finite values it holds.

    A loss without anything to do must still let ``backward`` and DDP run.

    Example:
        >>> x = torch.ones(3, requires_grad=True)
        >>> zero = attached_zero(x)
        >>> zero.backward()
        >>> zero.item(), x.grad.tolist()
        (0.0, [0.0, 0.0, 0.0])
    """
    # Multiplying before summing keeps a sum that would overflow out of the value.
    return (at_least_float32(value) * 0.0).sum()
