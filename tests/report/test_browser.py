"""A report in a browser: what it does when it is clicked, and that it asks no host for anything."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from fsr.report import write_report
from tests.report.made import made_run

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CLICKS = (Path(__file__).parent / "clicks.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a report in Chromium showed as it was clicked, in a window as wide as a telephone."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("there is no Chromium")
    folder = tmp_path_factory.mktemp("browser")
    page = write_report(made_run(folder / "run")).read_text(encoding="utf-8")
    clicked = folder / "clicked.html"
    clicked.write_text(page.replace("</body>", f"<script>{CLICKS}</script></body>"))
    window = ["--window-size=500,900", f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", *window, "--dump-dom", clicked],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = re.search(r'<pre id="told">(.*?)</pre>', done.stdout)
    assert found is not None, done.stderr[-2000:]
    result: dict[str, Any] = json.loads(unescape(found[1]))
    return result


def test_the_slider_goes_from_layer_to_layer_by_keys_and_fades_between(
    told: dict[str, Any],
) -> None:
    assert told["image"] == [1, 0, 0, 0, 0]
    assert told["cam"] == [[1, 1, 0, 0, 0], "CAM"]
    assert told["pseudo"] == [[1, 0, 0.75, 0, 0], "pseudo label"]
    assert told["between"] == [[1, 0, 0, 0.375, 0.375], "between prediction and truth"]
    assert told["truth"] == [[1, 0, 0, 0, 0.75], "truth", "truth"]


def test_one_slider_moves_all_pictures_and_one_the_strength_of_maps(told: dict[str, Any]) -> None:
    assert told["all"] == [0.75] * 4
    assert told["strength"] == 0.2


def test_a_chart_tells_the_values_of_a_step_under_the_cursor(told: dict[str, Any]) -> None:
    assert told["last"] == ["last", "0.25"]
    assert told["hover"] == ["step 1", "2"]
    assert told["next"] == ["step 2", "1"]
    assert told["left"] == ["last", "0.25"]


def test_a_heading_sorts_and_a_cell_is_read_by_keys(told: dict[str, Any]) -> None:
    assert told["order"] == ["background", "class 1", "class 2", "class 3"]
    # The largest first; a class without a score is last.
    assert told["sorted"][0][-1] == "class 3"
    assert told["sorted"][1] == "descending"
    assert re.fullmatch(
        r"class 1 taken for background: \d+\.\d\d % of [\d,]+ pixels", told["confusion"]
    )


def test_the_theme_is_chosen_and_no_host_is_asked(told: dict[str, Any]) -> None:
    assert told["theme"] == ["dark", "rgb(20, 23, 27)"]
    assert told["asked"] == []
    assert told["wide"] == 0
