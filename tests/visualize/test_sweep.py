"""The plot of a threshold sweep."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from fsr.visualize import plot_threshold_sweep

NAN = float("nan")


@pytest.mark.parametrize(
    "sweep", [{0.2: (0.3, NAN), 0.4: (NAN, NAN)}, {0.2: (NAN, NAN), 0.4: (NAN, NAN)}]
)
def test_layers_without_a_score_have_no_best_threshold(
    tmp_path: Path, sweep: dict[float, tuple[float, float]]
) -> None:
    pytest.importorskip("matplotlib")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_threshold_sweep(sweep, tmp_path / "sweep.svg")
    text = (tmp_path / "sweep.svg").read_text()
    assert "auxiliary layer: no score" in text
    assert ("final layer: 30.0 at 0.2" in text) == (sweep[0.2][0] == 0.3)
    assert "nan" not in text
