"""Does feature self-reinforcement work? The paper's ablations in miniature, on built-in scenes.

    python benchmarks/ablation.py --list                    # what is done, what is missing
    python benchmarks/ablation.py --jobs 2 --hours 2        # tier 1 on tuning scenes, goes on
    python benchmarks/ablation.py --scenes test --tier 1    # the runs that count
    python benchmarks/ablation.py --confirm                 # tier 1 again on four other seeds
    python benchmarks/ablation.py --scenes test --table     # tables in Markdown
    python benchmarks/ablation.py --quick                   # does everything run?

Each run is `fsr train` in a process of its own with the options of `ablation.yaml` and
those of a variant (`_ablation_variants.py`); another process then scores student and teacher.
A finished run is a line of `results/ablation/NAME.jsonl` and is not repeated; lines of another
setting are ignored with a warning. What is compared and what counts: `ablation_protocol.md`.

Exit status: 0 done or time is up, 1 a run failed, 2 an option is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from _ablation_log import ResultLog
from _ablation_options import parse_arguments, seeds
from _ablation_processes import Children, make_run, revision
from _ablation_runs import plan, work_through
from _ablation_scores import Row
from _ablation_setting import Setting, refusal
from _ablation_tables import (
    agreement_table,
    all_tables,
    markdown,
    plain,
    spelled_hours,
    state_table,
)
from _ablation_variants import BASELINE, FIRST_DESIGN_SEED, FULL, VARIANTS

from fsr.errors import ConfigError

QUICK = ("steps=8", "data.train_size=16", "data.eval_size=4", "data.batch_size=2")


def run_missing(options: argparse.Namespace, setting: Setting, log: ResultLog) -> int:
    """Make the runs that are missing until the time is up."""
    begun = time.monotonic()
    refused = {v.name: reason for v in options.chosen if (reason := refusal(setting, v))}
    for reason in refused.values():
        print(f"refused: {reason}", file=sys.stderr)
    variants = [variant for variant in options.chosen if variant.name not in refused]
    if not variants or (refused and options.variants):
        return 2
    rows = log.rows(setting, options.known)
    done = {(row["variant"], row["seed"]) for row in rows}
    tasks = plan(variants, lambda variant: seeds(options, variant), done)
    longest = max((row["seconds"] for row in rows), default=0.0)
    finished = 0

    def may_start() -> bool:
        return time.monotonic() - begun + longest <= 3600 * float(options.hours)

    def keep(row: Row) -> None:
        nonlocal longest, finished
        log.append(row, setting)
        longest, finished = max(longest, row["seconds"]), finished + 1
        print(
            f"{row['variant']}, seed {row['seed']}: {row['seconds']:.0f} s, "
            f"{len(tasks) - finished} left",
            file=sys.stderr,
            flush=True,
        )

    if options.scenes == "test" and (revision() or "+").endswith("+"):
        print("warning: the code is not that of a commit; see the protocol", file=sys.stderr)
    log.path.parent.mkdir(parents=True, exist_ok=True)
    children = Children()
    failures = work_through(
        tasks,
        lambda task: make_run(task, setting, children, options.threads, options.keep),
        keep,
        jobs=options.jobs,
        may_start=may_start,
        stop=children.stop,
    )
    for failure in failures:
        print(failure, file=sys.stderr)
    if finished + len(failures) < len(tasks):
        print(f"time is up; {len(tasks) - finished} runs left, the same command goes on")
    return 1 if failures else 0


def show_state(options: argparse.Namespace, setting: Setting, log: ResultLog) -> None:
    """Print what is done, what is missing, and what the trainer refuses."""
    rows = log.rows(setting, options.known)
    done = {(row["variant"], row["seed"]) for row in rows}
    missing = plan(options.chosen, lambda variant: seeds(options, variant), done)
    print(f"setting {setting.hash}, {setting.scored_on}, {log.path.name}\n")
    print(plain(state_table(options.chosen, lambda v: seeds(options, v), rows, missing)))
    for tier in sorted({variant.tier for variant in options.chosen}):
        left = [task for task in missing if task.variant.tier == tier]
        print(f"tier {tier}: {len(left)} runs missing, {spelled_hours(left, rows)} core-hours")
    for variant in options.chosen:
        if reason := refusal(setting, variant):
            print(f"refused: {reason}")


def show_tables(options: argparse.Namespace, setting: Setting, log: ResultLog) -> None:
    """Print the tables of what is done."""
    render = plain if options.plain else markdown
    rows = log.rows(setting, options.known)
    if options.given_seeds is not None or options.scenes == "test":
        rows = [row for row in rows if row["seed"] in seeds(options, options.known[row["variant"]])]
    if options.agree:
        again = ResultLog(options.results, options.agree).rows(setting, options.known)
        print(render(agreement_table(rows, again, options.chosen, options.against)))
        return
    print(f"setting {setting.hash}, {setting.scored_on}\n")
    print(
        all_tables(
            rows, options.chosen, against=options.against, scores=options.scores, render=render
        )
    )


def quick(options: argparse.Namespace) -> int:
    """Make four tiny runs into a folder that is thrown away, and print everything."""
    options.chosen = [VARIANTS[BASELINE], VARIANTS[FULL]]
    options.given_seeds = [FIRST_DESIGN_SEED, FIRST_DESIGN_SEED + 1]
    options.scenes = "design"
    with tempfile.TemporaryDirectory() as folder:
        setting, log = Setting("design", QUICK), ResultLog(Path(folder), "quick")
        status = run_missing(options, setting, log)
        show_state(options, setting, log)
        print()
        show_tables(options, setting, log)
    return status


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: list[str] | None = None) -> int:
    """Do what was asked for; see the exit statuses at the top."""
    options = parse_arguments(argv)
    try:
        if options.quick:
            return quick(options)
        setting = Setting(options.scenes, tuple(options.set))
        log = ResultLog(options.results, options.name)
        if options.list:
            show_state(options, setting, log)
        elif options.table or options.agree:
            show_tables(options, setting, log)
        else:
            return run_missing(options, setting, log)
    except ConfigError as error:
        print(f"ablation.py: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("ablation.py: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main())
