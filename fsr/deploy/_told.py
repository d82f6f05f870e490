"""What a file tells of its network: classes, how images are normalised, colours."""

from __future__ import annotations

from typing import Any

from fsr._core.arguments import check_module
from fsr._core.palette import voc_palette
from fsr._core.version import __version__
from fsr.segmenter import SingleStageSegmenter

# Under this name it stands in ONNX's metadata, and among the extra files of a program.
METADATA = "fsr"


def metadata_of(model: SingleStageSegmenter) -> dict[str, Any]:
    """Tell what whoever runs a network without this package must know of it.

    Args:
        model: the segmenter.

    Returns:
        Plain data: ``classes`` (names of labels 0 to C, ``background`` first), ``mean`` and ``std``
        (of images in [0, 1], for red, green, blue), ``patch`` (height and width that divide those
        of images), ``palette`` (a colour per label), ``version`` (of this package).

    Raises:
        TypeError: ``model`` is no segmenter.

    Example:
        >>> size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
        >>> model = SingleStageSegmenter(
        ...     2, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=size)
        >>> model.class_names = ("cat", "dog")
        >>> told = metadata_of(model)
        >>> told["classes"], told["patch"], told["palette"][1]
        (['background', 'cat', 'dog'], [8, 8], [128, 0, 0])
    """
    check_module("model", model, SingleStageSegmenter)
    names = model.class_names or [f"class{i}" for i in range(1, model.num_classes + 1)]
    return {
        "classes": ["background", *names],
        "mean": [float(value) for value in model.backbone.mean],
        "std": [float(value) for value in model.backbone.std],
        "patch": [int(side) for side in model.backbone.patch_size],
        "palette": voc_palette()[: model.num_classes + 1].tolist(),
        "version": __version__,
    }
