"""What a predictor returns of one picture: its mask, what the labels are called, and pictures."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fsr.data import write_label_map
from fsr.visualize import legend, overlay

LEGEND_WIDTH = 520


@dataclass(frozen=True, repr=False)
class Segmentation:
    """The segmentation of one picture.

    In a notebook it shows itself as an overlay.

    Attributes:
        mask: label of every pixel, ``(height, width)`` int64 at the picture's own size, on the CPU;
            0 is background, c + 1 is class c.
        class_names: names of the C classes.
        probabilities: ``(C + 1, height, width)`` float, channel 0 background, if they were asked
            for; else None.
        name: what the picture is called: its file, or its place among those given.
        path: its file, None of a picture in memory.

    Example:
        >>> grey = Image.new("RGB", (4, 1))
        >>> mask = torch.tensor([[0, 0, 0, 2]])
        >>> result = Segmentation(mask, ("cat", "dog"), _picture=lambda: grey)
        >>> result.names[2], result.shares
        ('dog', {'background': 0.75, 'dog': 0.25})
        >>> result
        Segmentation('', 1 x 4: background 75%, dog 25%)
    """

    mask: Tensor
    class_names: tuple[str, ...]
    probabilities: Tensor | None = None
    name: str = ""
    path: Path | None = None
    # Read when it is asked for: a list of results would else hold all pictures.
    _picture: Callable[[], Image.Image] | None = field(default=None, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all labels, background first; ``names[n]`` is that of label n."""
        return ("background", *self.class_names)

    @property
    def shares(self) -> dict[str, float]:
        """Share of the pixels of every label that there is, the largest first."""
        counts = torch.bincount(self.mask.flatten(), minlength=len(self.names)).tolist()
        order = sorted(range(len(self.names)), key=lambda label: -counts[label])
        total = max(self.mask.numel(), 1)
        return {self.names[label]: counts[label] / total for label in order if counts[label]}

    @property
    def image(self) -> Image.Image:
        """The picture as the network saw it, in RGB; of bands the first three, stretched.

        Raises:
            DataError: its file has gone.
        """
        if self._picture is None:
            raise ValueError("image: this result was made without its picture")
        return self._picture()

    def overlay(
        self, *, alpha: float = 0.5, contours: bool = True, names: bool = False
    ) -> Image.Image:
        """Lay the colours of the labels over the picture.

        Args:
            alpha: share of the colour, 0 to 1.
            contours: draw the border of every region.
            names: write below what the colours that there are mean.

        Returns:
            RGB picture, of the same size without ``names``.

        Raises:
            ValueError: ``alpha`` is out of range.
        """
        picture = overlay(self.image, self.mask, alpha=alpha, contours=contours)
        if not names:
            return picture
        shown = torch.unique(self.mask).tolist()
        below = legend(self.class_names, width=max(picture.width, LEGEND_WIDTH), labels=shown)
        whole = Image.new("RGB", (below.width, picture.height + below.height), "white")
        whole.paste(picture, (0, 0))
        whole.paste(below, (0, picture.height))
        return whole

    def show(self, *, alpha: float = 0.5, contours: bool = True) -> None:
        """Show the overlay with its names: in a notebook below the cell, else in a window.

        Args:
            alpha: share of the colour, 0 to 1.
            contours: draw the border of every region.
        """
        picture = self.overlay(alpha=alpha, contours=contours, names=True)
        display = _notebook_display()
        if display is None:
            picture.show(self.name)
        else:
            display(picture)

    def save(self, path: str | Path) -> Path:
        """Write the mask as ``fsr predict`` does: a palette PNG whose pixels are the labels.

        Args:
            path: file to write, ending in ``.png``; its folder is made.

        Returns:
            The file.

        Raises:
            ValueError: the path does not end in ``.png``; other formats would change labels.
            OutputError: the file cannot be written.
        """
        file = Path(path)
        if file.suffix.lower() != ".png":
            raise ValueError(
                f"path: expected a file that ends in .png, as others lose labels, got {str(path)!r}"
            )
        write_label_map(file, self.mask)
        return file

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.array(self.mask.numpy(), dtype=dtype, copy=True)

    def __repr__(self) -> str:
        high, wide = self.mask.shape
        shares = ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())
        return f"Segmentation({self.name!r}, {high} x {wide}: {shares})"

    def _repr_png_(self) -> bytes | None:
        if self._picture is None:
            return None
        stream = BytesIO()
        self.overlay(names=True).save(stream, format="PNG")
        return stream.getvalue()


def _notebook_display() -> Callable[[Any], Any] | None:
    """Return the function of a running notebook that shows pictures, None elsewhere."""
    shell: Any = sys.modules.get("IPython")
    running = None if shell is None else shell.get_ipython()
    if running is None or not hasattr(running, "kernel"):
        return None
    from IPython.display import display

    found: Callable[[Any], Any] = display
    return found
