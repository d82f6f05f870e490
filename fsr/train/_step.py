"""One optimiser step, launched without waiting for a device."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fsr._core.values import values_unread
from fsr.data import derive_seed
from fsr.errors import InputError, NotFiniteError
from fsr.objective import ObjectiveOutput, Place
from fsr.optim import set_learning_rate
from fsr.teacher import unwrap
from fsr.train._batch import Batch
from fsr.train._finite import check_finite_state
from fsr.train._launched import SCALE, Launched, Numbers
from fsr.train._parts import MASKS, NETWORK_NOISE, Parts

NOT_FINITE = re.compile(r"\bnan\b|\binf(inity)?\b", re.IGNORECASE)


def train_step(
    parts: Parts,
    step: int,
    batches: list[Batch],
    seed: int,
    waited: float,
    asked_to_stop: Callable[[], bool],
) -> Launched:
    """Launch one optimiser step on its micro-batches; what the log shows of it is read later.

    Nothing in it waits for a device, which may be at the step before meanwhile.

    Args:
        parts: everything that the step touches.
        step: completed steps.
        batches: the micro-batches of this process.
        seed: seed of the run.
        waited: seconds that this process waited for them.
        asked_to_stop: whether this process was asked to end the run.

    Raises:
        InputError: a component refuses the batch.
        NotFiniteError: a component refuses it, or breaks, where something is not finite.
    """
    accelerator, objective = parts.accelerator, parts.objective
    scaled = step < parts.unscaled_from
    set_learning_rate(parts.optimizer, parts.learning_rate(step), step, scaled=scaled)
    sums = torch.zeros((), device=accelerator.device)
    for micro, batch in enumerate(batches):
        place = micro * accelerator.num_processes + accelerator.process_index
        torch.manual_seed(derive_seed(seed, NETWORK_NOISE, step, place))
        generator = torch.Generator().manual_seed(derive_seed(seed, MASKS, step, place))
        # One seed for all parts of a split batch: each keeps the draws of its own images.
        shared = torch.Generator().manual_seed(derive_seed(seed, MASKS, step, 0))
        each = len(batch.labels)
        stands = Place(place * each, len(batches) * accelerator.num_processes * each, shared)
        with accelerator.accumulate(objective.student):
            unread = values_unread(accelerator.device)
            with accelerator.autocast(), unread, _step_named(step, objective.student):
                output = objective(
                    batch.view1,
                    batch.view2,
                    batch.labels,
                    step=step,
                    generator=generator,
                    given=batch.given,
                    place=stands,
                )
            accelerator.backward(output.total)
        measured = _measured(output)
        sums = sums + torch.stack([value.detach().to(sums) for value in measured.values()])
    # One collective a step: every process sees the same numbers and takes the same decisions.
    # Filled in on the device: a copy from here would wait for it.
    host = [sums.new_full((1,), value) for value in (float(asked_to_stop()), waited)]
    means = accelerator.reduce(torch.cat([sums / len(batches), *host]), "mean")
    names = [*measured, "stop", "waited", "gradient_norm"]
    norm = accelerator.clip_grad_norm_(objective.student.parameters(), parts.clip_norm)
    numbers = [means, norm.detach().to(means).view(1)]
    if accelerator.scaler is not None:
        names.append(SCALE)
        numbers.append(accelerator.scaler.scale(means.new_ones(1)))
    parts.optimizer.step()
    parts.optimizer.zero_grad()
    if parts.teacher is not None:
        parts.teacher.update(objective.student, step)
    told = {
        "learning_rate": parts.learning_rate(step),
        "momentum": None if parts.momentum is None else parts.momentum(step),
        "teacher_temperature": output.teacher_temperature,
        "mask_strategy": output.mask_strategy,
        "weights": output.weights,
    }
    losses = [*output.weights, "total"]
    return Launched(step, names, Numbers(torch.cat(numbers)), losses, told)


def _measured(output: ObjectiveOutput) -> dict[str, Tensor]:
    """Return total, terms, masked share, and the scalars that parts left to be seen."""
    own = {"total": output.total, **output.terms(), "masked": output.mask.float().mean()}
    seen = output.scalars()
    # Sorted, as every process must add up the same; a part takes no term's name.
    return own | {name: seen[name] for name in sorted(seen) if name not in own}


@contextmanager
def _step_named(step: int, student: nn.Module) -> Iterator[None]:
    """Turn a component's refusal of its input into one line that names the step.

    Where weights are not finite that is the reason, whatever a component says of what it was given.
    """
    try:
        yield
    except (ValueError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        check_finite_state(step, {"student": unwrap(student).state_dict()})
        if not isinstance(error, ValueError):
            raise
        kind = NotFiniteError if NOT_FINITE.search(str(error)) else InputError
        raise kind(f"step {step + 1}: {error}") from error
