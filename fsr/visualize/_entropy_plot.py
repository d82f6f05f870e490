"""Plot of the attention entropy by layer, models beside each other (Fig. 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fsr._core.checks import check_finite, check_floating, check_shape
from fsr._core.optional import import_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SPREAD = 0.7


def plot_attention_entropy(
    entropies: Mapping[str, Tensor | NDArray[Any]], *, normalized: bool = False, title: str = ""
) -> Figure:
    """Plot mean attention entropy by layer, a dot for each head, models side by side (Fig. 6).

    Each layer holds a column of dots for every model, beside one another; a line joins the means
    over the heads, at the layer itself, so that models of equal means have one line.

    Args:
        entropies: by a model's name its ``(depth, heads)``, such as
            :attr:`fsr.visualize.EncoderEntropy.mean`; depths and head counts may differ.
        normalized: whether they were divided by the logarithm of the number of tokens; for the
            name of the axis.
        title: line above the plot.

    Returns:
        Figure with one axes, made without pyplot; ``figure.savefig(path)`` writes it.

    Raises:
        ImportError: matplotlib is not installed (extra ``viz``).
        ShapeError: an entropy has another shape, or no layer or head.
        TypeError: an entropy is no floating-point array.
        ValueError: there is no model, or an entropy is NaN or infinite.

    Source:
        Fig. 6.

    Example:
        >>> figure = plot_attention_entropy({"without": torch.rand(3, 2), "with": torch.rand(3, 2)})
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['without', 'with']
    """
    if not entropies:
        raise ValueError("entropies: expected at least one model, got none")
    values = {name: _checked(name, entropy) for name, entropy in entropies.items()}
    figures = import_extra("matplotlib.figure", "viz", "plot_attention_entropy")
    figure: Figure = figures.Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    deepest = max(len(entropy) for entropy in values.values())
    for number, (name, entropy) in enumerate(values.items()):
        depth, heads = entropy.shape
        layers = torch.arange(depth)
        place = layers + SPREAD * ((number + 0.5) / len(values) - 0.5)
        (line,) = axes.plot(
            layers.numpy(), entropy.mean(dim=1).numpy(), linewidth=1.5, alpha=0.7, label=name
        )
        axes.scatter(
            place[:, None].expand(depth, heads).numpy(),
            entropy.numpy(),
            s=14,
            alpha=0.6,
            linewidths=0,
            color=line.get_color(),
        )
    axes.set_xticks(range(deepest))
    axes.set_xlabel("layer")
    unit = "share of ln L" if normalized else "nats"
    axes.set_ylabel(f"mean attention entropy ({unit})")
    axes.set_title(title)
    axes.grid(axis="y", alpha=0.3)
    axes.legend()
    return figure


def _checked(name: str, entropy: Tensor | NDArray[Any]) -> Tensor:
    """Return an entropy as a tensor on the CPU, or raise."""
    where = f"entropies: {name!r}"
    value = torch.from_numpy(entropy) if isinstance(entropy, np.ndarray) else entropy
    depth, heads = check_shape(where, value, "depth heads")
    if depth == 0 or heads == 0:
        check_shape(where, value, "depth heads", depth=max(depth, 1), heads=max(heads, 1))
    check_floating(where, value)
    check_finite(where, value)
    return value.detach().cpu().double()
