"""How near the approximate backends of the dense CRF come to the exact one, and what they cost."""

from __future__ import annotations

from measured import load

Rows = list[list[str]]
PRESETS = {"test": "predictions", "labels": "label maps"}


def crf_agreement() -> Rows:
    """Return the share of pixels with the exact backend's label, mean and worst image."""
    rows = []
    for preset, title in PRESETS.items():
        images = [row for row in load("crf_agreement")["images"] if row["preset"] == preset]
        for backend in images[0]["agreement"]:
            shares = [row["agreement"][backend] for row in images]
            mean, worst = sum(shares) / len(shares), min(shares)
            rows.append([title, f"`{backend}`", f"{mean:.1%}", f"{worst:.1%}"])
    return [["settings for", "backend", "pixels with the exact label", "worst image"], *rows]


def crf_seconds() -> Rows:
    """Return seconds a photograph with all classes, and with those that are likely somewhere."""
    rows = [
        [
            f"{row['classes']}",
            f"`{row['backend']}`",
            f"{row['seconds']:.2f}",
            f"{row['restricted_seconds']:.2f}",
            f"{row['kept']}",
        ]
        for row in load("crf_agreement")["min_probability"]
    ]
    return [["classes", "backend", "seconds", "with `min_probability`", "classes left"], *rows]
