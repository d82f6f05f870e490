"""Several class tokens in the place of a ViT's one, each a copy of it to begin with."""

from __future__ import annotations

from collections import Counter
from typing import Any

from timm.models import VisionTransformer
from torch import nn

from fsr._core.checks import check_positive_int
from fsr.backbone._kind import prefix_names


def copy_class_token(model: Any, count: int | None) -> None:
    """Put copies of a model's class token in its place, each with a copy of its position.

    They are free to part in training. A model whose class token has no position, as DeiT-3, gets
    the tokens alone. At other grids the positions of patches are resized bicubically and those of
    tokens stay; MCTformer+'s released code repeats each patch position 2 x 2 for a doubled grid.

    Args:
        model: a ``VisionTransformer`` with a class token and no other prefix token, changed in
            place.
        count: how many, C; None leaves the model as it is.

    Raises:
        TypeError: ``count`` is no integer.
        ValueError: ``count`` is not positive, or the model is another or has other prefix tokens.

    Source:
        Xu et al., MCTformer, CVPR 2022, and MCTformer+, TPAMI 2024.

    Example:
        >>> model = VisionTransformer(img_size=32, embed_dim=8, depth=1, num_heads=2)
        >>> copy_class_token(model, 3)
        >>> model.cls_token.shape, model.pos_embed.shape
        (torch.Size([1, 3, 8]), torch.Size([1, 7, 8]))
    """
    if count is None:
        return
    check_positive_int("class_tokens", count)
    _check_one_class_token(model)
    if model.pos_embed is not None and not model.no_embed_class:
        first, patches = model.pos_embed[:, :1], model.pos_embed[:, 1:]
        positions = first.new_empty(1, count + patches.shape[1], patches.shape[2])
        positions[:, :count], positions[:, count:] = first.detach(), patches.detach()
        model.pos_embed = nn.Parameter(positions, requires_grad=model.pos_embed.requires_grad)
    token = model.cls_token
    model.cls_token = nn.Parameter(
        token.detach().repeat(1, count, 1), requires_grad=token.requires_grad
    )
    model.num_prefix_tokens = count


def _check_one_class_token(model: Any) -> None:
    """Raise unless a model is a ``VisionTransformer`` with one class token and nothing beside."""
    expected = "class_tokens: expected a VisionTransformer with one class token and no other prefix"
    if not isinstance(model, VisionTransformer):
        raise ValueError(f"{expected} token, got {type(model).__name__}")
    names = prefix_names(model)
    if names != ("class",):
        counted = ", ".join(f"{number} {name}" for name, number in Counter(names).items())
        raise ValueError(f"{expected} token, got {type(model).__name__} with {counted or 'none'}")
