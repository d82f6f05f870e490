"""Settings of MCTformer+."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from fsr.presets._method import Method, Views, register_method


@dataclass(frozen=True)
class MCTformerPlus(Method):
    """Settings of MCTformer+: one class token per class, kept apart, beside classified patches.

    Args:
        name: what to call it.
        classification_weight: weight of the classification by class tokens.
        patch_classification_weight: weight of the classification by patches.
        separation_weight: weight of what keeps class tokens apart.
        ranking_decay: weight of a patch over that of the next higher score of its map.
        separation_blocks: last blocks whose class tokens are kept apart; None takes all.
        map_blocks: last blocks whose class attention makes the maps; None takes all.
        learning_rate_warmup: fraction of the run of the learning rate's linear warm-up.
        learning_rate_warmup_ratio: where that warm-up starts, relative to the base rate.
        drop_path_rate: stochastic depth of the encoder.
        total_steps: length of the run in optimiser steps.

    Raises:
        ValueError: a number is out of range.

    Source:
        Xu et al., "MCTformer+: Multi-Class Token Transformer for Weakly Supervised Semantic
        Segmentation", TPAMI 2024 (xulianuwa/MCTformer@0acc27a).

    Example:
        >>> MCTformerPlus().heads()["segmentation"] is None
        True
    """

    name: str = "mctformer"
    classification_weight: float = 1.0
    patch_classification_weight: float = 1.0
    separation_weight: float = 1.0
    ranking_decay: float = 0.996
    separation_blocks: int | None = None
    map_blocks: int | None = None
    learning_rate_warmup: float = 1 / 9
    learning_rate_warmup_ratio: float = 0.032
    drop_path_rate: float = 0.1
    total_steps: int = 14_850

    title: ClassVar[str] = "MCTformer+ (Xu et al., TPAMI 2024)"
    offers: ClassVar[frozenset[str]] = frozenset({"attention", "blocks", "class_tokens"})
    views: ClassVar[Views] = "one"
    stages: ClassVar[Literal[1, 2]] = 2
    class_tokens: ClassVar[bool] = True
    phases: ClassVar[tuple[str, ...]] = ("learning_rate_warmup",)

    def heads(self) -> Mapping[str, Any]:
        """Return class tokens, classified patches and the maps of both; there is no decoder."""
        return {
            "class_logits": "class_token_means",
            "class_tokens": {"kind": "class_tokens", "blocks": self.separation_blocks},
            "patch_maps": "patch_maps",
            "patch_logits": {"kind": "ranked_patches", "decay": self.ranking_decay},
            "maps": {"kind": "class_attention", "blocks": self.map_blocks},
            "aux_class_logits": None,
            "segmentation": None,
            "projections": None,
        }

    def backbone_options(self) -> Mapping[str, Any]:
        """Return a class token, which copies are made of."""
        return {"class_token": True, "global_pool": "token"}


register_method(MCTformerPlus())
