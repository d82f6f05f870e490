"""What one training step has at hand: everything is made on first use, once, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fsr.objective._cams import StepCAMs
from fsr.objective._needs import Needs
from fsr.objective._networks import forward_views
from fsr.objective._part import Part
from fsr.objective._views import Pixels
from fsr.presets import CAMSource
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher, unwrap


class Step:
    """Views, labels and networks of one training step, and all that is derived from them.

    Nothing is computed that no part reads: each network is forwarded once, on the union of what
    the parts need, when the first of them asks.

    Args:
        views: normalised images of the views, ``(B, 3, height, width)`` each, one or more.
        labels: multi-hot image-level labels, ``(B, C)``.
        number: step of the run, counted from 0.
        student: the segmenter, plain or wrapped (DDP, compiled).
        teacher: its averaged teacher, None where nothing reads one.
        parts: the terms and parts that will be asked for at this step.
        masks: parts that say which patches of a view the student does not see, by view from 1:
            each gives ``(B, H, W)`` boolean, True = masked.
        pixels: maps normalised images to RGB in [0, 1]; by the student's backbone by default.
        generator: source of the masks' randomness; torch's global state by default.

    Attributes:
        grid: patch grid ``(H, W)`` of the views.
        network: the student, unwrapped, for its weights; its heads come from :meth:`student`.
        seen: what is worth a look, by name; parts put labels, maps and the like there.

    Example:
        >>> from fsr.objective import terms
        >>> size = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
        >>> student = SingleStageSegmenter(
        ...     3, "vit_tiny_patch16_224", image_size=32, projection_dim=8, backbone_options=size)
        >>> term = terms.Classification()
        >>> step = Step([torch.zeros(1, 3, 32, 32)], torch.ones(1, 3), 0, student=student,
        ...             parts=[term])
        >>> term(step).shape, step.grid
        (torch.Size([]), (4, 4))
    """

    def __init__(
        self,
        views: Sequence[Tensor],
        labels: Tensor,
        number: int = 0,
        *,
        student: nn.Module,
        teacher: EMATeacher | None = None,
        parts: Iterable[Part] = (),
        masks: Mapping[int, Part] | None = None,
        pixels: Callable[[Tensor], Tensor] | None = None,
        generator: torch.Generator | None = None,
    ) -> None:
        self.views = tuple(views)
        self.labels = labels
        self.number = number
        self.generator = generator
        self.seen: dict[str, Any] = {}
        network = unwrap(student)
        if not isinstance(network, SingleStageSegmenter):
            raise TypeError(
                f"student: expected a SingleStageSegmenter, got {type(network).__name__}"
            )
        self.network = network
        self._student, self._teacher = student, teacher
        self.grid: tuple[int, int] = network.backbone.grid(self.views[0])
        self._pixels = pixels or Pixels(network.backbone.mean, network.backbone.std).to(
            self.views[0].device
        )
        needs = Needs()
        for part in parts:
            needs |= part.needs(number)
        self._masks = {view: part for view, part in (masks or {}).items() if view in needs.student}
        for part in self._masks.values():
            needs |= part.needs(number)
        self.needs = needs.complete()
        self._check()
        networks: dict[str, nn.Module] = {"student": network}
        if teacher is not None:
            networks["teacher"] = teacher.module
        self._cams = StepCAMs(networks, self.views, self.needs.cams)
        self._made: dict[Any, Any] = {}
        self._afterwards: list[Callable[[], None]] = []

    def get(self, part: Part) -> Any:
        """Return the value of a part, made on first use."""
        if part not in self._made:
            self._made[part] = part(self)
        return self._made[part]

    def image(self, view: int) -> Tensor:
        """Return the images of a view as RGB in [0, 1], ``(B, 3, height, width)``."""
        image: Tensor = self._once(("image", view), lambda: self._pixels(self.views[view - 1]))
        return image

    def mask(self, view: int) -> Tensor | None:
        """Return the patches of a view that the student does not see, ``(B, H, W)``, or None."""
        part = self._masks.get(view)
        if part is None:
            return None
        mask: Tensor = self.get(part)
        return mask

    def cam(self, source: CAMSource, size: tuple[int, int] | None = None) -> Tensor:
        """Return the normalised CAM of a source (Eq. 2), ``(B, C, *size)``, without gradient.

        Args:
            source: where it comes from; it must be among the needs of the step's parts.
            size: size to return; by default as it comes, which is the patch grid for one pass at
                the image's own size and the image's size for a multi-scale pass.

        Raises:
            ValueError: no part named the source among its needs.
        """
        if source not in self.needs.cams:
            raise ValueError(
                f"source: expected one that a part of the step needs, got {source.describe()}"
            )
        if source.reuse:
            run = self._student_pass if source.network == "student" else self._teacher_pass
            self._once(source.network, run)
        cam: Tensor = self._once((source, size), lambda: self._cams.get(source, size))
        return cam

    def student(self, head: str, view: int) -> Tensor:
        """Return a head of the student's one forward for a view, with gradient.

        Raises:
            ValueError: no part named the head among its needs.
        """
        return self._head("student", head, view)

    def teacher(self, head: str, view: int) -> Tensor:
        """Return a head of the teacher's one forward for a whole view, without gradient.

        Raises:
            ValueError: no part named the head among its needs.
        """
        return self._head("teacher", head, view)

    def prepare(self) -> None:
        """Make masks, the CAM passes of their own, and both forwards, in the order of least memory.

        It is not needed for the values: whatever is asked for is made on first use.
        """
        if self.needs.teacher:
            self._once("teacher", self._teacher_pass)
        for part in self._masks.values():
            self.get(part)
        # No training pass holds memory yet.
        self._cams_ahead()
        if self.needs.student:
            self._once("student", self._student_pass)

    def afterwards(self, action: Callable[[], None]) -> None:
        """Do something when all terms are computed, such as moving a running mean."""
        self._afterwards.append(action)

    def finish(self) -> None:
        """Do what was left for afterwards."""
        for action in self._afterwards:
            action()
        self._afterwards.clear()

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _cams_ahead(self) -> None:
        self._cams.make_ahead()

    def _head(self, network: str, head: str, view: int) -> Tensor:
        """Return a head of one network's forward for one view."""
        needed: Mapping[int, tuple[str, ...]] = getattr(self.needs, network)
        if head not in needed.get(view, ()):
            raise ValueError(
                f"{network}: expected a head that a part of the step needs, "
                f"got {head!r} of view {view}; name it in the part's needs()"
            )
        run = self._student_pass if network == "student" else self._teacher_pass
        output: dict[tuple[str, int], Tensor] = self._once(network, run)
        return output[head, view]

    def _teacher_pass(self) -> dict[tuple[str, int], Tensor]:
        """Forward the teacher once, on whole views, and return its heads by name and view."""
        if self._teacher is None:
            raise ValueError("teacher: expected EMATeacher(student, ...), got None")
        return self._keep("teacher", forward_views(self._teacher, self.views, self.needs.teacher))

    def _student_pass(self) -> dict[tuple[str, int], Tensor]:
        """Forward the student once, masked views beside whole ones, and return its heads."""
        masks = {view: self.get(part) for view, part in self._masks.items()}
        output = forward_views(self._student, self.views, self.needs.student, masks)
        return self._keep("student", output)

    def _keep(
        self, network: str, output: dict[tuple[str, int], Tensor]
    ) -> dict[tuple[str, int], Tensor]:
        """Offer the tokens of a forward to the CAMs that reuse it."""
        for (head, view), value in output.items():
            self._cams.keep(network, view, head, value)
        return output

    def _check(self) -> None:
        """Raise if a view or a network is missing that a part reads."""
        if missing := sorted(view for view in self.needs.views if view > len(self.views)):
            raise ValueError(
                f"views: expected one for each that the terms read, {sorted(self.needs.views)}, "
                f"got {len(self.views)}; missing {missing}"
            )
        if self.needs.of_teacher and self._teacher is None:
            raise ValueError(
                "teacher: expected EMATeacher(student, ...), which the terms read, got None"
            )
