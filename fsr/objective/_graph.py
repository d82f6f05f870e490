"""Keeping every trainable parameter in the graph of a loss, so that plain DDP can run."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def reached_tensors(loss: Tensor) -> set[int]:
    """Return the ids of the leaves that ``loss.backward()`` would give a gradient to.

    Example:
        >>> weight = torch.ones(2, requires_grad=True)
        >>> reached_tensors(weight.sum()) == {id(weight)}
        True
    """
    found, seen, stack = set(), set(), [loss.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            found.add(id(leaf))
        stack.extend(parent for parent, _ in node.next_functions)
    return found


def with_all_parameters(loss: Tensor, network: nn.Module) -> Tensor:
    """Return the loss in whose graph every trainable parameter of a network is, if with zero.

    What a step does not compute leaves parameters out, which ``DistributedDataParallel`` refuses
    without a search and which would switch off their weight decay and momentum for that step.

    Args:
        loss: scalar.
        network: the network, unwrapped.

    Returns:
        The same value; parameters that were out of reach get a gradient of zeros.

    Example:
        >>> layers = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)])
        >>> with_all_parameters(layers[0](torch.ones(1, 1)).sum(), layers).backward()
        >>> layers[1].weight.grad
        tensor([[0.]])
    """
    reached = reached_tensors(loss)
    out = [p for p in network.parameters() if p.requires_grad and id(p) not in reached]
    if not out:
        return loss
    # Of no element: a zero whatever the parameter holds, NaN included.
    zeros = [parameter.flatten()[:0].sum().to(loss) for parameter in out]
    return loss + torch.stack(zeros).sum()
