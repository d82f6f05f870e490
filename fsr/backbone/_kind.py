"""What the adapter needs to know of a class of timm's encoders, and the classes it knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn


class Placed(NamedTuple):
    """A sequence of tokens at its place, ready for the blocks.

    Attributes:
        tokens: prefix tokens, then patches, ``(B, T, D)``.
        position: what the class's blocks take beside the tokens, see ``position_at``.
    """

    tokens: Tensor
    position: Any


class AttentionPosition(NamedTuple):
    """What a block's attention takes of the position.

    Attributes:
        rope: rotation of the patches' queries and keys, or None.
        bias: added to the products of queries and keys, ``(1, heads, T, T)``, or None.
    """

    rope: Tensor | None = None
    bias: Tensor | None = None


class Kind(Protocol):
    """One class of encoders; its methods hold no state and take the model.

    Attributes:
        timm_class: the class, whose own ``forward_features`` the methods stand for.
        registry: name of timm's file that registers its models.
        size_options: options of ``timm.create_model`` that let it take images of any size.
    """

    timm_class: Any
    registry: str
    size_options: Mapping[str, Any]

    def prepare(self, model: Any) -> None:
        """Leave in a model what patch tokens need, and make it accept any input size."""

    def embed(self, model: Any, images: Tensor) -> Tensor:
        """Return patches before anything else is added, ``(B, H, W, D)``."""

    def place(self, model: Any, patches: Tensor) -> Placed:
        """Add prefix tokens and positions to patches ``(B, H, W, D)``."""

    def run(self, block: Any, tokens: Tensor, position: Any) -> Tensor:
        """Run one block on ``(B, T, D)``, with the position at that block."""

    def position_at(self, index: int, position: Any) -> Any:
        """Return the position as one block takes it."""

    def attention_position(self, block: Any, position: Any) -> AttentionPosition:
        """Return what a block's attention takes of the position at that block."""

    def translate(self, state: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
        """Bring a state of other code to timm's names."""


def keep_patch_tokens(model: Any) -> None:
    """Take a model's head and pooling off, and leave it one final norm."""
    # Parameters that no output depends on would make DDP wait for their gradients.
    model.reset_classifier(0, "")
    if not isinstance(model.norm, nn.Identity):
        model.fc_norm = nn.Identity()


def prefix_names(model: Any) -> tuple[str, ...]:
    """Return what the prefix tokens of a model are, in their order in the sequence.

    Args:
        model: a supported encoder.
    """
    names = {"cls_token": "class", "dist_token": "distillation", "reg_token": "register"}
    found: list[str] = []
    for attribute, name in names.items():
        token = getattr(model, attribute, None)
        found += [name] * (token.shape[1] if isinstance(token, torch.Tensor) else 0)
    return tuple(found)
