"""The options of a run, each with its default and its meaning: the one place that names them."""

from __future__ import annotations

import dataclasses
from typing import Any

from fsr.data import ReadingChanges
from fsr.train._field import option
from fsr.train._preset_options import PresetConfig


@dataclasses.dataclass
class DataConfig:
    """What is trained and evaluated on."""

    name: str = option("voc", "data set: scenes (built in), voc, coco or folder")
    root: str | None = option(None, "folder of the data set; scenes need none")
    train_split: str = option("train_aug", "split that is trained on, without masks")
    eval_split: str = option("val", "split that is evaluated on")
    labels: str | None = option(None, "folder: CSV with the labels of the images")
    eval_labels: str | None = option(None, "folder: CSV of the images evaluated on; null = labels")
    masks: str | None = option(None, "folder: folder of masks to score against; null = no masks")
    allow_contradictions: bool = option(
        False, "use masks that hold other classes than the labels of their images name"
    )
    cache: str | None = option(None, "coco: folder for the drawn masks; null = drawn every time")
    orient: bool | None = option(
        None, "turn photographs upright as EXIF data say; null = of folder, not of voc and coco"
    )
    background: str | None = option(None, "colour under transparent pixels; null = white")
    bits: int | None = option(
        None, "bits of pixels that have more than 8; null = as the image tells"
    )
    max_pixels: int | None = option(
        None, "pixels that an image may have; null = Pillow's limit, 178956970"
    )
    train_size: int | None = option(None, "train on the first so many images; null = all")
    eval_size: int | None = option(None, "evaluate on the first so many images; null = all")
    pseudo: str | None = option(
        None, "folder of label maps to train on, of fsr export; null = true masks"
    )
    weights: str | None = option(None, "folder of maps, 0 to 255, of how far these are trusted")
    label_noise: float = option(0.0, "share of the training labels to make wrong, for experiments")
    image_size: int = option(448, "side of the training views in pixels")
    batch_size: int = option(8, "images per step, over all processes and micro-batches")
    micro_batch: int | None = option(None, "images a process forwards at once; null = its share")
    workers: int | None = option(None, "processes that draw batches; null = by the machine")
    scene_cache: int = option(
        256, "scenes: MiB of memory for those that were drawn; 0 = draw every time"
    )


@dataclasses.dataclass
class ViewsConfig:
    """The two random views of an image, options of `fsr.data.TwoViews`."""

    scale: list[float] = option([0.32, 1.0], "smallest and largest share of the image in a crop")
    ratio: list[float] = option([3 / 4, 4 / 3], "narrowest and widest aspect ratio of a crop")
    flip: float = option(0.5, "probability of a horizontal flip")
    jitter: list[float] = option([0.4, 0.4, 0.2, 0.1], "brightness, contrast, saturation, hue")
    jitter_prob: float = option(0.5, "probability of that jitter")
    blur_prob: float = option(0.0, "probability of a Gaussian blur")
    solarize_prob: float = option(0.0, "probability of inverting bright pixels")
    rand_augment: bool = option(False, "apply RandAugment on top")
    kind: str | None = option(None, "what a step is given; null = as the method has it")
    rescale: list[float] = option([0.5, 2.0], "padded crops: smallest and largest factor of size")


@dataclasses.dataclass
class ModelConfig:
    """The network, options of `fsr.SingleStageSegmenter`."""

    backbone: str = option("vit_base_patch16_224.orig_in21k_ft_in1k", "timm name of the encoder")
    pretrained: bool | str = option(True, "true: timm's weights; false: none; or a file of weights")
    start: str | None = option(None, "network file to go on from, as training writes them")
    backbone_options: dict[str, Any] = option({}, "options for timm.create_model")
    grad_checkpointing: bool = option(False, "less memory for more time, with the same numbers")
    aux_block: int = option(-3, "block of the auxiliary classifier, counted from the end")
    aggregator: str = option("mca", "mca, average or max over the patch tokens")
    decoder: str = option("largefov", "decoder of the segmentation")
    projection_dim: int = option(4096, "prototypes that projections are compared over")
    projector_options: dict[str, Any] = option({}, "options of the projection head")
    decoder_options: dict[str, Any] = option({}, "options of the decoder")
    aggregator_options: dict[str, Any] = option({}, "options of the aggregator")
    heads: dict[str, Any] = option({}, "further heads by name, over those of the method")


@dataclasses.dataclass
class OptimConfig:
    """The optimiser and its learning rate; warm-up and its ratio are fields of the preset."""

    name: str = option("adamw", "adamw or sgd")
    lr: float = option(6e-5, "learning rate of the encoder after its warm-up")
    weight_decay: float = option(0.05, "weight decay of matrices")
    head_lr_scale: float = option(10.0, "learning rate of the heads over that of the encoder")
    classifier_lr_scale: float | None = option(
        None, "learning rate of the classifiers over that of the encoder; null = the heads'"
    )
    bias_lr_scale: float = option(1.0, "learning rate of biases over that of their part")
    freeze_norms: bool = option(False, "leave the encoder's norms as they are, statistics too")
    trained_blocks: int | None = option(None, "last blocks of the encoder that learn; null = all")
    encoder_from: float = option(0.0, "fraction of the run before which heads learn alone")
    schedule: str = option(
        "warmup_cosine", "warmup_cosine, warmup_poly, two_poly, constant or switch"
    )
    power: float = option(0.9, "power of the two polynomial ones")
    second_lr: float | None = option(None, "two_poly, switch: rate of the second part")
    second_from: float = option(0.5, "two_poly, switch: fraction of the run at which that starts")
    second_scaled: bool = option(True, "two_poly: heads and biases keep their scales in it")
    last_lr: float = option(0.0, "warmup_cosine: rate that it ends at")
    sgd_momentum: float = option(0.9, "momentum of sgd")
    beta1: float = option(0.9, "decay of AdamW's first moment")
    beta2: float = option(0.999, "decay of AdamW's second moment")
    clip_norm: float | None = option(None, "largest gradient norm; null = not clipped")
    mixed_precision: str | None = option(None, "no, fp16 or bf16; null = as launched")


@dataclasses.dataclass
class EvalConfig:
    """How the student and the teacher are measured."""

    every: int = option(2000, "steps between evaluations; the last step is evaluated always")
    at_start: bool = option(True, "also evaluate before the first step")
    image_size: int | None = option(None, "side that images are resized to; null = their own size")
    batch_size: int = option(1, "images at once")
    cam_threshold: float = option(0.5, "activation above which a map says foreground")
    cam_scales: list[float] = option([1.0, 0.5, 1.5], "image scales of the activation maps")
    scales: list[float] = option([1.0], "image scales of the prediction")
    flip: bool = option(True, "also look at the mirrored image")


@dataclasses.dataclass
class RunConfig:
    """What a run writes, and how often."""

    output: str = option("runs/voc", "folder of the run; where one lies already, that name with -2")
    log_every: int = option(200, "steps between lines of progress")
    checkpoint_every: int = option(500, "steps between checkpoints")
    keep_checkpoints: int = option(2, "checkpoints to keep, the newest")
    compile_blocks: bool = option(
        False, "compile the encoder's blocks: a longer first step, then shorter ones"
    )
    tensorboard: bool = option(True, "write TensorBoard's files too")
    tracker: str | None = option(
        None, "also show the numbers in a tracker: mlflow or wandb; null = none"
    )
    timeout: float = option(
        120.0, "several processes: seconds after which one that does not answer ends the others"
    )
    sheet_images: int = option(
        8, "rows of the picture sheet, and as many of the worst images in the report; 0 = none"
    )
    upper_bound: str | None = option(
        None, "scores of training with full masks: scenes (shipped), a JSON file, or null"
    )


@dataclasses.dataclass
class Config:
    """All options of a run.

    Example:
        >>> Config().optim.lr
        6e-05
    """

    seed: int = option(0, "seed of everything random")
    steps: int = option(20_000, "length of the run in optimiser steps")
    data: DataConfig = option(DataConfig, "what is trained and evaluated on")
    views: ViewsConfig = option(ViewsConfig, "the two random views of an image")
    model: ModelConfig = option(ModelConfig, "the network")
    preset: PresetConfig = option(PresetConfig, "the training recipe")
    optim: OptimConfig = option(OptimConfig, "the optimiser")
    eval: EvalConfig = option(EvalConfig, "how networks are measured")
    run: RunConfig = option(RunConfig, "what a run writes")


def reading_options(data: DataConfig) -> ReadingChanges:
    """Return how image files become pictures, where an option says so.

    Example:
        >>> reading_options(DataConfig(orient=False))
        {'orient': False}
    """
    found: ReadingChanges = {}
    if data.orient is not None:
        found["orient"] = data.orient
    if data.background is not None:
        found["background"] = data.background
    if data.bits is not None:
        found["bits"] = data.bits
    if data.max_pixels is not None:
        found["max_pixels"] = data.max_pixels
    return found
