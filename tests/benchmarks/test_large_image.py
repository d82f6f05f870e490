"""The memory of a large image: what the page says is what was measured, and within the promise."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_tells_the_measured_peaks_and_they_are_within_4_gib() -> None:
    found = json.loads((ROOT / "benchmarks" / "results" / "large_image.json").read_text())
    peaks = {row["way"]: row["peak_gib"] for row in found["rows"]}
    assert set(peaks) == {"whole", "tiles"}
    assert all(row["size"] == [10_000, 10_000] for row in found["rows"])
    assert max(peaks.values()) < 4
    page = (ROOT / "docs" / "load.md").read_text()
    assert f"took {peaks['tiles']:.1f} GiB at the peak in tiles" in page
    assert f"and {peaks['whole']:.1f} GiB shrunk to 1,024" in page
