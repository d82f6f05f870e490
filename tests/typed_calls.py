"""What a type checker sees: outputs of module calls, choices by name, and the teacher's network.

Nothing here is run: mypy reads it with all else. A type that is `Any` fails `assert_type`, and a
wrong line that is accepted leaves its comment unused, which is an error in this file.
"""

from __future__ import annotations

from typing import assert_type

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
from fsr.segmenter import (
    Aggregator,
    Decoder,
    Head,
    Reduction,
    SegmenterOutput,
    SingleStageSegmenter,
)
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
    plain(x), upcast(x)


def choices(
    strategy: Strategy,
    rounding: Rounding,
    thresholds: Thresholds,
    masking: Masking,
    aggregator: Aggregator,
    decoder: Decoder,
    head: Head,
    reduction: Reduction,
    preset: CRFPreset,
    backend: Backend,
    model: SingleStageSegmenter,
    x: Tensor,
) -> None:
    UncertainMasker(strategy=strategy, rounding=rounding, thresholds=thresholds)
    MaskedCrossAttentionAggregator(8, masking=masking)
    SingleStageSegmenter(3, aggregator=aggregator, decoder=decoder)
    model(x, outputs=[head])
    model(x, outputs={head: slice(2)})
    model.predict(x, reduce=reduction)
    DenseCRF(preset, backend=backend)


def wrong(x: Tensor, model: SingleStageSegmenter) -> None:
    UncertainMasker(strategy="uncertian")  # type: ignore[arg-type]
    UncertainMasker(rounding="round")  # type: ignore[arg-type]
    UncertainMasker(thresholds="otus")  # type: ignore[arg-type]
    MaskedCrossAttentionAggregator(8, masking="skip")  # type: ignore[arg-type]
    SingleStageSegmenter(3, aggregator="mean")  # type: ignore[arg-type]
    SingleStageSegmenter(3, decoder="aspp")  # type: ignore[arg-type]
    model(x, outputs=("token",))  # type: ignore[arg-type]
    model.predict(x, reduce="mean")  # type: ignore[arg-type]
    DenseCRF("tets")  # type: ignore[arg-type]
    DenseCRF(backend="exact")  # type: ignore[arg-type]
    EMATeacher(model)(x, mas=x)  # type: ignore[call-arg]
    model(3)  # type: ignore[arg-type]
