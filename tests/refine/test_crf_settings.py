"""Settings of the dense CRF, by purpose and by method."""

from __future__ import annotations

from dataclasses import astuple

import pytest

from fsr.refine import CRF_PRESETS, CRFPreset


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test", (10, 1, 1, 121, 5, 4)),
        ("labels", (10, 3, 3, 50, 5, 10)),
        ("one_stage", (10, 3, 3, 80, 13, 10)),
        ("rrm", (10, 3, 3, 80, 13, 10)),
        ("toco", (10, 1, 1, 121, 5, 4)),
        ("urn", (10, 1, 3, 67, 3, 4)),
        ("vit_pcm", (10, 1, 3, 67, 3, 4)),
    ],
)
def test_the_settings_are_those_of_the_released_code(
    name: CRFPreset, expected: tuple[int, ...]
) -> None:
    assert astuple(CRF_PRESETS[name]) == expected
