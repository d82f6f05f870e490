"""Which patches of a view the student does not see (Eq. 2-4), with the phases of a run."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from fsr.masking import UncertainMasker, token_entropy
from fsr.objective._needs import Needs
from fsr.objective._part import Part
from fsr.objective._step import Step
from fsr.objective._targets import TeacherTargets
from fsr.objective._views import check_block
from fsr.presets import CAM_STRATEGIES, CAMSource
from fsr.schedules import Schedule


class PatchMask(Part):
    """The mask of a view, ``(B, H, W)`` boolean, True = masked: random at first, then as asked.

    Args:
        masker: chooses the patches after the random phase.
        source: CAM behind the uncertain zone; its view is the masked one.
        random_until: step from which on ``masker`` chooses; before it masks are random.
        ratio: share of patches to mask, in (0, 1), or a function of the step; None takes the
            masker's.
        targets: whose entropy strategy ``"entropy"`` follows; patches of the masked view.

    Raises:
        ValueError: strategy ``"entropy"`` has no ``targets``.

    Source:
        Section "Uncertain Patch Token Selection", Eq. 2-4; the random phase is the released code's.

    Example:
        >>> mask = PatchMask(UncertainMasker(), CAMSource(view=2), random_until=100)
        >>> mask.strategy(99), mask.strategy(100)
        ('random', 'uncertain')
    """

    def __init__(
        self,
        masker: UncertainMasker,
        source: CAMSource,
        *,
        random_until: int = 0,
        ratio: float | Schedule | None = None,
        targets: TeacherTargets | None = None,
    ) -> None:
        super().__init__()
        if masker.strategy == "entropy" and targets is None:
            raise ValueError("targets: expected the teacher's, which 'entropy' reads, got None")
        self.masker, self.source = masker, source
        self.random_until, self.ratio = random_until, ratio
        self.random_masker = UncertainMasker(
            masker.ratio, strategy="random", block=masker.block, rounding=masker.rounding
        )
        # In a tuple: the term that owns the targets saves their centre, once.
        self._targets = (targets,)

    @property
    def targets(self) -> TeacherTargets | None:
        """The targets whose entropy is followed."""
        return self._targets[0]

    def strategy(self, number: int) -> str:
        """Return how masks are chosen at a step."""
        return "random" if number < self.random_until else self.masker.strategy

    def needs(self, number: int) -> Needs:
        """Return the CAM or the targets that the strategy of the step reads."""
        strategy = self.strategy(number)
        if strategy in CAM_STRATEGIES:
            return Needs(cams=(self.source,))
        if strategy == "entropy" and self.targets is not None:
            return self.targets.needs(number)
        return Needs()

    def forward(self, step: Step) -> Tensor:
        """Return the mask of a step."""
        check_block(self.masker.block, step.grid)
        strategy, labels = self.strategy(step.number), None
        view = self.source.view
        entropy = None
        if strategy == "entropy" and self.targets is not None:
            entropy = token_entropy(step.get(self.targets)).view(-1, *step.grid)
        if strategy in CAM_STRATEGIES:
            cam, labels, _ = step.present_cam(self.source)
        else:
            # Its size and type are all that such a mask looks at.
            cam = step.views[view - 1].new_zeros((len(step.labels), 1, *step.grid))
        masker = self.random_masker if strategy == "random" else self.masker
        noise = None  # which a mask that is exactly the zone does without
        if masker.strategy != "strict":
            noise = step.draws.uniform(*(side // masker.block for side in step.grid))
        mask: Tensor = masker(
            cam,
            labels,
            grid=step.grid,
            images=step.image(view) if strategy == "edge" else None,
            entropy=entropy,
            ratio=self.ratio(step.number) if callable(self.ratio) else self.ratio,
            noise=noise,
        )
        step.seen |= {"mask": mask, "mask_strategy": strategy}
        return mask


def check_masks(masks: Iterable[nn.Module], grid: tuple[int, int]) -> None:
    """Raise, before the first step is made, if blocks of masked patches do not tile a patch grid.

    Args:
        masks: parts of a recipe that mask views, :class:`PatchMask` or others.
        grid: patch grid ``(H, W)`` of the views.

    Raises:
        ValueError: a block does not divide the grid.

    Example:
        >>> check_masks([PatchMask(UncertainMasker(block=4), CAMSource(view=2))], (6, 8))
        Traceback (most recent call last):
        ValueError: mask_block: expected a divisor of the patch grid (6, 8), got 4; mask_block=2 \
would do
    """
    for part in masks:
        if isinstance(part, PatchMask):
            check_block(part.masker.block, grid)
