"""Where one class activation map of a training step comes from."""

from __future__ import annotations

from dataclasses import dataclass

from fsr._core.checks import check_choice
from fsr._core.ranges import POSITIVE
from fsr.cam import LAYERS, Layer


@dataclass(frozen=True)
class CAMSource:
    """Where one class activation map of the step comes from.

    Args:
        network: ``"student"`` or ``"teacher"``.
        layer: ``"final"`` (last block, Eq. 2) or ``"auxiliary"`` (an earlier block).
        view: 1 or 2, the view of the image that the network looks at.
        scales: image scales of a pass of its own; the scaled CAMs are summed.
        flip: whether that pass also sees the mirrored image (maximum of the two).
        reuse: taken from the pass that the step makes anyway, at one scale without a flip: the
            student's training forward of view 1 (it carries that pass's DropPath noise), or the
            teacher's forward of either view (always in eval mode). Costs no encoder pass.
        extra: with ``reuse``, scales of passes of its own, in eval mode and with flips, whose CAMs
            are added to the reused one. At 0.5 both mirror images together cost half a forward.

    Example:
        >>> CAMSource(network="teacher", layer="auxiliary", view=2, reuse=True).describe()
        'teacher, auxiliary layer, view 2, from the pass the step makes anyway'
    """

    network: str = "student"
    layer: Layer = "final"
    view: int = 1
    scales: tuple[float, ...] = (1.0, 0.5, 1.5)
    flip: bool = True
    reuse: bool = False
    extra: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_choice("network", self.network, ("student", "teacher"))
        check_choice("layer", self.layer, LAYERS)
        if self.view not in (1, 2):
            raise ValueError(f"view: expected 1 or 2, got {self.view!r}")
        for name in ("scales", "extra"):
            object.__setattr__(self, name, tuple(float(scale) for scale in getattr(self, name)))
            if not all(map(POSITIVE.holds, getattr(self, name))):
                raise ValueError(f"{name}: expected positive numbers, got {getattr(self, name)!r}")
        if not self.scales:
            raise ValueError(f"scales: expected positive numbers, got {self.scales!r}")
        if self.reuse:
            if self.network == "student" and self.view == 2:
                raise ValueError(
                    "view: the student's training forward of view 2 is masked, so reuse=True "
                    "expected view 1 (or network='teacher'), got view 2"
                )
            # The printed data must be true: a reused pass has one scale and no mirrored image.
            object.__setattr__(self, "scales", (1.0,))
            object.__setattr__(self, "flip", False)
        elif self.extra:
            raise ValueError(
                "extra: expected none without reuse=True, where scales names every scale, "
                f"got {self.extra!r}"
            )

    @property
    def single(self) -> bool:
        """Whether one pass at the image's own size, without a flip, is all."""
        return self.scales == (1.0,) and not self.flip and not self.extra

    @property
    def head(self) -> str:
        """The head of a segmenter that has the tokens which the CAM is made from."""
        return "tokens" if self.layer == "final" else "aux_tokens"

    def describe(self) -> str:
        """Say the source in words."""
        place = f"{self.network}, {self.layer} layer, view {self.view}"
        listed = "/".join(f"{scale:g}" for scale in self.extra or self.scales)
        if not self.reuse:
            return f"{place}, own pass at {listed}{' with flips' if self.flip else ''}"
        added = f", and own pass at {listed} with flips" if self.extra else ""
        return f"{place}, from the pass the step makes anyway{added}"
