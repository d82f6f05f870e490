"""Eq. 10 for one batch: two views in, every named term of the training objective out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from fsr._core.checks import check_shape
from fsr._core.numerics import attached_zero
from fsr.cam import IGNORE, cam_to_labels
from fsr.losses import (
    DenseEnergyLoss,
    PTCLoss,
    SelfReinforcementLoss,
    balanced_segmentation_loss,
    boundary_weights,
    classification_loss,
    teacher_distribution,
)
from fsr.masking import Strategy, UncertainMasker, token_entropy
from fsr.objective._cams import StepCAMs
from fsr.objective._networks import given, projection_width, set_masking
from fsr.objective._output import ObjectiveOutput, total_loss
from fsr.objective._views import Pixels, check_block, check_views
from fsr.presets import (
    CAM_STRATEGIES,
    CAMSource,
    Preset,
    get_preset,
)
from fsr.refine import PAR, pseudo_labels
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher, unwrap

__all__ = ["ObjectiveOutput", "TrainingObjective", "total_loss"]

VIEW1_HEADS = ("class_logits", "aux_class_logits", "segmentation", "tokens", "aux_tokens")


class TrainingObjective(nn.Module):
    """The training objective of Eq. 10, with its phases, for one batch at a time.

    One call makes one forward of the student (both views in one batch, so it works under
    ``DistributedDataParallel`` without a search for unused parameters) and one of the teacher. It
    never steps the optimiser or the teacher. Every trainable parameter stays in the graph in
    every phase, if only with a zero gradient.

    The objective holds neither network as a submodule: its ``state_dict`` has the centres of the
    self-reinforcement loss and nothing else. In training mode a call moves those centres.

    The preset's ``masking`` is written into the aggregators of both networks, as it is part of
    the recipe; ``masking=None`` leaves them as they were built.

    Args:
        student: a :class:`fsr.SingleStageSegmenter`, plain, in DDP or compiled.
        teacher: a :class:`fsr.EMATeacher` of the same student. Its momentum decides from which
            step on it may be a CAM source (:func:`fsr.presets.teacher_source_step`).
        preset: ``"paper"``, ``"reference"``, ``"fast"``, or a :class:`fsr.presets.Preset`.
        mean: mean of the image normalisation per channel; the student's backbone's by default.
        std: standard deviation likewise.
        overrides: fields of the preset to change, by name, such as ``total_steps=1000``.

    Raises:
        TypeError: ``teacher`` is no ``EMATeacher``, or ``student`` no segmenter.
        ValueError: unknown preset or field (the message has the nearest name), or a value out of
            range.

    Source:
        Section "Methodology", Eq. 1-10; Fig. 2.

    Example:
        >>> from fsr.segmenter import SingleStageSegmenter
        >>> size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
        >>> student = SingleStageSegmenter(
        ...     3, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=size)
        >>> objective = TrainingObjective(student, EMATeacher(student), preset="paper")
        >>> view1, view2 = torch.randn(2, 1, 3, 32, 32)
        >>> output = objective(view1, view2, torch.tensor([[1.0, 0.0, 1.0]]), step=0)
        >>> output.total.backward()
        >>> output.mask.sum().item(), output.pseudo_labels.shape
        (6, torch.Size([1, 32, 32]))
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: EMATeacher,
        *,
        preset: str | Preset = "reference",
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        **overrides: Any,
    ) -> None:
        super().__init__()
        if not isinstance(teacher, EMATeacher):
            raise TypeError(
                f"teacher: expected EMATeacher(student, ...), got {type(teacher).__name__}"
            )
        # In a tuple nn.Module does not see them: registered, every parameter of the student would
        # be saved, moved and trained a second time through the objective.
        self._networks = (student, teacher)
        network = unwrap(student)
        if not isinstance(network, SingleStageSegmenter):
            raise TypeError(
                f"student: expected a SingleStageSegmenter, got {type(network).__name__}"
            )
        self.num_classes = network.num_classes
        self.preset = preset = get_preset(preset, **overrides)
        self.steps = preset.resolve(momentum=teacher.momentum)
        self.weights = preset.weight_schedules(self.steps)
        self.temperature = preset.temperature_schedule()
        self.mask_ratio = preset.mask_ratio_schedule()

        self.masker = _masker(preset, preset.mask_strategy)
        self.random_masker = _masker(preset, "random")
        self.affinity = PTCLoss(ignore_index=IGNORE)
        self.refinement = PAR() if preset.refine_labels else _unrefined
        self.reinforcement = SelfReinforcementLoss(
            projection_width(network),
            student_temperature=preset.student_temperature,
            center_momentum=preset.center_momentum,
        )
        self.energy = DenseEnergyLoss(
            sigma_rgb=preset.energy_sigma_rgb,
            sigma_xy=preset.energy_sigma_xy,
            scale=preset.energy_scale,
        )
        backbone = network.backbone
        self.pixels = Pixels(
            backbone.mean if mean is None else mean, backbone.std if std is None else std
        )
        if preset.masking is not None:
            for each in (network, teacher.module):
                set_masking(each, preset.masking)

    @property
    def student(self) -> nn.Module:
        """The student as it was passed in, wrapped or not."""
        return self._networks[0]

    @property
    def teacher(self) -> EMATeacher:
        """The teacher."""
        return self._networks[1]

    def mask_strategy(self, step: int) -> str:
        """Return how masks are chosen at a step: at random first, then as the preset says."""
        return "random" if step < self.steps["random_mask_until"] else self.preset.mask_strategy

    @torch.no_grad()
    def token_entropy(self, projections: Tensor, temperature: float) -> Tensor:
        """Entropy of the teacher's distribution of each patch token, in nats.

        The distributions are those that Eq. 8 takes as targets: centred and sharpened. Not in the
        paper; read by ``mask_strategy="entropy"``.

        Args:
            projections: the teacher's projections before the softmax, ``(B, 1+N, K)``.
            temperature: the teacher's temperature, above 0.

        Returns:
            Entropies in nats, 0 to ln K, ``(B, N)``.

        Raises:
            ShapeError: the projections have the wrong shape.
            TypeError: they are not floating point.
            ValueError: ``temperature`` is not above 0.

        Source:
            After Eq. 8.
        """
        check_shape("projections", projections, "B 1+N K")
        center = self.reinforcement.patch_center.value
        return token_entropy(teacher_distribution(projections[:, 1:], center, temperature))

    def forward(
        self,
        view1: Tensor,
        view2: Tensor,
        labels: Tensor,
        *,
        step: int,
        generator: torch.Generator | None = None,
    ) -> ObjectiveOutput:
        """Compute Eq. 10 for one batch.

        Args:
            view1: first view, ``(B, 3, height, width)``, normalised as for the backbone.
            view2: second view of the same images, of the same shape.
            labels: multi-hot image-level labels, ``(B, C)``. A row without a class is a negative
                for classification; its pseudo labels and token labels are background.
            step: step of the run, counted from 0; it selects weights, temperature and phase.
            generator: source of the masks' randomness; torch's global state by default.

        Returns:
            The terms, their weighted sum, and masks and labels to look at.

        Raises:
            ShapeError: a shape is wrong.
            ValueError: a view holds NaN or infinity, labels are not multi-hot, ``step`` is below
                0, or the preset's ``mask_block`` does not divide the patch grid.
        """
        check_views(view1, view2, labels, self.num_classes, step)
        self._follow(view1)
        weights = {term: schedule(step) for term, schedule in self.weights.items()}
        temperature, strategy = self.temperature(step), self.mask_strategy(step)
        views = torch.cat([view1, view2])
        networks = {"student": unwrap(self.student), "teacher": self.teacher.module}
        cams = StepCAMs(networks, (view1, view2), self._sources(weights))

        # Teacher: both views unmasked, P_1 and P_2 of Eq. 1 before the softmax.
        taught = self._teacher_pass(views, cams, weights)
        # Uncertain patches of view 2, Eq. 2-4.
        mask = self._mask(cams, view2, labels, step, taught, generator)
        recovery = self._recovery_weights(cams, labels, step, taught)
        self._cams_ahead(cams)
        # Student: view 1 plain, view 2 masked; Z_1, and the second view's side of Eq. 1.
        student = self._student_pass(views, mask, cams)
        # CAMs of view 1 become labels of its pixels and of its tokens.
        cam, pixel_labels = self._pixel_labels(cams, view1, labels, weights)
        token_labels = self._token_labels(cams, labels, weights)

        terms = {
            "classification": classification_loss(student["class_logits"], labels),
            "auxiliary": classification_loss(student["aux_class_logits"], labels),
            "affinity": self._affinity(student["tokens"], token_labels, weights),
            **self._segment(student["segmentation"], pixel_labels, view1, weights),
            **self._reinforce(student["projections"], taught, mask, temperature, recovery),
        }
        return ObjectiveOutput(
            total=total_loss(terms, weights),
            **terms,
            mask=mask,
            pseudo_labels=pixel_labels,
            affinity_labels=token_labels,
            segmentation_logits=student["segmentation"].detach(),
            cam=cam,
            weights=weights,
            teacher_temperature=temperature,
            mask_strategy=strategy,
        )

    def _sources(self, weights: dict[str, float]) -> list[CAMSource]:
        """Return the CAM sources that a step may read."""
        preset = self.preset
        readers = {
            "segmentation": weights["segmentation"] + weights["energy"],
            "affinity": weights["affinity"],
        }
        return [preset.mask_cam, *(getattr(preset, f"{n}_cam") for n, w in readers.items() if w)]

    def _teacher_pass(
        self, views: Tensor, cams: StepCAMs, weights: dict[str, float]
    ) -> tuple[Tensor, Tensor] | None:
        """Return the teacher's projections ``(B, 1+N, K)`` of both views, None if nobody asks."""
        sources = (self.preset.mask_cam, self.preset.segmentation_cam, self.preset.affinity_cam)
        reused = any(source.network == "teacher" and source.reuse for source in sources)
        distils = weights["uncertain"] > 0 or weights["confident"] > 0
        if not (distils or reused):
            return None
        heads = ("tokens", "aux_tokens", *(("projections",) if distils else ()))
        output = given(self.teacher(views, outputs=heads), heads)
        both = zip(output["tokens"].chunk(2), output["aux_tokens"].chunk(2), strict=True)
        for view, (tokens, aux_tokens) in enumerate(both, start=1):
            cams.keep("teacher", view, tokens, aux_tokens)
        if not distils:
            return None
        projected1, projected2 = output["projections"].chunk(2)
        return projected1, projected2

    def _mask(
        self,
        cams: StepCAMs,
        view2: Tensor,
        labels: Tensor,
        step: int,
        taught: tuple[Tensor, Tensor] | None,
        generator: torch.Generator | None,
    ) -> Tensor:
        """Return the patches of view 2 to hide from the student, ``(B, H, W)`` (Eq. 2-4)."""
        grid, strategy = cams.grid, self.mask_strategy(step)
        check_block(self.preset.mask_block, grid)
        if strategy in CAM_STRATEGIES:
            cam = cams.get(self.preset.mask_cam)
        else:
            cam = view2.new_zeros((view2.shape[0], labels.shape[1], *grid))
        masker = self.random_masker if strategy == "random" else self.masker
        images = self.pixels(view2) if strategy == "edge" else None
        entropy = None
        if strategy == "entropy" and taught is not None:
            entropy = self.token_entropy(taught[1], self.temperature(step)).view(-1, *grid)
        mask: Tensor = masker(
            cam,
            labels,
            grid=grid,
            images=images,
            entropy=entropy,
            ratio=self.mask_ratio(step),
            generator=generator,
        )
        return mask

    def _cams_ahead(self, cams: StepCAMs) -> None:
        """Make the CAM passes of view 1 that the step does not make anyway."""
        cams.make_ahead(view=1)

    def _student_pass(self, views: Tensor, mask: Tensor, cams: StepCAMs) -> dict[str, Tensor]:
        """Return the one forward of the student: heads of view 1, projections of masked view 2."""
        batch = mask.shape[0]
        heads = dict.fromkeys(VIEW1_HEADS, slice(0, batch))
        heads["projections"] = slice(batch, 2 * batch)
        masks = torch.cat([torch.zeros_like(mask), mask])
        output = given(self.student(views, masks, outputs=heads), heads)
        cams.keep("student", 1, output["tokens"], output["aux_tokens"])
        return output

    def _pixel_labels(
        self, cams: StepCAMs, view1: Tensor, labels: Tensor, weights: dict[str, float]
    ) -> tuple[Tensor | None, Tensor]:
        """Return the CAM of view 1 and the pseudo labels ``(B, height, width)`` made from it."""
        batch, _, height, width = view1.shape
        if not (weights["segmentation"] > 0 or weights["energy"] > 0):
            return None, labels.new_full((batch, height, width), IGNORE, dtype=torch.long)
        cam = cams.get(self.preset.segmentation_cam, (height, width))
        low, high = self.preset.pseudo_low, self.preset.pseudo_high
        images = self.pixels(view1)
        return cam, pseudo_labels(self.refinement, images, cam, labels, low=low, high=high)

    def _token_labels(self, cams: StepCAMs, labels: Tensor, weights: dict[str, float]) -> Tensor:
        """Return one label per patch of view 1, ``(B, H, W)``."""
        grid = cams.grid
        if not weights["affinity"] > 0:
            return labels.new_full((labels.shape[0], *grid), IGNORE, dtype=torch.long)
        cam = cams.get(self.preset.affinity_cam, grid)
        low, high = self.preset.pseudo_low, self.preset.pseudo_high
        return cam_to_labels(cam, labels, low=low, high=high)

    def _recovery_weights(
        self,
        cams: StepCAMs,
        labels: Tensor,
        step: int,
        taught: tuple[Tensor, Tensor] | None,
    ) -> Tensor | None:
        """Return the weight of each token of view 2 in Eq. 8, ``(B, N)``, None if all are alike."""
        weight = self.preset.uncertain_boundary_weight
        # While masks are random no CAM of view 2 is trusted, nor made.
        if taught is None or weight == 0 or step < self.steps["random_mask_until"]:
            return None
        cam = cams.get(self.preset.mask_cam, cams.grid)
        low, high = self.preset.pseudo_low, self.preset.pseudo_high
        token_labels = cam_to_labels(cam, labels, low=low, high=high)
        return boundary_weights(token_labels, weight).flatten(1)

    def _affinity(self, tokens: Tensor, labels: Tensor, weights: dict[str, float]) -> Tensor:
        """Return L_aff of tokens ``(B, N, D)`` with labels ``(B, H, W)``."""
        if not weights["affinity"] > 0:
            return attached_zero(tokens)
        loss: Tensor = self.affinity(tokens, labels.flatten(1))
        return loss

    def _segment(
        self, logits: Tensor, labels: Tensor, view1: Tensor, weights: dict[str, float]
    ) -> dict[str, Tensor]:
        """Return L_seg and the dense energy of decoder logits ``(B, C+1, H, W)``."""
        terms = dict.fromkeys(("segmentation", "energy"), attached_zero(logits))
        if weights["segmentation"] > 0:
            terms["segmentation"] = balanced_segmentation_loss(logits, labels)
        if weights["energy"] > 0:
            terms["energy"] = self.energy(255 * self.pixels(view1), logits, labels)
        return terms

    def _reinforce(
        self,
        student: Tensor,
        taught: tuple[Tensor, Tensor] | None,
        mask: Tensor,
        temperature: float,
        recovery: Tensor | None,
    ) -> dict[str, Tensor]:
        """Return L_u (Eq. 8) and L_c (Eq. 9) of the student's projections ``(B, 1+N, K)``."""
        if taught is None:
            return dict.fromkeys(("uncertain", "confident"), attached_zero(student))
        uncertain, confident = self.reinforcement(
            student, *taught, mask.flatten(1), temperature, weights=recovery
        )
        return {"uncertain": uncertain, "confident": confident}

    def extra_repr(self) -> str:
        """Show the recipe's name in ``print(module)``; ``print(objective.preset)`` shows it all."""
        return f"preset={self.preset.name!r}"

    def _follow(self, view: Tensor) -> None:
        """Move the objective's own buffers to the views' device; networks move without telling."""
        if self.pixels.mean.device != view.device:
            self.to(view.device)


def _unrefined(images: Tensor, masks: Tensor) -> Tensor:
    """Return the masks, which have the size of the images: the place of PAR, switched off."""
    return masks


def _masker(preset: Preset, strategy: Strategy) -> UncertainMasker:
    """Return the masker of a preset with the strategy of a phase."""
    return UncertainMasker(
        preset.mask_ratio,
        preset.mask_low,
        preset.mask_high,
        strategy=strategy,
        block=preset.mask_block,
        rounding=preset.mask_rounding,
        thresholds=preset.mask_thresholds,
    )
