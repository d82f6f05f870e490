"""Losses that are ratios over a batch: in two processes their mean is that of the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from fsr._core.distributed import joined_ratio
from fsr.losses import (
    PTCLoss,
    affinity_loss,
    balanced_segmentation_loss,
    joint_cross_entropy,
    patch_token_contrast,
)
from tests.processes import run_together

# Uneven, and the second process has neither foreground nor known tokens.
SHARES = (slice(0, 3), slice(3, 4))
LOSSES: dict[str, Callable[..., Tensor]] = {
    "patch_token_contrast": patch_token_contrast,
    "affinity_loss": affinity_loss,
    "balanced_segmentation_loss": balanced_segmentation_loss,
    "joint_cross_entropy": joint_cross_entropy,
}


def cases() -> dict[str, tuple[Tensor, Tensor]]:
    """Values and labels of four images for each loss."""
    draw = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 3, (4, 6), generator=draw)
    classes[3] = 255
    pairs = torch.randint(0, 2, (4, 6, 6), generator=draw)
    pairs[3] = 255
    pixels = torch.randint(0, 3, (4, 5, 5), generator=draw)
    pixels[3] = 0
    logits = torch.randn(4, 3, 5, 5, dtype=torch.float64, generator=draw)
    return {
        "patch_token_contrast": (
            torch.randn(4, 6, 5, dtype=torch.float64, generator=draw),
            classes,
        ),
        "affinity_loss": (torch.rand(4, 6, 6, dtype=torch.float64, generator=draw), pairs),
        "balanced_segmentation_loss": (logits, pixels),
        "joint_cross_entropy": (logits, pixels),
    }


def of_share(rank: int, folder: str) -> None:
    """Leave the losses and gradients of one process's share behind, joined and not."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    try:
        found: dict[str, tuple[Tensor, ...]] = {}
        for name, (values, labels) in cases().items():
            mine, wanted = values[SHARES[rank]].requires_grad_(), labels[SHARES[rank]]
            loss = LOSSES[name](mine, wanted, joined=True)
            (gradient,) = torch.autograd.grad(loss, mine)
            found[name] = (loss.detach(), gradient, LOSSES[name](mine, wanted).detach())
        module = PTCLoss(joined=True)
        data = [tensor[SHARES[rank]] for tensor in cases()["patch_token_contrast"]]
        found["module"] = (module(*data), module.eval()(*data))
        torch.save(found, f"{folder}/{rank}.pt")
    finally:
        dist.destroy_process_group()


@pytest.mark.skipif(not dist.is_available(), reason="no torch.distributed")
def test_the_mean_of_two_processes_is_the_loss_of_the_whole_batch(tmp_path: Path) -> None:
    run_together(of_share, str(tmp_path))
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    for name, (values, labels) in cases().items():
        values.requires_grad_()
        whole = LOSSES[name](values, labels)
        (gradient,) = torch.autograd.grad(whole, values)
        joined = sum(part[name][0] for part in parts) / 2
        torch.testing.assert_close(joined, whole.detach(), msg=name)
        gradients = torch.cat([part[name][1] for part in parts]) / 2
        torch.testing.assert_close(gradients, gradient, msg=name)
        for share, part in zip(SHARES, parts, strict=True):  # alone, each counts its own
            alone = LOSSES[name](values[share], labels[share]).detach()
            torch.testing.assert_close(part[name][2], alone, msg=name)
    tokens, classes = cases()["patch_token_contrast"]
    trained = sum(part["module"][0] for part in parts) / 2
    torch.testing.assert_close(trained, patch_token_contrast(tokens, classes))
    alone = patch_token_contrast(tokens[SHARES[0]], classes[SHARES[0]])
    torch.testing.assert_close(parts[0]["module"][1], alone)  # in eval mode nobody else is asked


@pytest.mark.parametrize("joined", [False, True])
def test_one_process_alone_divides_as_it_always_did(joined: bool) -> None:
    total, count = torch.tensor(0.7), torch.tensor(3)
    assert torch.equal(joined_ratio(total, count, joined=joined), total / 3)
    assert torch.equal(joined_ratio(total, count, extra=1, joined=joined), total / 4)
    assert torch.equal(joined_ratio(total, torch.tensor(0), joined=joined), total)
