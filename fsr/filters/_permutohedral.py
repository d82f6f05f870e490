"""Approximate Gaussian filter between points of few dimensions, on a permutohedral lattice."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from fsr._core.checks import check_floating, check_same_device, check_shape
from fsr._core.numerics import at_least_float32, no_autocast
from fsr._core.values import may_look
from fsr.filters._bilateral import MAX_ROUNDING

# Corners of the lattice are numbered in 63 bits.
MAX_CELLS = 2**62


class PermutohedralLattice:
    r"""Sums of points' values, weighted by nearness, in time linear in the points; approximate.

    .. math:: (K v)_i \approx \sum_j \exp\Bigl(-\frac{|f_i - f_j|^2}{2}\Bigr) v_j

    Each point gives its values to the F + 1 corners of the cell that it lies in, by its place in
    the cell; corners are blurred along the lattice's F + 1 axes; each point reads its corners. The
    lattice is built once for points and filters any number of values. All of it is sorts and sums
    of rows in PyTorch: it runs on every device, with no compiled extension, and gives the same
    result every time.

    How near it comes: where many points lie within a kernel's width, as pixels of photographs do,
    within 10% of the exact sum on average; a lone point hears itself with 0.5 to 1.2 of its
    weight. Of a normalised filter, as in :func:`fsr.refine.mean_field`, most of that cancels.

    Args:
        features: f, ``(N, F)``, in units of the kernel's width: places divided by their standard
            deviation. Constants.

    Raises:
        ShapeError: ``features`` is no matrix.
        TypeError: it is not floating point.
        ValueError: features are not finite, so far from 0 that their type does not tell places
            within a cell apart, or spread over so many cells that they cannot be numbered.

    Source:
        Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral Lattice",
        Eurographics 2010; the scale of the sum is that of the exact kernel's integral.

    Example:
        >>> colours = torch.linspace(0, 1, 1000).view(-1, 1)
        >>> lattice = PermutohedralLattice(colours / 0.1)
        >>> exact = 1000 * 0.1 * (2 * torch.pi) ** 0.5  # in the middle, of ones
        >>> round(lattice(torch.ones(1000, 1))[500].item() / exact, 2)
        1.0
    """

    def __init__(self, features: Tensor) -> None:
        check_shape("features", features, "N F")
        check_floating("features", features)
        if may_look(features) and not bool(features.isfinite().all()):
            raise ValueError("features: expected finite values, got others")
        with torch.no_grad(), no_autocast(features):
            self._build(at_least_float32(features.detach()))

    def __call__(self, values: Tensor) -> Tensor:
        """Filter values.

        Args:
            values: v, ``(N, K)``, any unit; gradients do not flow.

        Returns:
            K v, ``(N, K)``, in the values' type, float32 for half precision.

        Raises:
            ShapeError: there is not one row for each point.
            TypeError: ``values`` is not floating point.
            ValueError: they are on another device than the lattice.
        """
        check_shape("values", values, "N K", N=len(self._corners))
        check_floating("values", values)
        check_same_device(values=values, features=self._weights)
        with torch.no_grad(), no_autocast(values):
            # Rows are gathered, which is fast where each lies in one place.
            held = at_least_float32(values).contiguous()
            rows = _sums(self._points, held, self._shares.to(held.dtype), self._offsets)
            for near, weights in zip(self._near, self._near_weights, strict=True):
                rows = _sums(near, rows, weights.to(held.dtype))
            return _sums(self._corners, rows, self._weights.to(held.dtype))

    @property
    def size(self) -> int:
        """Number of corners that points lie at."""
        return len(self._offsets)

    def _build(self, features: Tensor) -> None:
        """Find the corners of every point, and of every corner its points and its neighbours."""
        width = features.shape[1]
        low, weights = _cells(features)
        # One integer for each corner, such that neighbours along an axis differ by a constant.
        lowest, strides = _numbering(low)
        numbers = ((low - lowest) * strides).sum(-1)
        steps = F.pad((width + 1) * strides, (0, 1)) - strides.sum()
        ordered, order = numbers.flatten().sort(stable=True)
        found, place, counts = torch.unique_consecutive(
            ordered, return_inverse=True, return_counts=True
        )
        at = torch.empty_like(place)
        at[order] = place
        # From points to corners: of each corner the points in a row, and where its row begins.
        self._points = (order // (width + 1)).int()
        self._shares = weights.flatten()[order] * _scale(width)
        self._offsets = (counts.cumsum(0) - counts).int()
        # From corners to points.
        self._corners = at.view(-1, width + 1).int()
        self._weights = weights
        self._near, self._near_weights = _neighbours(found, steps, weights)


def _cells(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the corners of each point's cell and the weights of these.

    Corners ``(N, F + 1, F)`` are integers without their last coordinate, which the others
    determine; weights ``(N, F + 1)`` sum to 1.
    """
    width = features.shape[1]
    above = torch.arange(1, width + 1, device=features.device)
    # Onto the plane of coordinates whose sum is 0, where cells are alike; at this scale splat, blur
    # and slice together have variance 1.
    spread = (width + 1) * math.sqrt(2 / 3) / (above * (above + 1)).to(features.dtype).sqrt()
    scaled = features * spread
    _check_rounding(features, scaled)
    tails = F.pad(scaled.flip(1).cumsum(1).flip(1), (0, 1))
    lifted = tails - F.pad(above * scaled, (1, 0))
    # The nearest point whose coordinates are all multiples of F + 1; where their sum is not 0,
    # those that were rounded most are moved by one multiple.
    nearest = (lifted / (width + 1)).round()
    excess = nearest.sum(1, keepdim=True)
    order = (lifted / (width + 1) - nearest).argsort(dim=1, descending=True, stable=True)
    rank = order.argsort(dim=1) + excess.long()
    below, beyond = rank < 0, rank > width
    nearest = nearest + below.to(nearest) - beyond.to(nearest)
    rank = rank + (width + 1) * (below.long() - beyond.long())
    rest = lifted / (width + 1) - nearest

    # By rank, largest rest first: the weights of corners are differences of neighbours.
    by_rank = torch.empty_like(rest).scatter_(1, rank, rest)
    last, first = by_rank[:, -1:], by_rank[:, :1]
    steps = (by_rank[:, :-1] - by_rank[:, 1:]).flip(1)
    weights = torch.cat([1 - first + last, steps], dim=1)

    corner = torch.arange(width + 1, device=features.device).view(1, -1, 1)
    wraps = rank[:, None, :width] > width - corner
    corners = (width + 1) * nearest.long()[:, None, :width] + corner
    return corners - (width + 1) * wraps.long(), weights


def _check_rounding(features: Tensor, scaled: Tensor) -> None:
    """Raise ``ValueError`` where weights of corners would be noise."""
    if not may_look(features):
        return
    largest = scaled.abs().sum(dim=1).max().item()
    rounding = largest * torch.finfo(features.dtype).eps
    if not rounding <= MAX_ROUNDING:
        raise ValueError(
            f"features: expected places that {features.dtype} tells apart within a cell, got some "
            f"off by up to {rounding:.1g} (at most {MAX_ROUNDING}): subtract their mean, give a "
            "wider kernel, or float64"
        )


def _numbering(corners: Tensor) -> tuple[Tensor, Tensor]:
    """Return the lowest coordinates, and what a step of each adds to a corner's number."""
    lowest, highest = corners.amin(dim=(0, 1)), corners.amax(dim=(0, 1))
    # With room for neighbours around them.
    sizes = (highest - lowest + 1 + 2 * (corners.shape[-1] + 1)).tolist()
    if math.prod(sizes) > MAX_CELLS:
        raise ValueError(
            f"features: expected at most {MAX_CELLS} cells, got a box of {math.prod(sizes):.1e}; "
            "give a wider kernel"
        )
    strides = [math.prod(sizes[axis + 1 :]) for axis in range(len(sizes))]
    return lowest, torch.tensor(strides, device=corners.device)


def _neighbours(found: Tensor, steps: Tensor, like: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Return for each axis the two neighbours of all corners and themselves, with their weights."""
    near, weights = [], []
    itself = torch.arange(len(found), device=found.device)
    for step in steps:
        sides, there = [itself], [torch.ones_like(itself, dtype=torch.bool)]
        for number in (found - step, found + step):
            place = torch.searchsorted(found, number).clamp_(max=len(found) - 1)
            sides.append(place)
            there.append(found[place] == number)
        near.append(torch.stack(sides, dim=1).int())
        # One that is not there weighs nothing.
        blur = torch.tensor([1.0, 0.5, 0.5], device=like.device, dtype=like.dtype)
        weights.append(torch.stack(there, dim=1) * blur)
    return near, weights


def _scale(width: int) -> float:
    """Return what makes the filter's integral that of the kernel.

    A blur along an axis doubles; a corner stands for a volume of ``1.5**(F / 2) / sqrt(F + 1)``.
    """
    return math.pow(2 * math.pi / 1.5, width / 2) * math.sqrt(width + 1) / math.pow(2, width + 1)


def _sums(indices: Tensor, rows: Tensor, weights: Tensor, offsets: Tensor | None = None) -> Tensor:
    """Return weighted sums of rows: of a matrix of indices by its rows, else from offsets on."""
    return F.embedding_bag(indices, rows, offsets, mode="sum", per_sample_weights=weights)
