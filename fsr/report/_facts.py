"""What a report says of a run in words: how it ended, its scores, data, time and options."""

from __future__ import annotations

import statistics
from typing import Any

from fsr.report._numbers import duration, known, percent, spell, value_of
from fsr.report._run import Run

SCORES = {"cam_miou": "CAM mIoU", "prediction_miou": "prediction mIoU", "label_f1": "label F1"}


def status(run: Run) -> dict[str, str]:
    """Say how the run ended: ``"kind"`` is good, bad or open, ``"text"`` a sentence."""
    length = "" if run.steps is None else f" of {run.steps}"
    if run.finished:
        return {"kind": "good", "text": f"Finished: {run.done} steps."}
    after = f"after step {run.done}{length}"
    if run.ended == "interrupted":
        return {"kind": "open", "text": f"Interrupted {after}; --resume goes on."}
    if run.ended is not None:
        return {"kind": "bad", "text": f"Stopped {after}: {run.ended}"}
    text = f"Not finished: the log ends {after}. The run goes on, or was killed; --resume goes on."
    return {"kind": "open", "text": text}


def command(run: Run) -> str:
    """Return the command that ended the run, empty where it is not known."""
    words = [str(word) for word in run.results.get("command", [])]
    return " ".join("fsr" if word == "__main__.py" else word for word in words)


def score_rows(run: Run) -> dict[str, Any]:
    """Return the table of the run's scores; without rows where nothing was evaluated."""
    rows = run.results.get("table")
    if rows is None:
        rows = [
            {"name": f"student, step {step}", **found.get("student", {})}
            for step, found in run.evaluations.items()
        ]
        teacher = run.last.get("teacher")
        if teacher is not None:
            rows.append({"name": f"teacher, step {max(run.evaluations)}", **teacher})
    columns = [key for key in SCORES if any(known(row.get(key)) for row in rows)]
    bound = run.results.get("bound") or {}
    return {
        "columns": [SCORES[key] for key in columns],
        "rows": [
            {"name": row["name"], "cells": [percent(row.get(key)) for key in columns]}
            for row in rows
            if any(known(row.get(key)) for key in columns)
        ],
        "bound": bound.get("source", ""),
    }


def headline(run: Run) -> list[dict[str, str]]:
    """Return the figures at the top: of the better network at the last evaluation, and the time."""
    cards = []
    for key, title in SCORES.items():
        found = [(s[key], name) for name, s in run.last.items() if known(s.get(key))]
        if found:
            value, network = max(found, key=lambda each: each[0])
            cards.append({"title": title, "value": f"{percent(value)} %", "note": network})
    cards.append({"title": "steps", "value": str(run.done), "note": f"of {run.steps or run.done}"})
    cards.append({"title": "time", "value": duration(seconds(run)), "note": ""})
    return cards


def seconds(run: Run) -> float | None:
    """Return the seconds that the run took, or its logged steps where it is not finished."""
    whole = run.results.get("seconds")
    if known(whole):
        return float(whole)
    steps = [record["seconds"] for record in run.train if known(record.get("seconds"))]
    return sum(steps) if steps else None


def pace_rows(run: Run) -> list[tuple[str, str]]:
    """Return time and memory by name."""
    results, about = run.results, run.about
    both = {**about, **results}
    later = run.train[1:]  # the first step waits for workers, files and compilers
    each = [r["seconds"] for r in later if known(r.get("seconds"))]
    waited = sum(r["waited"] for r in later if known(r.get("waited")))
    memory, batch = results.get("peak_memory_gib"), results.get("effective_batch")
    rows = [("time", duration(seconds(run)) + ("" if run.finished else " in steps"))]
    if each:
        rows.append(("a step", f"{statistics.median(each):.3g} s (median)"))
        if any(known(r.get("waited")) for r in later):
            rows.append(("waited for data", f"{percent(waited / max(sum(each), 1e-9))} % of steps"))
        if batch:
            rows.append(("images a second", spell(batch * len(each) / max(sum(each), 1e-9))))
    if known(memory):
        where = "of the GPU" if str(both.get("device", "")).startswith("cuda") else "of the process"
        rows.append(("most memory", f"{memory:.2f} GiB {where}"))
    names = {
        "device": "device",
        "processes": "training processes",
        "threads": "threads",
        "mixed_precision": "mixed precision",
        "effective_batch": "images a step",
        "accumulation": "micro-batches a step",
        "workers": "data workers",
    }
    return rows + [(name, str(both[key])) for key, name in names.items() if key in both]


def data_rows(run: Run) -> list[tuple[str, str]]:
    """Return what is known of the data by name."""
    data = run.about.get("data", {})
    config = run.results.get("config", {}).get("data", {})
    rows = [("data set", str(data.get("name", config.get("name", "-"))))]
    for key, name in (("train", "images trained on"), ("evaluation", "images evaluated on")):
        count = data.get(key, {}).get("images")
        if count is not None:
            rows.append((name, f"{count:,}"))
    names = run.class_names[1:]
    if names:
        rows.append(("classes", f"{len(names)}: {', '.join(names)}"))
    return rows


def option_rows(run: Run) -> dict[str, list[dict[str, str]]]:
    """Return the options that differ from the defaults, and all others.

    Of a run of an earlier release, which told no defaults, all are among the others.
    """
    table = run.about.get("options")
    if table is None:
        config = run.results.get("config", {})
        rest = [
            {"name": k, "value": value_of(v), "default": "", "meaning": ""}
            for k, v in flat(config).items()
        ]
        return {"changed": [], "rest": rest}
    rows = [
        {
            key: str(value) if key in ("name", "meaning") else value_of(value)
            for key, value in row.items()
        }
        for row in table
    ]
    return {
        "changed": [row for row in rows if row["value"] != row["default"]],
        "rest": [row for row in rows if row["value"] == row["default"]],
    }


def flat(options: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Return nested options by dotted name.

    Example:
        >>> flat({"optim": {"lr": 0.5}, "seed": 0})
        {'optim.lr': 0.5, 'seed': 0}
    """
    found: dict[str, Any] = {}
    for key, value in options.items():
        if isinstance(value, dict) and value:
            found |= flat(value, f"{path}{key}.")
        else:
            found[f"{path}{key}"] = value
    return found


def notes(run: Run) -> list[str]:
    """Return what the reader has to know of what is missing, and the run's own warnings."""
    told = [str(line) for line in run.about.get("warnings", [])]
    if not run.evaluations:
        told.append("No evaluation was made yet: eval.every says how often, the last step always.")
    elif not any(known(found.get("cam_miou")) for found in run.last.values()):
        told.append(
            "There are no masks to score against (data.masks): scores of image-level labels are "
            "what is known, and the images shown first are those that the network doubts most."
        )
    if not run.about:
        told.append(
            "The run is of an earlier release, which kept less: confusion and single images are "
            "not known."
        )
    return told
