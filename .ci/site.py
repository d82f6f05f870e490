#!/usr/bin/env python3
"""Look at every page of the built documentation as readers do; the exit status is 1 at any fault.

    .venv/bin/python .ci/site.py docs/_build/html

Links and anchors inside the site are followed in any case. Where Playwright and a Chromium are
installed (named by CHROMIUM, or on the path), every page is opened at the width of a desk and of a
telephone, in light and in dark: no error in the console, no request to another host, nothing that
is cut or makes the page scroll sideways, no raw TeX, nothing serious that axe-core finds.
Of the pages of source code, which are alike, the first is opened. With --quick, for a fraction of
the time, axe-core looks at pages that are not long, at one width, and at colours on the first.
"""

from __future__ import annotations

import argparse
import functools
import html
import os
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Nothing of the browser's own goes out either.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWS = ((1280, 900, "light"), (390, 844, "dark"))
TEX = re.compile(r"\\(?:frac|sum|mathbf|mathrm|left|right|cdot|hat|text|in|times)\b|\\[()\[]|\$\$")
TAG = re.compile(r"<[a-z][^>]*>")
ATTRIBUTE = re.compile(r"\s(id|name|href|src)=\"([^\"]*)\"")
LONG = 2000  # elements
SERIOUS = ("serious", "critical")

# What a reader at this width cannot see, or only by moving the whole page.
LOOK = """() => {
  const wide = document.documentElement.clientWidth, faults = [];
  const said = element => {
    const text = (element.innerText || element.src || "").trim().slice(0, 40).replace(/\\s+/g, " ");
    return `<${element.tagName.toLowerCase()}> "${text}"`;
  };
  if (document.documentElement.scrollWidth > wide + 1) faults.push("the page scrolls sideways");
  for (const element of document.querySelectorAll("main :is(table, pre, img, math, svg)")) {
    const box = element.getBoundingClientRect();
    if (!box.width || box.right <= wide + 1) continue;
    let parent = element, scrolls = false;
    while (parent && !scrolls) {
      scrolls = /auto|scroll/.test(getComputedStyle(parent).overflowX);
      parent = parent.parentElement;
    }
    if (!scrolls) faults.push("cut at the edge: " + said(element));
  }
  const text = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), words = [];
  while (text.nextNode()) {
    const parent = text.currentNode.parentElement;
    if (!parent.closest("code, pre, script, style, annotation")) words.push(text.currentNode.data);
  }
  return [faults, words.join(" "), document.getElementsByTagName("*").length];
}"""


class Page:
    """Anchors and links of a page."""

    def __init__(self, text: str) -> None:
        given = [pair for tag in TAG.findall(text) for pair in ATTRIBUTE.findall(tag)]
        self.anchors = {value for name, value in given if name in ("id", "name")}
        self.links = {html.unescape(value) for name, value in given if name in ("href", "src")}


def pages(site: Path) -> list[Path]:
    """Return the pages, of those of source code the first alone."""
    found = sorted(path.relative_to(site) for path in site.rglob("*.html"))
    own = [path for path in found if path.parts[0] not in ("_modules", "_static")]
    return own + [path for path in found if path.parts[0] == "_modules"][:1]


def follow_links(site: Path) -> Iterator[str]:
    """Yield a line for each link that leads nowhere, and each source on another host."""
    read = {
        path.relative_to(site).as_posix(): Page(path.read_text(encoding="utf-8"))
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.relative_to(site).parts
    }
    for name, page in read.items():
        for link in sorted(page.links):
            if urlsplit(link).scheme or link.startswith("//"):
                continue
            path, anchor = urldefrag(urljoin("/" + name, link))
            target = unquote(urlsplit(path).path).lstrip("/")
            if target.endswith("/") or not target:
                target += "index.html"
            if not (site / target).is_file():
                yield f"{name}: {link}: no such file"
            elif not anchor or target not in read:
                continue
            elif unquote(anchor) not in read[target].anchors | {"top"}:
                yield f"{name}: {link}: no such anchor"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Serve the site on this machine; yield its address."""
    handler = functools.partial(_Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def browser_path() -> str | None:
    """Return the Chromium of this machine, or None."""
    named = os.environ.get("CHROMIUM")
    return named or next(filter(None, map(shutil.which, BROWSERS)), None)


@contextmanager
def listening(page: Any, host: str) -> Iterator[list[str]]:
    """Yield the list that faults of loading are written into."""
    noted: list[str] = []

    def request(sent: Any) -> None:
        where = urlsplit(sent.url)
        if where.scheme in ("http", "https", "ws", "wss") and where.netloc != host:
            noted.append(f"request to another host: {sent.url}")

    def console(message: Any) -> None:
        if message.type == "error":
            noted.append(f"console: {message.text}")

    heard = {"request": request, "console": console}
    heard["pageerror"] = lambda error: noted.append(f"console: {error}")
    for event, listener in heard.items():
        page.on(event, listener)
    yield noted
    for event, listener in heard.items():
        page.remove_listener(event, listener)


def serious(page: Any, colours: bool) -> Iterator[str]:
    """Yield a line for each element that axe-core finds serious fault with."""
    from axe_playwright_python.sync_playwright import Axe

    options = {
        "resultTypes": ["violations"],
        "runOnly": ["wcag2a", "wcag2aa", "wcag21aa"],
        "rules": {"color-contrast": {"enabled": colours}},
    }
    for rule in Axe().run(page, options=options).response["violations"]:
        if rule["impact"] in SERIOUS:
            for node in rule["nodes"][:3]:
                yield f"axe {rule['id']}: {' '.join(map(str, node['target']))}: {rule['help']}"


def look(site: Path, browser: str, wanted: list[Path], quick: bool = False) -> Iterator[str]:
    """Yield a line for each fault of the pages, opened in a browser."""
    from playwright.sync_api import sync_playwright

    with served(site) as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        page = chromium.new_page()
        for path in wanted:
            for first, (width, height, scheme) in zip((True, False), VIEWS, strict=True):
                page.set_viewport_size({"width": width, "height": height})
                page.emulate_media(color_scheme=scheme)
                with listening(page, urlsplit(address).netloc) as faults:
                    if first:
                        page.goto(address + path.as_posix(), wait_until="load")
                    seen, text, elements = page.evaluate(LOOK)
                faults += seen
                faults += (f"raw TeX: {found.group()}" for found in TEX.finditer(text) if first)
                if not quick:
                    faults += serious(page, colours=True)
                elif first and elements < LONG:
                    faults += serious(page, colours=path == Path("index.html"))
                yield from (f"{path.as_posix()} at {width}: {fault}" for fault in faults)
        chromium.close()


def main() -> int:
    """Check a built site; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("site", type=Path, help="folder of the built documentation")
    parser.add_argument("pages", type=Path, nargs="*", help="open these alone: index.html")
    parser.add_argument("--quick", action="store_true", help="leave out most of axe-core")
    args = parser.parse_args()
    if not (args.site / "index.html").is_file():
        parser.error(f"{args.site}: no index.html: build the documentation first")
    faults = list(follow_links(args.site))
    print(f"links: {len(faults)} lead nowhere")
    browser, wanted = browser_path(), args.pages or pages(args.site)
    try:
        import axe_playwright_python.sync_playwright  # noqa: F401
    except ImportError:
        browser = None
    if browser:
        faults += look(args.site, browser, wanted, args.quick)
        print(f"browser: {len(wanted)} pages at {len(VIEWS)} widths")
    else:
        print("browser: not looked, there is no Chromium or no Playwright (extra docs)")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
