"""Dense CRF: probabilities sharpened along the edges of their image, by one of three backends."""

from __future__ import annotations

import warnings
from dataclasses import asdict, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsr._core.checks import (
    check_between,
    check_choice,
    check_dense,
    check_floating,
    check_positive_int,
    check_same_device,
    check_shape,
)
from fsr.errors import ShapeError
from fsr.refine._crf_settings import CRF_PRESETS, CRFPreset, CRFSettings
from fsr.refine._lattice import import_pydensecrf, lattice_mean_field
from fsr.refine._mean_field import mean_field

Backend = Literal["pydensecrf", "torch", "lattice"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)
# Largest image that the exact filter takes on a CPU: about a minute for ten updates on two cores.
MAX_CPU_PIXELS = 224 * 224


class DenseCRF:
    """Fully connected CRF over the pixels of an image, see :func:`fsr.refine.mean_field`.

    The backend ``"pydensecrf"`` filters on a lattice: fast at any size, approximate, on the CPU,
    one core (:class:`fsr.refine.CRFPool` uses several). The backend ``"lattice"`` does so in
    PyTorch alone: without an extension, on any device, as near to the exact filter; on two cores of
    a CPU it takes about as long as the other on one. The backend ``"torch"`` filters exactly, on
    any device and without an extension, but its time grows with the square of the pixel count: it
    is for small images and for GPUs. On a CPU it refuses images of more than ``max_pixels``, by
    their size alone: 224 x 224 pixels take about a minute on two cores, twice the side 16 times as
    long.

    Args:
        preset: a name in :data:`CRF_PRESETS`, or :class:`CRFSettings`.
        backend: ``"pydensecrf"`` (extra ``crf``), ``"lattice"`` or ``"torch"``.
        min_probability: classes whose probability is below this everywhere in the image take no
            part and come out as 0; 0 leaves all in. The most probable one always stays.
        max_pixels: largest height times width that the torch backend takes on a CPU; None for no
            limit. The other backends, other devices and a CRF without a bilateral kernel have none.
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
        preset: CRFPreset | CRFSettings = "test",
        *,
        backend: Backend = "pydensecrf",
        min_probability: float = 0.0,
        max_pixels: int | None = MAX_CPU_PIXELS,
        **settings: Any,
    ) -> None:
        if "max_seconds" in settings:
            warnings.warn(
                "max_seconds goes with the next release: size alone decides what is refused, "
                "see max_pixels",
                DeprecationWarning,
                stacklevel=2,
            )
            max_pixels = None if settings.pop("max_seconds") is None else max_pixels
        check_choice("backend", backend, BACKENDS)
        if not isinstance(preset, (str, CRFSettings)):
            raise TypeError(f"preset: expected a name or CRFSettings, got {type(preset).__name__}")
        if isinstance(preset, str):
            check_choice("preset", preset, CRF_PRESETS)
            preset = CRF_PRESETS[preset]
        for name in settings:
            check_choice("setting", name, asdict(preset))
        check_between("min_probability", min_probability, 0.0, 1.0)
        if max_pixels is not None:
            check_positive_int("max_pixels", max_pixels)
        self.settings = replace(preset, **settings)
        self.backend: Backend = backend
        self.min_probability = min_probability
        self.max_pixels = max_pixels
        if backend == "pydensecrf":
            import_pydensecrf()

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
            ValueError: probabilities are NaN or outside [0, 1], or the image has more than
                ``max_pixels`` for the torch backend on a CPU.
        """
        maps, pixels = _tensor("probabilities", probabilities).detach(), _tensor("image", image)
        _check(pixels, maps)
        kept = self._kept(maps)
        chosen = maps.float() if kept is None else maps[kept].float()
        if self.backend == "pydensecrf":
            refined = lattice_mean_field(pixels, chosen, self.settings).to(maps.device)
        else:
            approximate = self.backend == "lattice"
            if not approximate:
                self._check_size(chosen)
            colours = pixels.permute(2, 0, 1).to(maps.device)
            refined = mean_field(chosen, colours, approximate=approximate, **asdict(self.settings))
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

    def _check_size(self, maps: Tensor) -> None:
        """Raise if the image is too large for the exact filter on a CPU."""
        quadratic = self.settings.bilateral_weight > 0
        if self.max_pixels is None or maps.device.type != "cpu" or not quadratic:
            return
        _, height, width = maps.shape
        if height * width > self.max_pixels:
            raise ValueError(
                f"image: expected at most {self.max_pixels} pixels for backend='torch' on a CPU "
                f"(max_pixels), got {height} x {width} = {height * width}, and the exact filter's "
                "time grows with the square; use backend='lattice' or 'pydensecrf', a smaller "
                "image, a GPU, or max_pixels=None"
            )


def _tensor(name: str, value: Tensor | NDArray[Any]) -> Tensor:
    """Return a tensor; of an array that may not be written to, a copy."""
    if not isinstance(value, (Tensor, np.ndarray)):
        raise TypeError(f"{name}: expected a tensor or an array, got {type(value).__name__}")
    if isinstance(value, Tensor):
        return value
    return torch.from_numpy(value if value.flags.writeable else value.copy())


def _check(image: Tensor, maps: Tensor) -> None:
    """Check the arguments of a call."""
    check_dense("image", image)
    if image.dtype != torch.uint8:
        raise TypeError(f"image: expected uint8 in 0..255, got {image.dtype}")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ShapeError(f"image: expected (height, width, 3), got {tuple(image.shape)}")
    height, width, _ = image.shape
    check_shape("probabilities", maps, "C+1 H W", H=height, W=width)
    check_same_device(image=image, maps=maps)
    check_floating("probabilities", maps)
    if maps.numel() == 0:
        raise ShapeError(f"probabilities: expected a class and a pixel, got {tuple(maps.shape)}")
    if not bool(((maps >= 0) & (maps <= 1)).all()):
        raise ValueError("probabilities: expected values in [0, 1], got others or NaN")
