"""Curves of two recorded runs, drawn when the pages are built.

``run-curves:: KEY...`` draws one small chart per key of the log, inline, in the colours of the
page; the text inside stands below. The logs are ``benchmarks/results/reading/NAME.jsonl``, made by

    fsr train steps=100 eval.at_start=false run.output=RUN [preset.target=standardised]
    python docs/_ext/run_curves.py RUN/log.jsonl NAME
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

LOGS = Path(__file__).parents[2] / "benchmarks" / "results" / "reading"
# The dashes tell the lines apart where colours cannot.
LINES = {
    "centred": ("the paper's targets", "var(--color-brand-primary, #0a4bff)", ""),
    "standardised": ("standardised targets", "currentColor", "4 3"),
}
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 300, 150, 40, 20, 22
KEYS = (
    "total",
    "classification",
    "auxiliary",
    "affinity",
    "segmentation",
    "energy",
    "uncertain",
    "confident",
    "patches_nats",
    "patches_information",
    "aggregate_nats",
    "aggregate_information",
    "gradient_norm",
    "learning_rate",
)


def record(log: Path, name: str, folder: Path = LOGS) -> None:
    """Keep of a run's log what can be drawn, to four digits."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    kept = [
        {"step": line["step"], **{key: float(f"{line[key]:.4g}") for key in KEYS}}
        for line in lines
        if line["kind"] == "train"
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept))


def read_runs(folder: Path = LOGS) -> dict[str, list[dict[str, Any]]]:
    """Return the lines of the logs by the name of the run."""
    return {
        name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
        for name in LINES
    }


def chart(key: str, runs: dict[str, list[dict[str, Any]]]) -> str:
    """Return one chart as SVG: a value of the log by step, a line for each run.

    Raises:
        KeyError: the log has no such value.
    """
    series = {name: [float(line[key]) for line in lines] for name, lines in runs.items()}
    values = [value for each in series.values() for value in each]
    low, high = min(0.0, *values), max(values)
    steps = max(len(each) for each in series.values())

    def place(number: int, value: float) -> str:
        x = LEFT + (WIDTH - LEFT - 4) * number / max(steps - 1, 1)
        y = HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value - low) / ((high - low) or 1)
        return f"{x:.1f},{y:.1f}"

    told = "; ".join(
        f"{LINES[name][0]} from {each[0]:.2f} to {each[-1]:.2f}" for name, each in series.items()
    )
    lines = "".join(
        f'<polyline fill="none" stroke="{LINES[name][1]}" stroke-width="1.5" '
        f'stroke-dasharray="{LINES[name][2]}" '
        f'points="{" ".join(place(number, value) for number, value in enumerate(each))}"/>'
        for name, each in series.items()
    )
    base = HEIGHT - BOTTOM
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(f"{key}: {told}")}" '
        f'style="flex:1 1 15rem;max-width:24rem;font-size:11px" fill="currentColor">'
        f'<text x="{LEFT}" y="12" font-weight="bold">{escape(key)}</text>'
        f'<path d="M{LEFT},{TOP}V{base}H{WIDTH}" fill="none" stroke="currentColor" opacity="0.4"/>'
        f'<text x="{LEFT - 4}" y="{TOP + 4}" text-anchor="end">{high:.2g}</text>'
        f'<text x="{LEFT - 4}" y="{base}" text-anchor="end">{low:.2g}</text>'
        f'<text x="{LEFT}" y="{HEIGHT - 4}">1</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 4}" text-anchor="end">step {steps}</text>{lines}</svg>'
    )


def figure(keys: Sequence[str], folder: Path = LOGS) -> str:
    """Return the charts of some keys side by side, and what the lines are."""
    runs = read_runs(folder)
    named = " ".join(
        f'<span style="white-space:nowrap"><svg width="28" height="8" aria-hidden="true">'
        f'<path d="M0,4H28" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/></svg> '
        f"{escape(label)}</span>"
        for label, colour, dash in LINES.values()
    )
    charts = "".join(chart(key, runs) for key in keys)
    return f'<div style="display:flex;flex-wrap:wrap;gap:0.5rem 1rem">{charts}</div><p>{named}</p>'


class RunCurves(SphinxDirective):
    """Charts of what a run logs."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the charts and the text below."""
        self.env.note_dependency(str(Path(__file__)))
        text = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, text)
        drawn = figure(self.arguments[0].split())
        return [nodes.raw("", drawn, format="html"), *text.children]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("run-curves", RunCurves)
    return {"parallel_read_safe": True}


if __name__ == "__main__":
    record(Path(sys.argv[1]), sys.argv[2])
