"""What a type checker sees: outputs of module calls, choices by name, and the teacher's network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Every line is checked; a revealed or asserted type that is `Any` would fail `assert_type`.
RIGHT = """
from typing import assert_type

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fsr import load
from fsr.aggregation import (
    AggregationBlock,
    AverageAggregator,
    CrossAttention,
    MaskedCrossAttentionAggregator,
    Masking,
    MaxAggregator,
)
from fsr.backbone import BackboneOutput, ViTBackbone
from fsr.decoder import LargeFOV
from fsr.inference import Predictor, Segmentation
from fsr.losses import DenseEnergyLoss, PTCLoss, ReinforcementLosses, SelfReinforcementLoss
from fsr.masking import Rounding, Strategy, Thresholds, UncertainMasker
from fsr.pooling import max_pool
from fsr.projection import ProjectionHead
from fsr.refine import PAR, Backend, CRFPreset, DenseCRF
from fsr.segmenter import Aggregator, Decoder, Head, Reduction, SegmenterOutput
from fsr.segmenter import SingleStageSegmenter
from fsr.teacher import EMATeacher


class Net(nn.Module):
    def __call__(self, x: Tensor, *, scale: float = 1.0) -> dict[str, Tensor]:
        return {"y": x * scale}


def loaded(x: Tensor, image: Image.Image) -> None:
    predictor = load("model.safetensors", tile=512, flip=False)
    assert_type(predictor, Predictor)
    assert_type(predictor(image), Segmentation)
    assert_type(predictor([image, x, "a.jpg"]), list[Segmentation])
    assert_type(predictor(image).mask, Tensor)
    assert_type(SingleStageSegmenter.from_pretrained("user/name"), SingleStageSegmenter)


def calls(x: Tensor, model: SingleStageSegmenter) -> None:
    assert_type(UncertainMasker()(x), Tensor)
    assert_type(UncertainMasker().uncertain_zone(x), Tensor)
    assert_type(CrossAttention(8, 2)(x, x), Tensor)
    assert_type(AggregationBlock(8, 2)(x, x), Tensor)
    assert_type(MaskedCrossAttentionAggregator(8)(x, x), Tensor)
    assert_type(AverageAggregator()(x), Tensor)
    assert_type(MaxAggregator()(x), Tensor)
    assert_type(DenseEnergyLoss()(x, x, x), Tensor)
    assert_type(PTCLoss()(x, x), Tensor)
    assert_type(SelfReinforcementLoss(8)(x, x, x, x), ReinforcementLosses)
    assert_type(SelfReinforcementLoss(8)(x, x, x, x).uncertain, Tensor)
    assert_type(ProjectionHead(8)(x), Tensor)
    assert_type(LargeFOV(8, 3)(x), Tensor)
    assert_type(PAR()(x, x), Tensor)
    assert_type(DenseCRF()(x, x), Tensor)
    assert_type(max_pool(x), Tensor)
    assert_type(ViTBackbone("vit_base_patch16_224")(x), BackboneOutput)
    assert_type(model(x), SegmenterOutput)
    assert_type(model(x, outputs=("tokens",)).tokens, Tensor | None)
    assert_type(model.predict(x), Tensor)


def teachers(x: Tensor, model: SingleStageSegmenter, wrapped: DistributedDataParallel) -> None:
    teacher = EMATeacher(model)
    assert_type(teacher, EMATeacher[SingleStageSegmenter])
    assert_type(teacher.module, SingleStageSegmenter)
    assert_type(teacher(x), SegmenterOutput)
    assert_type(teacher(x, outputs=("tokens",)), SegmenterOutput)
    assert_type(teacher.train(), EMATeacher[SingleStageSegmenter])
    assert_type(EMATeacher(Net())(x, scale=2.0), dict[str, Tensor])
    assert_type(EMATeacher(wrapped).module, nn.Module)
    plain: EMATeacher = teacher
    upcast: EMATeacher[nn.Module] = teacher


def choices(
    strategy: Strategy, rounding: Rounding, thresholds: Thresholds, masking: Masking,
    aggregator: Aggregator, decoder: Decoder, head: Head, reduction: Reduction,
    preset: CRFPreset, backend: Backend, model: SingleStageSegmenter, x: Tensor,
) -> None:
    UncertainMasker(strategy=strategy, rounding=rounding, thresholds=thresholds)
    MaskedCrossAttentionAggregator(8, masking=masking)
    SingleStageSegmenter(3, aggregator=aggregator, decoder=decoder)
    model(x, outputs=[head])
    model(x, outputs={head: slice(2)})
    model.predict(x, reduce=reduction)
    DenseCRF(preset, backend=backend)
"""

# A line each that must be refused, and the argument that the message is about.
WRONG = {
    'UncertainMasker(strategy="uncertian")': '"strategy" to "UncertainMasker"',
    'UncertainMasker(rounding="round")': '"rounding" to "UncertainMasker"',
    'UncertainMasker(thresholds="otus")': '"thresholds" to "UncertainMasker"',
    'MaskedCrossAttentionAggregator(8, masking="skip")': '"masking" to "MaskedCross',
    'SingleStageSegmenter(3, aggregator="mean")': '"aggregator" to "SingleStageSegmenter"',
    'SingleStageSegmenter(3, decoder="aspp")': '"decoder" to "SingleStageSegmenter"',
    'model(x, outputs=("token",))': 'Argument "outputs"',
    'model.predict(x, reduce="mean")': '"reduce" to "predict"',
    'DenseCRF("tets")': '1 to "DenseCRF"',
    'DenseCRF(backend="lattice")': '"backend" to "DenseCRF"',
    "EMATeacher(model)(x, mas=x)": 'Unexpected keyword argument "mas" for "__call__"',
    "model(3)": 'has incompatible type "int"',
}


@pytest.mark.slow
def test_calls_choices_and_teachers_are_typed(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    head, _, _ = RIGHT.partition("\n\nclass Net")
    (tmp_path / "right.py").write_text(RIGHT)
    body = "".join(f"    {line}\n" for line in WRONG)
    start = f"{head}\n\n\ndef wrong(x: Tensor, model: SingleStageSegmenter) -> None:\n"
    (tmp_path / "wrong.py").write_text(start + body)
    options = [
        "--strict",
        "--python-version",
        "3.11",
        "--config-file",
        str(ROOT / "pyproject.toml"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "right.py", "wrong.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [line for line in errors if "wrong.py" not in line] == [], done.stdout + done.stderr
    first = start.count("\n") + 1
    found = {int(line.split(":")[1]): line for line in errors}
    for number, (code, message) in enumerate(WRONG.items(), first):
        assert message in found.pop(number, ""), code
    assert found == {}
