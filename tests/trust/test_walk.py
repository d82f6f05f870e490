"""Every public function and module: right results or an error that names the argument.

The calls of `good_arguments` are spoiled, one or two arguments at a time, in the ways of
`mutations`. What comes must be finite numbers, or a ValueError or TypeError that the package itself
raises and that names an argument; torch's own errors, NaN and infinity are faults.

`FSR_FUZZED_CALLS` sets how many calls are made (by default 2,000): 50,000 take a quarter of an
hour on one core.
"""

from __future__ import annotations

import importlib
import inspect
import os
import re
from typing import Any, get_origin

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fsr
from tests.trust.good_arguments import B, Call, calls
from tests.trust.left_out import LEFT_OUT
from tests.trust.mutations import is_module, mutations_of, on_another_device
from tests.trust.walking import fault_of

NESTED = ("objective.terms", "objective.recipes", "segmenter.heads")
ROOMS = sorted(set(fsr._ROOMS) | set(NESTED))
CALLS = calls()
# Slow to build or to run: each such call costs what a hundred others do.
SLOW = {
    "backbone.FeatureBackbone",
    "backbone.FeatureBackbone()",
    "backbone.FeatureBackbone.stages",
    "backbone.ViTBackbone",
    "backbone.fsr_scenes_tiny",
    "objective.TrainingObjective",
    "objective.TrainingObjective()",
    "refine.reliable_labels",
    "segmenter.SingleStageSegmenter",
    "segmenter.SingleStageSegmenter.cam",
    "segmenter.SingleStageSegmenter.predict",
}
QUICK = [name for name in CALLS if name not in SLOW]
COUNT = int(os.environ.get("FSR_FUZZED_CALLS", "2000"))
# Raised by a reader of files that names the file: none of its arguments is spoiled here.
NO_GOOD_RESULT = {"interop.load_reference_state_dict", "interop.load_reference_aggregator"}


def public_names() -> set[str]:
    """Every public function and class of every room, but types, records and errors."""
    found = set()
    for room in ROOMS:
        face = importlib.import_module(f"fsr.{room}")
        listed = getattr(face, "__all__", None) or [
            name
            for name, value in vars(face).items()
            if getattr(value, "__module__", None) == face.__name__
        ]
        for name in listed:
            value = getattr(face, name)
            if not name.startswith("_") and is_walked(value):
                found.add(f"{room}.{name}")
    return found


def is_walked(value: Any) -> bool:
    """Tell whether a public value is called with arguments: a function, or a class of behaviour."""
    if get_origin(value) is not None:  # an alias of a type
        return False
    if inspect.isclass(value):
        return not issubclass(value, (tuple, Exception)) and not getattr(value, "_is_protocol", 0)
    # A module at an old place that was imported stands where the function of its name was.
    return inspect.isroutine(value) or (inspect.ismodule(value) and callable(value))


def base_name(name: str) -> str:
    """The public name that a call belongs to."""
    room = next(
        room for room in sorted(ROOMS, key=len, reverse=True) if name.startswith(f"{room}.")
    )
    first = re.split(r"[.(,]", name.removeprefix(f"{room}."))[0]
    return f"{room}.{first}"


def test_every_public_function_and_module_is_walked_or_left_out_with_a_reason() -> None:
    walked = {base_name(name) for name in CALLS}
    public = public_names()
    assert sorted(public - walked - LEFT_OUT.keys()) == [], "add them to the good arguments"
    assert sorted((walked | LEFT_OUT.keys()) - public) == [], "no such public name"
    assert sorted(walked & LEFT_OUT.keys()) == []
    assert all(LEFT_OUT.values())


@pytest.mark.parametrize("name", [name for name in CALLS if name not in NO_GOOD_RESULT])
def test_good_arguments_are_taken(name: str) -> None:
    assert fault_of(CALLS[name], {}) is None


@pytest.mark.parametrize("name", CALLS)
def test_no_image_gives_an_empty_result_or_is_refused(name: str) -> None:
    call = CALLS[name]
    emptied = {key: without_images(value) for key, value in call.arguments.items()}
    assert fault_of(call, emptied) is None


def without_images(value: Any) -> Any:
    """An argument of a batch of no images."""
    if isinstance(value, torch.Tensor):
        return value[:0] if value.ndim and len(value) == B else value
    many = isinstance(value, list) and value and isinstance(value[0], torch.Tensor)
    return [without_images(each) for each in value] if many else value


def fault_of_changes(name: str, chosen: list[tuple[str, str]]) -> str | None:
    """Return what is wrong when arguments are spoiled, each in a way; None if nothing is."""
    call = CALLS[name]
    changes = {}
    for argument, way in chosen:
        try:
            changes[argument] = mutations_of(call.arguments[argument])[way](
                call.arguments[argument]
            )
        except (ValueError, TypeError, RuntimeError, IndexError):
            return None  # it cannot be spoiled so
    if any(map(on_another_device, changes.values())) and not has_another_tensor(call, changes):
        return None  # all of it is there, where nothing can be read
    return fault_of(call, changes)


def has_another_tensor(call: Call, changes: dict[str, Any]) -> bool:
    """Tell whether a tensor of a call stays on its device: an argument's, or a module's."""
    left = [value for key, value in call.arguments.items() if key not in changes]
    return is_module(call.function) or any(isinstance(value, torch.Tensor) for value in left)


def spoiled(name: str) -> st.SearchStrategy[list[tuple[str, str]]]:
    """One argument of a call and a way to spoil it, or two."""
    arguments = CALLS[name].arguments
    one = st.sampled_from(sorted(arguments)).flatmap(
        lambda key: st.tuples(st.just(key), st.sampled_from(sorted(mutations_of(arguments[key]))))
    )
    return st.lists(one, min_size=1, max_size=2)


@settings(max_examples=COUNT, suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_a_spoiled_argument_gives_a_right_result_or_our_own_error(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([name for name in QUICK if CALLS[name].arguments]), "call")
    chosen = data.draw(spoiled(name), "spoiled")
    assert fault_of_changes(name, chosen) is None


@settings(max_examples=max(1, COUNT // 40), suppress_health_check=list(HealthCheck), database=None)
@given(data=st.data())
def test_so_it_is_for_what_is_slow(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(SLOW)), "call")
    chosen = data.draw(spoiled(name), "spoiled")
    assert fault_of_changes(name, chosen) is None
