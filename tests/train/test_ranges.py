"""Every option of a run has a range, and what is out of it is refused before anything is loaded."""

from __future__ import annotations

import dataclasses
import math
import re
import typing
from typing import Any

import pytest

pytest.importorskip("omegaconf")

from fsr._core.ranges import Range
from fsr.cli import _train as command
from fsr.errors import ConfigError
from fsr.presets import METHODS, CAMSource, Method
from fsr.presets._ranges import LISTS as SETTING_LISTS
from fsr.presets._ranges import range_of
from fsr.train import Config, load_config
from fsr.train._config import option_kinds
from fsr.train._ranges import LISTS, RANGES, check_every_range

# Options of every group but the preset's, whose fields are the methods'.
OPTIONS = {n: k for n, k in option_kinds(Config) if not n.startswith("preset")}
SETTINGS = sorted(
    {
        (type(method), field)
        for method in METHODS.values()
        for field in typing.get_type_hints(type(method))
        if field in {each.name for each in dataclasses.fields(method)}  # type: ignore[arg-type]
    },
    key=lambda pair: (pair[0].__name__, pair[1]),
)


def plain(kind: Any) -> Any:
    """The type of an option that may be None, without that."""
    parts = [part for part in typing.get_args(kind) if part is not type(None)]
    return parts[0] if len(parts) == 1 and type(None) in typing.get_args(kind) else kind


def outside(known: Range) -> list[float]:
    """Numbers out of a range: those next to its ends, NaN and infinities."""
    step = 1 if known.whole else 1e-6
    numbers: list[float] = [] if known.whole else [math.nan, math.inf, -math.inf]
    if math.isfinite(known.low):
        numbers += [known.low - step, *([known.low] if known.above else [])]
    if math.isfinite(known.high):
        numbers += [known.high + step, *([known.high] if known.below else [])]
    return numbers


def test_every_number_among_the_options_has_a_range() -> None:
    numbers = {n for n, kind in OPTIONS.items() if plain(kind) in (int, float)}
    assert numbers == RANGES.keys()
    assert {n for n, kind in OPTIONS.items() if plain(kind) == list[float]} == LISTS.keys()


@pytest.mark.parametrize("name", RANGES)
def test_a_number_out_of_range_is_refused_by_name(name: str) -> None:
    group, _, field = name.rpartition(".")
    for value in outside(RANGES[name]):
        config = Config()
        place = getattr(config, group) if group else config
        setattr(place, field, int(value) if RANGES[name].whole else value)
        with pytest.raises(ValueError, match=rf"{name}: expected .*, got "):
            check_every_range(config)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_refused_by_name_if_it_is_empty_or_a_number_is_out_of_range(name: str) -> None:
    group, _, field = name.rpartition(".")
    good = list(getattr(getattr(Config(), group), field))
    bad = [[], *([value, *good[1:]] for value in outside(LISTS[name][0]))]
    bad += [] if LISTS[name][1] is None else [[*good, 1.0]]
    for value in bad:
        config = Config()
        setattr(getattr(config, group), field, value)
        with pytest.raises(ValueError, match=rf"{name}.*: expected "):
            check_every_range(config)


def test_the_defaults_and_the_shipped_methods_are_in_their_ranges() -> None:
    check_every_range(Config())
    for method in METHODS.values():
        dataclasses.replace(method)  # type: ignore[type-var]


@pytest.mark.parametrize(("kind", "field"), SETTINGS, ids=lambda x: getattr(x, "__name__", x))
def test_every_setting_of_every_method_that_is_a_number_has_a_range(
    kind: type[Method], field: str
) -> None:
    hint = plain(typing.get_type_hints(kind)[field])
    method = next(each for each in METHODS.values() if type(each) is kind)
    phases = kind.phases or tuple(name for name in method.resolve() if hasattr(method, name))
    if hint in (int, float):
        known = range_of(field, phases)
        assert known is not None, field
        for value in outside(known):
            changed = int(value) if known.whole else value
            with pytest.raises(ValueError, match=rf"^{field}: expected "):
                dataclasses.replace(method, **{field: changed})  # type: ignore[type-var]
    elif typing.get_origin(hint) is tuple:
        assert field in SETTING_LISTS
        for numbers in ((), (math.nan, 1.0), (math.inf, 1.0)):
            with pytest.raises(ValueError, match=rf"^{field}.*: expected "):
                dataclasses.replace(method, **{field: numbers})  # type: ignore[type-var]


@pytest.mark.parametrize("scales", [(), (math.nan,), (math.inf,), (0.0,), (-1.0,)])
@pytest.mark.parametrize("reuse", [False, True])
def test_scales_of_a_cam_are_judged_whether_they_are_read_or_not(
    scales: tuple[float, ...], reuse: bool
) -> None:
    with pytest.raises(ValueError, match="scales: expected positive numbers"):
        CAMSource(scales=scales, reuse=reuse)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.clip_norm=-1", r"optim.clip_norm: expected a number in \(0.0, inf\), got -1.0"),
        ("optim.clip_norm=0", "optim.clip_norm: expected"),
        ("optim.clip_norm=.nan", "optim.clip_norm: expected .* got nan"),
        ("eval.scales=[]", r"eval.scales: expected at least one number, got \[\]"),
        ("eval.scales=[.nan]", r"eval.scales\[0\]: expected .* got nan"),
        ("eval.cam_scales=[-1.0]", r"eval.cam_scales\[0\]: expected .* got -1.0"),
        ("eval.image_size=0", "eval.image_size: expected a positive integer, got 0"),
        ("eval.batch_size=-2", "eval.batch_size: expected a positive integer, got -2"),
        ("eval.cam_threshold=2", r"eval.cam_threshold: expected a number in \[0.0, 1.0\], got 2"),
        ("views.scale=[1,0.5]", "views.scale: expected the smaller number first"),
        ("views.jitter=[0,0,0,1]", r"views.jitter\[3\]: expected a number in \[0.0, 0.5\]"),
        ("optim.beta2=1", r"optim.beta2: expected a number in \[0.0, 1.0\), got 1.0"),
        ("preset.center_momentum=-0.5", "preset: center_momentum: expected"),
        ("preset.student_temperature=0", "preset: student_temperature: expected"),
        ("run.timeout=0", "run.timeout: expected"),
        ("data.pseudo=' '", "data.pseudo: expected a name or null, got an empty text"),
        ("model.aggregator=mean", "model.aggregator: expected one of 'mca', 'average', 'max'"),
        ("model.decoder=large", "model.decoder: expected one of 'largefov'"),
    ],
)
def test_the_command_refuses_it_with_status_2_before_anything_is_loaded(
    override: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "run", None)  # nothing is built
    assert command.main([override], "fsr train") == command.BAD_OPTION
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert re.search(message, error), error


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"for": {}, "source": 1, "prediction_miou": 0.5}']
)
def test_a_bound_that_cannot_be_read_is_refused_at_the_start(content: str, tmp_path: Any) -> None:
    path = tmp_path / "bound.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"run.upper_bound: expected a JSON file .*bound.json"):
        load_config(overrides=[f"run.upper_bound={path}"])
