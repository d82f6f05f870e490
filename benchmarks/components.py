"""Time the components beside the straightforward way to the same result.

    python benchmarks/components.py                     # all, on this machine
    python benchmarks/components.py --cases par ptc     # some
    python benchmarks/components.py --reference PATH    # beside the released code too
    python benchmarks/components.py --quick             # tiny: does everything run?

Each side lives in a process of its own and they take turns; memory is a process's peak less what it
held after its imports. Results of the sides are compared: a difference ends the run.

`PATH` is a clone of Jessie459/feature-self-reinforcement. Nothing of it is part of this package.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import torch
from _cases import CASES, Case, fingerprint
from _children import Patience, alternate, serve, start_serving, times_faster, variants
from _machine import machine, peak_bytes, write_json


def child(options: argparse.Namespace) -> None:
    """Serve calls of one side to the parent process."""
    serving = start_serving(options.threads, "fp32")
    device = torch.device(options.device)
    import fsr.objective
    import fsr.refine  # noqa: F401  # what an import costs is not the component's

    base = peak_bytes(device)
    call = CASES[options.child].sides[options.side](options)
    serve(serving, device, call, base, lambda: {"fingerprint": fingerprint(call())})


def measure_case(
    name: str,
    case: Case,
    options: argparse.Namespace,
    *,
    patience: Patience | None = None,
    together: bool = False,
) -> dict[str, Any]:
    """Return every side's figures, and ratios to ours.

    With `patience` a side that fails, or whose result differs, is noted and ends nothing; see
    `_children.variants`, also for `together`.
    """
    common = ["--child", name, "--device", options.device, "--threads", str(options.threads)]
    common += ["--quick"] * options.quick
    if options.reference:
        common += ["--reference", options.reference]
    sides = [side for side in case.sides if side != "released" or options.reference]
    commands = {side: [*common, "--side", side] for side in sides}
    with variants(__file__, commands, patience=patience, together=together) as running:
        alternate(running, options.steps)
        rows = {each.name: each.row() for each in running}
        prints = {each.name: each.more().get("fingerprint") for each in running}
    ours = rows[sides[0]]
    for side in sides[1:]:
        if "failure" in ours or "failure" in rows[side]:
            continue
        rows[side]["ours_times_faster"] = times_faster(ours, rows[side])
        rows[side]["memory_of_ours"] = ours["memory_bytes"] / max(rows[side]["memory_bytes"], 1)
        own, other = prints[sides[0]], prints[side]
        if case.tolerance is None or side in case.limits or own is None or other is None:
            continue
        if not math.isclose(other, own, rel_tol=case.tolerance):
            difference = f"{sides[0]} and {side} differ: {own} and {other}"
            if patience is None:
                raise SystemExit(f"{name}: {difference}")
            rows[side]["difference"] = difference
    return {"title": case.title, "sides": rows}


def table(result: dict[str, Any]) -> str:
    """Spell the result."""
    lines = []
    for row in result["cases"].values():
        lines.append(row["title"])
        for side, figures in row["sides"].items():
            if "failure" in figures:
                lines.append(f"  {side:24}{figures['failure']}")
                continue
            text = f"  {side:24}{1e3 * figures['median_seconds']:>12.2f} ms"
            text += f"{figures['memory_bytes'] / 2**20:>9.0f} MiB"
            if "ours_times_faster" in figures:
                text += f"   ours {figures['ours_times_faster']:.2f}x as fast"
                text += f" with {figures['memory_of_ours']:.2f}x the memory"
            lines.append(text)
            if "difference" in figures:
                lines.append(f"    {figures['difference']}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--reference", metavar="PATH", help="clone of the released code")
    parser.add_argument("--steps", type=int, default=7, help="timed calls of each side")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one timed call")
    parser.add_argument("--output", type=Path, metavar="JSON")
    for name in ("--child", "--side"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.quick:
        options.steps = 1
    if options.child:
        child(options)
        return 0
    result = {
        "what": "one call of each component",
        "machine": machine(torch.device(options.device)),
        "threads": options.threads,
        "quick": options.quick,
        "cases": {name: measure_case(name, CASES[name], options) for name in options.cases},
    }
    print(table(result))
    if options.output:
        write_json(options.output, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
