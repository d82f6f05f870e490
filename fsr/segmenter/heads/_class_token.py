"""The class token and its projection, as heads."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from fsr._core.checks import check_positive_int
from fsr.backbone import BackboneRequest
from fsr.projection import ProjectionHead
from fsr.segmenter._method_head import HeadInput, MethodHead


class ClassToken(MethodHead, kind="class_token"):
    """The class token after the final norm, ``(B, D)``.

    Args:
        index: its place among the prefix tokens.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> read = HeadInput(*torch.zeros(4, 1, 9, 4), (3, 3), nn.Identity(), torch.ones(1, 2, 4))
        >>> ClassToken(index=1)(read)
        tensor([[1., 1., 1., 1.]])
    """

    request = BackboneRequest(prefix_tokens=True)
    offers: ClassVar[frozenset[str]] = frozenset({"class_token"})

    def __init__(self, index: int = 0) -> None:
        super().__init__()
        self.index = index

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> ClassToken:
        """Return the head for an encoder."""
        return cls(backbone.prefix_names.index("class"), **options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return the class token, ``(B, D)``."""
        if read.prefix_tokens is None:
            raise ValueError("prefix_tokens: expected those of the encoder, got None")
        normed: Tensor = read.norm(read.prefix_tokens)
        return normed[:, self.index]


class ClassProjection(MethodHead, kind="class_projection"):
    """Projection of the head ``"class_token"`` onto prototypes, ``(B, K)``.

    Args:
        dim: width D of the token.
        out_dim: number K of prototypes; 1,024 in ToCo.
        options: further options of :class:`fsr.projection.ProjectionHead`.

    Source:
        Ru et al., CVPR 2023 (rulixiang/ToCo@e13514d).

    Example:
        >>> ClassProjection(8, out_dim=16, hidden_dim=8, bottleneck_dim=4).projector.out_dim
        16
    """

    reads = ("class_token",)

    def __init__(self, dim: int, out_dim: int = 1024, **options: Any) -> None:
        super().__init__()
        check_positive_int("dim", dim)
        self.projector = ProjectionHead(dim, out_dim, **options)

    @classmethod
    def build(cls, backbone: Any, num_classes: int, **options: Any) -> ClassProjection:
        """Return the head for an encoder."""
        return cls(backbone.embed_dim, **options)

    def forward(self, read: HeadInput) -> Tensor:
        """Return the projection, ``(B, K)``."""
        projected: Tensor = self.projector(read.head("class_token")[:, None])
        return projected[:, 0]
