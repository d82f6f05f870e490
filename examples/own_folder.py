"""Your own photographs: from the names of what is in each of them to masks.

python examples/own_folder.py photos --labels labels.csv    # columns image,labels: "a.jpg,cat;dog"
python examples/own_folder.py photos                        # photos/cat/1.jpg, photos/dog/2.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader

from fsr import EMATeacher, SingleStageSegmenter
from fsr.data import (
    FolderDataset,
    StepBatches,
    TwoViews,
    ViewStream,
    labels_from_folders,
    write_labels,
)
from fsr.inference import ImageFile, PredictionWriter, predict_paths
from fsr.objective import TrainingObjective
from fsr.optim import parameter_groups, set_learning_rate
from fsr.presets import get_preset
from fsr.schedules import warmup_cosine


def read_dataset(args: argparse.Namespace) -> FolderDataset:
    """Read the folder; without a table the names of its folders are the classes."""
    table = args.labels
    if table is None:
        found = labels_from_folders(args.photos)
        table = args.output / "labels.csv"
        write_labels(table, found.rows, found.class_names)
    dataset = FolderDataset(args.photos, table)
    counts = sum(dataset.load_labels(index) for index in range(len(dataset)))
    for name, count in zip(dataset.class_names, torch.as_tensor(counts).tolist(), strict=True):
        print(f"{name}: {count:.0f} images")
    return dataset


def train(dataset: FolderDataset, args: argparse.Namespace) -> SingleStageSegmenter:
    """Train a small network; return its averaged teacher as a network of its own."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    # A short run needs a short memory: at most a tenth of it.
    momentum = min(0.9995, max(0.0, 1 - 10 / args.steps))
    preset = get_preset(
        "fast", total_steps=args.steps, momentum=momentum, mask_block=2, energy_scale=0.25
    )
    student = SingleStageSegmenter(
        len(dataset.class_names),
        args.backbone,
        pretrained={"true": True, "false": False}.get(args.pretrained, args.pretrained),
        image_size=args.image_size,
        projection_dim=256,
        backbone_options={"class_token": False, "global_pool": "", "drop_path_rate": 0.1},
        projector_options={"hidden_dim": 256, "bottleneck_dim": 64},
        decoder_options={"hidden_dim": 128, "dilation": 2},
    ).to(device)
    teacher = EMATeacher(student, preset.momentum_schedule())
    objective = TrainingObjective(student, teacher, preset=preset)
    optimizer = torch.optim.AdamW(parameter_groups(student, 6e-5))
    learning_rate = warmup_cosine(6e-5, preset.resolve()["learning_rate_warmup"], args.steps)

    mean, std = student.backbone.mean, student.backbone.std
    stream = ViewStream(dataset, TwoViews(args.image_size, mean=mean, std=std))
    batches = StepBatches(args.batch_size, steps=args.steps)
    loader = DataLoader(stream, batch_sampler=batches, num_workers=args.workers)
    for step, ((view1, view2), labels) in enumerate(loader):
        set_learning_rate(optimizer, learning_rate(step))
        inputs = (view1.image.to(device), view2.image.to(device), labels.to(device))
        output = objective(*inputs, step=step)
        optimizer.zero_grad()
        output.total.backward()
        clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        teacher.update(student, step)
        if (step + 1) % 20 == 0 or step + 1 == args.steps:
            print(f"step {step + 1}: loss {output.total.item():.3f}", flush=True)
    student.load_state_dict(teacher.module.state_dict())
    student.class_names = dataset.class_names
    return student.eval()


def write_masks(model: SingleStageSegmenter, dataset: FolderDataset, folder: Path) -> None:
    """Segment the photographs; only the classes that the table names can win a pixel."""
    files = [ImageFile(dataset.image_path(n), name) for n, name in enumerate(dataset.names)]
    known = {name: dataset.load_labels(n) for n, name in enumerate(dataset.names)}
    writer = PredictionWriter(folder, dataset.class_names, overlays=True)
    for prediction in predict_paths(model, files, labels=known):
        if prediction.error is None:
            writer.write(prediction)
        else:
            print(f"{prediction.path}: {prediction.error}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder of the photographs")
    parser.add_argument("--labels", type=Path, help="table of their labels")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--image-size", type=int, default=224, help="a multiple of 32")
    parser.add_argument("--backbone", default="vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    parser.add_argument("--pretrained", default="true", help="true, false, or a file")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("runs/own_folder"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    photographs = read_dataset(options)
    network = train(photographs, options)
    network.save(options.output / "teacher.safetensors")
    write_masks(network, photographs, options.output)
    print(f"masks: {options.output / 'masks'}, pictures of them: {options.output / 'overlays'}")
