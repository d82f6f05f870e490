"""The command that lists methods."""

from __future__ import annotations

import json

import pytest

from fsr.cli import main
from fsr.presets import METHODS


def test_every_method_is_listed_with_what_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods"]) == 0
    out = capsys.readouterr().out
    told = {part.partition(":")[0]: part for part in out.split("\n") if not part.startswith(" ")}
    assert [name for name in told if name] == list(METHODS)
    assert all(method.title for method in METHODS.values())
    assert (
        "toco: Token Contrast (Ru et al., CVPR 2023)\n"
        "  encoder   class_token\n"
        "  a step    a padded crop and a second view\n"
        "  gives     a segmenter\n"
        "  configs   toco, toco_coco, toco_voc\n"
    ) in out
    assert "  gives     CAMs; train a segmenter on fsr export's labels\n" in out
    assert "  a step    two views, an averaged teacher\n" in out


def test_one_method_is_told_with_all_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "toco"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("toco: ")
    assert "  preset.contrast_temperature=0.5\n" in out


def test_methods_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["methods", "--json", "toco", "fast"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in told] == ["toco", "fast"]
    assert told[1]["configs"] == ["default", "folder", "voc_informative"]
    assert told[0]["options"]["crop_size"] == 96


def test_an_unknown_method_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["methods", "tocco"])
    assert "got 'tocco' (did you mean toco?)" in capsys.readouterr().err
