"""One optimiser step, and what the log shows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from fsr.data import derive_seed
from fsr.errors import InputError, NotFiniteError
from fsr.objective import ObjectiveOutput
from fsr.optim import set_learning_rate
from fsr.train._batch import Batch
from fsr.train._parts import MASKS, NETWORK_NOISE, Parts


def train_step(
    parts: Parts,
    step: int,
    batches: list[Batch],
    seed: int,
    waited: float,
    asked_to_stop: Callable[[], bool],
) -> dict[str, Any]:
    """Make one optimiser step on its micro-batches and return what the log shows of it.

    Args:
        parts: everything that the step touches.
        step: completed steps.
        batches: the micro-batches of this process.
        seed: seed of the run.
        waited: seconds that this process waited for them.
        asked_to_stop: whether this process was asked to end the run.

    Raises:
        InputError: a component refuses the batch.
        NotFiniteError: a loss or the gradient is NaN or infinite; no weight has been touched.
    """
    accelerator, objective = parts.accelerator, parts.objective
    scaled = step < parts.unscaled_from
    set_learning_rate(parts.optimizer, parts.learning_rate(step), step, scaled=scaled)
    sums = torch.zeros((), device=accelerator.device)
    for micro, batch in enumerate(batches):
        place = micro * accelerator.num_processes + accelerator.process_index
        torch.manual_seed(derive_seed(seed, NETWORK_NOISE, step, place))
        generator = torch.Generator().manual_seed(derive_seed(seed, MASKS, step, place))
        with accelerator.accumulate(objective.student):
            with accelerator.autocast(), _step_named(step):
                output = objective(
                    batch.view1,
                    batch.view2,
                    batch.labels,
                    step=step,
                    generator=generator,
                    given=batch.given,
                )
            accelerator.backward(output.total)
        measured = _measured(output)
        sums = sums + torch.stack([value.detach().to(sums) for value in measured.values()])
    # One collective a step: every process sees the same numbers and takes the same decisions.
    own = torch.cat([sums / len(batches), sums.new_tensor([float(asked_to_stop()), waited])])
    means = accelerator.reduce(own, "mean").tolist()
    values = dict(zip((*measured, "stop", "waited"), means, strict=True))
    for name in (*output.weights, "total"):
        _check_finite(step, f"the {name} loss", values[name])
    norm = accelerator.clip_grad_norm_(objective.student.parameters(), parts.clip_norm)
    if accelerator.scaler is None:  # in fp16 the scaler skips such a step and goes on
        _check_finite(step, "the gradient", float(norm))
    parts.optimizer.step()
    parts.optimizer.zero_grad()
    if parts.teacher is not None:
        parts.teacher.update(objective.student, step)
    return {
        **values,
        "gradient_norm": float(norm),
        "learning_rate": parts.learning_rate(step),
        "momentum": None if parts.momentum is None else parts.momentum(step),
        "teacher_temperature": output.teacher_temperature,
        "mask_strategy": output.mask_strategy,
        "weights": output.weights,
    }


def _measured(output: ObjectiveOutput) -> dict[str, Tensor]:
    """Return total, terms, masked share, and the scalars that parts left to be seen."""
    own = {"total": output.total, **output.terms(), "masked": output.mask.float().mean()}
    seen = {n: v for n, v in output.seen.items() if isinstance(v, Tensor) and v.ndim == 0}
    # Sorted, as every process must add up the same; a part takes no term's name.
    return own | {name: seen[name] for name in sorted(seen) if name not in own}


def _check_finite(step: int, what: str, value: float) -> None:
    if not abs(value) < float("inf"):
        raise NotFiniteError(f"step {step + 1}: {what} is {value}")


@contextmanager
def _step_named(step: int) -> Iterator[None]:
    """Turn a component's refusal of its input into one line that names the step."""
    try:
        yield
    except ValueError as error:
        kind = NotFiniteError if "NaN" in str(error) else InputError
        raise kind(f"step {step + 1}: {error}") from error
