"""Reports of runs, read from their folders and written as one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fsr._core.files import whole_file
from fsr.errors import DataError, InputError
from fsr.report._classes import class_table, image_table
from fsr.report._compare import compared_scores, differing_options, run_cards
from fsr.report._confusion import lay_out
from fsr.report._curves import (
    loss_charts,
    pace_charts,
    recipe_charts,
    score_charts,
    target_charts,
)
from fsr.report._facts import (
    command,
    data_rows,
    headline,
    notes,
    option_rows,
    pace_rows,
    score_rows,
    status,
)
from fsr.report._page import chart_groups, fill
from fsr.report._pictures import legend, picture_groups
from fsr.report._run import Run, read_run

#: Name of the report in the folder of its run.
REPORT = "report.html"
COMPARISON = "comparison.html"


def write_report(
    folder: str | Path, *, output: str | Path | None = None, images: int | None = None
) -> Path:
    """Write the report of a run, finished or not: one HTML file that asks no host for anything.

    Args:
        folder: folder of the run, as ``fsr train`` writes it to ``run.output``.
        output: file to write; ``report.html`` in the folder by default.
        images: pictures of each kind to show, at most those that the run drew
            (``run.sheet_images``); all of them by default.

    Returns:
        The file that was written.

    Raises:
        DataError: a file of the run is damaged.
        InputError: no run lies there, or not one step of it was completed.
        OutputError: the report cannot be written.
        TypeError: ``images`` is no integer.
        ValueError: ``images`` is negative.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> step = '{"kind": "train", "step": 1, "total": 0.5, "weights": {}}'
        >>> _ = (folder / "log.jsonl").write_text(step + chr(10))
        >>> write_report(folder).name
        'report.html'
    """
    if images is not None and (isinstance(images, bool) or not isinstance(images, int)):
        raise TypeError(f"images: expected an integer, got {images!r}")
    if images is not None and images < 0:
        raise ValueError(f"images: expected at least 0, got {images}")
    run = read_run(folder)
    return _write(Path(output or run.folder / REPORT), [run], images)


def compare_runs(folders: Sequence[str | Path], *, output: str | Path = COMPARISON) -> Path:
    """Write several runs side by side: curves over each other, scores, options that differ.

    Args:
        folders: folders of the runs, at least two.
        output: file to write.

    Returns:
        The file that was written.

    Raises:
        DataError: a file of a run is damaged.
        InputError: there are not two folders, or one holds no run.
        OutputError: the file cannot be written.

    Example:
        >>> compare_runs(["runs/first"])
        Traceback (most recent call last):
        fsr.errors.InputError: folders: expected at least two runs to compare, got 1
    """
    if isinstance(folders, (str, Path)) or len(folders) < 2:
        count = 1 if isinstance(folders, (str, Path)) else len(folders)
        raise InputError(f"folders: expected at least two runs to compare, got {count}")
    return _write(Path(output), [read_run(folder) for folder in folders], None)


def _write(path: Path, runs: Sequence[Run], images: int | None) -> Path:
    """Make the page and write it; what a run's files hold in a strange place is told by name."""
    try:
        page = _report(runs[0], images) if len(runs) == 1 else _comparison(runs)
    except (KeyError, IndexError, AttributeError, TypeError, ValueError) as error:
        names = ", ".join(str(run.folder) for run in runs)
        raise DataError(
            f"{names}: the files there are not as fsr train writes them "
            f"({type(error).__name__}: {' '.join(str(error).split())})"
        ) from error
    with whole_file(path) as draft:
        draft.write_text(page, encoding="utf-8")
    return path


def _report(run: Run, images: int | None) -> str:
    """Return the page of one run."""
    groups = _curves([run])
    networks = run.scores.get("networks", {})
    laid = {name: lay_out(detail, run.class_names) for name, detail in networks.items()}
    confusions = {name: matrix for name, matrix in laid.items() if matrix is not None}
    return fill(
        "report.html",
        groups=groups,
        data={
            "labels": run.class_names,
            "confusion": {name: matrix.data for name, matrix in confusions.items()},
        },
        run=run,
        status=status(run),
        notes=notes(run),
        cards=headline(run),
        scores=score_rows(run),
        classes=class_table(run),
        confusions=confusions,
        images=image_table(run),
        pictures=picture_groups(run, images),
        legend=legend(run.class_names),
        data_rows=data_rows(run),
        pace=pace_rows(run),
        options=option_rows(run),
        versions=run.results.get("versions", run.about.get("versions", {})),
        command=command(run),
    )


def _comparison(runs: Sequence[Run]) -> str:
    """Return the page of several runs."""
    return fill(
        "compare.html",
        groups=_curves(runs),
        data={"labels": [], "confusion": {}},
        runs=run_cards(runs),
        scores=compared_scores(runs),
        options=differing_options(runs),
    )


def _curves(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the charts of one run or of several."""
    return chart_groups(
        [
            ("Scores over the steps", score_charts(runs)),
            ("Losses", loss_charts(runs)),
            ("Recipe", recipe_charts(runs)),
            ("Targets of the teacher", target_charts(runs)),
            ("Pace", pace_charts(runs)),
        ]
    )
