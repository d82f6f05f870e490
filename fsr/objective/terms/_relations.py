"""A frozen encoder's relations among patches as the student's; not in the paper."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from fsr.backbone import FrozenEncoder, ViTBackbone
from fsr.losses import relation_loss
from fsr.objective._needs import Needs
from fsr.objective._part import Term
from fsr.objective._step import Step


class FrozenRelations(Term):
    """Patches of a view are as alike to the student as they are to a frozen encoder.

    The encoder is no submodule: it is neither trained nor saved with the objective, and follows the
    views to their device.

    Args:
        encoder: timm name of a ViT, or a :class:`fsr.backbone.ViTBackbone`, which is copied.
        weights: path of the weights of a name; None takes timm's.
        view: the view, from 1; one that the student sees whole.

    Raises:
        FileNotFoundError: there is no file at the path.
        TypeError: ``encoder`` is neither name nor backbone.
        ValueError: the name is unknown, or its weights do not fit.

    Source:
        Not in the paper; see :func:`fsr.losses.relation_loss`.

    Example:
        >>> term = FrozenRelations("fsr_scenes_tiny")
        >>> term.needs(0).student, list(term.parameters())
        ({1: ('tokens',)}, [])
    """

    name = "relations"

    def __init__(
        self, encoder: str | ViTBackbone, *, weights: str | Path | None = None, view: int = 1
    ) -> None:
        super().__init__()
        # In a tuple nn.Module does not see it.
        self._frozen = (FrozenEncoder(encoder, weights),)
        self.view = view

    @property
    def encoder(self) -> FrozenEncoder:
        """The frozen encoder."""
        return self._frozen[0]

    def needs(self, number: int) -> Needs:
        """Return the student's tokens of the view."""
        return Needs(student={self.view: ("tokens",)})

    def forward(self, step: Step) -> Tensor:
        """Return the loss, scalar."""
        tokens, images = step.student("tokens", self.view), step.image(self.view)
        if self.encoder.backbone.mask_token.device != images.device:
            self.encoder.to(images.device)
        return relation_loss(tokens, self.encoder(images, step.grid))
