"""How far the terms of a step differ when its batch is split over processes or micro-batches.

python benchmarks/split_terms.py       # a minute on a CPU; prints the table of docs/trainer.md

Scenes, the shipped encoder, heads untrained, the last tenth of the run; no noise in the networks.
"""

from __future__ import annotations

import torch

from fsr.data import ViewStream
from fsr.objective import Place, TrainingObjective
from fsr.presets import LOSS_TERMS
from fsr.teacher import EMATeacher
from fsr.train import build_datasets, build_drawn, build_method, build_student, load_config

BATCH, PARTS, BATCHES = 8, (2, 4, 8), 4


def main() -> None:
    """Print the mean and the largest difference of each term, in per cent of its value."""
    config = load_config(overrides=["data.train_size=64", "data.eval_size=1"])
    train, _ = build_datasets(config)
    student, method = build_student(config, train.class_names).eval(), build_method(config)
    momentum, backbone = method.momentum_schedule(), student.backbone
    assert momentum is not None
    drawn = build_drawn(config, method.views, backbone.mean, backbone.std, student.num_classes)
    stream = ViewStream(train, drawn, seed=0, whole=True)
    objective = TrainingObjective(student, EMATeacher(student, momentum), preset=method).eval()
    found: dict[tuple[str, int], list[float]] = {}
    for number in range(BATCHES):
        items = [stream[BATCH * number + index] for index in range(BATCH)]
        views = [torch.stack([x[0][name] for x in items]) for name in ("view1", "view2")]
        labels = torch.stack([x[1] for x in items])

        def losses(first: int, count: int, seed: int = number) -> torch.Tensor:
            images = slice(first, first + count)
            place = Place(first, BATCH, torch.Generator().manual_seed(seed))
            with torch.no_grad():
                output = objective(
                    views[0][images],  # noqa: B023 - called in this turn of the loop alone
                    views[1][images],  # noqa: B023
                    labels[images],  # noqa: B023
                    step=config.steps - 10,
                    place=place,
                )
            return torch.stack([output.values[term] for term in LOSS_TERMS])

        whole = losses(0, BATCH)
        for parts in PARTS:
            each = BATCH // parts
            split = torch.stack([losses(part * each, each) for part in range(parts)]).mean(0)
            for term, share in zip(LOSS_TERMS, (split / whole - 1).abs().tolist(), strict=True):
                found.setdefault((term, parts), []).append(100 * share)
    for term in LOSS_TERMS:
        cells = [found[term, parts] for parts in PARTS]
        told = "  ".join(f"{sum(cell) / len(cell):.1f} ({max(cell):.1f})" for cell in cells)
        print(f"{term:16}{told}")


if __name__ == "__main__":
    main()
