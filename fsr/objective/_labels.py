"""Labels made from the CAMs of a view: of its pixels, refined along edges, and of its tokens."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fsr._core.boxes import outside_box
from fsr._core.checks import check_choice, check_positive_int
from fsr._core.labels import ignore_label
from fsr._core.present import labels_of_classes
from fsr.cam import (
    LABEL_THRESHOLDS,
    LabelThresholds,
    affinity_cam,
    cam_to_labels,
    mixture_thresholds,
    resize_cam,
    strongest_class,
)
from fsr.objective._cams import PresentCAM
from fsr.objective._needs import Needs
from fsr.objective._part import Part
from fsr.objective._seen import Later
from fsr.objective._step import Step
from fsr.presets import CAMSource
from fsr.refine import pseudo_labels

# Of a place among the classes of an image, which no number of classes can collide with.
UNKNOWN = -1


class PixelLabels(Part):
    """Pseudo labels of a view's pixels, ``(B, height, width)``, int64, 255 = ignored.

    Of more than 254 classes the ignored label is that of :func:`fsr.cam.ignore_label`. Maps as
    large as the view are made of the classes that an image shows, whatever their number.

    Args:
        source: CAM that they are made from; its view is the labelled one.
        low: CAM scores up to this are background.
        high: CAM scores above this take their class; between the two is ignored.
        thresholds: ``"fixed"``, these two; ``"mixture"`` (not in the paper), those of
            :func:`fsr.cam.mixture_thresholds` for the batch of this process, on the patch grid.
        affinity: how often the CAM, taken on the patch grid, is spread to patches with like tokens
            by :func:`fsr.cam.affinity_cam` (not in the paper); 0: not at all. The tokens are those
            of the CAM's network, view and layer in the pass that the step makes anyway; of a view
            that is masked take a CAM of the teacher.
        refinement: refines masks along the edges of images in [0, 1], such as
            :class:`fsr.refine.PAR`; None takes the CAM as it is.

    Source:
        Section "Uncertain Patch Token Selection".

    Example:
        >>> PixelLabels(CAMSource(scales=(1.0,), flip=False), high=0.5).needs(0).cams[0].describe()
        'student, final layer, view 1, own pass at 1'
    """

    def __init__(
        self,
        source: CAMSource,
        *,
        low: float = 0.25,
        high: float = 0.7,
        thresholds: LabelThresholds = "fixed",
        affinity: int = 0,
        refinement: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        check_choice("thresholds", thresholds, LABEL_THRESHOLDS)
        if affinity:
            check_positive_int("affinity", affinity)
        self.thresholds, self.affinity = thresholds, affinity
        self.source, self.low, self.high = source, low, high
        self.refinement = _unrefined if refinement is None else refinement

    def needs(self, number: int) -> Needs:
        """Return the CAM, and the tokens that it is spread by."""
        needs, source = Needs(cams=(self.source,)), self.source
        if not self.affinity:
            return needs
        heads = {source.view: (source.head,)}
        student = source.network == "student"
        return needs | (Needs(student=heads) if student else Needs(teacher=heads))

    def forward(self, step: Step) -> Tensor:
        """Return the labels of a step; these, CAM and moving thresholds can be seen afterwards."""
        images = step.image(self.source.view)
        cam, present, classes = self._cam(step, (images.shape[2], images.shape[3]))
        low, high = _borders(self, step, cam, present)
        box = step.given("box") if self.source.view == 1 else None
        places = pseudo_labels(
            self.refinement,
            images,
            cam,
            present,
            low=low,
            high=high,
            box=box,
            ignore_index=UNKNOWN,
        )
        labels = labels_of_classes(places, classes, ignore_label(step.labels.shape[1]))
        step.seen["pseudo_labels"] = labels
        if self.thresholds != "fixed":
            step.seen |= {
                "pseudo_low": cam.new_full((), low),
                "pseudo_high": cam.new_full((), high),
            }
        return labels

    def _cam(self, step: Step, size: tuple[int, int]) -> PresentCAM:
        """Return the CAM at a size, spread on the patch grid where asked; leave it to be seen."""
        source = self.source
        if not self.affinity:
            step.seen["cam"] = step.cam_later(source, size)
            return step.present_cam(source, size)
        read = step.student if source.network == "student" else step.teacher
        tokens = read(source.head, source.view).detach()
        every = step.cam_later(source, step.grid)

        def spread(cam: Tensor) -> Tensor:
            return resize_cam(affinity_cam(cam, tokens, self.affinity), size)

        step.seen["cam"] = Later(lambda: spread(every.make()), (*every.shape[:2], *size))
        present = step.present_cam(source, step.grid)
        return present._replace(cam=spread(present.cam))


class TokenLabels(Part):
    """One label per patch of a view, ``(B, H, W)``, int64, 255 = ignored.

    Args:
        source: CAM that they are made from; its view is the labelled one.
        low: CAM scores up to this are background.
        high: CAM scores above this take their class; between the two is ignored.
        thresholds: ``"fixed"``, these two; ``"mixture"`` (not in the paper), those of
            :func:`fsr.cam.mixture_thresholds` for the batch of this process, on the patch grid.
        seen_as: name under which they can be seen afterwards, None for none.

    Example:
        >>> TokenLabels(CAMSource(view=2)).needs(0).views
        frozenset({2})
    """

    def __init__(
        self,
        source: CAMSource,
        *,
        low: float = 0.25,
        high: float = 0.7,
        thresholds: LabelThresholds = "fixed",
        seen_as: str | None = "affinity_labels",
    ) -> None:
        super().__init__()
        check_choice("thresholds", thresholds, LABEL_THRESHOLDS)
        self.thresholds = thresholds
        self.source, self.low, self.high, self.seen_as = source, low, high, seen_as

    def needs(self, number: int) -> Needs:
        """Return the CAM."""
        return Needs(cams=(self.source,))

    def forward(self, step: Step) -> Tensor:
        """Return the labels of a step."""
        cam, present, classes = step.present_cam(self.source, step.grid)
        low, high = _borders(self, step, cam, present)
        unknown = ignore_label(step.labels.shape[1])
        places = cam_to_labels(cam, present, low=low, high=high, ignore_index=UNKNOWN)
        labels = labels_of_classes(places, classes, unknown)
        box = step.given("box") if self.source.view == 1 else None
        if box is not None:
            labels = labels.masked_fill(_padding(step, box.to(labels.device)), unknown)
        if self.seen_as is not None:
            step.seen[self.seen_as] = labels
        return labels


class PhasedLabels(Part):
    """Labels of pixels made one way at first and another later.

    Args:
        first: the labels until then.
        then: the labels from then on, of the same view.
        start: step of the run at which they change.

    Example:
        >>> first, then = PixelLabels(CAMSource(layer="auxiliary")), PixelLabels(CAMSource())
        >>> labels = PhasedLabels(first, then, start=10)
        >>> labels.at(9) is first, labels.at(10) is then
        (True, True)
    """

    def __init__(self, first: PixelLabels, then: PixelLabels, start: int) -> None:
        super().__init__()
        self.first, self.then, self.start = first, then, start
        self.source = then.source

    def at(self, number: int) -> PixelLabels:
        """Return the labels of a step of the run."""
        return self.first if number < self.start else self.then

    def needs(self, number: int) -> Needs:
        """Return what the labels of the step read."""
        return self.at(number).needs(number)

    def forward(self, step: Step) -> Tensor:
        """Return the labels of a step, ``(B, height, width)``."""
        labels: Tensor = step.get(self.at(step.number))
        return labels


def _padding(step: Step, box: Tensor) -> Tensor:
    """Return the patches of view 1 whose centre is padding, ``(B, H, W)``."""
    height, width = step.views[0].shape[2:]
    rows, columns = height // step.grid[0], width // step.grid[1]
    return outside_box(box, height, width)[:, rows // 2 :: rows, columns // 2 :: columns]


def _borders(
    part: PixelLabels | TokenLabels, step: Step, cam: Tensor, present: Tensor
) -> tuple[float, float]:
    """Return the scores up to which a CAM is background and above which it takes its class."""
    if part.thresholds == "fixed":
        return part.low, part.high
    # On the patch grid: a larger map says no more, and the fit would take longer.
    scores, _ = strongest_class(resize_cam(cam, step.grid), present)
    return mixture_thresholds(scores, part.low, part.high)


def _unrefined(images: Tensor, masks: Tensor) -> Tensor:
    """Return the masks, which have the size of the images: the place of PAR, switched off."""
    return masks
