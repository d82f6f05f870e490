"""The training objective for one batch: two views in, every named term out (Eq. 10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fsr._core.labels import ignore_label
from fsr._core.module import TypedModule
from fsr._core.numerics import at_least_float32
from fsr._core.values import values_unread
from fsr.backbone import check_offers
from fsr.objective._draws import Place
from fsr.objective._graph import with_all_parameters
from fsr.objective._networks import check_networks, set_masking
from fsr.objective._output import ObjectiveOutput, total_loss
from fsr.objective._part import Part, Term
from fsr.objective._recipe import Recipe, Weighted, needs_of
from fsr.objective._step import Step
from fsr.objective._views import Pixels, check_views
from fsr.objective.recipes import build_recipe
from fsr.presets import Method, get_method
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher, unwrap


class TrainingObjective(TypedModule):
    """The weighted sum of a recipe's terms (Eq. 10), with its phases, for one batch at a time.

    One call makes one forward of the student (all views in one batch, so it works under
    ``DistributedDataParallel`` without a search for unused parameters) and at most one of the
    teacher, on what the terms with a weight at this step read; a term of weight 0 costs nothing. It
    never steps the optimiser or the teacher. Every trainable parameter stays in the graph in every
    phase, if only with a zero gradient.

    Values of views and labels are looked at before a step. Within it, on an accelerator, no
    component looks at what it is given: each look would wait for the device. There NaN ends up in
    the terms.

    The objective holds neither network as a submodule: its ``state_dict`` has the state of the
    terms alone, of FSR the centres of the teacher's outputs. In training mode a call moves those.

    The recipe's ``masking`` is written into the aggregators of both networks, as it is part of
    the recipe; ``masking=None`` leaves them as they were built.

    Args:
        student: a :class:`fsr.SingleStageSegmenter`, plain, in DDP or compiled.
        teacher: a :class:`fsr.EMATeacher` of the same student; None if no term reads one. Its
            momentum decides from which step on it may be a CAM source
            (:func:`fsr.presets.teacher_source_step`).
        preset: a name of :data:`fsr.presets.METHODS`, such as ``"paper"``, ``"reference"`` or
            ``"fast"``, settings such as :class:`fsr.presets.Preset`, or a
            :class:`fsr.objective.Recipe`, whose terms are copied.
        terms: further terms, with their weights or alone for weight 1.
        mean: mean of the image normalisation per channel; the student's backbone's by default.
        std: standard deviation likewise.
        overrides: fields of the preset to change, by name, such as ``total_steps=1000``.

    Attributes:
        recipe: the recipe, with the further terms.
        preset: the preset as it was changed, or the recipe given.
        ignore_index: label of pixels without one: 255 of at most 254 classes, else 65535.
        weights: weight of each term as a function of the step.
        terms: the terms by name.
        masks: the parts that mask a view, by its number as text.
        bands: number of channels of the images.
        pixels: module that makes RGB in [0, 1] of normalised images, for what follows their edges.
            It may be replaced, and must be where a network takes other bands than three.

    Raises:
        TypeError: ``teacher`` is no ``EMATeacher``, or ``student`` no segmenter.
        ValueError: unknown preset or field (the message has the nearest name), a value out of
            range, two terms of one name, or a teacher is missing that a term reads.

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
        teacher: EMATeacher | None = None,
        *,
        preset: str | Method | Recipe = "reference",
        terms: Sequence[Weighted | Term] | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        **overrides: Any,
    ) -> None:
        super().__init__()
        if teacher is not None and not isinstance(teacher, EMATeacher):
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
        self.ignore_index = ignore_label(network.num_classes)
        if isinstance(preset, Recipe):
            if overrides:
                raise ValueError(f"preset: a Recipe has no fields to change, got {list(overrides)}")
            self.preset: Method | Recipe = preset
        else:
            self.preset = get_method(preset, **overrides)
        recipe = build_recipe(self.preset, network, teacher)
        self.recipe = recipe = recipe.add(*(terms or ()))
        self.weights = recipe.schedules()
        self.terms = nn.ModuleDict({name: each.term for name, each in recipe.terms.items()})
        self.masks = nn.ModuleDict({str(view): part for view, part in recipe.masks.items()})
        self.made_views = nn.ModuleDict(
            {str(view): part for view, part in recipe.made_views().items()}
        )
        check_offers(network.backbone, recipe.offers, recipe.name)
        for part in self.modules():
            if isinstance(part, Part):
                part.check(network)
        for name, needs in needs_of(recipe, self.weights).items():
            check_networks(name, needs, network, teacher=teacher is not None)
        backbone = network.backbone
        self.bands = len(backbone.mean)
        self.pixels: nn.Module = Pixels(
            backbone.mean if mean is None else mean,
            backbone.std if std is None else std,
            self.bands,
        )
        if recipe.masking is not None:
            for each in (network, *(() if teacher is None else (teacher.module,))):
                set_masking(each, recipe.masking)

    @property
    def student(self) -> nn.Module:
        """The student as it was passed in, wrapped or not."""
        return self._networks[0]

    @property
    def teacher(self) -> EMATeacher | None:
        """The teacher, if there is one."""
        return self._networks[1]

    def forward(
        self,
        view1: Tensor,
        view2: Tensor | None,
        labels: Tensor,
        *,
        step: int,
        generator: torch.Generator | None = None,
        given: Mapping[str, Tensor] | None = None,
        place: Place | None = None,
    ) -> ObjectiveOutput:
        """Compute every term for one batch.

        Args:
            view1: first view, ``(B, bands, height, width)``, normalised as for the backbone.
            view2: second view of the same images, of the same shape; None if no term reads it.
            labels: multi-hot image-level labels, ``(B, C)``. A row without a class is a negative
                for classification; its pseudo labels and token labels are background.
            step: step of the run, counted from 0; it selects weights, temperature and phase.
            generator: source of the masks' randomness; torch's global state by default.
            given: what some methods read beside view 1, by name: its ``"box"``, ``"masks"`` and
                ``"weights"``, see :class:`fsr.objective.Step`.
            place: where the images stand in the batch that a step is split into, so that their
                masks are those of the whole batch; None: they are the batch.

        Returns:
            The terms, their weighted sum, and masks and labels to look at.

        Raises:
            ShapeError: a shape is wrong.
            ValueError: a view holds NaN or infinity, labels are not multi-hot, ``step`` is below
                0, the preset's ``mask_block`` does not divide the patch grid, or a view is missing
                that a term reads.
        """
        check_views(view1, view2, labels, self.num_classes, step, self.bands)
        if any(own.device != view1.device for own in self.pixels.buffers()):
            self.to(view1.device)  # its own buffers alone; networks move without telling
        weights = {name: float(schedule(step)) for name, schedule in self.weights.items()}
        active = {name: self._term(name) for name, weight in weights.items() if weight != 0}
        now = Step(
            (view1,) if view2 is None else (view1, view2),
            labels,
            step,
            student=self.student,
            teacher=self.teacher,
            parts=active.values(),
            masks=_by_view(self.masks),
            made_views=_by_view(self.made_views),
            given=given,
            pixels=self.pixels,
            generator=generator,
            place=place,
        )
        now.seen |= {name: value(step) for name, value in self.recipe.shown.items()}
        zero = at_least_float32(view1.new_zeros(()))
        with values_unread(view1.device):
            now.prepare()
            values = {name: active[name](now) if name in active else zero for name in weights}
            now.finish()
        return ObjectiveOutput(
            total=with_all_parameters(total_loss(values, weights), unwrap(self.student)),
            values=values,
            weights=weights,
            seen=now.seen,
            image_size=(view1.shape[2], view1.shape[3]),
            grid=now.grid,
            images=len(labels),
            ignore_index=self.ignore_index,
        )

    def extra_repr(self) -> str:
        """Show the recipe's name in ``print(module)``; ``print(objective.preset)`` shows it all."""
        return f"preset={self.recipe.name!r}"

    def _term(self, name: str) -> Term:
        """Return a term by name."""
        term = self.terms[name]
        if not isinstance(term, Term):  # somebody put another module in its place
            raise TypeError(f"terms[{name!r}]: expected a Term, got {type(term).__name__}")
        return term

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Take states of an earlier release, whose keys had other names."""
        for old, new in self.recipe.renamed.items():
            if prefix + old in state_dict:
                state_dict[prefix + new] = state_dict.pop(prefix + old)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _by_view(parts: nn.ModuleDict) -> dict[int, Part]:
    """Return parts by the number of their view."""
    return {int(view): part for view, part in parts.items() if isinstance(part, Part)}
