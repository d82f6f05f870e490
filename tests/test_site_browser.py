"""The look at the built site: each fault that a reader would meet is found, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.test_habits import loaded

HEAD = (
    '<!doctype html><html lang="en"><head><title>t</title>'
    '<meta name="viewport" content="width=device-width"></head>'
)
WIDE = "<table style='width: 700px'><tr><td>wide</td></tr></table>"
# A fault for each page: its markup, and how the line that tells of it goes on behind the name.
FAULTS = {
    "console": ("<script>console.error('broken')</script>", r"at 1280: console: broken"),
    "thrown": ("<script>throw new Error('thrown')</script>", r"at 1280: console: thrown"),
    "host": (
        '<link rel="stylesheet" href="http://127.0.0.1:1/x.css">',
        r"at 1280: request to another host: http://127\.0\.0\.1:1/x\.css",
    ),
    "sideways": ("<p style='width: 700px'>a</p>", r"at 390: the page scrolls sideways"),
    "cut": (
        f"<div style='overflow: hidden'>{WIDE}</div>",
        r'at 390: cut at the edge: <table> "wide"',
    ),
    "tex": (r"<p>the loss \frac{a}{b}</p>", r"at 1280: raw TeX: \\frac"),
    "grey": ("<p style='background: #fff; color: #eee'>grey</p>", "at 1280: axe color-contrast: p"),
    "axe": ('<img src="dot.svg">', r"at 390: axe image-alt: img"),
}
SOUND = (
    '<p id="here">A <a href="sound.html#here">link</a>, one <a href="https://example.org/">away</a>.'
    rf"<code>\frac</code></p><div tabindex=0 style='overflow-x: auto'>{WIDE}</div>"
)


@pytest.fixture(scope="module")
def site() -> Any:
    """The script of the checks."""
    return loaded("site")


def write(folder: Path, name: str, body: str) -> None:
    """Write a page."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    page = f"{HEAD}<body><main><h1>Title</h1>{body}</main></body></html>"
    (folder / name).write_text(page, encoding="utf-8")


def test_links_and_anchors_inside_the_site_are_followed(site: Any, tmp_path: Path) -> None:
    write(tmp_path, "index.html", '<a href="a/b.html#x">x</a> <a href="#top">top</a>')
    write(tmp_path, "a/b.html", '<p id="x"></p><a href="../index.html">up</a> <a href="/">root</a>')
    assert list(site.follow_links(tmp_path)) == []
    write(tmp_path, "index.html", '<a href="a/b.html#y&amp;z">y</a> <img src="no%20file.png">')
    assert list(site.follow_links(tmp_path)) == [
        "index.html: a/b.html#y&z: no such anchor",
        "index.html: no%20file.png: no such file",
    ]


def test_of_pages_of_source_code_the_first_is_opened(site: Any, tmp_path: Path) -> None:
    for name in ("index.html", "_modules/a.html", "_modules/b.html", "_static/x.html", "c/d.html"):
        write(tmp_path, name, "")
    assert [str(path) for path in site.pages(tmp_path)] == [
        "c/d.html",
        "index.html",
        "_modules/a.html",
    ]


def test_each_fault_is_found_in_the_browser_and_a_sound_page_has_none(
    site: Any, tmp_path: Path
) -> None:
    pytest.importorskip("axe_playwright_python.sync_playwright")
    browser = site.browser_path()
    if browser is None:
        pytest.skip("there is no Chromium")
    (tmp_path / "favicon.ico").touch()
    (tmp_path / "dot.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    write(tmp_path, "sound.html", SOUND)
    for name, (body, _) in FAULTS.items():
        write(tmp_path, f"{name}.html", body)
    told = list(site.look(tmp_path, browser, site.pages(tmp_path)))
    for name, (_, line) in FAULTS.items():
        assert any(re.match(rf"{name}\.html {line}", fault) for fault in told), (name, told)
    assert [fault for fault in told if fault.startswith("sound.html")] == []
    assert not any("at 1280: the page scrolls" in fault or "1280: cut" in fault for fault in told)
    assert any(fault.startswith("grey.html at 390: axe color-contrast") for fault in told)

    quick = list(site.look(tmp_path, browser, [Path("axe.html"), Path("grey.html")], quick=True))
    assert [fault.partition(": img")[0] for fault in quick] == ["axe.html at 1280: axe image-alt"]


def test_the_command_says_what_it_did_and_its_status_tells_of_faults(
    site: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(site, "browser_path", lambda: None)
    write(tmp_path, "index.html", "")
    monkeypatch.setattr("sys.argv", ["site.py", str(tmp_path)])
    assert site.main() == 0
    assert capsys.readouterr().out == (
        "links: 0 lead nowhere\n"
        "browser: not looked, there is no Chromium or no Playwright (extra docs)\n"
    )
    write(tmp_path, "index.html", '<a href="away.html">x</a>')
    assert site.main() == 1
    assert "index.html: away.html: no such file" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["site.py", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit, match="2"):
        site.main()
    assert "no index.html: build the documentation first" in capsys.readouterr().err
