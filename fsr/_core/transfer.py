"""Moving tensors between devices without waiting where that is safe."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(value: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device; the way to an accelerator is not waited for.

    On the way back the host would read what has not arrived, so that way it waits.

    Args:
        value: the tensor.
        device: where it is wanted.

    Example:
        >>> to_device(torch.ones(2), torch.device("cpu"))
        tensor([1., 1.])
    """
    return value.to(device, non_blocking=value.device.type == "cpu")
