"""One training recipe of the method FSR: every constant, every phase, every CAM source."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import ClassVar

from fsr import schedules
from fsr._core.checks import check_positive_int
from fsr.aggregation import Masking
from fsr.cam import LabelThresholds
from fsr.losses import TargetForm
from fsr.masking import Rounding, Strategy, Thresholds
from fsr.presets._beyond_checks import UncertainForm
from fsr.presets._cam_source import CAMSource
from fsr.presets._method import Method
from fsr.presets._phases import resolved_steps, weights_by_step
from fsr.presets._preset_checks import check_preset
from fsr.schedules import Schedule


@dataclass(frozen=True)
class Preset(Method):
    """One training recipe. Phases are fractions of ``total_steps``; steps count from 0.

    Args:
        name: what to call it.
        mask_cam: CAM behind the uncertain zone of Eq. 3; always of view 2, the view that is masked.
            (The text of Eq. 2 takes view 1, whose CAM does not align with view 2, another crop.)
        segmentation_cam: CAM behind the pseudo labels of view 1.
        affinity_cam: CAM behind the token labels of the affinity term, view 1.
        mask_ratio: share of the patches to mask, r of Eq. 4.
        mask_low: lower bound of the uncertain zone, beta_l of Eq. 3.
        mask_high: upper bound of the uncertain zone, beta_h of Eq. 3.
        mask_strategy: strategy of :class:`fsr.masking.UncertainMasker` after the random phase.
            ``"entropy"`` (not in the paper) reads no CAM but the teacher's projections of view 2,
            and waits for the teacher as its CAMs do.
        mask_block: side of one masked block, in patches.
        mask_rounding: ``"floor"`` or ``"ceil"`` of ratio times blocks.
        mask_thresholds: ``"fixed"``, or ``"otsu"`` for thresholds of every class of every image
            (not in the paper); see :class:`fsr.masking.UncertainMasker`.
        mask_ratio_start: ratio at step 0, from which it goes to ``mask_ratio`` at the last step in
            a straight line, whatever the phase (not in the paper); None keeps ``mask_ratio``.
        random_mask_until: masks are random before this fraction of the run.
        masking: how the aggregator treats masked tokens, ``"exclude"``, ``"scale"`` or
            ``"ignore"``; the objective writes it into both networks. None leaves them as built.
        pseudo_low: CAM scores up to this are background in labels made from CAMs.
        pseudo_high: CAM scores above this are foreground; between the two is ignored.
        cam_affinity: how often ``segmentation_cam`` is spread to patches with like tokens of the
            same layer before labels are made of it (not in the paper); 0: not at all. See
            :func:`fsr.cam.affinity_cam`.
        pseudo_thresholds: ``"fixed"``, or ``"mixture"`` for thresholds that follow each batch (not
            in the paper); see :func:`fsr.cam.mixture_thresholds`.
        refine_labels: refine pseudo labels along image edges with :class:`fsr.refine.PAR`; False
            takes the CAMs as they are (every recipe refines).
        classification_weight: lambda_1 of Eq. 10.
        auxiliary_weight: weight of the classifier on the auxiliary block.
        affinity_weight: lambda_2 of Eq. 10.
        segmentation_weight: lambda_3 of Eq. 10.
        uncertain_weight: lambda_4 of Eq. 10.
        uncertain_boundary_weight: what masked patches on a boundary of the token labels of view 2
            count more in Eq. 8, once masks are no longer random (not in the paper); these labels
            are made from ``mask_cam`` as those of view 1 are from ``affinity_cam``.
        uncertain_form: ``"prototypes"`` (Eq. 8), or ``"cosine"`` or ``"smooth_l1"`` for tokens that
            follow the teacher's tokens (not in the paper); see
            :func:`fsr.losses.regression_loss`.
        confident_weight: lambda_5 of Eq. 10.
        energy_weight: weight of the dense energy loss, which Eq. 10 does not have.
        cam_consistency_weight: weight of the student's CAM of view 1 following the teacher's, once
            the teacher is sound (not in the paper); 0: no such term. See
            :func:`fsr.losses.cam_consistency_loss`.
        relations_weight: weight of the similarities among the student's tokens of view 1 following
            those of a frozen encoder (not in the paper); 0: no such term. See
            :func:`fsr.losses.relation_loss`.
        relations_backbone: timm name of that encoder.
        relations_weights: path of its weights; None takes timm's.
        segmentation_from: fraction of the run at which segmentation and dense energy start.
        affinity_from: fraction of the run at which the affinity term starts.
        energy_sigma_rgb: colour bandwidth of the dense energy, in 0..255.
        energy_sigma_xy: spatial bandwidth of the dense energy, in pixels.
        energy_scale: size at which the dense energy is computed, relative to the view.
        student_temperature: softmax temperature of the student's projections.
        teacher_temperature_start: teacher's temperature at step 0.
        teacher_temperature: teacher's temperature after its warm-up.
        teacher_temperature_warmup: fraction of the run of that warm-up.
        target: form of the teacher's targets, ``"centred"`` (the paper's), ``"standardised"`` or
            ``"sinkhorn"``; see :func:`fsr.losses.target_distribution`.
        target_temperature: teacher's temperature, in standard deviations of its projections, of
            the two forms that are not the paper's; the three fields before do not matter to them.
        center_momentum: momentum of the centres of the teacher's projections.
        scale_momentum: momentum of the spreads of the teacher's projections, in [0, 1); 0 takes
            each batch's own.
        momentum: EMA momentum of the teacher at step 0, for :class:`fsr.teacher.EMATeacher`.
        final_momentum: EMA momentum at the end of the run (cosine in between).
        momentum_memories: memories of the teacher that a run has, above 0, for a momentum that is
            the same at every step instead of the two before (not in the paper); None keeps them.
            See :func:`fsr.schedules.run_momentum`.
        learning_rate_warmup: fraction of the run of the learning rate's linear warm-up.
        learning_rate_warmup_ratio: where that warm-up starts, relative to the base rate.
        drop_path_rate: stochastic depth of the student, for ``backbone_options``.
        total_steps: length of the run in optimiser steps.

    Example:
        >>> from fsr.presets import PRESETS, get_preset
        >>> PRESETS["reference"].resolve()["random_mask_until"]
        4000
        >>> get_preset("reference", total_steps=500).resolve()["segmentation_from"]
        50
    """

    name: str
    mask_cam: CAMSource
    segmentation_cam: CAMSource
    affinity_cam: CAMSource
    mask_ratio: float = 0.4
    mask_low: float = 0.2
    mask_high: float = 0.7
    mask_strategy: Strategy = "uncertain"
    mask_block: int = 4
    mask_rounding: Rounding = "ceil"
    mask_thresholds: Thresholds = "fixed"
    mask_ratio_start: float | None = None
    random_mask_until: float = 0.2
    masking: Masking | None = "ignore"
    pseudo_low: float = 0.25
    pseudo_high: float = 0.7
    cam_affinity: int = 0
    pseudo_thresholds: LabelThresholds = "fixed"
    refine_labels: bool = True
    classification_weight: float = 1.0
    auxiliary_weight: float = 1.0
    affinity_weight: float = 0.2
    segmentation_weight: float = 0.1
    uncertain_weight: float = 0.1
    uncertain_boundary_weight: float = 0.0
    uncertain_form: UncertainForm = "prototypes"
    confident_weight: float = 0.1
    energy_weight: float = 0.05
    cam_consistency_weight: float = 0.0
    relations_weight: float = 0.0
    relations_backbone: str | None = None
    relations_weights: str | None = None
    segmentation_from: float = 0.1
    affinity_from: float = 0.0
    energy_sigma_rgb: float = 15.0
    energy_sigma_xy: float = 100.0
    energy_scale: float = 0.5
    student_temperature: float = 0.1
    teacher_temperature_start: float = 0.04
    teacher_temperature: float = 0.07
    teacher_temperature_warmup: float = 0.125
    target: TargetForm = "centred"
    target_temperature: float = 0.4
    center_momentum: float = 0.9
    scale_momentum: float = 0.0
    momentum: float = 0.9995
    final_momentum: float = 1.0
    momentum_memories: float | None = None
    learning_rate_warmup: float = 0.075
    learning_rate_warmup_ratio: float = 0.1
    drop_path_rate: float = 0.1
    total_steps: int = 20_000

    title: ClassVar[str] = "Progressive Feature Self-Reinforcement (He et al., AAAI 2024)"
    offers: ClassVar[frozenset[str]] = frozenset({"mask_token"})
    teacher: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_preset(self)

    def resolve(
        self,
        total_steps: int | None = None,
        *,
        momentum: float | Callable[[int], float] | None = None,
    ) -> dict[str, int]:
        """Return the step at which each phase ends or starts, by field name.

        ``teacher_source_from`` is added (see :func:`fsr.presets.teacher_source_step`), and no phase
        that reads a CAM or entropies of the teacher starts before it: until then masks are random
        and the term waits.

        Args:
            total_steps: length of the run in steps; the preset's own by default.
            momentum: the teacher's EMA momentum, a number or a function of the step; by default
                the preset's.
        """
        total = self.total_steps if total_steps is None else total_steps
        if momentum is None:
            momentum = self._momentum(total)
        return resolved_steps(self, total, momentum)

    def weight_schedules(self, steps: Mapping[str, int] | None = None) -> dict[str, Schedule]:
        """Return the weight of each term of the recipe as a function of the step.

        Args:
            steps: what :meth:`resolve` returned; by default with the preset's own numbers.
        """
        return weights_by_step(self, self.resolve() if steps is None else steps)

    def momentum_schedule(self) -> Schedule:
        """Return the teacher's momentum as a function of the step, for ``EMATeacher``."""
        return self._momentum(self.total_steps)

    def temperature_schedule(self) -> Schedule:
        """Return the teacher's temperature as a function of the step."""
        if self.target != "centred":
            return schedules.constant(self.target_temperature)
        warmup = round(self.teacher_temperature_warmup * self.total_steps)
        start, end = self.teacher_temperature_start, self.teacher_temperature
        return schedules.linear_warmup(start, end, warmup)

    def mask_ratio_schedule(self) -> Schedule:
        """Return the share of patches to mask as a function of the step."""
        start, end = self.mask_ratio_start, self.mask_ratio
        # Where the two agree a sum of shares of them could round to another number of patches.
        if start is None or start == end:
            return schedules.constant(end)
        return schedules.linear_warmup(start, end, self.total_steps)

    def shortened(self) -> Preset:
        """Return the preset with the memory of its teacher at most a tenth of the run."""
        if self.momentum_memories is not None:
            return self
        return replace(self, momentum=min(self.momentum, max(0.0, 1.0 - 10.0 / self.total_steps)))

    def per_micro_batch(self, accumulation: int) -> Preset:
        """Return the preset with centres and spreads that move once per micro-batch."""
        root = 1 / accumulation
        return replace(
            self,
            center_momentum=self.center_momentum**root,
            scale_momentum=self.scale_momentum**root,
        )

    def learning_rate_warmup_steps(self) -> int:
        """Return the steps of the learning rate's warm-up."""
        return self.resolve()["learning_rate_warmup"]

    def describe(self) -> str:
        """Return a readable table: CAM sources, every constant, the step of every phase."""
        steps = self.resolve()
        rows = []
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, CAMSource):
                text = value.describe()
            elif field.name in steps:
                text = f"{value:g} of the run; step {steps[field.name]}"
            else:
                text = f"{value:g}" if isinstance(value, float) else str(value)
            rows.append((field.name, text))
        rows.append(("teacher_source_from", f"step {steps['teacher_source_from']}"))
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {text}" for name, text in rows)

    def _momentum(self, total_steps: int) -> Schedule:
        """Return the teacher's momentum in a run of a length."""
        check_positive_int("total_steps", total_steps)
        if self.momentum_memories is not None:
            return schedules.constant(schedules.run_momentum(total_steps, self.momentum_memories))
        return schedules.cosine(self.momentum, self.final_momentum, total_steps)

    def __str__(self) -> str:
        return self.describe()
