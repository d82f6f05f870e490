"""Maps and images of one size and another: known labels, most probable labels, resizing."""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

from fsr._core.checks import check_positive_int, check_shape
from fsr._core.numerics import at_least_float32
from fsr.cam import ignore_label


def restrict_to_labels(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Probabilities given which classes an image shows: others get 0, the rest sum to 1 again.

    Args:
        probabilities: ``(C + 1, height, width)``, channel 0 background.
        labels: multi-hot image-level labels ``(C,)``; a class is present where they are > 0.

    Returns:
        ``(C + 1, height, width)``. A pixel of which nothing is left is background.

    Raises:
        ShapeError: the sizes do not fit each other.

    Example:
        >>> restrict_to_labels(torch.tensor([0.2, 0.2, 0.6]).view(3, 1, 1), torch.tensor([1, 0]))
        tensor([[[0.5000]], [[0.5000]], [[0.0000]]])
    """
    channels, _, _ = check_shape("probabilities", probabilities, "C height width")
    check_shape("labels", labels, "C", C=channels - 1)
    allowed = torch.cat([labels.new_ones(1), labels]).to(probabilities.device) > 0
    kept = probabilities * allowed[:, None, None]
    total = kept.sum(dim=0)
    kept[0].masked_fill_(total == 0, 1.0)
    return kept / total.masked_fill(total == 0, 1.0)


def labels_at(probabilities: Tensor, size: tuple[int, int], confidence: float = 0.0) -> Tensor:
    """Most probable label of every pixel at another size, without enlarging all maps at once.

    Args:
        probabilities: ``(C + 1, H, W)``.
        size: ``(height, width)`` of the result; maps are resized bilinearly.
        confidence: pixels whose label is less probable become 255 (ignored).

    Returns:
        ``(height, width)`` int64.

    Example:
        >>> probabilities = torch.tensor([[[0.9, 0.1]], [[0.1, 0.9]]])
        >>> labels_at(probabilities, (1, 4)), labels_at(probabilities, (1, 4), 0.8)
        (tensor([[0, 0, 1, 1]]), tensor([[  0, 255, 255,   1]]))
    """
    if tuple(probabilities.shape[1:]) == size:
        best, labels = probabilities.max(dim=0)
    else:
        best = resize_maps(probabilities[:1], size)[0]
        labels = torch.zeros(size, dtype=torch.long, device=probabilities.device)
        for index in range(1, len(probabilities)):
            score = resize_maps(probabilities[index : index + 1], size)[0]
            # In place: of a large image one map takes hundreds of megabytes.
            labels.masked_fill_(score > best, index)
            torch.maximum(best, score, out=best)
    if confidence <= 0:
        return labels
    return labels.masked_fill_(best < confidence, ignore_label(max(1, len(probabilities) - 1)))


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps ``(C, H, W)`` bilinearly to ``(C, *size)``, in float32 at least."""
    if tuple(maps.shape[1:]) == size:
        return maps
    maps = at_least_float32(maps)[None]
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)[0]


def fitted_size(
    size: tuple[int, int], patch: tuple[int, int], max_size: int | None
) -> tuple[int, int]:
    """Size of an image for the network: at most ``max_size`` on the longer side, a patch at least.

    Example:
        >>> fitted_size((3000, 4000), (16, 16), 1024), fitted_size((1, 40), (16, 16), 1024)
        ((768, 1024), (16, 40))
    """
    shrink = 1.0 if max_size is None else min(1.0, max_size / max(size))
    height, width = (max(round(side * shrink), p) for side, p in zip(size, patch, strict=True))
    return height, width


def fitted(image: Image.Image | Tensor, patch: tuple[int, int], max_size: int | None) -> Tensor:
    """Return an image as the network sees it, see :func:`fitted_size`.

    Args:
        image: a picture, or bands ``(bands, height, width)`` float32.
        patch: height and width of a patch.
        max_size: longer side that larger images are shrunk to, None for never.

    Returns:
        uint8 ``(3, h, w)`` of a picture, float32 ``(bands, h, w)`` of bands.
    """
    size = size_of(image)
    height, width = fitted_size(size, patch, max_size)
    parts = [image] if not isinstance(image, Tensor) else []
    if isinstance(image, Tensor):
        if (height, width) == size:
            return image
        parts = [Image.fromarray(band.numpy()) for band in image]
    if (height, width) != size:
        # Pillow averages over the pixels that fall together.
        parts = [part.resize((width, height), Image.Resampling.BILINEAR) for part in parts]
    return torch.cat([TF.pil_to_tensor(part) for part in parts])


def size_of(image: Image.Image | Tensor) -> tuple[int, int]:
    """Return height and width of a picture, or of bands ``(bands, height, width)``."""
    if isinstance(image, Tensor):
        return image.shape[1], image.shape[2]
    return image.height, image.width


def check_max_size(max_size: int | None, patch: tuple[int, int]) -> None:
    """Raise unless ``max_size`` is None or holds a patch."""
    if max_size is None:
        return
    check_positive_int("max_size", max_size)
    if max_size < max(patch):
        raise ValueError(f"max_size: expected at least a patch of {patch} pixels, got {max_size}")
