"""Does feature self-reinforcement work on photographs? Paired runs on a folder in VOC's layout.

    python benchmarks/photographs.py --root FOLDER --weights FILE --list
    python benchmarks/photographs.py --root FOLDER --weights FILE --jobs 2 --hours 2   # goes on
    python benchmarks/photographs.py --root FOLDER --weights FILE --table

Each run is `fsr train` in a process of its own with the options of `photographs.yaml` and those of
a variant of the ablation (`_ablation_variants.py`); another process then scores it
(`_photograph_worker.py`). A finished run is a line of `results/photographs/final.jsonl` and is not
repeated. What is compared and what counts: `photographs_protocol.md`. The folder needs photographs,
masks and lists as VOC 2012 has them, the weights are those of timm's `vit_small_patch14_dinov2`.

Exit status: 0 done or time is up, 1 a run failed, 2 an option is wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
from pathlib import Path
from typing import NoReturn

from _ablation_log import ResultLog
from _ablation_options import seeds_of
from _ablation_tables import markdown, plain
from _ablation_variants import BASELINE, VARIANTS
from _photograph_setting import PhotographSetting
from _photograph_tables import all_tables
from ablation import run_missing, show_state

from fsr.errors import ConfigError, DataError

RESULTS = Path(__file__).resolve().parent / "results" / "photographs"
# What is run if nothing else is asked for, in this order.
CHOSEN = (BASELINE, "both", "both-std")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line and fill in what `ablation.py` calls by other names."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], allow_abbrev=False
    )
    act = parser.add_mutually_exclusive_group()
    act.add_argument("--list", action="store_true", help="say what is done and what is missing")
    act.add_argument("--table", action="store_true", help="print the tables")
    parser.add_argument("--root", type=Path, required=True, help="folder in VOC's layout")
    parser.add_argument("--weights", type=Path, required=True, help="weights of the encoder")
    parser.add_argument("--variants", nargs="+", metavar="NAME", default=CHOSEN, choices=VARIANTS)
    parser.add_argument("--seeds", nargs="+", metavar="A-B", default=["0-3"])
    parser.add_argument("--crf", type=int, default=40, help="photographs to refine by a CRF")
    parser.add_argument("--name", default="final", help="of the results")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the networks")
    parser.add_argument("--hours", type=float, default=math.inf, help="end within so long")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once")
    parser.add_argument("--threads", type=int, default=1, help="threads of each run")
    parser.add_argument("--against", default=BASELINE, choices=VARIANTS)
    parser.add_argument("--plain", action="store_true", help="tables for the terminal")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="option=value", help="change the setting"
    )
    options = parser.parse_args(argv)
    try:
        options.given_seeds = seeds_of(options.seeds)
    except ValueError as error:
        parser.error(str(error))
    options.known = VARIANTS
    options.chosen = [VARIANTS[name] for name in dict.fromkeys(options.variants)]
    options.confirm, options.scenes = False, "test"
    return options


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main(argv: list[str] | None = None) -> int:
    """Do what was asked for; see the exit statuses at the top."""
    options = parse_arguments(argv)
    try:
        setting = PhotographSetting(
            overrides=tuple(options.set),
            root=options.root.resolve(),
            weights=options.weights.resolve(),
            crf=options.crf,
        )
        log = ResultLog(options.results, options.name)
        if options.list:
            show_state(options, setting, log)
        elif options.table:
            rows = log.rows(setting, options.known)
            render = plain if options.plain else markdown
            print(all_tables(rows, options.chosen, options.against, render))
        else:
            return run_missing(options, setting, log)
    except (ConfigError, DataError, FileNotFoundError) as error:
        print(f"photographs.py: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("photographs.py: interrupted; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(main())
