"""The page of a report: what was gathered, filled into its template."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fsr._core.version import __version__
from fsr.report._chart import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Chart, Drawing, draw
from fsr.report._numbers import spell

PAGE = Path(__file__).parent / "page"


@cache
def environment() -> Environment:
    """Return the templates; everything filled into them is escaped."""
    made = Environment(
        loader=FileSystemLoader(PAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["spell"] = spell
    return made


def embedded(data: Any) -> Markup:
    """Return plain data as JSON that no text in it can end the script element of.

    Example:
        >>> "</script>" in embedded({"name": "</script>"})
        False
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def chart_groups(groups: Sequence[tuple[str, Sequence[Chart]]]) -> list[dict[str, Any]]:
    """Return groups of charts laid out, without those that have no point."""
    found: list[dict[str, Any]] = []
    number = 0
    for title, charts in groups:
        drawn: list[tuple[int, Drawing]] = []
        for chart in charts:
            drawing = draw(chart)
            if drawing is not None:
                drawn.append((number, drawing))
                number += 1
        if drawn:
            found.append({"title": title, "key": title.split()[0].lower(), "charts": drawn})
    return found


def fill(template: str, *, groups: Sequence[dict[str, Any]], data: Any, **more: Any) -> str:
    """Fill a template: style, script and data go into the page itself.

    Args:
        template: name of the template.
        groups: groups of charts, see :func:`chart_groups`.
        data: what else the script reads, by name.
        more: what the template shows.
    """
    charts = [drawing.data for group in groups for _, drawing in group["charts"]]
    plot = {"left": LEFT, "right": WIDTH - RIGHT, "top": TOP, "bottom": HEIGHT - BOTTOM}
    return (
        environment()
        .get_template(template)
        .render(
            version=__version__,
            style=Markup((PAGE / "style.css").read_text(encoding="utf-8")),
            script=Markup((PAGE / "script.js").read_text(encoding="utf-8")),
            size={"width": WIDTH, "height": HEIGHT},
            plot=plot,
            groups=groups,
            data=embedded({"plot": plot, "charts": charts, **data}),
            **more,
        )
    )
