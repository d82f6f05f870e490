"""Train a single-stage segmenter from image-level labels.

    python examples/train.py                                  # built-in scenes
    python examples/train.py --config examples/configs/voc.yaml data.root=/path/to/VOCdevkit
    python examples/train.py --config examples/configs/coco.yaml data.root=/path/to/coco
    accelerate launch --num_processes 4 examples/train.py ...  # several GPUs
    torchrun --nproc_per_node 2 examples/train.py              # several processes on a CPU

Ctrl-C writes a checkpoint; `--resume` goes on from the last one. On the CPU the losses of a resumed
run equal those of an uninterrupted one to the last bit: whatever is random in a step is a function
of the seed and the step, see `fsr.data._stream`.

Exit status: 0 done, 1 data or weights cannot be read, 2 an option is wrong, 3 a loss is not finite,
130 interrupted.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from train_config import (
    Config,
    ConfigError,
    accumulation,
    build_learning_rate,
    build_preset,
    check_same_run,
    parse_arguments,
)
from train_data import build_datasets, build_views
from train_interrupt import INTERRUPTED, Interrupt
from train_loading import Loading, loading_here, micro_batches
from train_report import (
    Recorder,
    all_background,
    peak_memory_gib,
    results_rows,
    results_table,
    upper_bound,
    write_results,
)
from train_sheet import picture_sheet
from train_state import latest_checkpoint, read_state, restore, run_folder, save_checkpoint
from train_waiting import Waiting

from fsr.data import ViewStream, derive_seed
from fsr.inference import EvaluationResult, evaluate
from fsr.objective import ObjectiveOutput, TrainingObjective
from fsr.optim import parameter_groups, set_learning_rate
from fsr.presets import LOSS_TERMS
from fsr.schedules import Schedule
from fsr.segmenter import Aggregator, Decoder, SingleStageSegmenter
from fsr.teacher import EMATeacher, unwrap

# What a seed is for; 0 and 1 are order and augmentation, in fsr.data._stream.
INITIAL_WEIGHTS, NETWORK_NOISE, MASKS, SHEET = 2, 3, 4, 5

BAD_INPUT, BAD_OPTION, NOT_FINITE = 1, 2, 3


class InputError(Exception):
    """Data or weights cannot be read."""


class NotFiniteError(ArithmeticError):
    """A loss or the gradient is NaN or infinite."""


@dataclass
class Parts:
    """Everything that a step touches."""

    accelerator: Accelerator
    loading: Loading
    objective: TrainingObjective
    optimizer: Any
    learning_rate: Schedule
    momentum: Schedule
    clip_norm: float

    @property
    def accumulation(self) -> int:
        """Micro-batches per step and process."""
        return int(self.accelerator.gradient_accumulation_steps)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a checkpoint holds: both networks, and the centres inside the objective."""
        student, teacher = unwrap(self.objective.student), self.objective.teacher.module
        return {"student": student, "teacher": teacher, "objective": self.objective}


def build_accelerator(config: Config) -> Accelerator:
    """Join the processes that were launched, on GPUs or, where there are none, on the CPU."""
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    # Accelerate joins CPU processes only when told to; untold, each would make a run of its own.
    cpu = launched > 1 and not torch.accelerator.is_available()
    accelerator = Accelerator(cpu=cpu, mixed_precision=config.optim.mixed_precision)
    if accelerator.distributed_type.value in ("FSDP", "DEEPSPEED", "MEGATRON_LM"):
        raise ConfigError(
            f"{accelerator.distributed_type.value}: the checkpoints of this script hold whole "
            "networks; launch it with plain data parallelism"
        )
    if accelerator.num_processes != launched:
        raise ConfigError(
            f"{launched} processes were launched, but Accelerate joins {accelerator.num_processes}"
        )
    accelerator.gradient_accumulation_steps = accumulation(config, launched)
    return accelerator


def build_student(config: Config, class_names: Sequence[str]) -> SingleStageSegmenter:
    """Build the student; its initial weights are a function of the seed."""
    preset, model = build_preset(config), config.model
    torch.manual_seed(derive_seed(config.seed, INITIAL_WEIGHTS, 0))
    student = SingleStageSegmenter(
        len(class_names),
        model.backbone,
        pretrained=model.pretrained,
        image_size=config.data.image_size,
        aux_block=model.aux_block,
        aggregator=cast("Aggregator", model.aggregator),
        decoder=cast("Decoder", model.decoder),
        projection_dim=model.projection_dim,
        backbone_options={"drop_path_rate": preset.drop_path_rate, **model.backbone_options},
        projector_options=model.projector_options,
        decoder_options=model.decoder_options,
    )
    student.backbone.model.set_grad_checkpointing(model.grad_checkpointing)
    student.class_names = tuple(class_names)
    return student


def build_parts(config: Config, student: SingleStageSegmenter, accelerator: Accelerator) -> Parts:
    """Build teacher, objective and optimiser around a student."""
    preset, optim = build_preset(config), config.optim
    momentum = preset.momentum_schedule()
    teacher = EMATeacher(student, momentum).to(accelerator.device)
    optimizer = torch.optim.AdamW(
        parameter_groups(
            student, optim.lr, weight_decay=optim.weight_decay, head_lr_scale=optim.head_lr_scale
        ),
        betas=(optim.beta1, optim.beta2),
    )
    wrapped, optimizer = accelerator.prepare(student, optimizer)
    # The centres move once per micro-batch: at this root their pace per step is the preset's.
    pace = preset.center_momentum ** (1 / accelerator.gradient_accumulation_steps)
    objective = TrainingObjective(wrapped, teacher, preset=preset, center_momentum=pace)
    return Parts(
        accelerator=accelerator,
        loading=loading_here(config, accelerator),
        objective=objective.to(accelerator.device),
        optimizer=optimizer,
        learning_rate=build_learning_rate(config),
        momentum=momentum,
        clip_norm=float("inf") if optim.clip_norm is None else optim.clip_norm,
    )


def train_step(
    parts: Parts,
    step: int,
    batches: list[Any],
    seed: int,
    waited: float,
    asked_to_stop: Callable[[], bool],
) -> dict[str, Any]:
    """Make one optimiser step on its micro-batches and return what the log shows of it.

    Raises:
        NotFiniteError: a loss or the gradient is NaN or infinite; no weight has been touched.
    """
    accelerator, objective = parts.accelerator, parts.objective
    set_learning_rate(parts.optimizer, parts.learning_rate(step))
    sums = torch.zeros(len(LOSS_TERMS) + 2, device=accelerator.device)
    for micro, (view1, view2, labels) in enumerate(batches):
        place = micro * accelerator.num_processes + accelerator.process_index
        torch.manual_seed(derive_seed(seed, NETWORK_NOISE, step, place))
        generator = torch.Generator().manual_seed(derive_seed(seed, MASKS, step, place))
        with accelerator.accumulate(objective.student):
            with accelerator.autocast(), _step_named(step):
                output = objective(view1, view2, labels, step=step, generator=generator)
            accelerator.backward(output.total)
        sums += _values(output)
    # One collective a step: every process sees the same numbers and takes the same decisions.
    own = torch.cat([sums / len(batches), sums.new_tensor([float(asked_to_stop()), waited])])
    means = accelerator.reduce(own, "mean").tolist()
    values = dict(zip(("total", *LOSS_TERMS, "masked", "stop", "waited"), means, strict=True))
    for name in (*LOSS_TERMS, "total"):
        _check_finite(step, f"the {name} loss", values[name])
    norm = accelerator.clip_grad_norm_(objective.student.parameters(), parts.clip_norm)
    if accelerator.scaler is None:  # in fp16 the scaler skips such a step and goes on
        _check_finite(step, "the gradient", float(norm))
    parts.optimizer.step()
    parts.optimizer.zero_grad()
    objective.teacher.update(objective.student, step)
    return {
        **values,
        "gradient_norm": float(norm),
        "learning_rate": parts.learning_rate(step),
        "momentum": parts.momentum(step),
        "teacher_temperature": output.teacher_temperature,
        "mask_strategy": output.mask_strategy,
        "weights": output.weights,
    }


def _values(output: ObjectiveOutput) -> Tensor:
    """Return the total, the terms and the masked share as one vector."""
    values = [output.total, *output.terms().values(), output.mask.float().mean()]
    return torch.stack([value.detach().float() for value in values])


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


def measure(
    parts: Parts, config: Config, dataset: Any, step: int, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Evaluate the student and, once it differs, the teacher; all processes take part."""
    networks = {"student": parts.modules["student"], "teacher": parts.objective.teacher}
    if step == 0:
        del networks["teacher"]
    options: dict[str, Any] = {
        "image_size": config.eval.image_size,
        "scales": config.eval.scales,
        "cam_scales": config.eval.cam_scales,
        "flip": config.eval.flip,
        "cam_threshold": config.eval.cam_threshold,
        "batch_size": config.eval.batch_size,
        "num_workers": parts.loading.workers,
        "progress": progress,
    }
    return {name: _scores(evaluate(net, dataset, **options)) for name, net in networks.items()}


def _scores(result: EvaluationResult) -> dict[str, Any]:
    return {
        "cam_miou": result.cam_miou,
        "aux_cam_miou": result.aux_cam_miou,
        "prediction_miou": result.prediction_miou,
        "label_f1": result.label_f1,
        "pixel_accuracy": result.segmentation.pixel_accuracy,
        "cam_iou": result.cam.iou.tolist(),
        "segmentation_iou": result.segmentation.iou.tolist(),
        "images": result.images,
    }


def run(config: Config, *, resume: bool, clock: Callable[[], float] = time.perf_counter) -> int:
    """Train, evaluate and report; return the exit status. The clock, in seconds, times steps."""
    begun = time.monotonic()
    accelerator = build_accelerator(config)
    main = accelerator.is_main_process
    folder: Path = _agree(run_folder(config.run.output, resume=resume) if main else None)
    with _readable():
        train_set, eval_set = build_datasets(config)
        student = build_student(config, train_set.class_names)
        views = build_views(config, student.backbone.mean, student.backbone.std)
        parts = build_parts(config, student, accelerator)
    step = 0
    if resume and (checkpoint := latest_checkpoint(folder / "checkpoints")):
        state = read_state(checkpoint)
        check_same_run(config, state["config"])
        restore(checkpoint, modules=parts.modules, optimizer=parts.optimizer.optimizer)
        if accelerator.scaler is not None and state["scaler"]:
            accelerator.scaler.load_state_dict(state["scaler"])
        step, begun = state["step"], begun - state["seconds"]
    accelerator.wait_for_everyone()
    stream = ViewStream(train_set, views, seed=config.seed)
    batches = micro_batches(stream, config, accelerator, parts.loading.workers, start=step)

    def save() -> None:
        if main and step > 0:
            save_checkpoint(
                folder / "checkpoints",
                step,
                modules=parts.modules,
                optimizer=parts.optimizer.optimizer,
                state={
                    "config": asdict(config),
                    "seconds": time.monotonic() - begun,
                    "scaler": accelerator.scaler and accelerator.scaler.state_dict(),
                },
                keep=config.run.keep_checkpoints,
            )

    waiting = Waiting(parts.loading)
    with (
        Recorder(folder, config, waiting, start=step, main=main) as recorder,
        Interrupt() as interrupt,
    ):
        recorder.evaluations = _agree(recorder.evaluations if main else None)
        recorder.say(_heading(config, folder, step, parts))
        try:
            while True:
                if _evaluation_due(config, step) and step not in recorder.evaluations:
                    with interrupt.leaving_at_once(), _readable():
                        scores = measure(parts, config, eval_set, step, recorder.evaluating)
                    recorder.evaluation(step, scores)
                if step == config.steps:
                    break
                began = clock()
                with _readable():
                    batch = [next(batches) for _ in range(parts.accumulation)]
                waited = clock() - began
                values = train_step(
                    parts, step, batch, config.seed, waited, lambda: interrupt.asked
                )
                step += 1
                stop = values.pop("stop") > 0
                recorder.step(step, {**values, "seconds": clock() - began})
                if stop or step % config.run.checkpoint_every == 0 or step == config.steps:
                    save()
                if stop:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            save()
            recorder.say(f"interrupted after step {step}; the same command with --resume goes on")
            return INTERRUPTED
        if main:
            report(parts, config, folder, recorder, eval_set, time.monotonic() - begun)
    accelerator.end_training()
    return 0


def report(
    parts: Parts, config: Config, folder: Path, recorder: Recorder, eval_set: Any, seconds: float
) -> None:
    """Print the table; write results.json, the picture sheet and the two networks."""
    bound = upper_bound(config)
    background = all_background(eval_set, len(eval_set.class_names))
    rows = results_rows(recorder.evaluations, background, bound)
    recorder.say("\n" + results_table(rows, bound) + "\n")
    if config.run.sheet_images:
        sheet = picture_sheet(
            parts.objective,
            eval_set,
            eval_set.class_names,
            count=config.run.sheet_images,
            cam_scales=config.eval.cam_scales,
            scales=config.eval.scales,
            image_size=config.eval.image_size,
            generator=torch.Generator().manual_seed(derive_seed(config.seed, SHEET, 0)),
        )
        sheet.save(folder / "sheet.png")
    networks: dict[str, Any] = parts.modules
    for name in ("student", "teacher"):
        networks[name].save(folder / f"{name}.safetensors")
    accelerator = parts.accelerator
    write_results(
        folder,
        config,
        build_preset(config),
        rows=rows,
        bound=bound,
        evaluations=recorder.evaluations,
        steps=config.steps,
        seconds=seconds,
        effective_batch=config.data.batch_size,
        processes=accelerator.num_processes,
        accumulation=parts.accumulation,
        workers=parts.loading.workers,
        mixed_precision=accelerator.mixed_precision,
        device=str(accelerator.device),
        threads=torch.get_num_threads(),
        peak_memory_gib=peak_memory_gib(accelerator.device),
        command=[Path(sys.argv[0]).name, *sys.argv[1:]],
    )
    recorder.say(f"{seconds:.0f} s; results.json, sheet.png and the networks are in {folder}")


def _evaluation_due(config: Config, step: int) -> bool:
    if step == 0:
        return config.eval.at_start
    return step == config.steps or step % config.eval.every == 0


def _heading(config: Config, folder: Path, step: int, parts: Parts) -> str:
    """Say what runs where, and at which effective batch."""
    accelerator, batch = parts.accelerator, config.data.batch_size
    each = batch // (parts.accumulation * accelerator.num_processes)
    return (
        f"{folder}: steps {step} to {config.steps}, preset {parts.objective.preset.name}, "
        f"effective batch {batch} = {each} images x {parts.accumulation} micro-batches x "
        f"{accelerator.num_processes} processes, on {accelerator.device}, "
        f"precision {accelerator.mixed_precision}, data workers {parts.loading.workers}"
    )


def _agree(value: Any) -> Any:
    """Return the main process's value in every process."""
    return broadcast_object_list([value])[0]


@contextmanager
def _readable() -> Iterator[None]:
    """Turn what data and weights raise into one line."""
    try:
        yield
    except (ConfigError, InputError):
        raise
    except (OSError, ValueError, ImportError) as error:
        # A worker process puts the traceback into the message; its last line is the message.
        text = next(line for line in reversed(str(error).splitlines() or ["?"]) if line.strip())
        raise InputError(text) from error


def main(argv: list[str] | None = None) -> int:
    """Run the trainer; see the exit statuses at the top."""
    try:
        config, resume = parse_arguments(sys.argv[1:] if argv is None else argv)
        return run(config, resume=resume)
    except ConfigError as error:
        message, status = str(error), BAD_OPTION
    except InputError as error:
        message, status = str(error), BAD_INPUT
    except NotFiniteError as error:
        message, status = f"{error}; stopped, the last checkpoint is kept", NOT_FINITE
    except KeyboardInterrupt:
        return INTERRUPTED
    print(f"train.py: error: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
