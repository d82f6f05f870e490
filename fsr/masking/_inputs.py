"""What every masking strategy needs: the grid of blocks, the noise of Eq. 3, and checked inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from fsr._core.arguments import check_generator
from fsr._core.checks import (
    check_finite,
    check_floating,
    check_grid,
    check_multi_hot,
    check_same_device,
    check_shape,
)
from fsr._core.transfer import to_device
from fsr.errors import ShapeError


def block_grid(
    cam: Tensor, labels: Tensor | None, grid: tuple[int, int] | None, block: int
) -> tuple[int, int]:
    """Check the shapes of CAM ``(B, C, h, w)`` and labels, and return the grid of blocks."""
    batch, classes, height, width = check_shape("cam", cam, "B C h w")
    check_same_device(cam=cam, labels=labels)
    check_floating("cam", cam, finite=False)
    if min(classes, height, width) < 1:
        raise ShapeError(f"cam: expected at least one class and one pixel, got {tuple(cam.shape)}")
    if labels is not None:
        check_shape("labels", labels, "B C", B=batch, C=classes)
        check_multi_hot("labels", labels)
    rows, columns = (height, width) if grid is None else check_grid("grid", grid)
    if rows % block or columns % block:
        raise ShapeError(f"grid: expected multiples of block={block}, got {(rows, columns)}")
    return rows // block, columns // block


def block_noise(
    cam: Tensor,
    blocks: tuple[int, int],
    noise: Tensor | None,
    generator: torch.Generator | None,
) -> Tensor:
    """Return the u of Eq. 3 at the blocks on the CAM's device, given or drawn."""
    check_generator("generator", generator)
    if noise is None:
        # A generator draws on its own device only: move the numbers, so that any will do.
        source = cam.device if generator is None else generator.device
        drawn = torch.rand(cam.shape[0], *blocks, generator=generator, device=source)
        return to_device(drawn, cam.device)
    if generator is not None:
        raise ValueError("generator: expected None beside noise=, got both")
    check_shape("noise", noise, "B H W", B=cam.shape[0], H=blocks[0], W=blocks[1])
    check_floating("noise", noise, finite=False)
    if noise.is_meta:
        check_same_device(cam=cam, noise=noise)
    return noise.to(cam.device)


def patch_entropy(
    cam: Tensor, entropy: Tensor | None, blocks: tuple[int, int], block: int
) -> Tensor:
    """Return the entropies of the patches, ``(B, H, W)``, checked and on the CAM's device."""
    if entropy is None:
        raise ValueError("entropy: expected a tensor for strategy='entropy', got None")
    rows, columns = blocks[0] * block, blocks[1] * block
    check_shape("entropy", entropy, "B H W", B=cam.shape[0], H=rows, W=columns)
    check_floating("entropy", entropy)
    check_finite("entropy", entropy)
    if entropy.is_meta:
        check_same_device(cam=cam, entropy=entropy)
    return entropy.to(cam.device)


def checked_images(cam: Tensor, images: Tensor | None) -> Tensor:
    """Return the images ``(B, 3, height, width)`` that edges are sought in, or raise."""
    if images is None:
        raise ValueError("images: expected a tensor for strategy='edge', got None")
    check_shape("images", images, "B 3 height width", B=cam.shape[0], **{"3": 3})
    check_same_device(cam=cam, images=images)
    check_floating("images", images)
    check_finite("images", images)
    return images


def to_patches(blocks: Tensor, block: int) -> Tensor:
    """Repeat every block over its patches: ``(B, H / block, W / block)`` to ``(B, H, W)``."""
    # Not einops' repeat, whose sizes torch 2.6 cannot compile where they change.
    return blocks.repeat_interleave(block, dim=1).repeat_interleave(block, dim=2)
