"""The command line of the ablation: which runs of which variants, and what the protocol forbids."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path

from _ablation_scores import SCORES
from _ablation_setting import SPLITS
from _ablation_variants import (
    BASELINE,
    CONFIRMATION_SEEDS,
    FIRST_DESIGN_SEED,
    SEEDS,
    VARIANTS,
    Variant,
)

RESULTS = Path(__file__).resolve().parent / "results" / "ablation"


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line and fill in what follows from it."""
    parser = argparse.ArgumentParser(
        description="The paper's ablations in miniature, on built-in scenes.", allow_abbrev=False
    )
    act = parser.add_mutually_exclusive_group()
    act.add_argument("--list", action="store_true", help="say what is done and what is missing")
    act.add_argument("--table", action="store_true", help="print the tables")
    act.add_argument("--agree", metavar="NAME", help="compare with the runs of another name")
    act.add_argument("--quick", action="store_true", help="two variants, two seeds, eight steps")
    parser.add_argument("--scenes", choices=SPLITS, default="design", help="default: design")
    parser.add_argument("--confirm", action="store_true", help="tier 1, seeds 8-11, test scenes")
    parser.add_argument(
        "--tier",
        type=int,
        nargs="+",
        choices=SEEDS,
        help="default: 1 to run, all to list and for tables",
    )
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="these instead of a tier")
    parser.add_argument("--seeds", nargs="+", metavar="A-B", help="instead of the tier's")
    parser.add_argument("--name", help="of the results: design, final or confirmation")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="keep the networks, for ablation_figures.py"
    )
    parser.add_argument("--hours", type=float, default=math.inf, help="end within so long")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once")
    parser.add_argument("--threads", type=int, default=1, help="threads of each run")
    parser.add_argument("--against", default=BASELINE, help="what differences are taken to")
    parser.add_argument("--scores", nargs="+", choices=SCORES, default=list(SCORES))
    parser.add_argument("--plain", action="store_true", help="tables for the terminal")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="option=value", help="change the setting"
    )
    parser.add_argument(
        "--extra",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "option=value"),
        help="one more variant, while designing; needed for its table too",
    )
    options = parser.parse_args(argv)
    try:
        _fill_in(options)
    except ValueError as error:
        parser.error(str(error))
    return options


def _fill_in(options: argparse.Namespace) -> None:
    """Derive scenes, seeds, variants and name; refuse what the protocol rules out."""
    if options.confirm:
        options.scenes, options.tier = "test", [1]
    if options.tier is None:
        shown = options.list or options.table or options.agree
        options.tier = list(SEEDS) if shown else [1]
    design = options.scenes == "design"
    if options.extra and not design:
        raise ValueError("--extra: variants are added while designing only")
    if options.set and not design:
        raise ValueError("--set: the setting of the runs that count stands in ablation.yaml")
    for name, *_ in options.extra:
        if name in VARIANTS:
            raise ValueError(f"--extra: {name!r} is a variant already")
    known = {**VARIANTS, **{n: Variant(n, 3, tuple(o), "extra") for n, *o in options.extra}}
    for name in [*(options.variants or []), options.against]:
        if name not in known:
            raise ValueError(f"no variant {name!r}; there are {', '.join(known)}")
    chosen = options.variants or [
        *(v.name for v in VARIANTS.values() if v.tier in options.tier),
        *(name for name, *_ in options.extra),
    ]
    options.known = known
    options.chosen = [known[name] for name in dict.fromkeys(chosen)]
    stage = "confirmation" if options.confirm else "design" if design else "final"
    options.name = options.name or stage
    options.given_seeds = None if options.seeds is None else seeds_of(options.seeds)
    for seed in options.given_seeds or ():
        if design != (seed >= FIRST_DESIGN_SEED):
            raise ValueError(
                f"--seeds: designing takes seeds from {FIRST_DESIGN_SEED} on and test scenes those "
                f"below, got {seed}"
            )


def seeds(options: argparse.Namespace, variant: Variant) -> Sequence[int]:
    """Return the seeds that a variant is run with."""
    if options.given_seeds is not None:
        return list(options.given_seeds)
    if options.confirm:
        return CONFIRMATION_SEEDS
    first = FIRST_DESIGN_SEED if options.scenes == "design" else 0
    return [first + seed for seed in SEEDS[variant.tier]]


def seeds_of(text: Sequence[str]) -> list[int]:
    """Read seeds given as numbers and ranges: `0-3 8` is 0, 1, 2, 3, 8.

    Raises:
        ValueError: one is neither.
    """
    seeds: list[int] = []
    for part in text:
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise ValueError(f"--seeds: expected numbers or ranges such as 0-7, got {part!r}")
        seeds += range(int(first), int(last or first) + 1)
    return list(dict.fromkeys(seeds))
