"""Options of the trainer: what the shipped files resolve to, and what is refused."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("omegaconf")

from fsr import presets
from fsr.data import TwoViews
from fsr.errors import ConfigError
from fsr.presets import Preset
from fsr.train import (
    CONFIGS,
    Config,
    accumulation,
    build_learning_rate,
    build_preset,
    build_student,
    check_same_run,
    load_config,
)
from fsr.train._checks import differences


def _voc(*overrides: str) -> Config:
    return load_config("voc", overrides=["data.root=somewhere", *overrides])


def _coco(*overrides: str) -> Config:
    return load_config("coco", overrides=["data.root=somewhere", *overrides])


def _default(*overrides: str) -> Config:
    return load_config("default", overrides=overrides)


def test_voc_resolves_to_the_numbers_of_the_released_recipe() -> None:
    config = _voc()
    preset = build_preset(config)
    assert (config.steps, config.data.batch_size, config.data.image_size) == (20_000, 8, 448)
    steps = preset.resolve()
    assert steps["learning_rate_warmup"] == 1_500
    assert steps["segmentation_from"] == 2_000
    assert steps["teacher_temperature_warmup"] == 2_500
    assert steps["random_mask_until"] == 4_000
    assert steps["affinity_from"] == 0
    assert {term: getattr(preset, f"{term}_weight") for term in presets.LOSS_TERMS} == {
        "classification": 1.0,
        "auxiliary": 1.0,
        "affinity": 0.2,
        "segmentation": 0.1,
        "uncertain": 0.1,
        "confident": 0.1,
        "energy": 0.05,
    }
    assert (preset.mask_ratio, preset.mask_low, preset.mask_high) == (0.4, 0.2, 0.7)
    assert (preset.mask_block, preset.mask_rounding, preset.masking) == (4, "ceil", "ignore")
    assert (preset.pseudo_low, preset.pseudo_high) == (0.25, 0.7)
    energy = (preset.energy_sigma_rgb, preset.energy_sigma_xy, preset.energy_scale)
    assert energy == (15.0, 100.0, 0.5)
    assert (preset.student_temperature, preset.center_momentum) == (0.1, 0.9)
    momentum, temperature = preset.momentum_schedule(), preset.temperature_schedule()
    assert (momentum(0), momentum(20_000)) == (0.9995, 1.0)
    assert (temperature(0), temperature(2_499), temperature(19_999)) == (0.04, 0.07, 0.07)
    assert preset.drop_path_rate == 0.1


@pytest.mark.parametrize("over", [["voc_informative"], ["voc_informative", "dinov2"]])
def test_voc_informative_is_preset_fast_whatever_voc_spells_out(over: list[str]) -> None:
    config = load_config("voc", *over, overrides=["data.root=somewhere"])
    preset = build_preset(config)
    assert preset == presets.get_preset("fast", target="standardised")
    assert (config.steps, config.optim.mixed_precision) == (20_000, "bf16")


def test_dinov2_builds_a_segmenter_on_448_pixels() -> None:
    config = load_config(
        *("voc", "voc_informative", "dinov2"),
        overrides=["data.root=somewhere", "model.pretrained=false"],
    )
    student = build_student(config, [str(number) for number in range(20)])
    assert student.backbone.embed_dim == 384
    assert student.backbone.grid(torch.zeros(1, 3, 448, 448)) == (32, 32)
    assert build_preset(config).mask_block == 4  # divides the grid


def test_voc_names_weights_input_and_optimiser_of_the_released_recipe() -> None:
    config = _voc()
    model, optim, views = config.model, config.optim, config.views
    assert model.backbone == "vit_base_patch16_224.orig_in21k_ft_in1k"
    assert model.pretrained is True
    assert model.backbone_options["class_token"] is False
    assert model.backbone_options["pretrained_cfg_overlay"]["mean"] == [0.485, 0.456, 0.406]
    assert (model.aux_block, model.projection_dim, model.aggregator) == (-3, 4096, "mca")
    assert model.decoder_options == {"hidden_dim": 512, "dilation": 5}
    assert model.projector_options["num_layers"] == 3
    assert (optim.lr, optim.weight_decay, optim.head_lr_scale) == (6e-5, 0.05, 10.0)
    assert (optim.beta1, optim.beta2) == (0.9, 0.999)
    assert (views.scale, views.flip) == ([0.32, 1.0], 0.5)
    assert (views.jitter, views.jitter_prob) == ([0.4, 0.4, 0.2, 0.1], 0.5)
    assert (views.blur_prob, views.solarize_prob, views.rand_augment) == (0.0, 0.0, False)
    assert (config.eval.cam_threshold, config.eval.cam_scales) == (0.5, [1.0, 0.5, 1.5])
    rate = build_learning_rate(config)
    assert rate(0) == pytest.approx(6e-6)
    assert rate(1_500) == pytest.approx(6e-5)
    assert rate(20_000) == 0.0


def test_voc_is_the_reference_preset_spelled_out() -> None:
    spelled = asdict(build_preset(_voc()))
    assert spelled == asdict(presets.PRESETS["reference"])


def test_coco_resolves_to_the_numbers_of_the_released_recipe() -> None:
    config = _coco()
    preset = build_preset(config)
    assert (config.steps, config.data.batch_size, config.data.image_size) == (80_000, 8, 448)
    assert preset.resolve() == {
        "learning_rate_warmup": 1_500,
        "segmentation_from": 8_000,
        "teacher_temperature_warmup": 10_000,
        "affinity_from": 12_000,
        "random_mask_until": 16_000,
        "teacher_source_from": preset.resolve()["teacher_source_from"],
    }
    assert (preset.pseudo_low, preset.pseudo_high) == (0.25, 0.65)
    assert (preset.mask_low, preset.mask_high, preset.mask_ratio) == (0.2, 0.7, 0.4)
    assert (config.eval.cam_threshold, config.eval.every) == (0.45, 4_000)
    assert (config.data.name, config.data.train_split, config.data.eval_split) == (
        "coco",
        "train",
        "val",
    )
    momentum, rate = preset.momentum_schedule(), build_learning_rate(config)
    assert (momentum(0), momentum(80_000)) == (0.9995, 1.0)
    assert [rate(0), rate(1_500), rate(80_000)] == pytest.approx([6e-6, 6e-5, 0.0])


def test_coco_is_the_reference_preset_with_its_overrides() -> None:
    spelled = asdict(build_preset(_coco()))
    assert spelled == asdict(presets.get_preset("reference", **presets.COCO))


def test_coco_differs_from_voc_where_the_released_recipes_do() -> None:
    voc, coco = asdict(_voc()), asdict(_coco())
    assert {name for name, _, _ in differences(voc, coco)} == {
        "steps",
        "data.name",
        "data.train_split",
        "data.eval_size",
        "preset.pseudo_high",
        "preset.affinity_from",
        "preset.learning_rate_warmup",
        "eval.every",
        "eval.cam_threshold",
        "run.output",
        "run.log_every",
    }


@pytest.mark.parametrize("name", ["voc", "coco"])
def test_a_recipe_spells_every_option_out(name: str) -> None:
    from omegaconf import OmegaConf

    written = OmegaConf.to_container(OmegaConf.load(CONFIGS / f"{name}.yaml"))

    def names(options: dict[str, Any], path: str = "") -> set[str]:
        found = set()
        for key, value in options.items():
            found.add(path + key)
            if isinstance(value, dict) and not key.endswith("_options"):
                found |= names(value, f"{path}{key}.")
        return found

    config = asdict(_voc())
    own = {field.name for field in fields(Preset)}  # those of other methods stay with these
    config["preset"] = {k: v for k, v in config["preset"].items() if k in own or k == "base"}
    assert names(written) == names(config)


def test_the_options_of_the_views_are_those_of_two_views() -> None:
    options = asdict(_voc().views)
    assert {name: options.pop(name) for name in ("kind", "rescale")} == {
        "kind": None,
        "rescale": [0.5, 2.0],
    }
    TwoViews(32, **options)


def test_the_built_in_scenes_train_and_test_on_other_seeds() -> None:
    config = _default()
    assert config.data.name == "scenes"
    assert config.data.train_split != config.data.eval_split
    assert config.model.pretrained is True


@pytest.mark.parametrize("steps", [1, 5, 100, 400, 5_000, 20_000, 80_000])
def test_the_teacher_remembers_at_most_a_tenth_of_the_run(steps: int) -> None:
    preset = build_preset(_default(f"steps={steps}"))
    assert 1 / (1 - preset.momentum) <= max(steps / 10, 1) + 1e-6
    assert preset.momentum <= 0.9995


def test_an_explicit_momentum_is_kept() -> None:
    assert build_preset(_default("steps=100", "preset.momentum=0.99")).momentum == 0.99


@pytest.mark.parametrize("steps", [1, 100, 20_000])
def test_memories_say_the_momentum_in_runs_of_every_length(steps: int) -> None:
    preset = build_preset(_default(f"steps={steps}", "preset.momentum_memories=20"))
    momentum = preset.momentum_schedule()
    assert momentum(0) == momentum(steps) == math.exp(-20 / steps)
    # Its own momentum is left as it was: nothing lowers what is not read.
    assert preset.momentum == 0.9995


def test_later_layers_win_and_short_keeps_the_rest(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("steps: 7\noptim: {lr: 0.5}\n")
    config = load_config(CONFIGS / "default.yaml", own, overrides=["optim.lr=0.25", "seed=3"])
    assert (config.steps, config.optim.lr, config.seed) == (7, 0.25, 3)
    assert config.data.name == "scenes"
    short = load_config("default", "smoke", overrides=["seed=5"])
    assert short.steps < _default().steps
    assert short.model == _default().model
    assert short.seed == 5


def test_a_byte_order_mark_before_the_options_is_read_over(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("steps: 7\n", encoding="utf-8-sig")
    assert load_config("default", str(own)).steps == 7


def test_preset_fields_change_through_the_options() -> None:
    config = _default("preset.mask_ratio=0.3", "preset.mask_cam.scales=[1,2]", "preset.base=paper")
    preset = build_preset(config)
    assert preset.mask_ratio == 0.3
    assert preset.mask_cam.scales == (1.0, 2.0)
    assert preset.name == "paper"
    assert preset.masking == "exclude"


def test_the_switches_that_are_not_in_the_paper_are_options() -> None:
    preset = build_preset(
        _default(
            "preset.mask_strategy=entropy",
            "preset.mask_thresholds=otsu",
            "preset.mask_ratio_start=0.1",
            "preset.uncertain_boundary_weight=1.0",
        )
    )
    assert (preset.mask_strategy, preset.mask_thresholds) == ("entropy", "otsu")
    assert (preset.mask_ratio_start, preset.uncertain_boundary_weight) == (0.1, 1.0)
    assert build_preset(_default("preset.mask_ratio_start=null")).mask_ratio_start is None


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lrr=1", r"optim\.lrr: unknown option \(did you mean 'optim\.lr'\?\)"),
        ("lr=1", r"lr: unknown option \(did you mean 'optim\.lr'\?\)"),
        ("dta.root=x", r"dta: unknown option \(did you mean 'data'\?\)"),
        ("preset.mask_ration=0.3", r"did you mean 'preset\.mask_ratio'"),
        ("preset.mask_cam.layr=final", r"did you mean 'preset\.mask_cam\.layer'"),
        ("zzz=1", r"^zzz: unknown option$"),
        ("optim.lr=fast", r"optim\.lr: Value 'fast' of type 'str'"),
        ("steps=1.5", r"steps: Value '1\.5' of type 'float'"),
        ("eval.flip=7", r"eval\.flip: expected true or false, got 7"),
        ("preset.mask_cam.flip=1", r"preset\.mask_cam\.flip: expected true or false, got 1"),
        ("preset.mask_cam.scales=2", r"preset\.mask_cam\.scales: expected a list of numbers"),
        ("model.pretrained=3", r"model\.pretrained: Value '3'"),
        ("views.scale=0.3", r"views\.scale: expected a list of numbers, got 0\.3"),
        ("preset.mask_ratio=[1]", r"preset\.mask_ratio: "),
        ("data=3", r"data: expected options of its own, got 3"),
        ("steps", r"steps: expected option=value"),
        ("steps=0", r"steps: expected a positive integer, got 0"),
        ("optim.lr=nan", r"optim\.lr: expected a number in \[0\.0, inf\)"),
        ("optim.beta1=1.5", r"optim\.beta1: expected a number in \[0\.0, 1\.0\)"),
        ("optim.mixed_precision=fp8", r"optim\.mixed_precision: expected one of"),
        ("preset.base=fats", r"preset: .*did you mean 'fast'"),
        ("preset.mask_low=0.9", r"preset: mask_low: expected less than mask_high"),
        ("preset.mask_strategy=entropie", r"preset: mask_strategy: .*did you mean 'entropy'"),
        ("preset.mask_thresholds=otso", r"preset: mask_thresholds: .*did you mean 'otsu'"),
        ("preset.mask_ratio_start=2", r"preset: mask_ratio_start: expected a number in \(0\.0, 1"),
        ("preset.uncertain_boundary_weight=-1", r"preset: uncertain_boundary_weight: expected"),
        ("preset.mask_cam.layer=last", r"preset: layer: expected one of"),
        ("preset.learning_rate_warmup=1.0", r"preset\.learning_rate_warmup: warmup_steps"),
        ("data.name=voc", r"data\.root: the data set 'voc' needs a folder"),
        ("data.name=coco", r"data\.root: the data set 'coco' needs a folder"),
        ("data.labels=a.csv", r"data\.labels: only the data set 'folder' has it, not 'scenes'"),
        ("data.cache=masks", r"data\.cache: only the data set 'coco' has it, not 'scenes'"),
        ("data.name=vok", r"data\.name: .*did you mean 'voc'"),
        ("data.train_size=null", r"data\.train_size, data\.eval_size: "),
    ],
)
def test_a_bad_option_is_refused_in_one_line_that_names_it(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        _default(override)
    assert "\n" not in str(caught.value)


def test_a_folder_needs_images_and_a_table_of_labels() -> None:
    with pytest.raises(ConfigError, match=r"data\.labels: the data set 'folder' needs a table"):
        _default("data.name=folder", "data.root=images")
    config = _default("data.name=folder", "data.root=images", "data.labels=labels.csv")
    assert (config.data.eval_labels, config.data.masks) == (None, None)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.background=whit", r"data\.background: expected a colour such as white"),
        ("data.bits=40", r"data\.bits: expected an integer in \[1, 32\], got 40"),
        ("data.max_pixels=0", r"data\.max_pixels: expected a positive integer, got 0"),
        ("data.orient=false", r"data\.orient: only data sets of files have it, not 'scenes'"),
    ],
)
def test_options_of_reading_are_checked(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _default(override)


def test_runs_from_before_the_options_of_reading_go_on() -> None:
    earlier = asdict(_voc())
    for option in ("orient", "background", "bits", "max_pixels"):
        del earlier["data"][option]
    check_same_run(_voc("data.max_pixels=9"), earlier)
    with pytest.raises(ConfigError, match=r"data\.orient: the run was started with None"):
        check_same_run(_voc("data.orient=true"), earlier)


def test_a_run_goes_on_where_its_data_were_moved_to_but_not_with_other_labels() -> None:
    check_same_run(_coco("data.cache=b", "data.root=elsewhere"), asdict(_coco("data.cache=a")))
    options = ("data.name=folder", "data.root=images", "data.labels=a.csv")
    check_same_run(_default(*options, "data.masks=masks"), asdict(_default(*options)))
    with pytest.raises(ConfigError, match=r"data\.labels: the run was started with 'a\.csv'"):
        check_same_run(_default(*options[:2], "data.labels=b.csv"), asdict(_default(*options)))
    earlier = asdict(_voc())
    for option in ("labels", "eval_labels", "masks", "cache"):
        del earlier["data"][option]
    check_same_run(_voc(), earlier)


def test_a_bad_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no file .*vok\.yaml \(did you mean --config voc\?\)"):
        load_config(CONFIGS / "vok.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("steps: [1,\n")
    with pytest.raises(ConfigError, match=r"broken\.yaml: while parsing"):
        load_config(broken)
    broken.write_text("- 1\n")
    with pytest.raises(ConfigError, match="expected options and values, got a list"):
        load_config(broken)


def test_the_effective_batch_does_not_depend_on_the_number_of_processes() -> None:
    assert [accumulation(_voc(), processes) for processes in (1, 2, 4, 8)] == [1, 1, 1, 1]
    small = _voc("data.micro_batch=2")
    assert [accumulation(small, processes) for processes in (1, 2, 4)] == [4, 2, 1]
    with pytest.raises(ConfigError, match=r"data\.batch_size: expected a multiple of .* 2 \* 3"):
        accumulation(small, 3)
