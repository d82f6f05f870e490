"""What `components.py` times: each component, and the same result by another way."""

from __future__ import annotations

import importlib
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from _released_step import open_clone
from torch import Tensor, nn
from torch.nn import functional as F

Call = Callable[[], Tensor]
# Rows of cosines at a time, where each pair's is computed once.
ROWS = 112
ALONE, HALF = "its products alone", "with half of the cosines"


class Case(NamedTuple):
    """One comparison.

    Attributes:
        title: what is computed, with its sizes.
        sides: by name, what builds a call; the first is ours. A call returns what is compared.
        tolerance: largest relative difference between the sides' results; None does not compare.
        limits: sides that do a part of the work alone, whose results are another thing. How many
            times faster ours would be than such a side is the share of that limit that it reaches.
    """

    title: str
    sides: dict[str, Callable[[Namespace], Call]]
    tolerance: float | None = 1e-4
    limits: tuple[str, ...] = ()


def fingerprint(value: Tensor) -> float:
    """Return one number that a change of any element would change."""
    flat = value.detach().double().flatten().cpu()
    weights = torch.rand(flat.numel(), generator=torch.Generator().manual_seed(0)).double()
    return float(flat @ weights)


def _random(options: Namespace, *shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator).to(options.device)


def _released(options: Namespace, name: str) -> Any:
    open_clone(Path(options.reference), options.device)
    return importlib.import_module(name)


# PAR: batch 8, 224x224, 4 channels, 10 iterations.


def _par_inputs(options: Namespace) -> tuple[Tensor, Tensor]:
    size = 48 if options.quick else 224
    images = _random(options, 8, 3, size // 8, size // 8)
    images = F.interpolate(images, (size, size), mode="bicubic").add_(
        0.1 * _random(options, 8, 3, size, size, seed=1)
    )
    return images, _random(options, 8, 4, size, size, seed=2).softmax(dim=1)


def _par(options: Namespace) -> Call:
    from fsr.refine import PAR

    images, masks = _par_inputs(options)
    par = PAR(num_iter=10)
    return lambda: par(images, masks)


def _par_stacked(options: Namespace) -> Call:
    """Every neighbour of every pixel side by side."""
    from fsr.refine import pixel_adaptive_affinity

    images, masks = _par_inputs(options)
    dilations = (1, 2, 4, 8, 12, 24)
    height, width = images.shape[-2:]

    def stacked(value: Tensor) -> Tensor:
        found = []
        for d in dilations:
            unfolded = F.unfold(F.pad(value, [d] * 4, mode="replicate"), 3, dilation=d)
            unfolded = unfolded.view(*value.shape[:2], 9, height, width)
            found.append(torch.cat([unfolded[:, :, :4], unfolded[:, :, 5:]], dim=2))
        return torch.cat(found, dim=2)

    def call() -> Tensor:
        affinity = pixel_adaptive_affinity(images, dilations).unsqueeze(1)
        result = masks
        for _ in range(10):
            result = (stacked(result) * affinity).sum(dim=2)
        return result

    return call


def _par_released(options: Namespace) -> Call:
    module = _released(options, "models.PAR")
    images, masks = _par_inputs(options)
    par = module.PAR(num_iter=10, dilations=[1, 2, 4, 8, 12, 24]).to(options.device)
    return lambda: par(images, masks)


# Affinity and PTC: N = 784, batch 8, forward and backward.


def _ptc_inputs(options: Namespace, unknown: bool) -> tuple[Tensor, Tensor]:
    side, dim = (8, 32) if options.quick else (28, 768)
    tokens = _random(options, 8, side * side, dim).requires_grad_()
    coarse = torch.randint(
        0, 4, (8, side // 4, side // 4), generator=torch.Generator().manual_seed(1)
    )
    labels = coarse.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2).flatten(1)
    return tokens, labels.masked_fill(labels == 3, 255 if unknown else 3).to(options.device)


def _with_gradient(loss: Callable[[], Tensor], tokens: Tensor) -> Call:
    def call() -> Tensor:
        value = loss()
        (gradient,) = torch.autograd.grad(value, tokens)
        return torch.cat([value.detach().reshape(1), gradient.flatten()])

    return call


def _ptc(unknown: bool) -> Callable[[Namespace], Call]:
    def build(options: Namespace) -> Call:
        from fsr import PTCLoss

        tokens, labels = _ptc_inputs(options, unknown)
        loss = PTCLoss()
        return _with_gradient(lambda: loss(tokens, labels), tokens)

    return build


def _ptc_released(unknown: bool) -> Callable[[Namespace], Call]:
    def build(options: Namespace) -> Call:
        pairs = _released(options, "utils.camutils").label_to_aff_mask
        loss = _released(options, "models.losses").get_masked_ptc_loss
        tokens, labels = _ptc_inputs(options, unknown)
        side = int(labels.shape[1] ** 0.5)
        maps = tokens.transpose(1, 2).unflatten(2, (side, side))
        grid = labels.unflatten(1, (side, side))
        return _with_gradient(lambda: loss(maps, pairs(grid)), tokens)

    return build


def _ptc_integers(unknown: bool) -> Callable[[Namespace], Call]:
    """The relation of every pair as an integer: 1 same, 0 different, 255 not known."""

    def build(options: Namespace) -> Call:
        tokens, labels = _ptc_inputs(options, unknown)
        count = labels.shape[1]

        def loss() -> Tensor:
            relation = (labels.unsqueeze(1) == labels.unsqueeze(2)).long()
            out = labels == 255
            relation[out.unsqueeze(1) | out.unsqueeze(2)] = 255
            relation[:, range(count), range(count)] = 255
            unit = F.normalize(tokens, dim=-1)
            cosine = (unit @ unit.transpose(1, 2)).abs()
            same, different = relation == 1, relation == 0
            pull = (cosine * same).sum() / (1 + same.sum())
            return (1 - pull + (cosine * different).sum() / (1 + different.sum())) / 2

        return _with_gradient(loss, tokens)

    return build


def _ptc_products(unknown: bool, half: bool) -> Callable[[Namespace], Call]:
    """The products of the known tokens' vectors alone: cosines, then weights and vectors.

    Of each pair once in the first if `half`; none is spared in the second, whose matrix is
    symmetric but not a product.
    """

    def build(options: Namespace) -> Call:
        tokens, labels = _ptc_inputs(options, unknown)
        unit = F.normalize(tokens.detach(), dim=-1)
        known = [one[label != 255] for one, label in zip(unit, labels, strict=True)]
        weights = [_random(options, len(one), len(one)) for one in known]

        def call() -> Tensor:
            for one in known:
                for start in range(0, len(one), ROWS if half else len(one)):
                    torch.mm(one[start : start + ROWS] if half else one, one[start:].T)
            return torch.cat([weight @ one for weight, one in zip(weights, known, strict=True)])

        return call

    return build


# Masks: batch 8, 20 classes, 28x28 patches.


def _mask_inputs(options: Namespace) -> tuple[Tensor, Tensor, Tensor]:
    side = 8 if options.quick else 28
    cam = _random(options, 8, 20, side, side).sigmoid()
    labels = torch.zeros(8, 20, device=options.device)
    labels[:, :3] = 1
    return cam, labels, _random(options, 8, side, side, seed=1).sigmoid()


def _masker(options: Namespace) -> Call:
    from fsr import UncertainMasker

    cam, labels, noise = _mask_inputs(options)
    masker = UncertainMasker(0.4, 0.2, 0.7)
    return lambda: masker(cam, labels, noise=noise)


def _masker_loop(options: Namespace) -> Call:
    """Image by image."""
    cam, labels, noise = _mask_inputs(options)

    def call() -> Tensor:
        masks = []
        for image, present, random in zip(cam, labels, noise, strict=True):
            strongest = image[present.bool()].amax(dim=0)
            score = random + ((strongest > 0.2) & (strongest < 0.7))
            mask = torch.zeros(score.numel(), dtype=torch.bool, device=score.device)
            mask[score.flatten().argsort(descending=True)[: int(0.4 * score.numel())]] = True
            masks.append(mask.view_as(score))
        return torch.stack(masks)

    return call


# Aggregator: batch 8, N = 784, width 768, forward and backward.


def _aggregator(fused: bool) -> Callable[[Namespace], Call]:
    def build(options: Namespace) -> Call:
        from torch.nn.attention import SDPBackend, sdpa_kernel

        from fsr import MaskedCrossAttentionAggregator

        count, dim = (49, 48) if options.quick else (784, 768)
        torch.manual_seed(0)
        module = MaskedCrossAttentionAggregator(dim).to(options.device)
        tokens = _random(options, 8, count, dim).requires_grad_()
        mask = _random(options, 8, count, seed=1) > 0.25
        automatic = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)
        kernels = list(automatic) if fused else [SDPBackend.MATH]

        def loss() -> Tensor:
            with sdpa_kernel(kernels):
                value: Tensor = module(tokens, mask).square().sum()
                return value

        return _with_gradient(loss, tokens)

    return build


# Reinforcement losses: batch 2, N = 784, 4,096 projections, forward and backward.


def _reinforcement_inputs(options: Namespace) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows, width = (50, 64) if options.quick else (785, 4096)
    student = _random(options, 2, rows, width).requires_grad_()
    view1, view2 = (_random(options, 2, rows, width, seed=seed) for seed in (1, 2))
    mask = _random(options, 2, rows - 1, seed=3) > 0.25
    return student, view1, view2, mask


def _reinforcement(options: Namespace) -> Call:
    from fsr import SelfReinforcementLoss

    student, view1, view2, mask = _reinforcement_inputs(options)
    loss = SelfReinforcementLoss(student.shape[-1], center_momentum=1.0).to(options.device)
    return _with_gradient(
        lambda: sum(loss(student, view1, view2, mask, 0.07), 0 * view1.sum()), student
    )


def _reinforcement_released(options: Namespace) -> Call:
    module = _released(options, "losses")
    student, view1, view2, mask = _reinforcement_inputs(options)
    loss = module.FSRLoss(
        student.shape[-1], teacher_temp=0.07, momentum=1.0, warmup_epochs=0, epochs=1
    ).to(options.device)
    # Its batches hold both views one after the other; only the second of the student counts.
    masks = torch.cat([mask, mask])
    teacher = torch.cat([view1, view2])
    return _with_gradient(
        lambda: sum(loss(teacher, torch.cat([student, student]), None, masks, 0)), student
    )


# The teacher's update: ViT-B/16 with all its heads.


def _networks(options: Namespace) -> tuple[nn.Module, nn.Module]:
    from fsr import SingleStageSegmenter

    name = "vit_tiny_patch16_224" if options.quick else "vit_base_patch16_224"
    torch.manual_seed(0)
    student = SingleStageSegmenter(
        20, name, image_size=448, projection_dim=64 if options.quick else 4096
    )
    other = SingleStageSegmenter(
        20, name, image_size=448, projection_dim=64 if options.quick else 4096
    )
    return student.to(options.device), other.to(options.device)


def _ema(options: Namespace) -> Call:
    from fsr import EMATeacher

    first, student = _networks(options)
    teacher = EMATeacher(first, 0.9995)

    def call() -> Tensor:
        teacher.update(student)
        return next(teacher.module.parameters())

    return call


def _ema_loop(options: Namespace) -> Call:
    """Parameter by parameter."""
    teacher, student = _networks(options)

    def call() -> Tensor:
        with torch.no_grad():
            for own, other in zip(teacher.parameters(), student.parameters(), strict=True):
                own.mul_(0.9995).add_(other, alpha=0.0005)
        return next(teacher.parameters())

    return call


# CAM at three scales with flips: batch 2, 448x448, ViT-B/16.


def _cam(options: Namespace) -> Call:
    model: Any = _networks(options)[0]
    size = 64 if options.quick else 448
    images = _random(options, 2, 3, size, size)
    return lambda: model.cam(images)[0]


def _cam_whole_network(options: Namespace) -> Call:
    """The network's forward as training makes it, all heads, for every scale and flip."""
    from fsr.segmenter import multi_scale_cams

    model: Any = _networks(options)[0].eval()
    size = 64 if options.quick else 448
    images = _random(options, 2, 3, size, size)

    def raw(batch: Tensor) -> tuple[Tensor, Tensor]:
        output = model(batch)
        grid = output.grid
        maps = [
            F.relu(F.conv2d(tokens.transpose(1, 2).unflatten(2, grid), classifier.weight))
            for tokens, classifier in (
                (output.tokens, model.classifier),
                (output.aux_tokens, model.aux_classifier),
            )
        ]
        return maps[0], maps[1]

    def call() -> Tensor:
        with torch.no_grad():
            scales = (1.0, 0.5, 1.5)
            patch = model.backbone.patch_size
            found: Tensor = multi_scale_cams(raw, [images], patch, scales, True)[0][0]
            return found

    return call


# Exact bilateral filter, dense energy and dense CRF.


def _filter_inputs(options: Namespace) -> tuple[Tensor, Tensor]:
    side = 16 if options.quick else 112
    images = 255 * _random(options, 2, 3, side, side).sigmoid()
    return _random(options, 2, 21, side, side, seed=1).softmax(dim=1), images


def _filter(options: Namespace) -> Call:
    from fsr.filters import bilateral_filter

    values, images = _filter_inputs(options)
    return lambda: bilateral_filter(values, images, sigma_xy=100.0, sigma_rgb=15.0)


def _filter_matrix(options: Namespace) -> Call:
    """All pairs of an image's pixels as a matrix of distances."""
    values, images = _filter_inputs(options)
    height, width = values.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    place = torch.stack([rows, columns]).flatten(1).T.to(values) / 100.0

    def call() -> Tensor:
        results = []
        for value, image in zip(values, images, strict=True):
            features = torch.cat([place, image.flatten(1).T / 15.0], dim=1)
            kernel = torch.exp(-torch.cdist(features, features).square() / 2)
            results.append((kernel @ value.flatten(1).T).T.unflatten(1, (height, width)))
        return torch.stack(results)

    return call


def _energy(options: Namespace) -> Call:
    from fsr.losses import DenseEnergyLoss

    side = 32 if options.quick else 448
    scale = 0.5 if options.quick or options.device != "cpu" else 0.25
    images = 255 * _random(options, 2, 3, side, side).sigmoid()
    logits = _random(options, 2, 21, side // 16, side // 16, seed=1).requires_grad_()
    labels = torch.zeros(2, side, side, dtype=torch.long, device=options.device)
    loss = DenseEnergyLoss(scale=scale)
    return _with_gradient(lambda: loss(images, logits, labels), logits)


def _crf(backend: Literal["pydensecrf", "torch", "lattice"]) -> Callable[[Namespace], Call]:
    def build(options: Namespace) -> Call:
        from fsr.refine import DenseCRF

        side = 24 if options.quick else 120
        images = 255 * _random(options, 1, 3, 5, 5).sigmoid()
        image = F.interpolate(images, (side, side * 4 // 3), mode="bilinear")[0]
        image = image.permute(1, 2, 0).to(torch.uint8).contiguous()
        coarse = 2 * _random(options, 1, 21, 6, 8, seed=1)
        scores = F.interpolate(coarse, image.shape[:2], mode="bilinear")[0].softmax(dim=0)
        crf = DenseCRF(backend=backend, max_pixels=None)
        return lambda: crf(image, scores)

    return build


CASES = {
    "par": Case(
        "PAR, batch 8, 224x224, 4 channels, 10 iterations",
        {"fsr": _par, "48 stacked neighbours": _par_stacked, "released": _par_released},
        1e-3,
    ),
    "ptc": Case(
        "token contrast, forward and backward, batch 8, N 784, a quarter unknown",
        {
            "fsr": _ptc(True),
            "integer pairs": _ptc_integers(True),
            "released": _ptc_released(True),
            ALONE: _ptc_products(True, half=False),
            f"{ALONE}, {HALF}": _ptc_products(True, half=True),
        },
        limits=(ALONE, f"{ALONE}, {HALF}"),
    ),
    "ptc-known": Case(
        "token contrast, forward and backward, batch 8, N 784, all known",
        {
            "fsr": _ptc(False),
            "integer pairs": _ptc_integers(False),
            "released": _ptc_released(False),
            ALONE: _ptc_products(False, half=False),
            f"{ALONE}, {HALF}": _ptc_products(False, half=True),
        },
        limits=(ALONE, f"{ALONE}, {HALF}"),
    ),
    "masker": Case(
        "uncertain masks, batch 8, 20 classes, 28x28 patches",
        {"fsr": _masker, "image by image": _masker_loop},
        0.0,
    ),
    "aggregator": Case(
        "masked aggregation, forward and backward, batch 8, N 784, width 768",
        {"fsr": _aggregator(True), "attention maps": _aggregator(False)},
    ),
    "reinforcement": Case(
        "both reinforcement losses, forward and backward, batch 2, N 784, 4,096 projections",
        {"fsr": _reinforcement, "released": _reinforcement_released},
    ),
    "ema": Case(
        "teacher update, ViT-B/16 and heads",
        {"fsr": _ema, "parameter by parameter": _ema_loop},
        1e-5,
    ),
    "cam": Case(
        "CAM at scales 0.5, 1 and 1.5 with flips, batch 2, 448x448, ViT-B/16",
        {"fsr": _cam, "whole network": _cam_whole_network},
    ),
    "filter": Case(
        "exact bilateral filter, batch 2, 112x112, 21 channels",
        {"fsr": _filter, "matrix of pairs": _filter_matrix},
        1e-3,
    ),
    "energy": Case(
        "dense energy, forward and backward, batch 2, 448x448 at its CPU scale 0.25 (GPU: 0.5)",
        {"fsr": _energy},
    ),
    "crf": Case(
        "dense CRF, 10 iterations, 160x120, 21 classes",
        {name: _crf(name) for name in ("torch", "lattice", "pydensecrf")},
        None,
    ),
}
