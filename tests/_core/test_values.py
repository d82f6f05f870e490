"""When checks look at values, and when they leave them alone."""

from __future__ import annotations

import pytest
import torch

from fsr._core.checks import check_finite, check_floating, check_unit_interval
from fsr._core.transfer import to_device
from fsr._core.values import may_look, readable, values_unread

BAD = torch.tensor([float("nan"), 2.0])


def test_values_on_a_cpu_are_looked_at_whatever_surrounds_the_check() -> None:
    with (
        values_unread(torch.device("cpu")),
        pytest.raises(ValueError, match="value: expected finite values"),
    ):
        check_finite("value", BAD)


def test_no_check_looks_where_every_look_would_wait() -> None:
    with values_unread(torch.device("cuda")):
        with values_unread(torch.device("cpu")):  # what is within does not open it again
            assert not may_look(BAD)
        check_finite("value", BAD)
        check_floating("value", BAD)
        check_unit_interval(value=BAD)
    assert may_look(BAD)
    assert readable(BAD)


def test_checks_look_again_after_an_error() -> None:
    with pytest.raises(KeyError), values_unread(torch.device("cuda")):
        raise KeyError
    assert may_look(BAD)


def test_tensors_of_no_value_are_not_looked_at() -> None:
    assert not may_look(torch.ones(2, device="meta"))


def test_tensors_go_to_a_device() -> None:
    assert to_device(BAD, torch.device("cpu")) is BAD
    assert to_device(BAD, torch.device("meta")).is_meta
