"""Which curves a report shows of a run, or of several: scores, losses, schedules, targets, pace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fsr.report._chart import Chart, Series
from fsr.report._numbers import known
from fsr.report._run import Record, Run

SCORES = {
    "prediction_miou": "prediction mIoU",
    "cam_miou": "CAM mIoU",
    "aux_cam_miou": "auxiliary CAM mIoU",
    "pixel_accuracy": "pixel accuracy of the prediction",
    "label_f1": "F1 of image-level labels",
}
SCHEDULES = {
    "learning_rate": "learning rate",
    "momentum": "momentum of the teacher",
    "teacher_temperature": "temperature of the teacher",
    "masked": "share of patches masked",
}
TARGETS = {
    "nats": "targets: nats from uniform",
    "information": "targets: mutual information with tokens, nats",
    "used": "targets: share of prototypes in use",
}
ROWS = {"patches": "patches", "aggregate": "aggregated token"}
# Entries of a step that are drawn elsewhere, or are no measurement.
OTHERS = {
    "kind",
    "step",
    "total",
    "weights",
    "mask_strategy",
    "gradient_norm",
    "seconds",
    "waited",
    *SCHEDULES,
    *(f"{rows}_{what}" for rows in ROWS for what in TARGETS),
}


def score_charts(runs: Sequence[Run]) -> list[Chart]:
    """Return a chart of each score over the steps.

    Args:
        runs: one run, or several to lay over each other.
    """
    charts = []
    for key, title in SCORES.items():
        series = []
        for place, run in enumerate(runs):
            for number, network in enumerate(_networks(run)):
                steps = [step for step, found in run.evaluations.items() if network in found]
                values = [run.evaluations[step][network].get(key) for step in steps]
                name = network if len(runs) == 1 else f"{run.name}, {network}"
                colour = number if len(runs) == 1 else place
                series.append(Series(name, steps, values, colour, dashed=number % 2 == 1))
        levels = _levels(runs[0]) if key == "prediction_miou" and len(runs) == 1 else []
        charts.append(Chart(title, series, levels, scale=100, unit="%"))
    return charts


def loss_charts(runs: Sequence[Run]) -> list[Chart]:
    """Return the total loss, and every term that had a weight in some step."""
    terms = dict.fromkeys(
        name
        for run in runs
        for record in run.train
        for name, weight in record.get("weights", {}).items()
        if weight
    )
    total = Chart("total loss", _of(runs, "total"))
    return [total, *(Chart(f"{term} loss", _of(runs, term)) for term in terms)]


def recipe_charts(runs: Sequence[Run]) -> list[Chart]:
    """Return the weights of the terms, and the schedules."""
    charts = []
    if len(runs) == 1:
        names = dict.fromkeys(name for r in runs[0].train for name in r.get("weights", {}))
        steps = [record["step"] for record in runs[0].train]
        weights = [
            Series(name, steps, [r.get("weights", {}).get(name) for r in runs[0].train], number)
            for number, name in enumerate(names)
        ]
        charts.append(Chart("weights of the terms", weights))
    return charts + [Chart(title, _of(runs, key)) for key, title in SCHEDULES.items()]


def target_charts(runs: Sequence[Run]) -> list[Chart]:
    """Return how much the teacher's targets say."""
    charts = []
    for what, title in TARGETS.items():
        series = []
        for number, (rows, called) in enumerate(ROWS.items()):
            found = _of(runs, f"{rows}_{what}")
            for each in found:
                name = called if len(runs) == 1 else f"{each.name}, {called}"
                colour = number if len(runs) == 1 else each.colour
                series.append(Series(name, each.xs, each.ys, colour, dashed=number % 2 == 1))
        charts.append(Chart(title, series))
    return charts


def pace_charts(runs: Sequence[Run]) -> list[Chart]:
    """Return the gradient's norm, the seconds of a step, and whatever else a step measured."""
    seconds = [
        *_of(runs, "seconds"),
        *(_of(runs, "waited", ("waited for data",), shift=1) if len(runs) == 1 else []),
    ]
    charts = [Chart("norm of the gradient", _of(runs, "gradient_norm"))]
    charts.append(Chart("seconds of a step", seconds, note="The first step is left out."))
    terms = {name for run in runs for r in run.train[-1:] for name in r.get("weights", {})}
    extra = dict.fromkeys(
        key
        for run in runs
        for record in run.train[-1:]
        for key, value in record.items()
        if key not in OTHERS | terms and known(value)
    )
    return charts + [Chart(key.replace("_", " "), _of(runs, key)) for key in extra]


def _of(runs: Sequence[Run], key: str, names: Sequence[str] = (), shift: int = 0) -> list[Series]:
    """Return what each run logged under a name at its steps."""
    found = []
    for number, run in enumerate(runs):
        records: list[Record] = run.train[1:] if key in ("seconds", "waited") else run.train
        name = names[number] if names else (run.name if len(runs) > 1 else key.replace("_", " "))
        ys: list[Any] = [record.get(key) for record in records]
        found.append(Series(name, [record["step"] for record in records], ys, number + shift))
    return found


def _networks(run: Run) -> list[str]:
    """Return the networks that were evaluated, the student first."""
    names = dict.fromkeys(name for found in run.evaluations.values() for name in found)
    return sorted(names, key=lambda name: (name != "student", name))


def _levels(run: Run) -> list[tuple[str, float]]:
    """Return floor and bound of the final table."""
    rows = run.results.get("table", [])
    wanted = {"all background": "all background", "trained with full masks": "full masks"}
    return [
        (wanted[row["name"]], row["prediction_miou"])
        for row in rows
        if row["name"] in wanted and known(row.get("prediction_miou"))
    ]
