"""Mean field of a fully connected CRF with the filters of pydensecrf, approximate and fast."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fsr._core.optional import import_extra
from fsr.refine._crf_settings import CRFSettings
from fsr.refine._mean_field import CLIP


def import_pydensecrf() -> Any:
    """Import the lattice filter, or say how to get it and what there is without it."""
    try:
        return import_extra("pydensecrf.densecrf", "crf", "DenseCRF(backend='pydensecrf')")
    except ImportError as error:
        raise ImportError(f"{error}; backend='lattice' needs nothing") from error


def lattice_mean_field(image: Tensor, maps: Tensor, settings: CRFSettings) -> Tensor:
    """Mean field with the permutohedral lattice of pydensecrf."""
    densecrf = import_pydensecrf()
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
