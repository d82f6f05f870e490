"""The masking operator: from a CAM to the patches that are masked."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fsr._checks import (
    ShapeError,
    check_between,
    check_choice,
    check_finite,
    check_floating,
    check_grid,
    check_positive_int,
    check_shape,
    check_unit_interval,
)
from fsr._optional import import_extra
from fsr.masking._edges import canny_edges, count_per_cell
from fsr.masking._equations import (
    ROUNDINGS,
    keep_one,
    mask_count,
    soft_mask,
    top_k_mask,
    uncertain_zone,
)

STRATEGIES = ("uncertain", "random", "strict", "edge")
# A patch is an edge patch if at least this share of its pixels lies on an edge.
EDGE_SHARE = 0.05


class UncertainMasker(nn.Module):
    r"""Choose the patches to mask from a CAM: the masking operator of Eq. 3 and 4.

    Strategies (Table 3): ``"uncertain"`` takes patches of the uncertain zone first and the rest at
    random; ``"random"`` draws all of them; ``"strict"`` is exactly the zone, whatever its size;
    ``"edge"`` takes patches of which at least 5% of the pixels lie on Canny edges of the image.
    The last two never mask every patch: the most certain one stays, which is the one whose score
    lies closest to a threshold for ``"strict"``, and the one with the fewest edge pixels for
    ``"edge"``. An image without any class has an empty zone.

    Args:
        ratio: share r of patches to mask, in (0, 1), for ``"uncertain"`` and ``"random"``.
        low: threshold :math:`\beta_l`, 0 to 1, below ``high``.
        high: threshold :math:`\beta_h`, 0 to 1.
        strategy: one of the four above.
        block: side of the square of patches that is masked as one, in patches.
        rounding: ``"floor"`` (Eq. 4) or ``"ceil"`` of ratio times the number of blocks. The
            released code uses ``block=4, rounding="ceil"``.

    Raises:
        ImportError: ``strategy="edge"`` without scikit-image (extra ``edge``).
        TypeError: an argument has the wrong type.
        ValueError: a value is out of range, ``low >= high``, or an unknown name.

    Source:
        Section "Uncertain Patch Token Selection", Eq. 3 and 4, and Table 3.

    Example:
        >>> cam = torch.tensor([[[[0.0, 0.4], [0.5, 1.0]]]])
        >>> masker = UncertainMasker(ratio=0.5)
        >>> masker(cam, generator=torch.Generator().manual_seed(0))
        tensor([[[False,  True],
                 [ True, False]]])
    """

    def __init__(
        self,
        ratio: float = 0.4,
        low: float = 0.2,
        high: float = 0.7,
        *,
        strategy: str = "uncertain",
        block: int = 1,
        rounding: str = "floor",
    ) -> None:
        super().__init__()
        check_between("ratio", ratio, 0, 1, inclusive=False)
        check_between("low", low, 0, 1)
        check_between("high", high, 0, 1)
        if low >= high:
            raise ValueError(f"low: expected a number below high={high}, got {low}")
        check_choice("strategy", strategy, STRATEGIES)
        check_positive_int("block", block)
        check_choice("rounding", rounding, ROUNDINGS)
        if strategy == "edge":
            # Now rather than in the middle of a run.
            import_extra("skimage.feature", "edge", "UncertainMasker(strategy='edge')")
        self.ratio = ratio
        self.low = low
        self.high = high
        self.strategy = strategy
        self.block = block
        self.rounding = rounding

    @torch.no_grad()
    def forward(
        self,
        cam: Tensor,
        labels: Tensor | None = None,
        *,
        grid: tuple[int, int] | None = None,
        images: Tensor | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the mask :math:`M_b` of Eq. 4.

        Args:
            cam: normalised CAM (Eq. 2), ``(B, C, h, w)``, 0 to 1, of any resolution.
            labels: multi-hot image-level labels, ``(B, C)``; absent classes do not count.
            grid: patch grid ``(H, W)``; the CAM's size if not given.
            images: ``(B, 3, height, width)``, needed by ``"edge"`` only.
            noise: the u of Eq. 3 per block, ``(B, H / block, W / block)``, 0 to 1.
            generator: where to draw the noise from, on any device; torch's default generator if
                neither it nor ``noise`` is given. ``"strict"`` and ``"edge"`` draw nothing.

        Returns:
            Boolean mask ``(B, H, W)`` on the CAM's device, True = masked.

        Raises:
            ShapeError: a shape is wrong, ``block`` does not divide the grid, or the grid of
                blocks does not divide the images.
            TypeError: a tensor is not floating point, or ``grid`` is no pair of integers.
            ValueError: the CAM or the noise holds NaN or values outside 0 to 1, ``images`` are
                missing, or both ``noise`` and ``generator`` are given.
        """
        blocks = self._blocks(cam, labels, grid)
        if self.strategy == "edge":
            return self._to_patches(self._edge_mask(cam, images, blocks))
        if self.strategy == "strict":
            check_unit_interval(cam=cam)
            return self._to_patches(self._strict_mask(self._score(cam, labels, blocks)))
        noise = self._noise(cam, blocks, noise, generator)
        check_unit_interval(cam=cam, noise=noise)
        if self.strategy == "uncertain":
            zone = uncertain_zone(self._score(cam, labels, blocks), self.low, self.high)
            noise = soft_mask(zone, noise)
        count = mask_count(self.ratio, blocks[0] * blocks[1], self.rounding)
        return self._to_patches(top_k_mask(noise.flatten(1), count).view_as(noise))

    @torch.no_grad()
    def uncertain_zone(
        self,
        cam: Tensor,
        labels: Tensor | None = None,
        *,
        grid: tuple[int, int] | None = None,
    ) -> Tensor:
        """Return the uncertain zone of Eq. 3, whatever the strategy.

        Args:
            cam: normalised CAM (Eq. 2), ``(B, C, h, w)``, 0 to 1, of any resolution.
            labels: multi-hot image-level labels, ``(B, C)``; absent classes do not count.
            grid: patch grid ``(H, W)``; the CAM's size if not given.

        Returns:
            Boolean ``(B, H, W)``, True = uncertain, constant within every block.

        Raises:
            ShapeError: a shape is wrong, or ``block`` does not divide the grid.
            TypeError: the CAM is not floating point, or ``grid`` is no pair of integers.
            ValueError: the CAM holds NaN or values outside 0 to 1.
        """
        blocks = self._blocks(cam, labels, grid)
        check_unit_interval(cam=cam)
        score = self._score(cam, labels, blocks)
        return self._to_patches(uncertain_zone(score, self.low, self.high))

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return (
            f"ratio={self.ratio}, low={self.low}, high={self.high}, strategy={self.strategy!r}, "
            f"block={self.block}, rounding={self.rounding!r}"
        )

    def _blocks(
        self, cam: Tensor, labels: Tensor | None, grid: tuple[int, int] | None
    ) -> tuple[int, int]:
        """Check the shapes and return the grid of blocks."""
        batch, classes, height, width = check_shape("cam", cam, "B C h w")
        check_floating("cam", cam)
        if min(classes, height, width) < 1:
            raise ShapeError(
                f"cam: expected at least one class and one pixel, got {tuple(cam.shape)}"
            )
        if labels is not None:
            check_shape("labels", labels, "B C", B=batch, C=classes)
        rows, columns = (height, width) if grid is None else check_grid("grid", grid)
        if rows % self.block or columns % self.block:
            raise ShapeError(
                f"grid: expected multiples of block={self.block}, got {(rows, columns)}"
            )
        return rows // self.block, columns // self.block

    def _score(self, cam: Tensor, labels: Tensor | None, blocks: tuple[int, int]) -> Tensor:
        """Return the maximum over present classes, sampled at the blocks: ``(B, rows, columns)``.

        Nearest sampling copies single pixels, so thresholds may be applied before or after it.
        """
        if labels is not None:
            cam = cam.masked_fill((labels <= 0)[:, :, None, None], 0.0)
        score = cam.amax(dim=1, keepdim=True)
        return F.interpolate(score, size=blocks, mode="nearest").squeeze(1)

    def _noise(
        self,
        cam: Tensor,
        blocks: tuple[int, int],
        noise: Tensor | None,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Return the u of Eq. 3 at the blocks on the CAM's device, given or drawn."""
        if noise is None:
            # A generator draws on its own device only: move the numbers, so that any will do.
            source = cam.device if generator is None else generator.device
            return torch.rand(cam.shape[0], *blocks, generator=generator, device=source).to(
                cam.device
            )
        if generator is not None:
            raise ValueError("generator: expected None beside noise=, got both")
        check_shape("noise", noise, "B H W", B=cam.shape[0], H=blocks[0], W=blocks[1])
        check_floating("noise", noise)
        return noise.to(cam.device)

    def _strict_mask(self, score: Tensor) -> Tensor:
        """Return exactly the zone, but for the block whose score is closest to leaving it."""
        zone = uncertain_zone(score, self.low, self.high)
        certainty = (score - (self.low + self.high) / 2).abs()
        return keep_one(zone.flatten(1), certainty.flatten(1)).view_as(zone)

    def _edge_mask(self, cam: Tensor, images: Tensor | None, blocks: tuple[int, int]) -> Tensor:
        """Return the blocks on edges, but for the one with the fewest edge pixels."""
        if images is None:
            raise ValueError("images: expected a tensor for strategy='edge', got None")
        _, _, height, width = check_shape(
            "images", images, "B 3 height width", B=cam.shape[0], **{"3": 3}
        )
        check_floating("images", images)
        check_unit_interval(cam=cam)
        check_finite("images", images)
        edges = count_per_cell(canny_edges(images), blocks).to(cam.device)
        pixels = height * width // (blocks[0] * blocks[1])
        mask = edges >= mask_count(EDGE_SHARE, pixels, "ceil")
        return keep_one(mask.flatten(1), -edges.flatten(1)).view_as(mask)

    def _to_patches(self, blocks: Tensor) -> Tensor:
        """Repeat every block over its patches: ``(B, H / block, W / block)`` to ``(B, H, W)``."""
        return blocks.repeat_interleave(self.block, 1).repeat_interleave(self.block, 2)
