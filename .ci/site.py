#!/usr/bin/env python3
"""Look at every page of the built documentation as readers do; the exit status is 1 at any fault.

    .venv/bin/python .ci/site.py docs/_build

Links and anchors inside the site are followed in any case. Where Playwright and a Chromium are
installed (named by CHROMIUM, or on the path), every page is opened at the width of a desk and of a
telephone, in light and in dark: no error in the console, no request to another host, nothing that
is cut or makes the page scroll sideways, no raw TeX, nothing serious that axe-core finds.
Of the pages of source code, which are alike, the first is opened.
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
  return [faults, words.join(" ")];
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


def open_page(page: Any, address: str, check: Any) -> Iterator[str]:
    """Yield a line for each fault of one page at the size that the browser has."""
    noted: list[str] = []
    host = urlsplit(address).netloc

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
    page.goto(address, wait_until="load")
    faults, text = page.evaluate(LOOK)
    for event, listener in heard.items():
        page.remove_listener(event, listener)
    yield from noted
    yield from faults
    yield from (f"raw TeX: {found.group()}" for found in TEX.finditer(text))
    for rule in check(page):
        if rule["impact"] in SERIOUS:
            for node in rule["nodes"][:3]:
                yield f"axe {rule['id']}: {' '.join(map(str, node['target']))}: {rule['help']}"


def look(site: Path, browser: str, wanted: list[Path]) -> Iterator[str]:
    """Yield a line for each fault of the pages, opened in a browser."""
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright

    options = {"resultTypes": ["violations"], "runOnly": ["wcag2a", "wcag2aa", "wcag21aa"]}

    def check(page: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = Axe().run(page, options=options).response["violations"]
        return found

    with served(site) as address, sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=FLAGS)
        for width, height, scheme in VIEWS:
            page = chromium.new_page(
                viewport={"width": width, "height": height}, color_scheme=scheme
            )
            for path in wanted:
                for fault in open_page(page, address + path.as_posix(), check):
                    yield f"{path.as_posix()} at {width}: {fault}"
        chromium.close()


def main() -> int:
    """Check a built site; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("site", type=Path, help="folder of the built documentation")
    parser.add_argument("pages", type=Path, nargs="*", help="open these alone: index.html")
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
        faults += look(args.site, browser, wanted)
        print(f"browser: {len(wanted)} pages at {len(VIEWS)} widths")
    else:
        print("browser: not looked, there is no Chromium or no Playwright (extra docs)")
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
