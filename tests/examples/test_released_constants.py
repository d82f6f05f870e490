"""The written-out recipes have the constants of the released ones, which the configs spell out."""

from __future__ import annotations

import argparse
import importlib.util
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from fsr import EMATeacher, SingleStageSegmenter
from fsr.data import TwoViews
from fsr.objective import TrainingObjective
from fsr.presets import COCO, PRESETS, Preset, get_preset
from fsr.schedules import cosine, warmup_cosine

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "fsr/train/configs"
SIZE = {"patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2}
Calls = dict[str, dict[str, Any]]


def example(name: str) -> ModuleType:
    """Load a script as a module, without running it."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / f"examples/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config(name: str) -> dict[str, Any]:
    """Read a config of the trainer."""
    options: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    return options


def config_preset(options: dict[str, Any]) -> Preset:
    """Return the preset that a config spells out; what is null stays as the preset has it."""
    fields = {key: value for key, value in options["preset"].items() if value is not None}
    return get_preset(fields.pop("base"), **fields, total_steps=options["steps"])


def default_options(name: str, monkeypatch: pytest.MonkeyPatch) -> argparse.Namespace:
    """Return the options that a script runs with if told nothing but where the data are."""
    parse = argparse.ArgumentParser.parse_args
    parsed: list[argparse.Namespace] = []

    def record(parser: argparse.ArgumentParser) -> None:
        parsed.append(parse(parser, ["root"]))
        sys.exit()

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", record)
        with pytest.raises(SystemExit):
            runpy.run_path(str(ROOT / f"examples/{name}.py"), run_name="__main__")
    return parsed[0]


def small_student(classes: int = 3) -> SingleStageSegmenter:
    return SingleStageSegmenter(
        classes,
        "vit_tiny_patch16_224",
        image_size=64,
        projection_dim=4096,
        backbone_options=SIZE,
        projector_options={"hidden_dim": 16, "bottleneck_dim": 8},
        decoder_options={"hidden_dim": 8},
    )


def recorded(
    name: str, options: argparse.Namespace, monkeypatch: pytest.MonkeyPatch, data: str
) -> Calls:
    """Run a script on no batch at all; return what it gave to the parts that it builds."""
    module, calls = example(name), Calls()

    def keep(key: str, result: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            calls[key] = {"args": args, **kwargs}
            return result(*args, **kwargs)

        return call

    class Data:
        class_names = ("cat", "cow", "dog")

    def evaluated(*args: Any, **kwargs: Any) -> Any:
        return argparse.Namespace(prediction_miou=0.5, cam_miou=0.5)

    monkeypatch.setattr(module, data, lambda *args, **kwargs: Data())
    monkeypatch.setattr(
        module, "SingleStageSegmenter", keep("student", lambda *a, **k: small_student())
    )
    monkeypatch.setattr(module, "EMATeacher", keep("teacher", EMATeacher))
    monkeypatch.setattr(module, "parameter_groups", keep("groups", module.parameter_groups))
    monkeypatch.setattr(module, "warmup_cosine", keep("learning_rate", warmup_cosine))
    monkeypatch.setattr(module, "ViewStream", keep("stream", lambda *a, **k: None))
    monkeypatch.setattr(module, "StepBatches", keep("batches", module.StepBatches))
    monkeypatch.setattr(module, "DataLoader", lambda *args, **kwargs: [])
    monkeypatch.setattr(module, "evaluate", keep("evaluate", evaluated))
    monkeypatch.setattr(torch.optim, "AdamW", keep("optimizer", torch.optim.AdamW))
    module.train(options)
    module.measure("student", argparse.Namespace(save=lambda *a, **k: None), Data(), options)
    return calls


@pytest.mark.parametrize(("name", "data"), [("voc", "VOC2012"), ("coco", "COCO2014")])
def test_a_recipe_has_the_constants_of_its_config(
    name: str, data: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected, options = config(name), default_options(name, monkeypatch)
    preset = config_preset(expected)
    assert (options.steps, options.batch_size, options.image_size) == (
        expected["steps"],
        expected["data"]["batch_size"],
        expected["data"]["image_size"],
    )
    assert list(options.splits) == [expected["data"][f"{part}_split"] for part in ("train", "eval")]

    calls = recorded(
        name, argparse.Namespace(**{**vars(options), "output": tmp_path}), monkeypatch, data
    )

    model, student = expected["model"], calls["student"]
    assert student["args"] == (3, model["backbone"])
    assert student["pretrained"] is model["pretrained"] is True
    named = ("aux_block", "aggregator", "decoder", "decoder_options", "projection_dim")
    for key in (*named, "projector_options"):
        assert student[key] == model[key], key
    overlay = model["backbone_options"].pop("pretrained_cfg_overlay")
    assert {
        k: list(v) for k, v in student["backbone_options"].pop("pretrained_cfg_overlay").items()
    } == overlay
    assert student["backbone_options"] == {
        **model["backbone_options"],
        "drop_path_rate": preset.drop_path_rate,
    }

    optim = expected["optim"]
    assert optim["clip_norm"] is optim["mixed_precision"] is None
    assert options.bf16 is False
    assert calls["teacher"]["args"][1] == cosine(0.9995, preset.final_momentum, expected["steps"])
    assert calls["groups"]["args"][1] == optim["lr"]
    assert calls["groups"]["weight_decay"] == optim["weight_decay"]
    assert calls["groups"]["head_lr_scale"] == optim["head_lr_scale"]
    assert calls["optimizer"]["betas"] == (optim["beta1"], optim["beta2"])
    rate = calls["learning_rate"]
    assert warmup_cosine(*rate.pop("args"), **rate) == warmup_cosine(
        optim["lr"], 1500, expected["steps"], preset.learning_rate_warmup_ratio
    )

    views = calls["stream"]["args"][1]
    backbone = small_student().backbone
    own = {k: v for k, v in expected["views"].items() if k not in ("kind", "rescale")}
    released = TwoViews(expected["data"]["image_size"], mean=backbone.mean, std=backbone.std, **own)
    assert repr(views) == repr(released)
    assert (views.mean, views.std) == (released.mean, released.std)
    assert calls["batches"]["args"] == (expected["data"]["batch_size"],)
    assert calls["batches"]["steps"] == expected["steps"]

    measured = calls["evaluate"]
    for key in ("image_size", "flip", "cam_threshold"):
        assert measured[key] == expected["eval"][key], key
    for key in ("scales", "cam_scales"):
        assert list(measured[key]) == expected["eval"][key], key
    assert measured.get("max_images") == expected["data"]["eval_size"]


def test_the_coco_recipe_is_the_released_preset_for_coco() -> None:
    preset = example("coco").build_preset(80_000)
    assert preset == config_preset(config("coco")) == get_preset("reference", **COCO)


def test_the_listed_terms_of_voc_weigh_what_the_released_preset_says() -> None:
    preset, recipe = config_preset(config("voc")), example("voc").build_recipe(20_000)
    assert preset == PRESETS["reference"]
    expected, weights = preset.weight_schedules(), recipe.schedules()
    assert list(weights) == list(expected)
    for step in (0, 1, 1999, 2000, 3999, 4000, 19_999):
        assert {name: each(step) for name, each in weights.items()} == {
            name: each(step) for name, each in expected.items()
        }
    mask, temperature = recipe.masks[2], preset.temperature_schedule()
    assert [mask.strategy(step) for step in (3999, 4000)] == ["random", "uncertain"]
    for step in (0, 1250, 2499, 2500, 19_999):
        for term in ("uncertain", "confident"):
            assert recipe.terms[term].term.targets.temperature(step) == temperature(step)


def test_the_listed_terms_of_voc_give_the_losses_of_the_released_preset() -> None:
    steps = 20
    student = small_student().train()
    teacher = EMATeacher(student, cosine(0.9995, 1.0, steps))
    listed = TrainingObjective(student, teacher, preset=example("voc").build_recipe(steps))
    preset = TrainingObjective(student, teacher, preset="reference", total_steps=steps)
    assert listed.recipe.masking == preset.recipe.masking
    view1, view2 = torch.randn(2, 2, 3, 64, 64)
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    # Random masks; segmentation and energy; masks of the uncertain zone. The centres move along.
    for step in (0, 2, 4, 19):
        outputs = []
        for objective in (listed, preset):
            torch.manual_seed(step)
            outputs.append(objective(view1, view2, labels, step=step))
        assert outputs[0].mask_strategy == ("random" if step < 4 else "uncertain")
        for name, value in outputs[1].terms().items():
            assert torch.equal(outputs[0].terms()[name], value), (step, name)
        assert torch.equal(outputs[0].total, outputs[1].total)
        assert torch.equal(outputs[0].mask, outputs[1].mask)
        assert torch.equal(outputs[0].pseudo_labels, outputs[1].pseudo_labels)
    states = [objective.state_dict() for objective in (listed, preset)]
    assert states[0].keys() == states[1].keys()
    for name, center in states[0].items():
        assert torch.equal(center, states[1][name]), name
        assert center.abs().max() > 0, name
