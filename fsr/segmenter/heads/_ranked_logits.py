"""Class scores of the network's own classifier, pooled by rank rather than by the maximum."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from fsr._core.checks import check_between
from fsr.pooling import global_weighted_ranking
from fsr.segmenter._method_head import HeadInput, MethodHead


class RankedLogits(MethodHead, kind="ranked_logits"):
    """Class logits as means over the maps of the final classifier that weigh scores by their rank.

    Under the name ``"class_logits"`` it takes the place of the maximum that FSR pools tokens by:
    more than the best patch learns, so maps cover more of a thing than the part that tells its
    class. CAMs are made with the same classifier as before.

    Args:
        decay: weight of a patch over that of the next higher score of its map; 0 is the maximum of
            the scores, 1 their mean. About 1 / (1 - decay) patches count.

    Raises:
        TypeError: ``decay`` is no number.
        ValueError: ``decay`` is outside 0 to 1.

    Source:
        Kolesnikov and Lampert, "Seed, Expand and Constrain", ECCV 2016. Not in the paper.

    Example:
        >>> import torch
        >>> classifier = torch.nn.Conv2d(1, 1, 1, bias=False)
        >>> _ = torch.nn.init.ones_(classifier.weight)
        >>> tokens = torch.tensor([[[1.0], [4.0]]])
        >>> read = HeadInput(
        ...     *torch.zeros(1, 1, 1, 2), tokens, tokens, tokens, (1, 2), None,
        ...     classifier=classifier)
        >>> RankedLogits(decay=0.5)(read)
        tensor([[3.]], grad_fn=<SumBackward1>)
    """

    def __init__(self, decay: float = 0.95) -> None:
        super().__init__()
        check_between("decay", decay, 0, 1)
        self.decay = decay

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> RankedLogits:
        """Return the head; of the encoder it needs nothing."""
        return cls(**options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return class logits, ``(B, C)``."""
        if read.classifier is None:
            raise ValueError("classifier: expected the network's classifier, got None")
        return global_weighted_ranking(read.classifier(read.as_map(read.tokens)), self.decay)
