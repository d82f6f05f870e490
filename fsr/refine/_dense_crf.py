"""Dense CRF: probabilities sharpened along the edges of their image, by either of two backends."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsr._core.checks import (
    check_between,
    check_choice,
    check_floating,
    check_positive_int,
    check_shape,
)
from fsr._core.optional import import_extra
from fsr.errors import ShapeError
from fsr.refine._mean_field import CLIP, estimated_seconds, mean_field

BACKENDS = ("pydensecrf", "torch")


@dataclass(frozen=True)
class CRFSettings:
    """Kernels and iterations of a dense CRF.

    Args:
        iterations: mean-field updates.
        gaussian_sxy: width of the spatial kernel in pixels.
        gaussian_weight: its weight.
        bilateral_sxy: spatial width of the bilateral kernel in pixels.
        bilateral_srgb: its colour width, in 0..255.
        bilateral_weight: its weight.

    Raises:
        TypeError: a value is no number.
        ValueError: a value is out of range.

    Example:
        >>> CRF_PRESETS["test"].bilateral_sxy
        121.0
    """

    iterations: int = 10
    gaussian_sxy: float = 1.0
    gaussian_weight: float = 1.0
    bilateral_sxy: float = 121.0
    bilateral_srgb: float = 5.0
    bilateral_weight: float = 4.0

    def __post_init__(self) -> None:
        check_positive_int("iterations", self.iterations)
        for name in ("gaussian_sxy", "bilateral_sxy", "bilateral_srgb"):
            check_between(name, getattr(self, name), 0.0, float("inf"), inclusive=False)
        for name in ("gaussian_weight", "bilateral_weight"):
            check_between(name, getattr(self, name), 0.0, float("inf"))


# Settings by purpose: for predictions at test time, and for label maps or pseudo labels, whose
# unary is made by fsr.refine.label_map_probabilities. Both are those of the released code.
CRF_PRESETS: dict[str, CRFSettings] = {
    "test": CRFSettings(),
    "labels": CRFSettings(
        gaussian_sxy=3.0,
        gaussian_weight=3.0,
        bilateral_sxy=50.0,
        bilateral_srgb=5.0,
        bilateral_weight=10.0,
    ),
}


class DenseCRF:
    """Fully connected CRF over the pixels of an image, see :func:`fsr.refine._mean_field`.

    The backend ``"pydensecrf"`` filters on a lattice: fast at any size, approximate, on the CPU,
    one core (:class:`fsr.refine.CRFPool` uses several). The backend ``"torch"`` filters exactly, on
    any device and without an extension, but its time grows with the square of the pixel count: it
    is for small images and for GPUs, and refuses what would take too long on a CPU.

    Args:
        preset: a name in :data:`CRF_PRESETS`, or :class:`CRFSettings`.
        backend: ``"pydensecrf"`` (extra ``crf``) or ``"torch"``.
        min_probability: classes whose probability is below this everywhere in the image take no
            part and come out as 0; 0 leaves all in. The most probable one always stays.
        max_seconds: the torch backend refuses images that it would take longer for on a CPU; None
            for no limit.
        settings: values of :class:`CRFSettings` to change.

    Raises:
        ImportError: the backend is not installed; nothing else is taken in its place.
        TypeError: an option has the wrong type.
        ValueError: there is no such preset or backend, or an option is out of range.

    Source:
        Krähenbühl and Koltun, NeurIPS 2011; settings of the released code.

    Example:
        >>> crf = DenseCRF(backend="torch", iterations=5)
        >>> image = torch.zeros(2, 3, 3, dtype=torch.uint8)
        >>> probabilities = torch.tensor([0.7, 0.3]).view(2, 1, 1).expand(2, 2, 3)
        >>> crf(image, probabilities).argmax(dim=0)
        tensor([[0, 0, 0],
                [0, 0, 0]])
    """

    def __init__(
        self,
        preset: str | CRFSettings = "test",
        *,
        backend: str = "pydensecrf",
        min_probability: float = 0.0,
        max_seconds: float | None = 60.0,
        **settings: Any,
    ) -> None:
        check_choice("backend", backend, BACKENDS)
        if isinstance(preset, str):
            check_choice("preset", preset, CRF_PRESETS)
            preset = CRF_PRESETS[preset]
        for name in settings:
            check_choice("setting", name, asdict(preset))
        check_between("min_probability", min_probability, 0.0, 1.0)
        if max_seconds is not None:
            check_between("max_seconds", max_seconds, 0.0, float("inf"))
        self.settings = replace(preset, **settings)
        self.backend = backend
        self.min_probability = min_probability
        self.max_seconds = max_seconds
        if backend == "pydensecrf":
            _import_pydensecrf()

    def __call__(
        self, image: Tensor | NDArray[np.uint8], probabilities: Tensor | NDArray[np.floating[Any]]
    ) -> Tensor:
        """Refine the probabilities of one image.

        Args:
            image: RGB in 0..255, ``(height, width, 3)`` uint8, array or tensor.
            probabilities: ``(C + 1, height, width)``, array or tensor; they need not sum to 1.

        Returns:
            Marginals ``(C + 1, height, width)`` float32 that sum to 1 over classes, on the device
            of ``probabilities``.

        Raises:
            ShapeError: a shape is wrong or does not fit the other.
            TypeError: ``image`` is not uint8 or ``probabilities`` not floating point.
            ValueError: probabilities are NaN or outside [0, 1], or the torch backend would take
                longer than ``max_seconds``.
        """
        maps, pixels = _tensor(probabilities).detach(), _tensor(image)
        _check(pixels, maps)
        kept = self._kept(maps)
        chosen = maps.float() if kept is None else maps[kept].float()
        if self.backend == "pydensecrf":
            refined = _lattice(pixels, chosen, self.settings).to(maps.device)
        else:
            self._check_time(chosen)
            colours = pixels.permute(2, 0, 1).to(maps.device)
            refined = mean_field(chosen, colours, **asdict(self.settings))
        if kept is None:
            return refined
        return torch.zeros_like(maps, dtype=torch.float32).index_copy_(0, kept, refined)

    def __repr__(self) -> str:
        return (
            f"DenseCRF({self.settings}, backend={self.backend!r}, "
            f"min_probability={self.min_probability:g})"
        )

    def _kept(self, maps: Tensor) -> Tensor | None:
        """Return the classes that take part, None for all."""
        if self.min_probability == 0:
            return None
        highest = maps.flatten(1).amax(dim=1)
        likely = highest >= min(self.min_probability, highest.max().item())
        return likely.nonzero()[:, 0]

    def _check_time(self, maps: Tensor) -> None:
        """Raise if the exact filter would take too long on a CPU."""
        quadratic = self.settings.bilateral_weight > 0
        if self.max_seconds is None or maps.device.type != "cpu" or not quadratic:
            return
        seconds = estimated_seconds(maps, self.settings.iterations)
        if seconds > self.max_seconds:
            _, height, width = maps.shape
            raise ValueError(
                f"image: the exact CRF of {height} x {width} pixels and {maps.shape[0]} classes "
                f"would take about {seconds:.0f} s on this CPU (max_seconds={self.max_seconds:g}); "
                "use backend='pydensecrf', a smaller image, a GPU, or max_seconds=None"
            )


def _tensor(value: Tensor | NDArray[Any]) -> Tensor:
    """Return a tensor; of an array that may not be written to, a copy."""
    if isinstance(value, Tensor):
        return value
    return torch.from_numpy(value if value.flags.writeable else value.copy())


def _check(image: Tensor, maps: Tensor) -> None:
    """Check the arguments of a call."""
    if image.dtype != torch.uint8:
        raise TypeError(f"image: expected uint8 in 0..255, got {image.dtype}")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ShapeError(f"image: expected (height, width, 3), got {tuple(image.shape)}")
    height, width, _ = image.shape
    check_shape("probabilities", maps, "C+1 H W", H=height, W=width)
    check_floating("probabilities", maps)
    if maps.numel() == 0:
        raise ShapeError(f"probabilities: expected a class and a pixel, got {tuple(maps.shape)}")
    if not bool(((maps >= 0) & (maps <= 1)).all()):
        raise ValueError("probabilities: expected values in [0, 1], got others or NaN")


def _import_pydensecrf() -> Any:
    """Import the lattice filter, or say how to get it and what there is without it."""
    try:
        return import_extra("pydensecrf.densecrf", "crf", "DenseCRF(backend='pydensecrf')")
    except ImportError as error:
        raise ImportError(
            f"{error}; backend='torch' needs nothing, but is slow on a CPU"
        ) from error


def _lattice(image: Tensor, maps: Tensor, settings: CRFSettings) -> Tensor:
    """Mean field with the permutohedral lattice of pydensecrf."""
    densecrf = _import_pydensecrf()
    labels, height, width = maps.shape
    field = densecrf.DenseCRF2D(width, height, labels)
    unary = -maps.cpu().clamp(CLIP, 1.0).log().flatten(1).numpy()
    field.setUnaryEnergy(np.ascontiguousarray(unary))
    if settings.gaussian_weight > 0:
        field.addPairwiseGaussian(sxy=settings.gaussian_sxy, compat=settings.gaussian_weight)
    if settings.bilateral_weight > 0:
        field.addPairwiseBilateral(
            sxy=settings.bilateral_sxy,
            srgb=settings.bilateral_srgb,
            rgbim=np.ascontiguousarray(image.cpu().numpy()),
            compat=settings.bilateral_weight,
        )
    marginals = np.array(field.inference(settings.iterations), dtype=np.float32)
    return torch.from_numpy(marginals).view(labels, height, width)
