"""The masking operator: from a CAM to the patches that are masked."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import (
    check_between,
    check_choice,
    check_positive_int,
    check_unit_interval,
)
from fsr._core.module import TypedModule
from fsr._core.optional import import_extra
from fsr.masking._edges import edge_mask
from fsr.masking._entropy import block_mean, entropy_soft_mask
from fsr.masking._equations import (
    ROUNDINGS,
    Rounding,
    mask_count,
    soft_mask,
    strict_mask,
    top_k_mask,
    uncertain_zone,
)
from fsr.masking._inputs import (
    block_grid,
    block_noise,
    checked_images,
    patch_entropy,
    to_patches,
)
from fsr.masking._otsu import otsu_thresholds, strongest_with_thresholds

# The first four are those of Table 3.
Strategy = Literal["uncertain", "random", "strict", "edge", "entropy"]
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)
Thresholds = Literal["fixed", "otsu"]
THRESHOLDS: tuple[Thresholds, ...] = get_args(Thresholds)


class UncertainMasker(TypedModule):
    r"""Choose the patches to mask from a CAM: the masking operator of Eq. 3 and 4.

    Strategies (Table 3): ``"uncertain"`` takes patches of the uncertain zone first and the rest at
    random; ``"random"`` draws all of them; ``"strict"`` is exactly the zone, whatever its size;
    ``"edge"`` takes patches of which at least 5% of the pixels lie on Canny edges of the image.
    The last two never mask every patch: the most certain one stays, which is the one whose score
    lies closest to a threshold for ``"strict"``, and the one with the fewest edge pixels for
    ``"edge"``. An image without any class has an empty zone.

    Two choices are not in the paper. Strategy ``"entropy"`` reads no CAM: it takes the blocks of
    highest mean ``entropy`` first, by :func:`entropy_soft_mask`. ``thresholds="otsu"`` finds
    :math:`\beta_l` and :math:`\beta_h` for every present class of every image by
    :func:`otsu_thresholds`; a patch is uncertain if the score of its strongest class lies between
    the thresholds of that class.

    Args:
        ratio: share r of patches to mask, in (0, 1); ``"strict"`` and ``"edge"`` have no ratio.
        low: threshold :math:`\beta_l`, 0 to 1, below ``high``.
        high: threshold :math:`\beta_h`, 0 to 1.
        strategy: one of the five above.
        block: side of the square of patches that is masked as one, in patches.
        rounding: ``"floor"`` (Eq. 4) or ``"ceil"`` of ratio times the number of blocks. The
            released code uses ``block=4, rounding="ceil"``.
        thresholds: ``"fixed"``, ``low`` and ``high`` for all, or ``"otsu"``; a map in which Otsu
            finds no three groups keeps ``low`` and ``high``.

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
        strategy: Strategy = "uncertain",
        block: int = 1,
        rounding: Rounding = "floor",
        thresholds: Thresholds = "fixed",
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
        check_choice("thresholds", thresholds, THRESHOLDS)
        if strategy == "edge":
            # Now rather than in the middle of a run.
            import_extra("skimage.feature", "edge", "UncertainMasker(strategy='edge')")
        self.ratio = ratio
        self.low = low
        self.high = high
        self.strategy: Strategy = strategy
        self.block = block
        self.rounding: Rounding = rounding
        self.thresholds: Thresholds = thresholds

    @torch.no_grad()
    def forward(
        self,
        cam: Tensor,
        labels: Tensor | None = None,
        *,
        grid: tuple[int, int] | None = None,
        images: Tensor | None = None,
        entropy: Tensor | None = None,
        ratio: float | None = None,
        noise: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the mask :math:`M_b` of Eq. 4.

        Args:
            cam: normalised CAM (Eq. 2), ``(B, C, h, w)``, 0 to 1, of any resolution.
            labels: multi-hot image-level labels, ``(B, C)``; absent classes do not count.
            grid: patch grid ``(H, W)``; the CAM's size if not given.
            images: ``(B, 3, height, width)``, needed by ``"edge"`` only.
            entropy: entropy of every patch in nats, ``(B, H, W)``, needed by ``"entropy"`` only;
                see :func:`token_entropy`.
            ratio: share of patches to mask in this call, in (0, 1); the masker's own if None.
            noise: the u of Eq. 3 per block, ``(B, H / block, W / block)``, 0 to 1.
            generator: where to draw the noise from, on any device; torch's default generator if
                neither it nor ``noise`` is given. ``"strict"`` and ``"edge"`` draw nothing.

        Returns:
            Boolean mask ``(B, H, W)`` on the CAM's device, True = masked.

        Raises:
            ShapeError: a shape is wrong, ``block`` does not divide the grid, or the grid of
                blocks does not divide the images.
            TypeError: a tensor is not floating point, ``grid`` is no pair of integers, or ``ratio``
                no number.
            ValueError: the CAM or the noise holds NaN or values outside 0 to 1, ``entropy`` or
                ``images`` hold NaN or infinity or are missing, ``ratio`` lies outside (0, 1), or
                both ``noise`` and ``generator`` are given.
        """
        blocks = block_grid(cam, labels, grid, self.block)
        if ratio is not None:
            check_between("ratio", ratio, 0, 1, inclusive=False)
        if self.strategy == "edge":
            check_unit_interval(cam=cam, **_given(labels))
            mask = edge_mask(checked_images(cam, images), blocks).to(cam.device)
            return to_patches(mask, self.block)
        if self.strategy == "strict":
            check_unit_interval(cam=cam, **_given(labels))
            # Otsu's zones differ in width.
            score, low, high = self._score(cam, labels, blocks)
            mask = strict_mask(score, low, high, from_border=self.thresholds == "otsu")
            return to_patches(mask, self.block)
        noise = block_noise(cam, blocks, noise, generator)
        check_unit_interval(cam=cam, noise=noise, **_given(labels))
        soft = self._soft_mask(cam, labels, entropy, noise).flatten(1)
        share = self.ratio if ratio is None else ratio
        count = mask_count(share, blocks[0] * blocks[1], self.rounding)
        return to_patches(top_k_mask(soft, count).view_as(noise), self.block)

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
        blocks = block_grid(cam, labels, grid, self.block)
        check_unit_interval(cam=cam, **_given(labels))
        return to_patches(uncertain_zone(*self._score(cam, labels, blocks)), self.block)

    def extra_repr(self) -> str:
        """Show the options in ``print(module)``."""
        return (
            f"ratio={self.ratio}, low={self.low}, high={self.high}, strategy={self.strategy!r}, "
            f"block={self.block}, rounding={self.rounding!r}, thresholds={self.thresholds!r}"
        )

    def _score(
        self, cam: Tensor, labels: Tensor | None, blocks: tuple[int, int]
    ) -> tuple[Tensor, float | Tensor, float | Tensor]:
        """Return the maximum over present classes at the blocks, ``(B, rows, columns)``, low, high.

        Nearest sampling copies single pixels, so thresholds may be applied before or after it.
        """
        if labels is not None:
            cam = cam.masked_fill((labels <= 0)[:, :, None, None], 0.0)
        if self.thresholds == "fixed":
            score = cam.amax(dim=1, keepdim=True)
            return F.interpolate(score, size=blocks, mode="nearest").squeeze(1), self.low, self.high
        lows, highs = otsu_thresholds(cam, self.low, self.high)
        sampled = F.interpolate(cam, size=blocks, mode="nearest")
        return strongest_with_thresholds(sampled, lows, highs)

    def _soft_mask(
        self, cam: Tensor, labels: Tensor | None, entropy: Tensor | None, noise: Tensor
    ) -> Tensor:
        """Return the soft mask of the strategies that have a ratio, in the shape of the noise."""
        blocks = (noise.shape[1], noise.shape[2])
        if self.strategy == "uncertain":
            return soft_mask(uncertain_zone(*self._score(cam, labels, blocks)), noise)
        if self.strategy == "entropy":
            means = block_mean(patch_entropy(cam, entropy, blocks, self.block), self.block)
            return entropy_soft_mask(means.flatten(1), noise.flatten(1))
        return noise


def _given(labels: Tensor | None) -> dict[str, Tensor]:
    """Labels by their name, where there are any."""
    return {} if labels is None else {"labels": labels}
