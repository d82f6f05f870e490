"""Everything that a GPU is timed on, in a few minutes, from the source tree alone.

    PYTHONPATH=. python benchmarks/gpu_suite.py --output gpu.json
    PYTHONPATH=. python benchmarks/gpu_suite.py --reference PATH --output gpu.json
    PYTHONPATH=. python benchmarks/gpu_suite.py --sections steps compiled --minutes 9
    PYTHONPATH=. python benchmarks/gpu_suite.py --quick     # tiny, on a CPU too: does it all run?

Sections, in this order: `aims`, the step that is meant to be fast, preset `fast` in bfloat16, of 8
images and of 2, without the dense energy and with it, with Triton's kernels and with compiled
blocks; `kernels`, what these kernels speed up, with them and without, and how far the two agree;
`crf`, the dense CRF of a photograph, exact in both ways and on the lattice; `trainer`, what a step
takes in `fsr train`, beside the bare step; `prediction`, that of `inference.py`; `steps`, training
steps of each preset and precision, beside the released code's if given (its own float32; both take
turns); `compiled`, the same with compiled blocks; `components`, the cases of `components.py`;
`sweep`, batches doubled until memory runs out. Everything lives in child processes: what fails,
runs out of memory or takes too long is noted with its reason, and so is what would start too late.
What did not fit of `compiled` has another turn at the end. The result is written after every row.

MFU, on a GPU, is the arithmetic of a step's products and attention (counted in `steps`, where
nothing is compiled) by its median seconds and by the dense bfloat16 peak of an H100 or H200,
whatever the precision. Beside it is the share of what products alone reach here in the same
precision. Memory is the peak of what torch allocated. In float32 convolutions may use TF32, as is
torch's default; matrix products do not.

`PATH` is a clone of Jessie459/feature-self-reinforcement. Nothing of it is part of this package.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import _kernel_pairs
import _photograph_crf
import components
import inference
import step
import torch
from _budget import COMPILING, NOT_RUN, USUAL, Budget, Limits
from _cases import CASES
from _children import OUT_OF_MEMORY, Variant, alternate, times_faster, variants
from _gpu_tables import TABLES
from _machine import machine, peak_flops, write_json
from _trainer_rate import trainer_rate

# Dense bfloat16 operations per second of an H100 SXM or H200, as its data sheet has them.
BF16_PEAK = 989e12
# Dense CRFs of a photograph: their flags, and what they are meant to take at most on such a GPU.
CRFS: dict[str, list[str]] = {
    "exact dense CRF": [],
    "exact dense CRF, kernel": ["--kernels"],
    "dense CRF on a lattice": ["--backend", "lattice"],
}
CRF_AIMS = {"exact dense CRF": 0.3, "exact dense CRF, kernel": 0.3, "dense CRF on a lattice": 0.03}
PRESETS, PRECISIONS = ("reference", "fast"), ("fp32", "tf32", "bf16")
# Those first that matter most if time runs out.
COMPILED = tuple(
    f"{preset}, {precision}, compiled"
    for precision in ("bf16", "tf32", "fp32")
    for preset in ("fast", "reference")
)
# What the step that is meant to be fast is timed with, those first that matter most.
AIMED = (
    (),
    ("energy",),
    ("kernels",),
    ("energy", "kernels"),
    ("compiled",),
    ("energy", "kernels", "compiled"),
)
AIMED_BATCHES = (8, 2)
TRAINER_STEPS, TRAINER_SECONDS = 60, 90.0
# Share of all time that the first turn of `compiled` leaves to the sections after it.
LEFT_BY_COMPILED = 0.45
# The dense CRF's case wants an extension on its other side; here it has a section of its own.
COMPONENTS = tuple(name for name in CASES if name != "crf")
# What the batch is doubled for, and how often at most.
SWEPT, MOST_DOUBLINGS = "fast, bf16", 8
SHOWN = (*step.SHOWN, "steps", "minutes", "quick", "sections")
GPU_ONLY = {"failure": "not run: takes a GPU"}

Rows = dict[str, Any]


class Suite:
    """The sections, each of which fills its rows of the result.

    Args:
        options: the command line.
    """

    def __init__(self, options: Namespace) -> None:
        self.options = options
        self.budget = Budget(options.minutes)
        self.together = not options.quick  # what starts side by side needs more than two cores
        self.arithmetic: dict[str, float] = {}  # of one image's step, by preset
        self.peaks: dict[str, float] = {}
        self.result: dict[str, Any] = {
            "what": "training steps, components, dense CRF and prediction on one device",
            "options": {key: value for key, value in vars(options).items() if key in SHOWN},
            "machine": machine(torch.device(options.device)),
            "bf16_peak_flops_per_second": BF16_PEAK,
            "sections": {},
        }

    def run(self) -> None:
        """Run the sections that were asked for and print each one's table."""
        options = self.options
        if not options.quick:
            device = torch.device(options.device)
            self.peaks = {p: peak_flops(p, device, options.threads) for p in PRECISIONS}
            torch.cuda.empty_cache()
        self.result["measured_peak_flops_per_second"] = self.peaks
        for name in options.sections:
            self._section(name, SECTIONS[name])
        rows = self.result["sections"].get("compiled", {})
        if NOT_RUN in rows.values() and self.budget.room(COMPILING):
            self._section("compiled", lambda suite, rows: suite.compiled(rows, keep=0.0))
        self.result["seconds"] = self.budget.spent()
        self._save()

    def aims(self, rows: Rows) -> None:
        """Time the step that is meant to be fast in every way that makes it so."""
        quick = self.options.quick
        for parts in AIMED:
            limits = COMPILING if "compiled" in parts else USUAL
            for batch in (self.options.batch,) if quick else AIMED_BATCHES:
                name = ", ".join((SWEPT, f"batch {batch}", *parts))
                # On a CPU compilers and kernels would time nothing.
                if quick and not {"compiled", "kernels"}.isdisjoint(parts):
                    rows[name] = GPU_ONLY
                elif not self.budget.late(rows, name, limits):
                    options = self._options(batch=batch)
                    command = step.ours(options, "fast", "bf16", *(f"--{part}" for part in parts))
                    rows[name] = self._time_step(name, options, limits, command=command)
                self._save()

    def kernels(self, rows: Rows) -> None:
        """Time what the kernels speed up, in turns with the same without them."""
        options = self.options
        for case in _kernel_pairs.CASES:
            plain, kernel = f"{case}, torch", f"{case}, kernel"
            if self.budget.late(rows, kernel):
                continue
            command = ["--case", case, "--device", options.device]
            command += ["--threads", str(options.threads), *["--quick"] * options.quick]
            sides = {plain: command, kernel: [*command, "--kernels"]}
            patience = self.budget.patience()
            with variants(_kernel_pairs.__file__, sides, patience=patience) as running:
                alternate(running, options.steps)
                for side in running:
                    rows[side.name] = {**side.row(), **side.more()}
            if "failure" not in rows[plain] and "failure" not in rows[kernel]:
                rows[kernel]["times_faster_than_torch"] = times_faster(rows[kernel], rows[plain])
            self._save()

    def trainer(self, rows: Rows) -> None:
        """Time the trainer's own steps, beside the bare step."""
        name = "fsr train"
        if self.budget.late(rows, name):
            return
        seconds = min(TRAINER_SECONDS, self.budget.patience()())
        rows[name] = row = trainer_rate(self.options, TRAINER_STEPS, seconds)
        if "failure" in row:
            return
        row["images_per_second"] = self.options.batch / row["mean_seconds"]
        aims = self.result["sections"].get("aims", {})
        bare = aims.get(f"{SWEPT}, batch {self.options.batch}, energy", NOT_RUN)
        if "failure" not in bare and not self.options.quick:
            row["share_of_bare_step"] = bare["median_seconds"] / row["mean_seconds"]

    def steps(self, rows: Rows) -> None:
        """Time the steps of every preset and precision."""
        names = [f"{preset}, {precision}" for precision in PRECISIONS for preset in PRESETS]
        self._time_steps(rows, names, USUAL)

    def compiled(self, rows: Rows, keep: float = LEFT_BY_COMPILED) -> None:
        """Time the steps with compiled backbones."""
        if self.options.device == "cpu":
            rows[COMPILED[0]] = GPU_ONLY
            return
        names = [name for name in COMPILED if rows.get(name, NOT_RUN) == NOT_RUN]
        self._time_steps(rows, names, COMPILING, keep)

    def components(self, rows: Rows) -> None:
        """Time the components beside the other ways to their results."""
        for name in COMPONENTS:
            if self.budget.late(rows, name):
                continue
            rows[name] = components.measure_case(
                name,
                CASES[name],
                self.options,
                patience=self.budget.patience(),
                together=self.together,
            )
            self._save()

    def crf(self, rows: Rows) -> None:
        """Time the dense CRF of a photograph, exact and on the lattice."""
        options = self.options
        for name, flags in CRFS.items():
            if options.quick and "--kernels" in flags:
                rows[name] = GPU_ONLY
                continue
            if self.budget.late(rows, name):
                continue
            command = ["--device", options.device, "--threads", str(options.threads), *flags]
            command += ["--quick"] * options.quick
            script, patience = _photograph_crf.__file__, self.budget.patience()
            with variants(script, {name: command}, patience=patience) as (running,):
                alternate([running], options.steps)
                rows[name] = {**running.row(), "aim_seconds": CRF_AIMS[name], **running.more()}
            self._save()

    def prediction(self, rows: Rows) -> None:
        """Time the prediction of photographs."""
        if self.budget.late(rows, "all"):
            return
        batches = (1, 2 if self.options.quick else 8)
        options = self._options(batches=batches, precisions=("fp32", "bf16"))
        patience, together = self.budget.patience(), self.together
        rows |= inference.time_variants(options, patience=patience, together=together)

    def sweep(self, rows: Rows) -> None:
        """Double the batch of one variant until memory runs out."""
        known = self.result["sections"].get("steps", {}).get(SWEPT, NOT_RUN)
        for doubling in range(2 if self.options.quick else MOST_DOUBLINGS):
            options = self._options(batch=self.options.batch << doubling, reference=None)
            name = f"batch {options.batch}"
            if not doubling and "failure" not in known:
                rows[name] = known
                continue
            if self.budget.late(rows, name):
                return
            rows[name] = self._time_step(SWEPT, options, USUAL)
            self._save()
            if "failure" in rows[name]:
                return

    def _time_steps(
        self, rows: Rows, names: Sequence[str], limits: Limits, keep: float = 0.0
    ) -> None:
        """Time variants of the step one by one, each in turns with the released step."""
        if all(self.budget.late(rows, name, limits, keep) for name in names):
            return
        commands = step.wanted(self.options)
        first = {name: commands[name] for name in ("released",) if name in commands}
        seconds: list[float] = []
        with variants(step.__file__, first, patience=self.budget.patience(limits)) as released:
            for name in names:
                if self.budget.late(rows, name, limits, keep):
                    continue
                for other in released:
                    other.seconds.clear()
                rows[name] = self._time_step(name, self.options, limits, released)
                for other in released:
                    rows["released"] = other.row()
                    if "failure" not in rows["released"]:
                        rows[name] |= _ratios(rows[name], rows["released"])
                        seconds += other.seconds
                        other.seconds[:] = seconds
                        rows["released"] = self._rates("released", self.options, other.row())
                self._save()
        # What did not fit beside the released step may fit alone.
        for name in names if first else ():
            if rows[name].get("failure") == OUT_OF_MEMORY and self.budget.room(limits, keep):
                rows[name] = {**self._time_step(name, self.options, limits), "alone": True}

    def _time_step(
        self,
        name: str,
        options: Namespace,
        limits: Limits,
        beside: Sequence[Variant] = (),
        command: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Return the figures of one variant of the step, by default the one of that name."""
        command, patience = command or step.wanted(options)[name], self.budget.patience(limits)
        with variants(step.__file__, {name: command}, patience=patience) as (running,):
            alternate([*beside, running], options.steps)
            row: dict[str, Any] = running.row()
            # Compiled code and kernels hide their products; a tiny form counts one variant's.
            hidden = "compiled" in name or "kernels" in name
            counted = not hidden and ("fp32" in name or not options.quick)
            if "failure" not in row and counted:
                row |= running.more() or {"not_counted": running.failure}
        return row if "failure" in row else self._rates(name, options, row)

    def _rates(self, name: str, options: Namespace, row: dict[str, Any]) -> dict[str, Any]:
        """Add what follows from the seconds."""
        preset, _, rest = name.partition(", ")
        row["images_per_second"] = options.batch / row["median_seconds"]
        if "arithmetic" in row:
            self.arithmetic.setdefault(preset, row["arithmetic"] / options.batch)
        if preset in self.arithmetic and options.device == "cuda":
            flops = self.arithmetic[preset] * row["images_per_second"]
            row["mfu"] = flops / BF16_PEAK
            if peak := self.peaks.get(rest.partition(", ")[0]):
                row["share_of_measured_peak"] = flops / peak
        return row

    def _section(self, name: str, fill: Callable[[Suite, Rows], None]) -> None:
        """Fill a section and print its table."""
        rows = self.result["sections"].setdefault(name, {})
        try:
            fill(self, rows)
        except Exception as error:  # the sections after it are to run
            traceback.print_exc()
            rows["the section"] = {"failure": f"{type(error).__name__}: {error}"}
        self._save()
        print(f"\n{name}\n{TABLES[name](rows)}", flush=True)

    def _options(self, **changes: Any) -> Namespace:
        return Namespace(**{**vars(self.options), **changes})

    def _save(self) -> None:
        if self.options.output:
            write_json(self.options.output, self.result)


def _ratios(row: dict[str, Any], released: dict[str, Any]) -> dict[str, float]:
    """Return a row's ratios to the released step that took turns with it."""
    if "failure" in row:
        return {}
    return {
        "times_faster_than_released": times_faster(row, released),
        "memory_of_released": row["memory_bytes"] / max(released["memory_bytes"], 1),
    }


SECTIONS: dict[str, Callable[[Suite, Rows], None]] = {
    "aims": Suite.aims,
    "kernels": Suite.kernels,
    "crf": Suite.crf,
    "trainer": Suite.trainer,
    "prediction": Suite.prediction,
    "steps": Suite.steps,
    "compiled": Suite.compiled,
    "components": Suite.components,
    "sweep": Suite.sweep,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the suite."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--sections", nargs="+", default=list(SECTIONS), choices=list(SECTIONS))
    parser.add_argument("--minutes", type=float, default=8.0, help="how long all of it may take")
    parser.add_argument("--reference", metavar="PATH", help="clone of the released code")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5, help="timed steps of every row")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one step; a CPU will do")
    parser.add_argument("--output", type=Path, metavar="JSON")
    options = parser.parse_args(argv)
    options.device = "cuda" if torch.cuda.is_available() else "cpu"
    if options.device == "cpu" and not options.quick:
        print("gpu_suite: there is no GPU here; --quick runs a tiny form of it", file=sys.stderr)
        return 1
    small = options.quick
    options.backbone = "vit_tiny_patch16_224" if small else "vit_base_patch16_224"
    options.image_size, options.projection_dim = (128, 64) if small else (448, 4096)
    if small:
        options.batch, options.steps = 2, 1
    options.classes, options.compile, options.skip = 20, True, ()
    options.presets, options.precisions, options.skip = PRESETS, PRECISIONS, []
    Suite(options).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
