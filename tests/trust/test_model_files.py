"""Saved networks that are damaged, hostile or of another version: refused by the file's name."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fsr import SingleStageSegmenter
from fsr.cli import main
from fsr.segmenter import read_checkpoint
from tests.trust.good_arguments import network

KEY = "fsr_wsss"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole file."""
    path = tmp_path_factory.mktemp("models") / "whole.safetensors"
    network().save(path, class_names=["cat", "dog", "cow"])
    return path


def header_of(path: Path) -> dict[str, Any]:
    """The JSON header of a file."""
    with safe_open(path, framework="pt") as file:
        found: dict[str, Any] = json.loads(file.metadata()[KEY])
    return found


def with_header(saved: Path, text: str) -> Path:
    """A copy with another header."""
    path = saved.with_name("bad.safetensors")
    save_file(load_file(saved), path, metadata={KEY: text})
    return path


def changed(**more: Any) -> Callable[[dict[str, Any]], Any]:
    """Set entries of a header."""
    return lambda header: {**header, **more}


def of_arguments(**more: Any) -> Callable[[dict[str, Any]], Any]:
    """Set arguments of a header."""
    return lambda header: {**header, "arguments": {**header["arguments"], **more}}


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    """Leave an entry of a header out."""
    return lambda header: {key: value for key, value in header.items() if key != name}


DAMAGED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a list": (lambda header: [header], "is no JSON object"),
    "a number": (lambda header: 3, "is no JSON object"),
    "another format": (changed(format=2), "has format 2, expected 1; .*pip install -U"),
    "no format": (without("format"), "has format None, expected 1"),
    "no arguments": (without("arguments"), "its arguments are None, expected a mapping"),
    "arguments null": (changed(arguments=None), "its arguments are None"),
    "arguments a list": (changed(arguments=[1]), r"its arguments are \[1\]"),
    "no names": (without("class_names"), "it has no class_names"),
    "names a text": (changed(class_names="cat"), "class_names is 'cat', expected strings"),
    "names of numbers": (changed(class_names=[1, 2, 3]), r"class_names is \[1, 2, 3\]"),
    "a name less": (changed(class_names=["cat"]), "it has 1 class_names for 3 classes"),
    "no such masking": (changed(masking="all"), "masking is 'all', expected one of"),
    "an unknown argument": (of_arguments(more=1), "unknown arguments 'more'"),
    "a count as text": (of_arguments(num_classes="3"), "num_classes is '3', expected a positive"),
    "no count": (of_arguments(num_classes=None), "num_classes is None"),
    "another count": (of_arguments(num_classes=4), "it has 3 class_names for 4 classes"),
    "a size as text": (of_arguments(image_size="32"), "no network can be built of its arguments"),
    "a nested type": (of_arguments(backbone_options=[8]), "no network can be built .*mapping"),
    "heads a list": (of_arguments(heads=["maps"]), r"its heads are \['maps'\]"),
    "an encoder unknown": (of_arguments(backbone="vit_none"), "expected the name of a timm model"),
    "a huge network": (
        of_arguments(projection_dim=10**12),
        "projection_dim is 1000000000000, more",
    ),
    "another width": (
        of_arguments(
            backbone_options={"patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2}
        ),
        "does not fit the model: .*size mismatch",
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_header_is_told_with_the_files_name(saved: Path, kind: str) -> None:
    change, message = DAMAGED[kind]
    path = with_header(saved, json.dumps(change(header_of(saved))))
    with pytest.raises(ValueError, match=rf"(?s)bad\.safetensors.*{message}"):
        SingleStageSegmenter.load(path)


@pytest.mark.parametrize("text", ["{oops", "", "[" * 10_000, "9" * 10_000, "\x00"])
def test_a_header_that_is_no_json_is_told(saved: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"bad\.safetensors.*(no JSON object|no safetensors)"):
        SingleStageSegmenter.load(with_header(saved, text))


def test_a_header_without_masking_is_that_of_an_earlier_release(saved: Path) -> None:
    path = with_header(saved, json.dumps(without("masking")(header_of(saved))))
    assert SingleStageSegmenter.load(path).class_names == ("cat", "dog", "cow")


def test_a_file_of_a_later_version_says_so_where_it_does_not_load(saved: Path) -> None:
    later = changed(version="99.1.0")(of_arguments(image_size="?")(header_of(saved)))
    with pytest.raises(ValueError, match=r"saved by fsr-wsss 99\.1\.0, later than this one: pip"):
        SingleStageSegmenter.load(with_header(saved, json.dumps(later)))


@given(
    path=st.lists(st.sampled_from(["arguments", "class_names", "masking", "format"]), max_size=1),
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
        max_leaves=4,
    ),
    argument=st.sampled_from(
        ["image_size", "aux_block", "backbone", "decoder", "heads", "aggregator"]
    ),
)
def test_any_header_loads_or_is_refused_by_the_files_name(
    saved: Path, path: list[str], value: Any, argument: str
) -> None:
    header = header_of(saved)
    header = (
        changed(**{path[0]: value})(header) if path else of_arguments(**{argument: value})(header)
    )
    bad = with_header(saved, json.dumps(header))
    told = "bad.safetensors"
    try:
        SingleStageSegmenter.load(bad)
    except ValueError as error:
        told = str(error)
    assert "bad.safetensors" in told


# -- the file itself ------------------------------------------------------------------------------


def hostile(saved: Path) -> dict[str, bytes]:
    """Files that are no whole one, by what is wrong."""
    whole = saved.read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}

    def made(tensors: dict[str, Any], data: bytes) -> bytes:
        text = json.dumps(tensors).encode()
        return struct.pack("<Q", len(text)) + text + data

    return {
        "nothing": b"",
        "three bytes": whole[:3],
        "half a header": whole[: 8 + length // 2],
        "half of the weights": whole[: (8 + length + len(whole)) // 2],
        "a byte less": whole[:-1],
        "a byte more": whole + b"\0",
        "a huge header": struct.pack("<Q", 2**62) + whole[8:],
        "a header of minus one": struct.pack("<q", -1) + whole[8:],
        "offsets that overlap": made({"a": entry, "b": entry}, bytes(8)),
        "offsets outside": made({"a": {**entry, "data_offsets": [0, 2**60]}}, bytes(8)),
        "offsets turned": made({"a": {**entry, "data_offsets": [8, 0]}}, bytes(8)),
        "a shape too large": made({"a": {**entry, "shape": [2**40, 2**40]}}, bytes(8)),
        "a negative shape": made({"a": {**entry, "shape": [-2]}}, bytes(8)),
        "no such type": made({"a": {**entry, "dtype": "X7"}}, bytes(8)),
        "no JSON": struct.pack("<Q", 4) + b"\xff\xfe{}" + bytes(8),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "nothing",
        "three bytes",
        "half a header",
        "half of the weights",
        "a byte less",
        "a byte more",
        "a huge header",
        "a header of minus one",
        "offsets that overlap",
        "offsets outside",
        "offsets turned",
        "a shape too large",
        "a negative shape",
        "no such type",
        "no JSON",
    ],
)
def test_a_hostile_file_is_refused_by_its_name(saved: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(hostile(saved)[kind])
    with pytest.raises(ValueError, match=r"path: .*hostile\.safetensors.* is no safetensors file"):
        read_checkpoint(path)


def test_a_pickle_is_not_run_and_the_way_out_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"model\.safetensors.*can run code; .*pretrained="):
        SingleStageSegmenter.load(path)


def test_weights_that_are_nan_are_refused(saved: Path, tmp_path: Path) -> None:
    state = load_file(saved)
    state["classifier.weight"][0] = float("nan")
    path = tmp_path / "diverged.safetensors"
    save_file(state, path, metadata={KEY: json.dumps(header_of(saved))})
    with pytest.raises(
        ValueError, match=r"diverged.* holds NaN or infinity in 'classifier\.weight'"
    ):
        SingleStageSegmenter.load(path)


def test_weights_that_are_missing_are_named(saved: Path, tmp_path: Path) -> None:
    state = load_file(saved)
    del state["classifier.weight"]
    path = tmp_path / "part.safetensors"
    save_file(state, path, metadata={KEY: json.dumps(header_of(saved))})
    with pytest.raises(ValueError, match=r"(?s)part.* does not fit.*classifier\.weight"):
        SingleStageSegmenter.load(path)


@pytest.mark.parametrize("command", ["predict", "info", "evaluate", "export"])
def test_a_command_tells_a_damaged_model_in_a_line(
    saved: Path, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = with_header(saved, json.dumps(changed(arguments=None)(header_of(saved))))
    (tmp_path / "images").mkdir()
    (tmp_path / "labels.csv").write_text("image,labels\n")
    arguments: dict[str, list[Path | str]] = {
        "predict": [bad, tmp_path / "images", "--output", tmp_path / "out"],
        "info": [bad],
        "evaluate": [bad, "--dataset", "scenes", "--scenes", "2"],
        "export": [bad, "--dataset", "scenes", "--scenes", "2", "--output", tmp_path / "out"],
    }
    status = main([command, *map(str, arguments[command])])
    told = capsys.readouterr().err
    assert status in (1, 2), told
    assert "bad.safetensors" in told
    assert "damaged header" in told
    assert "Traceback" not in told
