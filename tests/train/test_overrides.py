"""Overrides with odd characters: one line that names the option, never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("omegaconf")

from fsr.cli import _train as command
from fsr.errors import ConfigError
from fsr.train import load_config
from fsr.train._layers import fitted, read_layers


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data={", "data: { is no value in YAML; text with such characters is given in quotes"),
        ("seed=[1", "seed: [1 is no value in YAML"),
        ("run.output=: :", "run.output: : : is no value in YAML"),
        ("seed=\t1", r"seed: '\t1' is no value in YAML"),
        ("run.output=a\0b", r"run.output: 'a\x00b' is no value in YAML"),
        ("run.output=\ud800", r"run.output: '\ud800' is no value in YAML"),
        ("seed=" + "[" * 5000, "seed: [[[["),
        ("seed=" + "9" * 5000, "seed: 9999"),
        ("seed=&a [*a]", "seed: &a [*a] is no value in YAML"),
        ("seed=!!python/object:os.system x", "seed: !!python/object:os.system x is no value"),
        ("=", "=: expected option=value"),
        ("=1", "=1: expected option=value"),
        ("", "'': expected option=value"),
        ("a.b", "a.b: expected option=value"),
        ("a.b=1", "a: unknown option"),
        ("a\nb=1", r"'a\nb': unknown option"),
        ("données=1", "données: unknown option"),
        (" seed=1", "' seed': unknown option (did you mean 'seed'?)"),
        (".seed=1", "'': unknown option"),
        ("x" * 100_000 + "=1", "xxx...: unknown option"),
        ("seed=${x}", "seed: Interpolation key 'x' not found"),
        ("seed=${seed}", "seed: Recursive interpolation"),
        ("run.output=${run.output}", "run.output: Recursive interpolation"),
        ("seed=${", "seed: ${ is no value in YAML"),
        ("${x}=1", "${x}: unknown option"),
        ("seed=???", "seed: expected a value, got ???"),
        ("preset.base=[1]", "preset.base: "),
        ("model.backbone_options=[1]", "an option cannot be resolved: "),
        ("model.backbone_options={1: 2}", "model.backbone_options.1: "),
        ("data=null", "data: expected options of its own, got None"),
        ("optim.lr=1e400", "optim.lr: expected a number in [0.0, inf), got inf"),
    ],
)
def test_it_is_one_line_with_status_2(
    override: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([override], "fsr train") == command.BAD_OPTION
    error = capsys.readouterr().err
    assert error.startswith("fsr train: error: ")
    assert error.count("\n") == 1
    assert len(error) < 1000
    assert message in error


@pytest.mark.parametrize(
    ("override", "output"),
    [
        ('run.output="a{b: c"', "a{b: c"),
        ("run.output=données", "données"),
        ("run.output=a b", "a b"),
        ("run.output=${data.name}", "scenes"),
    ],
)
def test_odd_text_that_is_a_value_is_taken(override: str, output: str) -> None:
    assert load_config(overrides=[override]).run.output == output


@given(st.text(max_size=20), st.text(max_size=20))
def test_any_text_at_all_is_options_or_one_line(name: str, value: str) -> None:
    for text in (f"{name}={value}", f"seed={value}", f"data.{name}={value}", value):
        assert "\n" not in refusal(text)


def refusal(override: str) -> str:
    """What is said of an override; nothing where it is taken."""
    try:
        load_config(overrides=[override])
    except ConfigError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot|did not find|expected"),
        ("- 1", "expected options and values, got a list"),
        ("over: [voc]", r"over: expected a name, got \['voc'\]"),
        ("1: 2", "1: unknown option"),
        ("seed: ${", "."),
        ("seed: ???", "seed: expected a value"),
        ("a: &a [*a]", "."),
    ],
)
def test_a_file_of_nonsense_is_one_line(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


def test_a_file_of_bytes_or_a_name_of_any_length_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    for name in (path, "x" * 5000, tmp_path):
        with pytest.raises(ConfigError, match="--config: "):
            load_config(name)


def test_later_values_win_and_mappings_are_joined() -> None:
    overrides = ["model.backbone_options={depth: 3}", "model.backbone_options.embed_dim=16"]
    (layer,) = read_layers([], [*overrides, "seed=1", "seed=2"])
    options = {"backbone_options": {"depth": 3, "embed_dim": 16}}
    assert layer == {"model": options, "seed": 2}


def test_settings_of_another_method_below_are_left_out_and_its_own_stay() -> None:
    below = {"preset": {"base": "fast", "mask_ratio": 0.5, "drop_path_rate": 0.2}}
    above = {"preset": {"base": "urn", "trust": 0.1}}
    kept = {"base": "fast", "drop_path_rate": 0.2}
    assert fitted([below, above]) == [{"preset": kept}, above]
    assert below["preset"]["mask_ratio"] == 0.5  # what was given is not touched
    config = load_config("default", "urn", overrides=["preset.mask_ratio=0.3", "preset.base=fast"])
    assert config.preset.mask_ratio == 0.3


def test_options_of_a_transformer_below_are_left_out_for_an_encoder_of_feature_maps() -> None:
    below = {"model": {"backbone": "vit_tiny_patch16_224", "backbone_options": {"depth": 3}}}
    above = {"model": {"backbone": "features:resnet18"}}
    assert fitted([below, above])[0] == {"model": {"backbone": "vit_tiny_patch16_224"}}
    assert fitted([below, {"seed": 1}])[0] == below
    same = {"model": {"backbone": "vit_small_patch16_224"}}
    assert fitted([below, same])[0] == below
