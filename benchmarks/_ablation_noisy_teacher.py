"""Train with a teacher in train mode, as the released code does: DropPath is on in its forward.

    python benchmarks/_ablation_noisy_teacher.py --config benchmarks/ablation.yaml seed=3

The command line is that of `fsr train`. `fsr.EMATeacher` is always in eval mode, and stays
so: this script is for the ablation's row alone. CAM passes of their own, scores and saved networks
are in eval mode here too.
"""

from __future__ import annotations

import sys
from typing import Any

import torch

from fsr.cli import _train as command
from fsr.data import derive_seed
from fsr.teacher import EMATeacher

# What a seed is for, behind those of the trainer.
TEACHER_NOISE = 6


class NoisyTeacher(EMATeacher):
    """A teacher whose forward is in train mode, with noise that no other part shares.

    It takes nothing from torch's global random state, so that the student's own DropPath is that of
    the paired run, and its seed is another than the student's, so that the two are not alike.
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the averaged network returns in train mode, without gradient."""
        self.module.train()
        try:
            with torch.no_grad(), torch.random.fork_rng():
                torch.manual_seed(derive_seed(torch.initial_seed(), TEACHER_NOISE))
                return self.module(*args, **kwargs)
        finally:
            self.module.eval()


def main(argv: list[str] | None = None) -> int:
    """Run the trainer with such a teacher; the exit statuses are the trainer's."""
    arguments = sys.argv[1:] if argv is None else argv
    return command.main(arguments, "_ablation_noisy_teacher.py", make_teacher=NoisyTeacher)


if __name__ == "__main__":
    sys.exit(main())
