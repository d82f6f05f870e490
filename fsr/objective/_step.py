"""What one training step has at hand: everything is made on first use, once, and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fsr._core.present import some_classes
from fsr.objective._cams import PresentCAM, StepCAMs
from fsr.objective._draws import Draws, Place
from fsr.objective._needs import Needs
from fsr.objective._networks import forward_views, plain_segmenter
from fsr.objective._part import Part
from fsr.objective._seen import Later, Seen
from fsr.objective._views import Pixels, check_needs
from fsr.presets import CAMSource
from fsr.teacher import EMATeacher


class Step:
    """Views, labels and networks of one training step, and all that is derived from them.

    Nothing is computed that no part reads: each network is forwarded once, on the union of what
    the parts need, when the first of them asks.

    Args:
        views: normalised images of the views, ``(B, bands, height, width)`` each, one or more.
        labels: multi-hot image-level labels, ``(B, C)``.
        number: step of the run, counted from 0.
        student: the segmenter, plain or wrapped (DDP, compiled).
        teacher: its averaged teacher, None where nothing reads one.
        parts: the terms and parts that will be asked for at this step.
        masks: parts that say which patches of a view the student does not see, by view from 1:
            each gives ``(B, H, W)`` boolean, True = masked.
        made_views: parts that make further views, by number from 2; one that is given is not made.
        given: what belongs to the images of view 1, by name: ``"box"`` ``(B, 4)``, top, bottom,
            left and right of the real pixels of padded crops; ``"masks"`` ``(B, height, width)``,
            true or pseudo labels; ``"weights"`` ``(B, height, width)``, how sure these are; others.
        pixels: maps normalised images to RGB in [0, 1]; by the student's backbone by default.
        generator: source of the masks' randomness; torch's global state by default.
        place: where the images stand in the batch that a step is split into; None: they are all.

    Attributes:
        grid: patch grid ``(H, W)`` of the views.
        network: the student, unwrapped, for its weights; its heads come from :meth:`student`.
        draws: numbers for each image, the same however a batch is split.
        seen: what is worth a look, by name; parts put labels, maps and the like there.

    Example:
        >>> from fsr.objective import terms
        >>> from fsr.segmenter import SingleStageSegmenter
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
        made_views: Mapping[int, Part] | None = None,
        given: Mapping[str, Tensor] | None = None,
        pixels: Callable[[Tensor], Tensor] | None = None,
        generator: torch.Generator | None = None,
        place: Place | None = None,
    ) -> None:
        self.views = tuple(views)
        self.labels = labels
        self.number = number
        self.generator = generator
        self.draws = Draws(len(labels), self.views[0].device, generator, place)
        self.seen: dict[str, Any] = Seen()
        self.network = network = plain_segmenter(student)
        self._student, self._teacher = student, teacher
        self.grid: tuple[int, int] = network.backbone.grid(self.views[0])
        mean, std = network.backbone.mean, network.backbone.std
        self._pixels = pixels or Pixels(mean, std, len(mean)).to(self.views[0].device)
        needs = Needs()
        for part in parts:
            needs |= part.needs(number)
        self._masks = {view: part for view, part in (masks or {}).items() if view in needs.student}
        self._made_views = {
            view: part
            for view, part in (made_views or {}).items()
            if view > len(self.views) and view in needs.student
        }
        for part in (*self._masks.values(), *self._made_views.values()):
            needs |= part.needs(number)
        self.needs = needs.complete()
        self._given = dict(given or {})
        there = {*range(1, len(self.views) + 1), *self._made_views}
        check_needs(self.needs, there, teacher=teacher is not None)
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

    def given(self, name: str) -> Tensor | None:
        """Return what was given with view 1 under a name, such as ``"box"``; None if nothing."""
        return self._given.get(name)

    def view(self, number: int) -> Tensor:
        """Return the normalised images of a view, given or made, ``(B, bands, height, width)``."""
        part = self._made_views.get(number)
        images: Tensor = self.views[number - 1] if part is None else self.get(part)
        return images

    def image(self, view: int) -> Tensor:
        """Return a view's images as RGB in [0, 1], by ``pixels``, ``(B, 3, height, width)``."""
        image: Tensor = self._once(("image", view), lambda: self._pixels(self.view(view)))
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
        self._ready(source)
        cam: Tensor = self._once((source, size), lambda: self._cams.get(source, size))
        return cam

    def present_cam(self, source: CAMSource, size: tuple[int, int] | None = None) -> PresentCAM:
        """Return the normalised CAM of the classes that the images show, without gradient.

        The numbers are those of :meth:`cam`; of a thousand classes nothing as large as an image is
        made but the maps of those few.

        Args:
            source: where it comes from; it must be among the needs of the step's parts.
            size: size to return; by default as it comes, see :meth:`cam`.

        Raises:
            ValueError: no part named the source among its needs.
        """
        self._ready(source)
        shown, there = self._once("classes", lambda: some_classes(self.labels))
        cam: Tensor = self._once(
            (source, size, "present"), lambda: self._cams.get(source, size, shown)
        )
        return PresentCAM(cam, there.to(self.labels.dtype), shown)

    def cam_later(self, source: CAMSource, size: tuple[int, int]) -> Later:
        """Return the CAM of all classes for ``seen``: it is made when somebody looks at it."""
        self._ready(source)
        return self._cams.later(source, size)

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
        self._cams.make_ahead()
        if self.needs.student.keys() - self._made_views.keys():
            self._once("student", self._student_pass)
        for view in self._made_views:
            self._once(("student", view), partial(self._made_pass, view))

    def afterwards(self, action: Callable[[], None]) -> None:
        """Do something when all terms are computed, such as moving a running mean."""
        self._afterwards.append(action)

    def finish(self) -> None:
        """Do what was left for afterwards."""
        for action in self._afterwards:
            action()
        self._afterwards.clear()

    def _ready(self, source: CAMSource) -> None:
        """Make the pass that a CAM is taken from; raise unless some part needs the CAM."""
        if source not in self.needs.cams:
            raise ValueError(
                f"source: expected one that a part of the step needs, got {source.describe()}"
            )
        if source.reuse:
            run = self._student_pass if source.network == "student" else self._teacher_pass
            self._once(source.network, run)

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def _head(self, network: str, head: str, view: int) -> Tensor:
        """Return a head of one network's forward for one view."""
        needed: Mapping[int, tuple[str, ...]] = getattr(self.needs, network)
        if head not in needed.get(view, ()):
            raise ValueError(
                f"{network}: expected a head that a part of the step needs, "
                f"got {head!r} of view {view}; name it in the part's needs()"
            )
        run = self._student_pass if network == "student" else self._teacher_pass
        output: dict[tuple[str, int], Tensor]
        if network == "student" and view in self._made_views:
            output = self._once(("student", view), partial(self._made_pass, view))
        else:
            output = self._once(network, run)
        return output[head, view]

    def _teacher_pass(self) -> dict[tuple[str, int], Tensor]:
        """Forward the teacher once, on whole views, and return its heads by name and view."""
        if self._teacher is None:
            raise ValueError("teacher: expected EMATeacher(student, ...), got None")
        return self._keep("teacher", forward_views(self._teacher, self.views, self.needs.teacher))

    def _student_pass(self) -> dict[tuple[str, int], Tensor]:
        """Forward the student once, masked views beside whole ones, and return its heads."""
        masks = {view: self.get(part) for view, part in self._masks.items()}
        heads = {v: h for v, h in self.needs.student.items() if v not in self._made_views}
        return self._keep("student", forward_views(self._student, self.views, heads, masks))

    def _made_pass(self, view: int) -> dict[tuple[str, int], Tensor]:
        """Forward the student on a view that the step made, of a size of its own."""
        found = forward_views(self._student, (self.view(view),), {1: self.needs.student[view]})
        return {(head, view): value for (head, _), value in found.items()}

    def _keep(
        self, network: str, output: dict[tuple[str, int], Tensor]
    ) -> dict[tuple[str, int], Tensor]:
        """Offer the tokens of a forward to the CAMs that reuse it."""
        for (head, view), value in output.items():
            self._cams.keep(network, view, head, value)
        return output
